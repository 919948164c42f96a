//! The sources of an extension and of a guest for a package, and their builds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rand::rngs::StdRng;
use tokio::process::Command;

use crate::package::{Package, camel, snake};

/// What was built.
pub(crate) struct Built {
    pub(crate) extension: PathBuf,
    pub(crate) guest: PathBuf,
}

/// The root of this repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Writes both sources as a workspace of their own, and builds them as anybody would.
///
/// The folder is the same in every run, so that what they depend on is compiled once.
pub(crate) async fn build(package: &Package, rng: &mut StdRng) -> Built {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unknown-package");
    let repository = repository();
    let workspace = fs::read_to_string(repository.join("Cargo.toml")).unwrap();
    let bindgen = workspace.lines().find(|line| line.starts_with("wit-bindgen = ")).unwrap();
    let sdk = repository.join("extension-sdk");

    write(
        &folder.join("Cargo.toml"),
        "[workspace]\nmembers = [\"extension\", \"guest\"]\nresolver = \"3\"\n\
         [profile.dev]\ndebug = false\n",
    );
    write(
        &folder.join("extension/Cargo.toml"),
        &format!(
            "[package]\nname = \"unknown-extension\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\nbackplane-sdk = {{ path = {sdk:?} }}\n"
        ),
    );
    write(
        &folder.join("guest/Cargo.toml"),
        &format!(
            "[package]\nname = \"unknown-guest\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [dependencies]\n{bindgen}\n"
        ),
    );
    write(&folder.join("wit/package.wit"), &package.wit());
    write(&folder.join("extension/src/lib.rs"), &extension(package));
    write(&folder.join("guest/src/main.rs"), &guest(package, rng));
    // The same versions as the repository's, which are there already.
    fs::copy(repository.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();

    let target = folder.join("target");
    cargo(&folder, &target, &["-p", "unknown-extension"]).await;
    cargo(&folder, &target, &["-p", "unknown-guest", "--target", "wasm32-wasip2"]).await;
    Built {
        extension: target.join("debug/libunknown_extension.so"),
        guest: target.join("wasm32-wasip2/debug/unknown-guest.wasm"),
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

async fn cargo(folder: &Path, target: &Path, arguments: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        // The repository's toolchain.
        .current_dir(repository())
        .env("CARGO_TARGET_DIR", target)
        .args(["build", "--offline", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo build {arguments:?}: {told}");
}

/// Where the interface's types are, below the bindings.
fn module(package: &Package) -> String {
    [&package.namespace, &package.name, &package.interface].map(|name| snake(name)).join("::")
}

fn extension(package: &Package) -> String {
    let module = module(package);
    let resource_path = format!(
        "{}:{}/{}/{}",
        package.namespace, package.name, package.interface, package.resource
    );
    let (name, extension) = (snake(&package.resource), &package.extension);
    let resource = camel(&package.resource);
    let kept = camel(package.type_name(package.records[0]));
    let echoes: String = package
        .records
        .iter()
        .map(|&record| {
            let record = package.type_name(record);
            let (function, ty) = (snake(record), camel(record));
            format!(
                "    async fn echo_{function}(&self, _: &Context, value: api::{ty}) \
                 -> Result<api::{ty}, Failure> {{ Ok(value) }}\n"
            )
        })
        .collect();
    format!(
        r#"//! Made up by a test.
use std::sync::{{Arc, Mutex, atomic::{{AtomicU32, Ordering}}}};

use backplane_sdk::{{Borrow, Context, Extension, Failure, Host, NoConfig, Own, Workload}};

pub mod bindings {{
    backplane_sdk::generate!({{
        path: "../wit",
        world: "provider",
        bytes: "owned",
        resources: {{ "{resource_path}": crate::Kept }},
    }});
}}

use bindings::{module} as api;

static LIVE: AtomicU32 = AtomicU32::new(0);

pub struct Kept(Mutex<api::{kept}>);

impl Kept {{
    fn own(kept: api::{kept}) -> Own<api::{resource}> {{
        LIVE.fetch_add(1, Ordering::SeqCst);
        Own::new(Self(Mutex::new(kept)))
    }}

    fn look(&self) -> api::{kept} {{
        self.0.lock().unwrap().clone()
    }}
}}

impl Drop for Kept {{
    fn drop(&mut self) {{
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }}
}}

pub struct Unknown;

impl Extension for Unknown {{
    type Config = NoConfig;
    type BindingConfig = NoConfig;
    type Binding = Self;

    async fn create(_: NoConfig, _: Host) -> Result<Self, Failure> {{
        Ok(Self)
    }}

    async fn bind(&self, _: Workload, _: NoConfig) -> Result<Self, Failure> {{
        Ok(Self)
    }}
}}

impl api::Handler for Unknown {{
    async fn {name}_new(&self, _: &Context, kept: api::{kept}) -> Result<Own<api::{resource}>, Failure> {{
        Ok(Kept::own(kept))
    }}

    async fn {name}_look(&self, _: &Context, this: &Kept) -> Result<api::{kept}, Failure> {{
        Ok(this.look())
    }}

    async fn {name}_swap(&self, _: &Context, this: &Kept, kept: api::{kept}) -> Result<api::{kept}, Failure> {{
        Ok(std::mem::replace(&mut *this.0.lock().unwrap(), kept))
    }}

    /// The last of all, else the one.
    async fn join(
        &self,
        _: &Context,
        all: Vec<Borrow<api::{resource}>>,
        one: Arc<Kept>,
    ) -> Result<Own<api::{resource}>, Failure> {{
        Ok(all.last().map_or_else(|| Own::from(one), |last| Kept::own(last.look())))
    }}

    async fn live(&self, _: &Context) -> Result<u32, Failure> {{
        Ok(LIVE.load(Ordering::SeqCst))
    }}

{echoes}}}

backplane_sdk::export! {{
    name: "{extension}",
    extension: Unknown,
    world: bindings::World,
}}
"#
    )
}

fn guest(package: &Package, rng: &mut StdRng) -> String {
    let module = module(package);
    let resource = camel(&package.resource);
    let (first, second) =
        (package.value(package.records[0], rng), package.value(package.records[0], rng));
    let echoes: String = package
        .records
        .iter()
        .map(|&record| {
            let (name, value) = (snake(package.type_name(record)), package.value(record, rng));
            format!("    let value = {value};\n    right(&value, &api::echo_{name}(&value));\n")
        })
        .collect();
    format!(
        r#"//! Made up by a test.
use std::{{fmt::Debug, sync::atomic::{{AtomicUsize, Ordering}}}};

mod bindings {{
    wit_bindgen::generate!({{ path: "../wit", world: "guest", generate_all }});
}}

use bindings::{module} as api;

static RIGHT: AtomicUsize = AtomicUsize::new(0);

fn right<T: Debug>(expected: &T, answered: &T) {{
    assert_eq!(format!("{{expected:?}}"), format!("{{answered:?}}"));
    RIGHT.fetch_add(1, Ordering::SeqCst);
}}

fn main() {{
{echoes}
    let (first, second) = ({first}, {second});
    let kept = api::{resource}::new(&first);
    right(&first, &kept.look());
    right(&first, &kept.swap(&second));
    let joined = api::join(&[&kept], api::{resource}::new(&first));
    right(&second, &joined.look());
    drop(kept);
    right(&1, &api::live());

    println!("{{}} answers are right", RIGHT.load(Ordering::SeqCst));
}}
"#
    )
}
