//! The configuration as a whole: what is read from where, what is refused and in which words.

use std::{ffi::OsString, fs, num::NonZeroUsize, path::Path, time::Duration};

use super::*;
use crate::workload::spec::{Instances, LinkTarget, Network, Outbound, Preopen, Route};

/// A folder with a configuration file, and what else the host is started with.
struct Fixture {
    folder: tempfile::TempDir,
    sources: Sources,
}

impl Fixture {
    fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(DEFAULT_FILE), toml).unwrap();
        let sources = Sources {
            file: None,
            variables: Vec::new(),
            flags: Vec::new(),
            working_folder: folder.path().to_owned(),
            state_folder: None,
        };
        Self { folder, sources }
    }

    fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.sources.variables.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, setting: Setting) -> Self {
        self.sources.flags.push(setting);
        self
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn load(&self) -> Config {
        Config::load(&self.sources).unwrap_or_else(|report| panic!("{report}"))
    }

    fn refused(&self) -> String {
        match Config::load(&self.sources) {
            Ok(_) => panic!("the configuration was taken"),
            Err(report) => {
                assert_eq!(report.exit_code(), std::process::ExitCode::from(2), "{report}");
                report.to_string()
            }
        }
    }
}

fn assert_refused(toml: &str, message: &str) {
    assert_eq!(Fixture::new(toml).refused(), message, "of:\n{toml}");
}

#[test]
fn unknown_keys_are_refused_with_the_place_and_the_choices() {
    assert_refused(
        "[htp]\nlisten = \"127.0.0.1:80\"\n",
        "error: unknown key `htp`\n  --> backplane.toml:1:2\n  expected: one of `data`, `plugins`, \
         `enable`, `http`, `admin`, `log`, `limits`, `outbound`, `shutdown`, `engine`, `extensions`, `servers`, `links`, \
         `workloads`\n  help: did you mean `http`?",
    );
    assert_refused(
        "\n[limits]\n  memry = \"64MiB\"\n",
        "error: unknown key `memry` in `limits`\n  --> backplane.toml:3:3\n  expected: one of \
         `memory`, `table-elements`, `instances`, `tables`, `memories`, `cpu`, `deadline`, \
         `request-body`, `concurrency`, `queue`, `queue-wait`, `hostcall`\n  help: did you mean \
         `memory`?",
    );
    assert_refused(
        "[workloads.a]\ncomponent = \"a.wasm\"\nlimits.request_body = \"1B\"\n",
        "error: unknown key `request_body` in `workloads.a.limits`\n  --> backplane.toml:3:8\n  \
         expected: one of `memory`, `table-elements`, `instances`, `tables`, `memories`, `cpu`, \
         `deadline`, `request-body`, `concurrency`, `queue`, `queue-wait`, `hostcall`\n  help: did you mean `request-body`?",
    );
    assert_refused(
        "[engine]\ncolour = true\n",
        "error: unknown key `colour` in `engine`\n  --> backplane.toml:2:1\n  expected: one of \
         `instances`, `cache`",
    );
}

#[test]
fn wrong_types_are_refused_with_what_was_found_and_expected() {
    for (toml, message) in [
        (
            "http = 3",
            "error: `http` is the number `3`\n  --> backplane.toml:1:1\n  expected: a table",
        ),
        (
            "enable = { a = true }",
            "error: `enable` is a table\n  --> backplane.toml:1:1\n  expected: a list",
        ),
        (
            "enable = [\"a\",\n 1]",
            "error: `enable[1]` is the number `1`\n  --> backplane.toml:2:2\n  expected: a name of at most 63 \
             lower-case letters, digits and `-`, beginning with a letter",
        ),
        (
            "engine.cache = \"yes\"",
            "error: `engine.cache` is the text `yes`\n  --> backplane.toml:1:8\n  expected: true or false",
        ),
        (
            "limits.memory = 64",
            "error: `limits.memory` is the number `64`\n  --> backplane.toml:1:8\n  expected: a size \
             such as \"64MiB\", a whole number with the unit B, KiB, MiB, GiB or TiB",
        ),
        (
            "data = \"\"",
            "error: `data`: `` is not a path\n  --> backplane.toml:1:1\n  expected: the path of a file \
             or folder",
        ),
        (
            "[workloads.a]\ncomponent = \"a.wasm\"\nenvironment.X = 1.5",
            "error: `workloads.a.environment.X` is the number `1.5`\n  --> backplane.toml:3:13\n  \
             expected: a text in quotes, a whole number or a truth value",
        ),
        (
            "links = \"x\"",
            "error: `links` is the text `x`\n  --> backplane.toml:1:1\n  expected: a table with \
             `target` or `named`, and `provider`",
        ),
    ] {
        assert_refused(toml, message);
    }
}

