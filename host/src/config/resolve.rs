//! From the file as written to what the host works with: defaults applied, paths absolute, and what
//! only shows when several keys are seen together.

use std::{
    collections::BTreeMap, num::NonZeroUsize, ops::RangeInclusive, path::PathBuf, time::Duration,
};

use super::{
    Admin, Config, Engine, Extension, Log, file,
    merge::Merged,
    origin::KeyPath,
    problem::Problems,
    value::{Count, List, Typed},
};
use crate::{
    name::{ProviderName, WorkloadName},
    report::Report,
    workload::spec::{
        Instances, Limits, Link, LinkTarget, Network, Outbound, Preopen, Route, Spec,
    },
};

/// Turns the file into the configuration, or reports what does not go together.
pub(super) fn resolve(
    file: file::File,
    merged: Merged,
    working_folder: PathBuf,
) -> Result<Config, Report> {
    let mut resolver =
        Resolver { problems: Problems::new(&merged.origins), merged: &merged, working_folder };
    let root = KeyPath::default();
    let limits = resolver.limits(&root.child("limits"), &file.limits);
    let key = root.child("outbound");
    let ca_file = file.outbound.ca_file.as_ref();
    let ca_file = ca_file.map(|path| resolver.path(&key.child("ca-file"), Some(path)));
    let outbound = resolver.outbound(&key, file.outbound);
    let servers = resolver.servers(file.servers, &file.enable, &file.extensions);
    let mut config = Config {
        data: resolver.path(&root.child("data"), file.data.as_ref()),
        plugins: resolver.path(&root.child("plugins"), file.plugins.as_ref()),
        http: resolver.http(file.http),
        admin: Admin { listen: file.admin.listen.0.0, watchdog: file.admin.watchdog.0.0 },
        log: Log { filter: file.log.level.0.0, format: file.log.format },
        shutdown_delay: file.shutdown.delay.0,
        shutdown_deadline: file.shutdown.deadline.0,
        engine: Engine { instances: file.engine.instances.0.get(), cache: file.engine.cache },
        extensions: resolver.extensions(file.enable, file.extensions, &limits, &outbound),
        servers,
        links: resolver.links(&root.child("links"), file.links),
        workloads: Vec::new(),
        limits,
        ca_file,
        file: merged.file.clone(),
        origins: merged.origins.clone(),
        merged: merged.value.clone(),
    };
    for (Typed(name), workload) in file.workloads {
        let spec = resolver.workload(name, workload, &config.limits, &outbound);
        config.workloads.push(spec);
    }
    resolver.problems.finish()?;
    Ok(config)
}

pub(super) struct Resolver<'a> {
    pub(super) problems: Problems<'a>,
    merged: &'a Merged,
    working_folder: PathBuf,
}

/// Sizes that a response's head may be limited to.
const HEADS: RangeInclusive<u64> = 1 << 10..=16 << 20;

/// The entries of a list, without their written form.
fn entries<T>(list: List<Typed<T>>) -> Vec<T> {
    list.0.into_iter().map(|Typed(entry)| entry).collect()
}

/// What an extension reads through `wasi:config`: texts as they are, keys of tables joined by dots, all else as JSON.
fn texts_of(config: &serde_json::Map<String, serde_json::Value>) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (key, value) in config {
        match value {
            serde_json::Value::String(text) => {
                texts.insert(key.clone(), text.clone());
            }
            serde_json::Value::Object(table) => {
                let below = texts_of(table).into_iter();
                texts.extend(below.map(|(name, text)| (format!("{key}.{name}"), text)));
            }
            other => {
                texts.insert(key.clone(), other.to_string());
            }
        }
    }
    texts
}

/// How long the instances of an extension live: for ever, and one is all there is, unless its table says more.
fn serving_instances(written: &file::ServingInstances) -> Instances {
    let number = |count: Option<Count>| count.and_then(|count| NonZeroUsize::new(count.size()));
    Instances {
        requests: Some(number(written.calls).unwrap_or(NonZeroUsize::MAX)),
        concurrent: number(written.concurrent),
        idle: None,
        most: Some(number(written.most).unwrap_or(NonZeroUsize::MIN)),
    }
}

