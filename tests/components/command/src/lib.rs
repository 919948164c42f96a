//! A `wasi:cli` command whose first argument says what to do; none prints the arguments and the
//! environment. A failure is told on standard error and ends with exit code 1, as does `exit N` with
//! any N but 0: `wasi:cli` 0.2 knows success and failure alone.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    process,
};

struct Command;

wasip2::cli::command::export!(Command);

impl wasip2::exports::cli::run::Guest for Command {
    fn run() -> Result<(), ()> {
        run().map_err(|error| eprintln!("error: {error}"))
    }
}

#[expect(clippy::disallowed_methods, reason = "a test asks for it")]
fn run() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = io::stdout();
    match arguments.get(1..).unwrap_or_default() {
        ["exit", code] => process::exit(code.parse().map_err(io::Error::other)?),
        ["fail"] => Err(io::Error::other("as asked")),
        ["trap"] => core::arch::wasm32::unreachable(),
        ["spin"] => loop {
            std::hint::black_box(());
        },
        ["read", path] => out.write_all(&fs::read(path)?),
        ["write", path, text] => fs::write(path, text),
        ["list", path] => list(path),
        ["rename", from, to] => fs::rename(from, to),
        ["hard-link", from, to] => fs::hard_link(from, to),
        ["remove", path] => fs::remove_file(path),
        ["make-folder", path] => fs::create_dir(path),
        ["symlink", target, path] => symlink(target, path),
        ["stdin"] => {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes)?;
            out.write_all(&bytes)
        }
        ["connect", address] => {
            let stream = TcpStream::connect(address)?;
            writeln!(out, "connected to {}", stream.peer_addr()?)
        }
        ["resolve", name] => {
            let mut addresses: Vec<_> = (*name, 0).to_socket_addrs()?.map(|a| a.ip()).collect();
            addresses.sort();
            addresses.dedup();
            addresses.iter().try_for_each(|address| writeln!(out, "{address}"))
        }
        others => print(others),
    }
}

/// One line for each argument and for each environment variable, those in order of their names.
fn print(arguments: &[&str]) -> io::Result<()> {
    let mut out = io::stdout();
    for argument in arguments {
        writeln!(out, "argument {argument}")?;
    }
    let mut variables: Vec<_> = env::vars().collect();
    variables.sort();
    for (name, value) in variables {
        writeln!(out, "environment {name}={value}")?;
    }
    Ok(())
}

#[expect(deprecated, reason = "the one of `std::os::wasi` is not stable")]
fn symlink(target: &str, path: &str) -> io::Result<()> {
    fs::soft_link(target, path)
}

fn list(path: &str) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    names.iter().try_for_each(|name| writeln!(io::stdout(), "{name}"))
}
