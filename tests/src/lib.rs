//! What the end-to-end tests share: running the `weft` binary, and labs that are taken down whatever happens.
//!
//! How a test walks:
//!
//! ```text
//!  can_build_labs? ─► Lab::up(topology) ─► weft up --detach ─► real namespaces, switches, controller
//!         │ no: SKIPPED, loudly              │ exec, api, get, status, weft: all by the command, as a user
//!                                            ▼
//!                             assertions on packets, answers, processes ─► drop: weft down
//! ```
//!
//! 1. [`can_build_labs`] and [`has_programs`] say whether the machine can run the test, and print `SKIPPED` where not.
//! 2. [`Lab::up`] builds a file of [`topology`] under a name of its own, so that tests run beside each other.
//! 3. The test acts as a user does: [`Lab::exec`] and [`Lab::spawn`] run programs in hosts, [`Lab::api`] and [`Lab::get`] ask
//!    the API, [`Lab::weft`] runs any command. [`wait_for`] polls with a bound; nothing sleeps and hopes.
//! 4. When the [`Lab`] is dropped, also by a panic, it is taken down.
//!
//! The tests are in `tests/tests`, one file for each promise: `topologies.rs` runs every file of `topologies/`, `tidy/`
//! checks the repository itself. Foreign clients are in `tests/python`; `tests/run` runs everything.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// A file of `topologies/`.
pub fn topology(name: &str) -> PathBuf {
    root().join("topologies").join(format!("{name}.yaml"))
}

/// The `weft` binary that was built with this test: it stands beside the test's own folder.
///
/// # Panics
///
/// When it has not been built: a test that runs something else would prove nothing.
pub fn weft_binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let beside = test
        .ancestors()
        .nth(2)
        .expect("a test lies in PROFILE/deps")
        .join("weft");
    assert!(
        beside.exists(),
        "{} is missing: build the weft package in this profile first",
        beside.display()
    );
    beside
}

/// Runs `weft` to its end.
pub fn weft<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(weft_binary())
        .args(args)
        .current_dir(root())
        .output()
        .expect("the weft binary runs")
}

/// Whether namespaces and TAP devices can be made here. Says loudly when not, so that a skipped test is seen.
#[expect(clippy::print_stdout, reason = "a skipped test has to be seen")]
pub fn can_build_labs(test: &str) -> bool {
    let allowed = std::fs::metadata("/proc/self")
        .is_ok_and(|facts| std::os::unix::fs::MetadataExt::uid(&facts) == 0)
        && Path::new("/dev/net/tun").exists();
    if !allowed {
        println!("SKIPPED {test}: needs root and /dev/net/tun");
    }
    allowed
}

/// Whether programs that a test runs are installed. Says loudly when not, so that a skipped test is seen.
#[expect(clippy::print_stdout, reason = "a skipped test has to be seen")]
pub fn has_programs(test: &str, programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |program: &&&str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<&&str> = programs.iter().filter(|one| !is_there(one)).collect();
    if !missing.is_empty() {
        println!("SKIPPED {test}: needs {missing:?}");
    }
    missing.is_empty()
}

/// A lab that runs until this value is dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
}

impl Lab {
    /// Builds a lab under a name of its own; ready when it returns.
    ///
    /// # Panics
    ///
    /// When the lab does not come up.
    pub fn up(file: &Path, name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let up = weft([
            "up".as_ref(),
            file.as_os_str(),
            "--detach".as_ref(),
            "--name".as_ref(),
            name.as_ref(),
        ]);
        assert!(up.status.success(), "weft up failed: {}", text(&up));
        Self { name }
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `weft COMMAND --lab NAME ARGS…`.
    pub fn weft<const N: usize>(&self, command: &str, args: [&str; N]) -> Output {
        weft(
            [command, "--lab", self.name.as_str()]
                .into_iter()
                .chain(args),
        )
    }

    /// Runs a program in a host.
    pub fn exec<const N: usize>(&self, host: &str, program: [&str; N]) -> Output {
        weft(
            ["exec", "--lab", self.name.as_str(), host, "--"]
                .into_iter()
                .chain(program),
        )
    }

    /// Starts a program in a host; its standard output is piped.
    ///
    /// # Panics
    ///
    /// When there is no such program as `weft`.
    pub fn spawn<const N: usize>(&self, host: &str, program: [&str; N]) -> Child {
        Command::new(weft_binary())
            .args(["exec", "--lab", self.name.as_str(), host, "--"])
            .args(program)
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the weft binary runs")
    }

    /// `weft status -o json`.
    pub fn status(&self) -> Value {
        json(&self.weft("status", ["-o", "json"]))
    }

    /// One request to the lab's API by `weft api`; the answer's body.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Output {
        let body = body.map(Value::to_string);
        let mut args = vec!["api", "--lab", self.name.as_str(), "-X", method, path];
        if let Some(body) = &body {
            args.extend(["-d", body]);
        }
        weft(args)
    }

    /// `GET PATH`, which has to succeed.
    pub fn get(&self, path: &str) -> Value {
        json(&self.api("GET", path, None))
    }

    /// The pid of a process of the lab by its role, `dataplane` or `controller`.
    ///
    /// # Panics
    ///
    /// When the lab has no such process.
    pub fn pid(&self, role: &str) -> i64 {
        let status = self.status();
        let processes = status["processes"]
            .as_array()
            .expect("status lists processes");
        let process = processes
            .iter()
            .find(|process| process["role"] == role)
            .expect("the role exists");
        process["pid"].as_i64().expect("a pid is a number")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = weft(["down", self.name.as_str()]);
        if !down.status.success() && !std::thread::panicking() {
            panic!("weft down failed: {}", text(&down));
        }
    }
}

/// Standard output as JSON.
///
/// # Panics
///
/// When the command failed or printed something else.
pub fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "the command failed: {}",
        text(output)
    );
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("not JSON ({error}): {}", text(output)))
}

/// Everything a command said, for messages.
pub fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Waits until a condition holds.
///
/// # Panics
///
/// When it does not hold by the deadline.
#[expect(
    clippy::disallowed_methods,
    reason = "a driver: it watches processes from outside"
)]
pub fn wait_for(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < deadline,
            "{what}: not within {deadline:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