const SMALLEST_MEMORY: u64 = 64 << 10;
const LARGEST_MEMORY: u64 = 4 << 30;

impl Resolver<'_> {
    /// The written path, made absolute: from the configuration file's folder if it stands there, else
    /// from the folder that the host was started in.
    pub(super) fn path(&self, key: &KeyPath, written: Option<&Typed<PathBuf>>) -> PathBuf {
        let origin = self.merged.origins.of(key);
        let base = self.working_folder.join(origin.base(&self.working_folder));
        written.map_or(base.clone(), |Typed(path)| base.join(path))
    }

    fn extensions(
        &mut self,
        enable: List<Typed<ProviderName>>,
        configured: BTreeMap<Typed<ProviderName>, file::Extension>,
        limits: &Limits,
        outbound: &Outbound,
    ) -> BTreeMap<ProviderName, Extension> {
        let mut extensions = BTreeMap::new();
        for (Typed(name), extension) in configured {
            let extension = self.extension(&name, extension, limits, outbound);
            extensions.insert(name, extension);
        }
        for Typed(name) in enable.0 {
            let plain = |name: &ProviderName| {
                self.extension(name, file::Extension::default(), limits, outbound)
            };
            extensions.entry(name).or_insert_with_key(plain).enabled = true;
        }
        extensions
    }

    fn extension(
        &mut self,
        name: &ProviderName,
        written: file::Extension,
        limits: &Limits,
        outbound: &Outbound,
    ) -> Extension {
        let key = KeyPath::new(["extensions", name.as_str()]);
        let sandbox_key = written.sandbox_key();
        let config = written.config.into_iter().collect::<serde_json::Map<_, _>>();
        let texts = |map: BTreeMap<String, super::value::Text>| {
            map.into_iter().map(|(key, text)| (key, text.0)).collect()
        };
        let file = written.file.as_ref();
        let file = file.map(|file| self.path(&key.child("file"), Some(file)));
        let (environment, preopens, links) = (
            written.environment.map(texts).unwrap_or_default(),
            written.preopens.map(|preopens| self.preopens(&key.child("preopens"), preopens)),
            written.links.map(|links| self.links(&key.child("links"), links)),
        );
        let network = written.network.unwrap_or_default();
        let sandbox = Spec {
            name: WorkloadName::of_extension(name),
            component: file.clone().unwrap_or_default(),
            http: None,
            arguments: Vec::new(),
            environment,
            preopens: preopens.unwrap_or_default(),
            network: Network {
                http: entries(network.http),
                sockets: entries(network.sockets),
                listen: entries(network.listen),
                name_lookup: entries(network.name_lookup.0),
                outbound: self.outbound_over(
                    &key.child("outbound"),
                    outbound,
                    written.outbound.unwrap_or_default(),
                ),
            },
            config: texts_of(&config),
            links: links.unwrap_or_default(),
            limits: self.overridden(
                &key.child("limits"),
                limits,
                &written.limits.unwrap_or_default(),
            ),
            instances: serving_instances(&written.instances.unwrap_or_default()),
            inherit_stdio: false,
        };
        Extension {
            enabled: false,
            file,
            digest: written.digest.map(|Typed(digest)| digest),
            config: config.into(),
            sandbox,
            sandbox_key,
        }
    }

    fn links(&mut self, key: &KeyPath, links: List<file::Link>) -> Vec<Link> {
        let links = links.0.into_iter().enumerate();
        links.filter_map(|(index, link)| self.link(&key.child(index), link)).collect()
    }

    fn link(&mut self, key: &KeyPath, link: file::Link) -> Option<Link> {
        let expected =
            "one of them: `target` chooses by interface, `named` by an import's own name";
        let target = match (link.target, link.named) {
            (Some(Typed(target)), None) => target.0,
            (None, Some(name)) if !name.is_empty() => LinkTarget::Named(name),
            (Some(_), Some(_)) => {
                let report = Report::bad_input(format_args!("`{key}` has `target` and `named`"));
                self.problems.add(key, report.expected(expected));
                return None;
            }
            (None, _) => {
                let report =
                    Report::bad_input(format_args!("`{key}` has neither `target` nor `named`"));
                self.problems.add(key, report.expected(expected));
                return None;
            }
        };
        let config = link.config.into_iter().collect::<serde_json::Map<_, _>>().into();
        Some(Link { target, provider: link.provider.0, config })
    }

    fn workload(
        &mut self,
        name: WorkloadName,
        workload: file::Workload,
        base: &Limits,
        outbound: &Outbound,
    ) -> Spec {
        let key = KeyPath::new(["workloads", name.as_str()]);
        let texts = |map: BTreeMap<String, super::value::Text>| {
            map.into_iter().map(|(key, text)| (key, text.0)).collect()
        };
        Spec {
            component: self.path(&key.child("component"), Some(&workload.component)),
            http: workload.http.map(|route| Route {
                hosts: route.hosts.0.into_iter().map(|Typed(host)| host.0).collect(),
                path: route.path.0.0,
                strip: route.strip,
            }),
            arguments: workload.arguments.0.into_iter().map(|text| text.0).collect(),
            environment: texts(workload.environment),
            preopens: self.preopens(&key.child("preopens"), workload.preopens),
            network: Network {
                http: entries(workload.network.http),
                sockets: entries(workload.network.sockets),
                listen: entries(workload.network.listen),
                name_lookup: entries(workload.network.name_lookup.0),
                outbound: self.outbound_over(&key.child("outbound"), outbound, workload.outbound),
            },
            config: texts(workload.config),
            links: self.links(&key.child("links"), workload.links),
            limits: self.overridden(&key.child("limits"), base, &workload.limits),
            instances: self.instances(&key.child("instances"), &workload.instances),
            inherit_stdio: false,
            name,
        }
    }

    fn instances(&mut self, key: &KeyPath, written: &file::Instances) -> Instances {
        let number = |count: Option<Count>| count.and_then(|count| NonZeroUsize::new(count.size()));
        let (requests, concurrent) = (number(written.requests), number(written.concurrent));
        if let (Some(requests), Some(concurrent)) = (requests, concurrent)
            && concurrent > requests
        {
            let key = key.child("concurrent");
            let report = Report::bad_input(format_args!("`{key}` cannot be had"));
            let expected = format!("at most {requests}, the requests of the instance's whole life");
            self.problems.add(&key, report.expected(&expected));
        }
        Instances { requests, concurrent, idle: written.idle.0.0, most: None }
    }

    fn preopens(&mut self, key: &KeyPath, preopens: List<file::Preopen>) -> Vec<Preopen> {
        let mut out = Vec::new();
        for (index, preopen) in preopens.0.into_iter().enumerate() {
            let key = key.child(index);
            if preopen.guest.is_empty() {
                let report = Report::bad_input(format_args!("`{key}.guest` is empty"));
                let expected = "the folder's path as the guest sees it, such as \"/data\"";
                self.problems.add(&key.child("guest"), report.expected(expected));
            }
            out.push(Preopen {
                host: self.path(&key.child("host"), Some(&preopen.host)),
                guest: preopen.guest,
                writable: preopen.write,
            });
        }
        out
    }

    fn outbound(&mut self, key: &KeyPath, written: file::Outbound) -> Outbound {
        let all = file::OutboundOverrides {
            connect_timeout: Some(written.connect_timeout),
            first_byte_timeout: Some(written.first_byte_timeout),
            between_bytes_timeout: Some(written.between_bytes_timeout),
            idle_timeout: Some(written.idle_timeout),
            response_head: Some(written.response_head),
            connections: Some(written.connections),
            requests: Some(written.requests),
        };
        self.outbound_over(key, &Outbound::default(), all)
    }

    fn outbound_over(
        &mut self,
        key: &KeyPath,
        base: &Outbound,
        over: file::OutboundOverrides,
    ) -> Outbound {
        let mut time = |name: &str, written: Option<Typed<Duration>>, base: Duration| {
            let time = written.map_or(base, |Typed(time)| time);
            if time.is_zero() {
                let key = key.child(name);
                let report = Report::bad_input(format_args!("`{key}` would let nothing through"));
                self.problems.add(&key, report.expected("a duration longer than nothing"));
            }
            time
        };
        let (connect_timeout, first_byte_timeout, between_bytes_timeout, idle_timeout) = (
            time("connect-timeout", over.connect_timeout, base.connect_timeout),
            time("first-byte-timeout", over.first_byte_timeout, base.first_byte_timeout),
            time("between-bytes-timeout", over.between_bytes_timeout, base.between_bytes_timeout),
            time("idle-timeout", over.idle_timeout, base.idle_timeout),
        );
        let head = over.response_head.map_or(base.response_head as u64, |Typed(size)| size.0);
        if !HEADS.contains(&head) {
            let key = key.child("response-head");
            let report = Report::bad_input(format_args!("`{key}` cannot be had"));
            self.problems.add(&key, report.expected("a size from \"1KiB\" to \"16MiB\""));
        }
        let count = |written: Option<Count>, base: usize| {
            written.map_or(base, |count| usize::try_from(count.0.get()).unwrap_or(usize::MAX))
        };
        Outbound {
            connect_timeout,
            first_byte_timeout,
            between_bytes_timeout,
            idle_timeout,
            response_head: usize::try_from(head).unwrap_or(usize::MAX),
            connections: count(over.connections, base.connections),
            requests: count(over.requests, base.requests),
        }
    }

    fn limits(&mut self, key: &KeyPath, written: &file::Limits) -> Limits {
        let all = file::LimitOverrides {
            memory: Some(written.memory),
            table_elements: Some(written.table_elements),
            instances: Some(written.instances),
            tables: Some(written.tables),
            memories: Some(written.memories),
            cpu: Some(written.cpu),
            deadline: Some(written.deadline),
            request_body: Some(written.request_body),
            concurrency: Some(written.concurrency),
            queue: Some(written.queue),
            queue_wait: Some(written.queue_wait),
            hostcall: Some(written.hostcall),
        };
        self.overridden(key, &Limits::default(), &all)
    }

    fn overridden(&mut self, key: &KeyPath, base: &Limits, over: &file::LimitOverrides) -> Limits {
        if let Some(Typed(memory)) = over.memory
            && !(SMALLEST_MEMORY..=LARGEST_MEMORY).contains(&memory.0)
        {
            let key = key.child("memory");
            let report = Report::bad_input(format_args!("`{key}` cannot be had"));
            self.problems.add(&key, report.expected("a size from \"64KiB\" to \"4GiB\""));
        }
        let bytes = |size: Typed<super::written::Size>| usize::try_from(size.0.0);
        let count = |written: Option<Count>, base| written.map_or(base, Count::size);
        Limits {
            memory: over.memory.map_or(base.memory, |size| bytes(size).unwrap_or(usize::MAX)),
            table_elements: count(over.table_elements, base.table_elements),
            instances: count(over.instances, base.instances),
            tables: count(over.tables, base.tables),
            memories: count(over.memories, base.memories),
            cpu: over.cpu.map_or(base.cpu, |bound| bound.0.0),
            deadline: over.deadline.map_or(base.deadline, |bound| bound.0.0),
            request_body: over.request_body.map_or(base.request_body, |size| size.0.0),
            concurrency: count(over.concurrency, base.concurrency),
            queue: count(over.queue, base.queue),
            queue_wait: over.queue_wait.map_or(base.queue_wait, |wait| wait.0),
            hostcall: over.hostcall.map_or(base.hostcall, |size| bytes(size).unwrap_or(usize::MAX)),
        }
    }
}
