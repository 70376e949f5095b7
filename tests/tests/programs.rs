//! Programs that a file starts in its hosts: what goes wrong is told with its place, and they end with the lab.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use weft_tests::{Lab, can_build_labs, has_programs, text, wait_for, weft, weft_binary};

/// A lab with one host, `a`, whose programs these are.
fn file(folder: &Path, nodes: &str) -> PathBuf {
    let path = folder.join("lab.yaml");
    let lab = format!("name: programs\ntopology:\n  nodes:\n    s1: {{ kind: switch }}\n{nodes}");
    std::fs::write(&path, lab).unwrap();
    path
}

/// What is said about a lab whose programs do not come up.
fn refused(nodes: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), nodes);
    let name = format!(
        "programs-{}-{}",
        std::process::id(),
        folder
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .trim_start_matches('.')
    );
    let output = weft(["up", path.to_str().unwrap(), "--detach", "--name", &name]);
    assert!(
        output.status.code().is_some_and(|code| code >= 64),
        "{}",
        text(&output)
    );
    let labs = weft(["labs", "-o", "json"]);
    assert!(!text(&labs).contains(&name), "{}", text(&labs));
    String::from_utf8(output.stderr).unwrap()
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in:\n{message}");
    }
}

#[test]
fn a_program_that_does_not_come_up_is_told_with_its_place_and_its_last_words() {
    if !can_build_labs("a_program_that_does_not_come_up") {
        return;
    }
    says(
        &refused("    a: { kind: host, run: [{ cmd: [no-such-program] }] }\n"),
        &[
            "lab.yaml:5:",
            "topology.nodes.a.run[0].cmd: cannot start `no-such-program` in a: No such file or directory",
            "5 |     a: { kind: host, run: [{ cmd: [no-such-program] }] }\n",
            "  |                                   ^\n",
        ],
    );
    says(
        &refused(
            "    a: { kind: host, run: [{ cmd: ['true'] }, { cmd: [sh, -c, 'echo bad config; exit 7'], ready: { tcp: 80 } }] }\n",
        ),
        &[
            "topology.nodes.a.run[1].cmd: `sh` in a ended before TCP port 80 answered: exit status 7\n",
            "its last words:\nbad config\n",
        ],
    );
    says(
        &refused(
            "    a: { kind: host, run: [{ cmd: [sleep, 60], ready: { tcp: 80, within: 200ms } }] }\n",
        ),
        &["topology.nodes.a.run[0].ready: `sleep` in a did not listen on TCP port 80 within 200ms"],
    );
    says(
        &refused("    a: { kind: host, run: [{ cmd: ['true'], cwd: nowhere }] }\n"),
        &[
            "lab.yaml:5:",
            "topology.nodes.a.run[0].cwd: there is no folder ",
            "nowhere",
        ],
    );
    says(
        &refused(
            "    a: { kind: host, listen: [{ tcp: 80 }], run: [{ cmd: ['true'], ready: { tcp: 80 } }] }\n",
        ),
        &["topology.nodes.a.run[0].ready: TCP port 80 of a is taken before `true` starts"],
    );
    says(
        &refused(
            "    a: { group: servers }\n  groups:\n    servers: { kind: host, run: [{ cmd: [no-such-program] }] }\n",
        ),
        &[
            "lab.yaml:7:",
            "topology.groups.servers.run[0].cmd: cannot start",
        ],
    );
}

#[test]
fn programs_end_with_the_lab_and_their_failures_are_told() {
    let needs = ["sh", "sleep", "pgrep", "setsid"];
    if !can_build_labs("programs_end_with_the_lab")
        || !has_programs("programs_end_with_the_lab", &needs)
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let long = format!("77{}", std::process::id());
    let nodes = format!(
        "    a:
      kind: host
      run:
        - cmd: [sh, -c, 'setsid sleep {long} & echo $WEFT_HOST > \"$WEFT_DIR/who\"; sleep {long}']
        - cmd: [sh, -c, 'echo out of luck; exit 9']
    r: {{ kind: router, run: [{{ cmd: [sh, -c, 'cat /proc/sys/net/ipv4/ip_forward; exec sleep {long}'] }}] }}
"
    );
    let lab = Lab::up(&file(folder.path(), &nodes), "programs");
    let programs = || lab.status()["programs"].clone();
    let soon = Duration::from_secs(20);
    wait_for("the program's failure is told", soon, || {
        programs()[1]["failed"] == true
    });
    let programs = programs();
    assert_eq!(programs[1]["ended"], "exit status 9");
    assert_eq!(
        (&programs[0]["failed"], &programs[2]["host"]),
        (&false.into(), &"r".into())
    );
    let log =
        |index: usize| std::fs::read_to_string(programs[index]["log"].as_str().unwrap()).unwrap();
    assert_eq!(log(1), "out of luck\n");
    wait_for("the router forwards", soon, || log(2) == "1\n");
    let own = Path::new(programs[0]["log"].as_str().unwrap()).with_extension("");
    wait_for("the program has its folder", soon, || {
        std::fs::read_to_string(own.join("who")).is_ok_and(|who| who == "a\n")
    });
    let sleepers = || {
        let found = Command::new("pgrep")
            .args(["-c", "-f", &format!("^sleep {long}")])
            .output();
        String::from_utf8(found.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    wait_for("all of them sleep", soon, || sleepers() == "3");
    drop(lab);
    assert_eq!(sleepers(), "0");
    assert!(!own.exists());
}

#[test]
fn a_program_that_fails_while_tests_run_is_a_warning() {
    if !can_build_labs("a_program_that_fails") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let lab = format!("programs-warn-{}", std::process::id());
    let nodes = "    a: { kind: host, run: [{ cmd: [sh, -c, 'echo out of luck; exit 9'] }] }
tests:
  - name: the failure is known
    eventually: 20s
    exec: { from: a, cmd: [sh, -c, '\"$WEFT\" status --lab \"$LAB\" -o json'], env: { WEFT: BINARY, LAB: NAME } }
    expect: { stdoutMatches: '\"failed\": ?true' }
";
    let nodes = nodes
        .replace("BINARY", weft_binary().to_str().unwrap())
        .replace("NAME", &lab);
    let path = file(folder.path(), &nodes);
    let output = weft(["test", path.to_str().unwrap(), "--name", &lab]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    says(&text(&output), &["run a", "exit status 9", "out of luck"]);
}
