//! Labs without root: the tests run as root, so they become somebody else first, in a mount namespace where
//! `/dev/net/tun` is what the case wants it to be.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use weft_tests::{can_build_labs, json, text, topology, wait_for, weft_binary};

const SOON: Duration = Duration::from_secs(10);

/// What a user finds at `/dev/net/tun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TunNode {
    /// Everybody may open it.
    Open,
    /// It is not there.
    Missing,
}

/// Somebody without privileges, with a folder of his own that has the binary and the topologies.
struct User {
    uid: u32,
    folder: TempDir,
    tun: TunNode,
}

impl User {
    /// Each test has its own user, so that they do not see each other's labs.
    fn new(uid: u32, tun: TunNode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), everybody).unwrap();
        fs::copy(weft_binary(), folder.path().join("weft")).unwrap();
        for name in ["leaf-spine", "two-hosts", "tun-and-tap"] {
            let file = folder.path().join(format!("{name}.yaml"));
            fs::copy(topology(name), &file).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let runtime = folder.path().join("run");
        fs::create_dir(&runtime).unwrap();
        std::os::unix::fs::chown(&runtime, Some(uid), Some(uid)).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
        Self { uid, folder, tun }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `weft ARGS…` as this user.
    fn weft<const N: usize>(&self, args: [&str; N]) -> Output {
        self.command(args).output().unwrap()
    }

    fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let node = match self.tun {
            TunNode::Open => "mknod -m 0666 /dev/net/tun c 10 200",
            TunNode::Missing => "true",
        };
        let uid = self.uid;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg(format!(
                "mount -t tmpfs -o mode=0755 none /dev/net && {node} && \
                 exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all --bounding-set=-all \"$@\""
            ))
            .arg("sh")
            .arg(self.path().join("weft"))
            .args(args)
            .current_dir(self.path())
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env("HOME", self.path());
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.weft(["down", "--all"]);
    }
}

fn proves_itself(uid: u32, tun: TunNode, file: &str) {
    let user = User::new(uid, tun);
    let told = user.weft(["test", file, "-o", "json"]);
    let report = json(&told);
    assert_eq!(report["totals"]["fail"], 0, "{}", text(&told));
    assert!(report["totals"]["pass"].as_u64().unwrap() > 50);
    let notice = "/dev/net/tun cannot be opened";
    let noticed = String::from_utf8_lossy(&told.stderr).contains(notice);
    assert_eq!(noticed, tun == TunNode::Missing, "{}", text(&told));
    let left = fs::read_dir(user.path().join("run/weft")).unwrap().count();
    assert_eq!(left, 0, "a lab that has ended leaves nothing");
}

#[test]
fn a_file_proves_itself_with_tap_devices() {
    if can_build_labs("a_file_proves_itself_with_tap_devices") {
        proves_itself(64_321, TunNode::Open, "leaf-spine.yaml");
    }
}

#[test]
fn a_file_proves_itself_with_tun_devices() {
    if can_build_labs("a_file_proves_itself_with_tun_devices") {
        proves_itself(64_322, TunNode::Open, "tun-and-tap.yaml");
    }
}

#[test]
fn a_file_proves_itself_with_veth_pairs_where_there_is_no_tun_device() {
    if can_build_labs("a_file_proves_itself_with_veth_pairs") {
        proves_itself(64_323, TunNode::Missing, "leaf-spine.yaml");
    }
}

