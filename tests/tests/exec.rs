//! `weft exec` is as if the program ran here, but for its network.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weft_tests::{Lab, can_build_labs, text, topology, wait_for, weft_binary};

const SOON: Duration = Duration::from_secs(10);

/// Starts a shell command in alice with pipes on both sides.
fn start(lab: &Lab, command: &str) -> Child {
    Command::new(weft_binary())
        .args([
            "exec",
            "--lab",
            lab.name(),
            "alice",
            "--",
            "sh",
            "-c",
            command,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    line.trim_end().to_owned()
}

#[test]
fn standard_input_and_output_are_the_callers() {
    if !can_build_labs("standard_input_and_output") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "exec-io");
    let mut child = start(&lab, "tr a-z A-Z; exit 3");
    child.stdin.take().unwrap().write_all(b"through\n").unwrap();
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "THROUGH\n");
    assert_eq!(child.wait().unwrap().code(), Some(3));

    let same = lab.exec("alice", ["pwd"]);
    assert_eq!(
        String::from_utf8_lossy(&same.stdout).trim_end(),
        weft_tests::root().to_str().unwrap(),
        "{}",
        text(&same)
    );
}

#[test]
fn signals_reach_the_program_and_its_end_is_told() {
    if !can_build_labs("signals_reach_the_program") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "exec-signals");
    let mut child = start(
        &lab,
        "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.01; done",
    );
    assert_eq!(first_line(&mut child), "ready");
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(first_line(&mut child), "got it");
    assert_eq!(child.wait().unwrap().code(), Some(9));

    let by_signal = lab.exec("alice", ["sh", "-c", "kill -KILL $$"]);
    assert_eq!(by_signal.status.code(), Some(128 + 9));
}

#[test]
fn programs_end_with_the_lab_and_see_their_own_devices() {
    if !can_build_labs("programs_end_with_the_lab") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "exec-end");
    let devices = lab.exec("alice", ["ls", "/sys/class/net"]);
    assert_eq!(String::from_utf8_lossy(&devices.stdout), "eth0\nlo\n");
    // A program that has left its parent is the lab's all the same.
    let mut child = start(&lab, "setsid sleep 600 & echo $!; wait");
    first_line(&mut child);
    drop(lab);
    wait_for("the program ends with the lab", SOON, || {
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(128 + 9));
}

#[test]
fn what_cannot_be_run_is_told_apart() {
    if !can_build_labs("what_cannot_be_run") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "exec-wrong");
    assert_eq!(
        lab.exec("alice", ["no-such-program"]).status.code(),
        Some(127)
    );
    assert_eq!(lab.exec("alice", ["/etc/passwd"]).status.code(), Some(126));
    assert!(lab.exec("s1", ["true"]).status.code().unwrap() >= 64);
}
