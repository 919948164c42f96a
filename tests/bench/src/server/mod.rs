//! The servers that are compared: which programs, with which settings.

mod cores;
mod cpu;
mod launch;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

pub(crate) use cores::{Cores, note_load, raise_file_limit};
pub(crate) use launch::{Launch, Running};

pub(crate) const BACKPLANE: &str = "backplane";
pub(crate) const WASMTIME: &str = "wasmtime serve";
pub(crate) const WASMTIME_DEFAULT: &str = "wasmtime serve, defaults";

/// What `wasmtime` is told, both when it compiles and when it serves. Its pooling allocator is what it
/// takes by default; at its default size 512 requests at a time would be answered with 500.
const POOL: [&str; 5] = [
    "-Opooling-allocator=y",
    "-Opooling-total-core-instances=16000",
    "-Opooling-total-memories=2000",
    "-Opooling-total-tables=4000",
    "-Scli=y",
];
/// What makes it faster still: of what was tried, the best. The next instance finds the pages of the
/// last one, and the kernel says which of them were written.
const FAST: [&str; 3] = [
    "-Opooling-memory-keep-resident=262144",
    "-Opooling-table-keep-resident=16384",
    "-Opooling-pagemap-scan=y",
];

/// The settings of `counter`: the extension that it needs, on memory.
const COUNTER: &str = r#"
[extensions.keyvalue.config]
backend = "memory"

[[workloads.bench.links]]
target = "wasi:keyvalue"
provider = "keyvalue"
"#;

/// The programs that serve, and what they serve.
#[derive(Debug, Args)]
pub(crate) struct Programs {
    /// The host's binary, built with --release
    #[arg(long, env = "BACKPLANE_BIN", value_name = "FILE")]
    host: PathBuf,
    /// The command line of wasmtime
    #[arg(long, env = "WASMTIME", value_name = "FILE", default_value = "wasmtime")]
    wasmtime: PathBuf,
    /// The folder of the guests, as NAME.wasm
    #[arg(long, env = "BACKPLANE_COMPONENTS", value_name = "FOLDER")]
    components: PathBuf,
    /// The folder of the extensions, as NAME.so, built with --release
    #[arg(long, env = "BACKPLANE_EXTENSIONS", value_name = "FOLDER")]
    extensions: PathBuf,
}

impl Programs {
    /// Says what is compared.
    pub(crate) fn describe(&self) -> Result<()> {
        println!("subject     {}: {} host", version(&self.host)?, self.host.display());
        println!("            default limits, access log to a file, one workload");
        println!(
            "baseline    {}: {} serve {} {}",
            version(&self.wasmtime)?,
            self.wasmtime.display(),
            POOL.join(" "),
            FAST.join(" ")
        );
        println!("            `{WASMTIME_DEFAULT}` without the last {}", FAST.len());
        println!("guests      {}/NAME.wasm, the same for both", self.components.display());
        Ok(())
    }

    /// `backplane host` with its defaults and one workload of that guest. The folder becomes its own.
    pub(crate) fn backplane(&self, guest: &str, folder: &Path) -> Result<Launch> {
        let component = self.component(guest)?;
        // As by default, on a port that nobody has.
        let mut config =
            format!("plugins = {:?}\nadmin.listen = \"127.0.0.1:0\"\n", self.extensions);
        let settings = match guest {
            "counter" => {
                config += "enable = [\"keyvalue\"]\n";
                COUNTER
            }
            _ => "",
        };
        config += &format!(
            "\n[workloads.bench]\ncomponent = {component:?}\nhttp = {{ path = \"/\" }}\n{settings}"
        );
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(folder.join("backplane.toml"), config))
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(Launch::new(BACKPLANE, &self.host, folder).arguments(["host", "--listen"]))
    }

    /// `wasmtime serve` with the flags that make it fast, on a component that is compiled beforehand.
    pub(crate) fn wasmtime_serve(&self, guest: &str, folder: &Path) -> Result<Launch> {
        let flags = [&POOL[..], &FAST[..]].concat();
        self.wasmtime_serve_compiled(WASMTIME, &flags, guest, folder)
    }

    /// The same with its default flags.
    pub(crate) fn wasmtime_serve_default(&self, guest: &str, folder: &Path) -> Result<Launch> {
        self.wasmtime_serve_compiled(WASMTIME_DEFAULT, &POOL, guest, folder)
    }

    /// `wasmtime serve` that compiles the component itself.
    pub(crate) fn wasmtime_serve_wasm(&self, guest: &str, folder: &Path) -> Result<Launch> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Launch::new(WASMTIME, &self.wasmtime, folder)
            .arguments(["serve"])
            .arguments([&POOL[..], &FAST[..]].concat())
            // Its cache, in the user's home, has what an earlier round compiled.
            .arguments(["-Ccache=n"])
            .arguments([self.component(guest)?])
            .arguments(["--addr"]))
    }

    fn wasmtime_serve_compiled(
        &self,
        name: &'static str,
        flags: &[&str],
        guest: &str,
        folder: &Path,
    ) -> Result<Launch> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let compiled = folder.join(format!("{guest}.cwasm"));
        let mut command = Command::new(&self.wasmtime);
        command.arg("compile").args(flags).arg("-o").arg(&compiled);
        output(command.arg(self.component(guest)?))?;
        Ok(Launch::new(name, &self.wasmtime, folder)
            .arguments(["serve"])
            .arguments(flags)
            .arguments([compiled])
            .arguments(["--allow-precompiled", "--addr"]))
    }

    fn component(&self, guest: &str) -> Result<PathBuf> {
        let file = self.components.join(format!("{guest}.wasm"));
        ensure!(file.is_file(), "{} is missing; `cargo xtask bench` builds it", file.display());
        Ok(file)
    }
}

fn version(program: &Path) -> Result<String> {
    Ok(output(Command::new(program).arg("--version"))?.trim().to_owned())
}

/// What a command prints; that it fails is an error.
fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| {
        format!("cannot run {}; `cargo xtask bench` finds or builds it", program.display())
    })?;
    ensure!(
        output.status.success(),
        "{} failed ({}): {}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
