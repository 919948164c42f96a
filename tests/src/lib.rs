//! What the tests that cross packages share: what `cargo xtask test` has built for them, and a folder
//! with a host's files in which the program is run.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "only tests call it"
)]

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

/// Fails the test rather than hanging it.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .unwrap_or_else(|_| panic!("{what}: still waiting after 60 s"))
}

/// What `cargo xtask test` has built.
fn built(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set; run `cargo xtask test`"));
    PathBuf::from(path)
}

/// The program.
pub fn program() -> PathBuf {
    built("BACKPLANE_BIN")
}

/// The file of a guest.
pub fn component(name: &str) -> PathBuf {
    let file = built("BACKPLANE_COMPONENTS").join(format!("{name}.wasm"));
    assert!(file.is_file(), "{} is missing; run `cargo xtask test`", file.display());
    file
}

/// The file of an extension.
pub fn extension(name: &str) -> PathBuf {
    built("BACKPLANE_EXTENSIONS").join(format!("{name}.so"))
}

/// The content of an extension's library.
pub fn library(name: &str) -> Vec<u8> {
    fs::read(extension(name)).unwrap()
}

/// A folder with an empty plugins folder in it. The program is started here.
pub struct Lab(tempfile::TempDir, Vec<(String, String)>, Vec<String>);

impl Default for Lab {
    fn default() -> Self {
        let lab = Self(tempfile::tempdir().unwrap(), Vec::new(), Vec::new());
        fs::create_dir(lab.plugins()).unwrap();
        lab.set_mode(0o755);
        lab
    }
}

impl Lab {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn plugins(&self) -> PathBuf {
        self.path("plugins")
    }

    /// Sets who may do what in the plugins folder.
    pub fn set_mode(&self, mode: u32) {
        fs::set_permissions(self.plugins(), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Puts the extension `keyvalue` into the plugins folder.
    pub fn with_keyvalue(self) -> Self {
        self.write("plugins/keyvalue.so", library("keyvalue"));
        self
    }

    pub fn with_config(self, toml: &str) -> Self {
        self.write("backplane.toml", toml);
        self
    }

    /// Sets a variable of the program's environment.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.1.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a variable out of the program's environment that it would have in a lab.
    pub fn without_variable(mut self, name: &str) -> Self {
        self.2.push(name.to_owned());
        self
    }

    /// The program, without any setting of the caller's; its state is in this folder.
    fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = self.command_of(program().as_ref());
        command.args(arguments);
        command
    }

    fn command_of(&self, program: &OsStr) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BACKPLANE_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.0.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("RUST_BACKTRACE")
            // Tests run at once, and there is one such port.
            .env("BACKPLANE_ADMIN__LISTEN", "off")
            .envs(self.1.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for name in &self.2 {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program to its end.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: impl AsRef<[A]>) -> Ran {
        let mut command = self.command(arguments.as_ref());
        let line = line(&command);
        let output = within(&line, command.output()).await.unwrap();
        let ran = Ran {
            line,
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        // Shown when the test fails.
        println!("$ {}\n{}{}exit {:?}\n", ran.line, ran.stdout, ran.stderr, ran.code);
        ran.does_not_panic();
        ran
    }

    /// Starts the program and waits until it listens.
    pub async fn start<A: AsRef<OsStr>>(&self, arguments: impl AsRef<[A]>) -> Running {
        Self::listening(self.command(arguments.as_ref())).await
    }

    /// Starts the program with so many files that it may have open.
    pub async fn start_with_files<A: AsRef<OsStr>>(
        &self,
        files: u32,
        arguments: impl AsRef<[A]>,
    ) -> Running {
        let program = program();
        let mut command = self.command_of("sh".as_ref());
        command.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &files.to_string()]);
        command.arg(program).args(arguments.as_ref());
        Self::listening(command).await
    }

    async fn listening(command: Command) -> Running {
        let mut running = Self::launched(command);
        running.listens().await;
        running
    }

    /// Starts the program, and does not wait for anything.
    pub fn launch<A: AsRef<OsStr>>(&self, arguments: impl AsRef<[A]>) -> Running {
        Self::launched(self.command(arguments.as_ref()))
    }

    fn launched(mut command: Command) -> Running {
        let line = line(&command);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (log, seen) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.send_modify(|log| log.extend([line.as_str(), "\n"]));
            }
        });
        Running { line, child, log: seen, reader, url: String::new() }
    }
}