#[test]
fn programs_run_in_hosts() {
    if !can_build_labs("programs_run_in_hosts") {
        return;
    }
    let user = User::new(64_329, TunNode::Open);
    let lab = "
name: programs
topology:
  nodes:
    s1: { kind: switch }
    a: { kind: host, run: [{ cmd: [sh, -c, 'echo begun > \"$WEFT_DIR/state\"; exec sleep 600'] }] }
tests:
  - { name: exec, exec: { from: a, cmd: [sh, -c, 'id -u; ip -o link'] }, expect: { stdoutMatches: '^0$', within: 20s } }
  - { name: too long, exec: { from: a, cmd: [sleep, 600], timeout: 200ms } }
";
    fs::write(user.path().join("programs.yaml"), lab).unwrap();
    let output = user.weft(["test", "programs.yaml", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["cases"][0]["verdict"], "pass", "{report:#}");
    let killed = "it did not end within 200ms and was killed";
    assert_eq!(report["cases"][1]["detail"], killed, "{report:#}");
}

#[test]
fn what_was_declared_is_not_replaced() {
    if !can_build_labs("what_was_declared_is_not_replaced") {
        return;
    }
    let user = User::new(64_324, TunNode::Missing);
    let told = user.weft(["test", "tun-and-tap.yaml"]);
    assert_eq!(told.status.code(), Some(70), "{}", text(&told));
    let said = text(&told);
    assert!(said.contains("cannot build host t"), "{said}");
    assert!(said.contains("`port: tun`"), "{said}");
}

/// A lab that stays, by all the commands that look at it.
fn lives(uid: u32, tun: TunNode, kind: &str) {
    let user = User::new(uid, tun);
    let up = user.weft(["up", "two-hosts.yaml", "--detach", "--name", "mine"]);
    assert!(up.status.success(), "{}", text(&up));
    let labs = json(&user.weft(["labs", "-o", "json"]));
    assert_eq!(labs["items"][0]["name"], "mine");
    let ports = json(&user.weft(["api", "/v1/switches/s1/ports"]));
    assert_eq!(ports["items"][0]["kind"], kind, "{ports:#}");

    let seen = user.weft([
        "exec",
        "alice",
        "--",
        "sh",
        "-c",
        "id -u; ls /sys/class/net; ping -c1 -W5 10.0.0.2 >&2",
    ]);
    assert!(seen.status.success(), "{}", text(&seen));
    assert_eq!(seen.stdout, b"0\neth0\nlo\n");
    let refused = user.weft(["exec", "alice", "--", "sh", "-c", "exit 7"]);
    assert_eq!(refused.status.code(), Some(7), "{}", text(&refused));

    let mut capture = user
        .command(["capture", "alice", "--proto", "icmp", "--count", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(capture.stderr.as_mut().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(said.trim_end(), "capturing at alice:eth0");
    let ping = user.weft(["exec", "alice", "--", "ping", "-c1", "10.0.0.2"]);
    assert!(ping.status.success(), "{}", text(&ping));
    assert!(capture.wait().unwrap().success());

    let status = json(&user.weft(["status", "-o", "json"]));
    let processes = status["processes"].as_array().unwrap().clone();
    let down = user.weft(["down", "mine"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(!user.path().join("run/weft/mine").exists());
    for process in processes {
        // One that has ended and whose end nobody has collected yet has no memory any more.
        let status = format!("/proc/{}/status", process["pid"]);
        wait_for("the lab's processes end", SOON, || {
            !fs::read_to_string(&status).is_ok_and(|status| status.contains("VmSize"))
        });
    }
}

#[test]
fn a_lab_lives_on_tap_devices() {
    if can_build_labs("a_lab_lives_on_tap_devices") {
        lives(64_325, TunNode::Open, "tap");
    }
}

#[test]
fn a_lab_lives_on_veth_pairs() {
    if can_build_labs("a_lab_lives_on_veth_pairs") {
        lives(64_326, TunNode::Missing, "packetSocket");
    }
}

#[test]
fn the_doctor_finds_what_a_user_may() {
    if !can_build_labs("the_doctor_finds_what_a_user_may") {
        return;
    }
    for (uid, tun) in [(64_327, TunNode::Open), (64_328, TunNode::Missing)] {
        let report = json(&User::new(uid, tun).weft(["doctor", "-o", "json"]));
        assert_eq!(report["works"], true, "{report:#}");
        let items = report["items"].as_array().unwrap();
        let find = |name| items.iter().find(|item| item["name"] == name).unwrap();
        assert_eq!(find("privileges")["detail"], "in a user namespace");
        for (name, expected) in [
            ("packet-socket", true),
            ("tap", tun == TunNode::Open),
            ("tun", tun == TunNode::Open),
        ] {
            assert_eq!(find(name)["works"], expected, "{}", find(name));
        }
    }
}

#[test]
fn where_users_may_have_no_namespaces_the_line_that_helps_is_told() {
    if !can_build_labs("where_users_may_have_no_namespaces") {
        return;
    }
    let user = User::new(64_329, TunNode::Open);
    // In a user namespace with a limit of its own. Its map is written from outside, and only a program that is started
    // after that is root in it.
    let ask = |args: &str| {
        let mut asking = Command::new("unshare")
            .args(["--user", "sh", "-c"])
            .arg(format!(
                "echo $$; read mapped; exec sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && \
                 exec setpriv --reuid {uid} --regid {uid} --clear-groups {weft} {args}'",
                uid = user.uid,
                weft = user.path().join("weft").display(),
            ))
            .current_dir(user.path())
            .env("XDG_RUNTIME_DIR", user.path().join("run"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        let mut out = BufReader::new(asking.stdout.take().unwrap());
        out.read_line(&mut pid).unwrap();
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{map}", pid.trim()), "0 0 70000").unwrap();
        }
        asking.stdin.take().unwrap().write_all(b"\n").unwrap();
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut out, &mut said).unwrap();
        let ended = asking.wait_with_output().unwrap();
        Output {
            stdout: said,
            ..ended
        }
    };
    const HELPS: &str = "sudo sysctl -w user.max_user_namespaces=15000";
    let told = ask("test two-hosts.yaml");
    assert_eq!(told.status.code(), Some(77), "{}", text(&told));
    assert!(text(&told).contains(HELPS), "{}", text(&told));
    let told = ask("doctor -o json");
    assert_eq!(told.status.code(), Some(64), "{}", text(&told));
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(report["works"], false);
    assert_eq!(report["items"][0]["fix"], HELPS, "{report:#}");
}