#[test]
fn impossible_values_are_refused() {
    for (toml, message) in [
        (
            "limits.memory = \"64MB\"",
            "error: `limits.memory`: `64MB` has an unknown unit\n  --> backplane.toml:1:8\n  expected: \
             a size such as \"64MiB\", a whole number with the unit B, KiB, MiB, GiB or TiB",
        ),
        (
            "limits.memory = \"8GiB\"",
            "error: `limits.memory` cannot be had\n  --> backplane.toml:1:8\n  expected: a size from \
             \"64KiB\" to \"4GiB\"",
        ),
        (
            "limits.cpu = \"0s\"",
            "error: `limits.cpu`: `0s` would let nothing run\n  --> backplane.toml:1:8\n  expected: a \
             duration such as \"30s\", in h, m, s, ms or us, or \"none\" for no limit",
        ),
        (
            "limits.concurrency = 0",
            "error: `limits.concurrency` is the number `0`\n  --> backplane.toml:1:8\n  expected: a \
             whole number from 1 to 4294967295",
        ),
        (
            "http.listen = \"localhost:80\"",
            "error: `http.listen`: `localhost:80` is not an address\n  --> backplane.toml:1:6\n  \
             expected: an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
        ),
        (
            "http.listen = []",
            "error: `http.listen` is empty\n  --> backplane.toml:1:6\n  expected: an address, here or in \
             `http.tls.listen`",
        ),
        (
            "admin.listen = \"on\"",
            "error: `admin.listen`: `on` is not an address\n  --> backplane.toml:1:7\n  expected: an \
             IP address and a port, such as \"127.0.0.1:9090\", or \"off\"",
        ),
        (
            "http.head-size = \"1B\"",
            "error: `http.head-size` cannot be had\n  --> backplane.toml:1:6\n  expected: a size from \
             \"1KiB\" to \"256KiB\"",
        ),
        (
            "http.http2.stream-window = \"1KiB\"",
            "error: `http.http2.stream-window` cannot be had\n  --> backplane.toml:1:12\n  expected: a \
             size from \"64KiB\" to \"1GiB\"",
        ),
        (
            "http.tls.listen = \"127.0.0.1:443\"",
            "error: `http.tls` has no `certificates`\n  --> backplane.toml:1:10\n  expected: a table \
             `[[http.tls.certificates]]` with `certificate` and `key`",
        ),
        (
            "[[http.tls.certificates]]\ncertificate = \"a\"\nkey = \"b\"",
            "error: `http.tls` has certificates and no `listen`\n  --> backplane.toml:1:12\n  expected: \
             an address, such as `listen = \"0.0.0.0:443\"`",
        ),
        (
            "[http.tls]\nlisten = \"127.0.0.1:443\"\ncertificates = [{ certificate = \"a\" }]",
            "error: `http.tls.certificates[0]` has no `key`\n  --> backplane.toml:3:17\n  expected: \
             `key`, the file of the certificate's private key",
        ),
        (
            "http.tls.min-version = \"1.1\"",
            "error: `http.tls.min-version` is `1.1`\n  --> backplane.toml:1:10\n  expected: one of \
             `1.2`, `1.3`\n  help: did you mean `1.2`?",
        ),
        (
            "log.format = \"jsn\"",
            "error: `log.format` is `jsn`\n  --> backplane.toml:1:5\n  expected: one of `text`, \
             `json`\n  help: did you mean `json`?",
        ),
        (
            "log.level = \"inf\"",
            "error: `log.level`: `inf` is not a log level\n  --> backplane.toml:1:5\n  expected: one \
             of `off`, `error`, `warn`, `info`, `debug`, `trace`, or a filter such as \
             \"info,backplane=debug\"",
        ),
        (
            "extensions.a.digest = \"sha256:12\"",
            "error: `extensions.a.digest`: `sha256:12` is not a digest\n  --> backplane.toml:1:14\n  \
             expected: `sha256:` and 64 hexadecimal digits",
        ),
        (
            "[workloads.My_App]\ncomponent = \"a.wasm\"",
            "error: `workloads.My_App`: `My_App` is not the name of a workload\n  --> \
             backplane.toml:1:12\n  expected: a name of at most 63 lower-case letters, digits and `-`, \
             beginning with a letter",
        ),
        (
            "[workloads.a]\ncomponent = \"a.wasm\"\nhttp.path = \"x\"",
            "error: `workloads.a.http.path`: `x` is not a path prefix\n  --> backplane.toml:3:6\n  \
             expected: a path that begins with `/`, without `?` and `#`",
        ),
    ] {
        assert_refused(toml, message);
    }
}