const MARK: &str = "listening on http://";

/// A command as one would type it, with the paths of this run left out.
fn line(command: &Command) -> String {
    let command = command.as_std();
    let name = |part: &OsStr| {
        let path = Path::new(part);
        let part = if path.is_absolute() { path.file_name().unwrap() } else { part };
        part.to_string_lossy().into_owned()
    };
    let parts: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(name).collect();
    parts.join(" ")
}

/// The place in the fixture extension that panics as it is told.
const AS_ASKED: &str = "panicked at tests/extensions/probe/src/faults.rs";

/// Neither of the host nor of an extension, which was not asked to. A guest's own panic is in the log, as the guest's.
fn assert_no_panic(line: &str, text: &str) {
    for said in text.lines().filter(|said| !said.contains(AS_ASKED)) {
        let has_panicked = said.contains("backplane panicked") || said.starts_with("thread '");
        assert!(!has_panicked, "{line}: `{said}` in: {text}");
    }
}

/// A program that has ended.
pub struct Ran {
    line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn does_not_panic(&self) {
        assert_no_panic(&self.line, &self.stderr);
    }

    /// It ended with exit code 2 and a report that has all these parts.
    #[track_caller]
    pub fn is_refused(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(2), "{}: {}", self.line, self.stderr);
        assert!(self.stdout.is_empty(), "{}: {}", self.line, self.stdout);
        assert!(
            self.stderr.lines().any(|line| line.starts_with("error: ")),
            "{}: no report: {}",
            self.line,
            self.stderr
        );
        self.says(parts);
    }

    /// Its standard error has all these parts.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.stderr.contains(part), "{}: no `{part}` in: {}", self.line, self.stderr);
        }
    }

    /// It ended well; answers with what it printed.
    #[track_caller]
    pub fn succeeds(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}: {}", self.line, self.stderr);
        &self.stdout
    }
}

/// A program that listens.
pub struct Running {
    line: String,
    child: Child,
    log: watch::Receiver<String>,
    reader: JoinHandle<()>,
    url: String,
}

impl Running {
    /// Waits until it listens.
    pub async fn listens(&mut self) {
        self.logs(MARK).await;
        let log = self.log();
        let (_, address) = log.split_once(MARK).unwrap();
        self.url = format!("http://{}", address.lines().next().unwrap().trim());
    }

    /// Status and text of a `GET`.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = async {
            let response = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        let answer = within(path, answer).await;
        println!("$ curl {path}\n{} {}", answer.0, answer.1);
        answer
    }

    /// Where health and metrics are: `127.0.0.1:PORT`.
    pub async fn admin(&mut self) -> String {
        const MARK: &str = "health and metrics on http://";
        self.logs(MARK).await;
        let log = self.log();
        let (_, address) = log.split_once(MARK).unwrap();
        address.split_once(": ").unwrap().0.to_owned()
    }

    /// Waits until its log has that text.
    pub async fn logs(&mut self, text: &str) {
        let found = within(text, self.log.wait_for(|log| log.contains(text))).await.is_ok();
        assert!(found, "{}: no `{text}` in: {}", self.line, *self.log.borrow());
    }

    /// Waits until its log has that text behind what it had when it was so long.
    pub async fn logs_since(&mut self, length: usize, text: &str) {
        let found = self.log.wait_for(|log| log[length..].contains(text));
        let found = within(text, found).await.is_ok();
        assert!(found, "{}: no `{text}` in: {}", self.line, &self.log.borrow()[length..]);
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Its process's number.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Asks it to stop, as a supervisor does.
    pub fn terminate(&self) {
        let process = nix::unistd::Pid::from_raw(self.id().cast_signed());
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// Waits for its end; says its exit code and its log. It has not panicked.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let status = within("stopping", self.child.wait()).await.unwrap();
        within("the log's end", &mut self.reader).await.unwrap();
        let log = self.log();
        println!("$ {}\n{log}{status}\n", self.line);
        assert_no_panic(&self.line, &log);
        (status.code(), log)
    }

    /// Ends it by SIGTERM; it ends well and has not panicked. Answers with its log.
    pub async fn stop(self) -> String {
        self.terminate();
        let line = self.line.clone();
        let (code, log) = self.ended().await;
        assert_eq!(code, Some(0), "{line}: {log}");
        log
    }
}