#[test]
fn what_is_missing_or_does_not_go_together_is_refused() {
    for (toml, message) in [
        (
            "\n[workloads.a]\nhttp = {}",
            "error: `workloads.a` has no `component`\n  --> backplane.toml:2:12\n  expected: \
             `component`, the file of the workload's component",
        ),
        (
            "[[links]]\ntarget = \"acme:cache\"",
            "error: `links[0]` has no `provider`\n  --> backplane.toml:1:1\n  expected: `provider`, \
             the name of the provider that serves the link",
        ),
        (
            "[[links]]\nprovider = \"a\"",
            "error: `links[0]` has neither `target` nor `named`\n  --> backplane.toml:1:1\n  \
             expected: one of them: `target` chooses by interface, `named` by an import's own name",
        ),
        (
            "[[links]]\nprovider = \"a\"\ntarget = \"a:b\"\nnamed = \"x\"",
            "error: `links[0]` has `target` and `named`\n  --> backplane.toml:1:1\n  expected: one of \
             them: `target` chooses by interface, `named` by an import's own name",
        ),
        (
            "[[links]]\nprovider = \"a\"\ntarget = \"a:b@1.0.0\"",
            "error: `links[0].target`: `a:b@1.0.0` is a package with a version, which a link cannot \
             choose by\n  --> backplane.toml:3:1\n  expected: a package `namespace:package` or an \
             interface `namespace:package/interface`, which may have a `@version`",
        ),
        (
            "[workloads.a]\ncomponent = \"a\"\ninstances = { requests = 2, concurrent = 3 }",
            "error: `workloads.a.instances.concurrent` cannot be had\n  --> backplane.toml:3:29\n  \
             expected: at most 2, the requests of the instance's whole life",
        ),
        (
            "[workloads.a]\ncomponent = \"a\"\npreopens = [{ host = \".\" }]",
            "error: `workloads.a.preopens[0]` has no `guest`\n  --> backplane.toml:3:13\n  expected: \
             `guest`, the folder's path as the guest sees it",
        ),
    ] {
        assert_refused(toml, message);
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_the_place_and_without_its_text() {
    let message = Fixture::new("a = 1\npassword = hunter2\n").refused();
    assert!(message.starts_with("error: the configuration file is not TOML: "), "{message}");
    assert!(message.contains("--> backplane.toml:2:12"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn every_fault_is_reported_in_one_run_in_the_order_of_the_file() {
    let message = Fixture::new(
        "enable = [1, \"ok\", \"Not\"]\n[http]\nlistn = 1\n[limits]\nmemory = 1\ncpu = \"x\"\n\
         [workloads.a]\nx = 1\n[[links]]\nprovider = 1\n[[links]]\ntarget = \"?\"\nprovider = \"p\"\n",
    )
    .variable("BACKPLANE_LOG__FORMAT", "xml")
    .refused();
    let places: Vec<_> = message.lines().filter_map(|line| line.strip_prefix("  --> ")).collect();
    assert_eq!(
        places,
        [
            "backplane.toml:1:11",
            "backplane.toml:1:20",
            "backplane.toml:3:1",
            "backplane.toml:5:1",
            "backplane.toml:6:1",
            "backplane.toml:7:12",
            "backplane.toml:8:1",
            "backplane.toml:10:1",
            "backplane.toml:12:1",
            "environment variable BACKPLANE_LOG__FORMAT",
        ],
        "{message}"
    );
}

#[test]
fn a_secret_is_not_quoted_by_an_error() {
    let message = Fixture::new(
        "[workloads.a]\ncomponent = \"a.wasm\"\nenvironment.DB_PASSWORD = 12.25\n\
         [[links]]\ntarget = \"a:b\"\nprovider = \"p\"\nnamed = 5",
    )
    .refused();
    assert!(message.contains("`workloads.a.environment.DB_PASSWORD` is the number `***`"));
    assert!(!message.contains("12.25"), "{message}");
    let message = Fixture::new("http.listen = \"https://u:hunter2@h\"").refused();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn variables_and_flags_are_named_as_the_source_of_a_fault() {
    let message = Fixture::new("")
        .variable("BACKPLANE_HTP__LISTEN", "127.0.0.1:1")
        .variable("BACKPLANE_LIMITS__MEMORY", "64")
        .flag(Setting::flag("--listen", ["http", "listen"], "here"))
        .refused();
    for part in [
        "unknown key `htp`\n  --> environment variable BACKPLANE_HTP__LISTEN\n",
        "`limits.memory` is the number `64`\n  --> environment variable BACKPLANE_LIMITS__MEMORY\n",
        "`http.listen`: `here` is not an address\n  --> flag --listen\n",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_list_that_a_variable_replaced_is_not_blamed_on_the_file() {
    let message = Fixture::new("[[links]]\ntarget = \"a:b\"\nprovider = \"p\"")
        .variable("BACKPLANE_LINKS", "[{ target = \"a:b\" }]")
        .refused();
    assert!(message.contains("--> environment variable BACKPLANE_LINKS"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let message =
        Fixture::new("").variable("BACKPLANE_DATA", OsString::from_vec(vec![0xff])).refused();
    assert!(message.starts_with("error: the value of BACKPLANE_DATA is not UTF-8"), "{message}");
}

#[test]
fn a_named_file_must_exist_and_an_unnamed_one_need_not() {
    let mut fixture = Fixture::new("");
    fixture.sources.file = Some("other.toml".into());
    let message = fixture.refused();
    assert!(message.starts_with(
        "error: the configuration file cannot be read\n  --> other.toml\n  cause: No such file"
    ));
    assert!(message.ends_with("help: name another with --config or BACKPLANE_CONFIG"), "{message}");

    let fixture = Fixture::new("");
    fs::remove_file(fixture.path().join(DEFAULT_FILE)).unwrap();
    assert_eq!(fixture.load().file, None);
}

#[test]
fn flags_go_over_variables_over_the_file_over_the_defaults() {
    let toml = "[http]\nlisten = \"127.0.0.1:1\"\n[log]\nlevel = \"warn\"\nformat = \"json\"";
    let fixture = Fixture::new(toml)
        .variable("BACKPLANE_HTTP__LISTEN", "127.0.0.1:2")
        .variable("BACKPLANE_LOG__LEVEL", "debug")
        .flag(Setting::flag("--listen", ["http", "listen"], "127.0.0.1:3"));
    let config = fixture.load();
    let origin = |keys: [&str; 2]| config.origins.of(&KeyPath::new(keys)).to_string();
    assert_eq!(config.http.listen, ["127.0.0.1:3".parse().unwrap()]);
    assert_eq!(origin(["http", "listen"]), "flag --listen");
    assert_eq!(config.log.filter, "debug");
    assert_eq!(origin(["log", "level"]), "environment variable BACKPLANE_LOG__LEVEL");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(origin(["log", "format"]), "backplane.toml:5:1");
    assert_eq!(config.shutdown_deadline, Duration::from_secs(30));
    assert_eq!(origin(["shutdown", "deadline"]), "default");
}

#[test]
fn a_list_takes_the_place_of_the_one_below_unless_the_flag_adds() {
    let fixture = Fixture::new("enable = [\"a\"]\nhttp.listen = [\"127.0.0.1:1\", \"[::1]:1\"]")
        .variable("BACKPLANE_HTTP__LISTEN", "[\"127.0.0.1:2\"]")
        .flag(Setting::flag_adds("--enable", ["enable"], vec!["b"]));
    let config = fixture.load();
    assert_eq!(config.http.listen.len(), 1);
    let enabled: Vec<_> = config.enabled().map(|(name, _)| name.as_str()).collect();
    assert_eq!(enabled, ["a", "b"]);
}

#[test]
fn relative_paths_begin_at_the_file_and_those_of_flags_where_the_host_was_started() {
    let mut fixture = Fixture::new("");
    let sub = fixture.path().join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(
        sub.join("host.toml"),
        "plugins = \"../plugins\"\n[extensions.x]\nfile = \"x.so\"\n[workloads.a]\ncomponent = \
         \"a.wasm\"\npreopens = [{ host = \"d\", guest = \"/d\" }, { host = \"/e\", guest = \"/e\" }]",
    )
    .unwrap();
    fixture.sources.file = Some("sub/host.toml".into());
    let fixture =
        fixture.flag(Setting::flag("--component", ["workloads", "b", "component"], "b.wasm"));
    let config = fixture.load();
    let root = fixture.path();
    assert_eq!(config.data, sub.join("data"));
    assert_eq!(config.plugins, sub.join("../plugins"));
    let extension = config.extensions.values().next().unwrap();
    assert_eq!(extension.file, Some(sub.join("x.so")));
    assert!(!extension.enabled);
    assert_eq!(config.workloads[0].component, sub.join("a.wasm"));
    assert_eq!(config.workloads[0].preopens[0].host, sub.join("d"));
    assert_eq!(config.workloads[0].preopens[1].host, Path::new("/e"));
    assert_eq!(config.workloads[1].component, root.join("b.wasm"));
}

#[test]
fn without_a_file_data_lies_in_the_state_folder_where_there_is_one() {
    let mut fixture = Fixture::new("");
    fs::remove_file(fixture.path().join(DEFAULT_FILE)).unwrap();
    assert_eq!(fixture.load().data, fixture.path().join("data"));
    fixture.sources.state_folder = Some("/state/backplane".into());
    assert_eq!(fixture.load().data, Path::new("/state/backplane"));
}

#[test]
fn names_may_be_looked_up_by_a_list_or_all_or_none() {
    let names = |value: &str| {
        let toml = format!("[workloads.a]\ncomponent = \"a\"\nnetwork.name-lookup = {value}\n");
        Fixture::new(&toml).load().workloads[0].network.name_lookup.clone()
    };
    assert_eq!(names("true"), [crate::workload::egress::NamePattern::ANY]);
    assert_eq!(names("false"), []);
    assert_eq!(names("\"db.example\""), ["db.example".parse().unwrap()]);
    assert_eq!(names("[\"*.example\"]"), ["*.example".parse().unwrap()]);
}

#[test]
fn network_grants_that_are_none_are_refused_with_what_is_wrong() {
    let refused = |network: &str| {
        Fixture::new(&format!("[workloads.a]\ncomponent = \"a\"\nnetwork.{network}\n")).refused()
    };
    for (network, parts) in [
        ("http = \"https://api.example/v1\"", ["`https://api.example/v1` has a path", "expected"]),
        ("http = \"0x7f.1\"", ["ends in a number", "expected"]),
        ("sockets = \"10.0.0.1\"", ["`10.0.0.1` has no port", "10.0.0.1:5432"]),
        ("listen = \"x:80\"", ["has no IP address", "127.0.0.1:9000"]),
        ("name-lookup = [\"x:80\"]", ["has a port or a scheme", "*.example"]),
        ("name-lookup = 7", ["name-lookup", "a list of host names, true or false"]),
    ] {
        let report = refused(network);
        for part in parts {
            assert!(report.contains(part), "{network}: no `{part}` in: {report}");
        }
    }
    let report =
        Fixture::new("[outbound]\nconnect-timeout = \"0s\"\nresponse-head = \"1B\"\n").refused();
    for part in ["`outbound.connect-timeout` would let nothing through", "`outbound.response-head`"]
    {
        assert!(report.contains(part), "no `{part}` in: {report}");
    }
}

/// A file with every key.
pub(super) const FULL: &str = include_str!("../../tests/full.toml");

#[test]
fn a_workload_is_read_whole() {
    let fixture = Fixture::new(FULL);
    let config = fixture.load();
    let spec = &config.workloads[0];
    assert_eq!(spec.name.as_str(), "shop");
    assert_eq!(
        spec.http,
        Some(Route {
            hosts: vec!["shop.example".into(), "*.shop.example".into()],
            path: "/api".into(),
            strip: true
        })
    );
    assert_eq!(config.http.settings.head_size, 16 << 10);
    assert_eq!(config.http.settings.idle_timeout, None);
    assert_eq!(config.http.settings.http2.ping, Some(Duration::from_secs(10)));
    let tls = config.http.tls.as_ref().unwrap();
    assert!(tls.settings.only_tls_1_3);
    assert_eq!(tls.settings.certificates[0].key, fixture.path().join("tls/shop.key"));
    assert_eq!(spec.arguments, ["--verbose", "2"]);
    assert_eq!(spec.environment["PORT"], "8080");
    assert_eq!(
        spec.preopens,
        [Preopen { host: fixture.path().join("files"), guest: "/files".into(), writable: true }]
    );
    assert_eq!(
        spec.network,
        Network {
            http: vec!["https://api.example:8443".parse().unwrap(), "*.example".parse().unwrap()],
            sockets: vec!["10.0.0.1:5432".parse().unwrap()],
            listen: vec!["127.0.0.1:9000-9009".parse().unwrap()],
            name_lookup: vec!["*.example".parse().unwrap()],
            outbound: Outbound {
                connect_timeout: Duration::from_secs(1),
                first_byte_timeout: Duration::from_secs(20),
                between_bytes_timeout: Duration::from_secs(30),
                idle_timeout: Duration::from_secs(40),
                response_head: 16 << 10,
                connections: 4,
                requests: 6,
            },
        }
    );
    assert_eq!(config.ca_file, Some(fixture.path().join("authorities.pem")));
    assert_eq!(spec.config["greeting"], "hello");
    assert_eq!(spec.links[0].target, LinkTarget::Named("sessions".into()));
    assert_eq!(spec.links[0].config, serde_json::json!({ "buckets": ["sessions"] }));
    assert_eq!(config.links[0].target, LinkTarget::Package("acme:cache".into()));
    // The workload's limits over those of the host.
    assert_eq!((spec.limits.memory, spec.limits.deadline), (256 << 20, None));
    assert_eq!(spec.limits.cpu, Some(Duration::from_secs(2)));
    assert_eq!((spec.limits.queue, spec.limits.queue_wait), (50, Duration::ZERO));
    assert_eq!((spec.limits.table_elements, spec.limits.instances), (30000, 30));
    assert_eq!((spec.limits.tables, spec.limits.memories), (20, 10));
    assert_eq!((config.limits.queue, config.limits.queue_wait), (100, Duration::from_secs(1)));
    assert_eq!(config.limits.memory, 64 << 20);
    assert_eq!(
        spec.instances,
        Instances {
            requests: NonZeroUsize::new(100),
            concurrent: NonZeroUsize::new(10),
            idle: Some(Duration::from_secs(30)),
            most: None,
        }
    );
    let extension = &config.extensions.values().next().unwrap();
    assert!(extension.enabled && extension.digest.is_some());
    assert_eq!(extension.config["url"], "redis://cache:hunter2@localhost:6379");
}

#[test]
fn printing_hides_secrets_and_says_where_each_value_came_from() {
    let config = Fixture::new(FULL)
        .variable("BACKPLANE_WORKLOADS__SHOP__ENVIRONMENT__API_TOKEN", "hunter2")
        .load();
    let toml = config.to_toml();
    let json = config.to_json();
    for text in [&toml, &json.to_string()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    let line = |start: &str| {
        let line = toml.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("DB_PASSWORD"), "DB_PASSWORD = \"***\" # backplane.toml:99:1");
    assert_eq!(
        line("API_TOKEN"),
        "API_TOKEN = \"***\" # environment variable BACKPLANE_WORKLOADS__SHOP__ENVIRONMENT__API_TOKEN"
    );
    assert!(line("url").starts_with("url = \"redis://cache:***@localhost:6379\""), "{toml}");
    assert_eq!(json["origins"]["limits.memory"]["line"], 38);
    assert_eq!(json["config"]["limits"]["memory"], "64MiB");
    assert_eq!(json["file"], DEFAULT_FILE);
}

#[test]
fn what_is_printed_can_be_read_again() {
    let first = Fixture::new(FULL).load();
    let again = Fixture::new(&first.to_toml()).load();
    let values = |config: &Config| config.to_json()["config"].clone();
    assert_eq!(values(&first), values(&again));
}
