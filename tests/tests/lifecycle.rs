//! What happens to a lab when things die, and how two labs live side by side.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;
use std::time::Duration;

use weft_tests::{Lab, can_build_labs, json, text, topology, wait_for, weft};

const SOON: Duration = Duration::from_secs(10);

fn kill_hard(pid: i64) {
    let killed = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
}

fn is_running(pid: i64) -> bool {
    // A zombie has ended: only its parent has not looked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
    })
}

fn network_namespaces() -> usize {
    let mut seen = std::collections::BTreeSet::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(fds) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for fd in fds.flatten() {
            if let Ok(target) = std::fs::read_link(fd.path())
                && target.to_string_lossy().starts_with("net:[")
            {
                seen.insert(target);
            }
        }
        if let Ok(own) = std::fs::read_link(process.path().join("ns/net")) {
            seen.insert(own);
        }
    }
    seen.len()
}

fn pings(lab: &Lab, from: &str, address: &str) -> bool {
    lab.exec(from, ["ping", "-c1", "-W1", address])
        .status
        .success()
}

#[test]
fn killing_the_data_plane_leaves_nothing_and_the_lab_comes_up_again() {
    if !can_build_labs("killing_the_data_plane") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "kill-dp");
    let (dataplane, controller) = (lab.pid("dataplane"), lab.pid("controller"));
    let sleeper = std::thread::scope(|_| {
        Command::new(weft_tests::weft_binary())
            .args(["exec", "--lab", lab.name(), "alice", "--", "sleep", "600"])
            .spawn()
            .unwrap()
    });
    let mut sleeper = sleeper;
    kill_hard(dataplane);
    wait_for("every process of the lab ends", SOON, || {
        !is_running(dataplane) && !is_running(controller) && sleeper.try_wait().unwrap().is_some()
    });
    let labs = json(&weft(["labs", "-o", "json"]));
    assert!(
        !labs.to_string().contains(lab.name()),
        "a dead lab is listed: {labs}"
    );

    let up = weft([
        "up".as_ref(),
        topology("two-hosts").as_os_str(),
        "--detach".as_ref(),
        "--name".as_ref(),
        lab.name().as_ref(),
    ]);
    assert!(up.status.success(), "{}", text(&up));
    assert!(pings(&lab, "alice", "10.0.0.2"));
}

#[test]
fn taking_a_lab_down_leaves_no_namespace() {
    if !can_build_labs("taking_a_lab_down") {
        return;
    }
    // Other tests make namespaces too, so the lab's own are looked for by what its status names.
    let lab = Lab::up(&topology("ring"), "down");
    let status = lab.status();
    let links: Vec<_> = status["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| std::fs::read_link(host["netns"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(links.len(), 4);
    assert!(network_namespaces() >= 4);
    let dataplane = lab.pid("dataplane");
    drop(lab);
    wait_for("the data plane ends", SOON, || !is_running(dataplane));
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(own) = std::fs::read_link(process.path().join("ns/net")) else {
            continue;
        };
        assert!(
            !links.contains(&own),
            "{} still lives in a host of the lab",
            process.path().display()
        );
    }
}

#[test]
fn traffic_survives_the_controller_and_its_restart_writes_nothing() {
    if !can_build_labs("traffic_survives_the_controller") {
        return;
    }
    let lab = Lab::up(&topology("leaf-spine"), "kill-ctl");
    let addresses = lab.get("/v1/hosts/h8")["addresses"].to_string();
    let address = addresses
        .trim_matches(|c: char| !c.is_ascii_digit())
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let before = lab.pid("controller");
    let mut ping = Command::new(weft_tests::weft_binary())
        .args([
            "exec",
            "--lab",
            lab.name(),
            "h1",
            "--",
            "ping",
            "-i0.01",
            "-c150",
            "-q",
            &address,
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    kill_hard(before);
    wait_for("another controller is there", SOON, || {
        let status = weft(["status", "--lab", lab.name(), "-o", "json"]);
        status.status.success() && {
            let status = json(&status);
            status["phase"] == "ready"
                && status["processes"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|p| p["role"] == "controller" && p["pid"] != before)
        }
    });
    assert!(ping.wait().unwrap().success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut ping.stdout.take().unwrap(), &mut said).unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");

    let metrics = lab.api("GET", "/metrics", None);
    let metrics = String::from_utf8(metrics.stdout).unwrap();
    let writes: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("weft_switch_writes_total{"))
        .collect();
    assert_eq!(writes.len(), 6, "one line for each switch: {metrics}");
    assert!(
        writes
            .iter()
            .all(|line| line.ends_with(" 0") || line.ends_with(" 0.0")),
        "{writes:#?}"
    );
}

/// Packets that have crossed the trunk of `topologies/two-labs.yaml`. ARP does not: the edge answers it.
fn crossed(lab: &Lab) -> u64 {
    let port = lab.get("/v1/switches/s2/ports/trunk");
    port["counters"]["rxPackets"].as_u64().unwrap()
}

#[test]
fn two_labs_with_equal_addresses_do_not_meet() {
    if !can_build_labs("two_labs") {
        return;
    }
    const SERVER: &str = "192.168.1.20";
    let (blue, green) = std::thread::scope(|scope| {
        let blue = scope.spawn(|| Lab::up(&topology("two-labs"), "blue"));
        let green = scope.spawn(|| Lab::up(&topology("two-labs"), "green"));
        (blue.join().unwrap(), green.join().unwrap())
    });
    let mac = |lab: &Lab| {
        lab.exec("server", ["cat", "/sys/class/net/eth0/address"])
            .stdout
    };
    assert_ne!(mac(&blue), mac(&green));
    assert!(pings(&green, "client", SERVER));
    // What one lab sends, the other does not see.
    let (seen, before) = (crossed(&green), crossed(&blue));
    assert!(pings(&blue, "client", SERVER));
    assert_eq!(crossed(&green), seen);
    assert!(crossed(&blue) > before);
    // What breaks one, the other does not feel: a link, then the end.
    let down = blue.weft("link", ["set", "trunk", "down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(!pings(&blue, "client", SERVER));
    assert!(pings(&green, "client", SERVER));
    drop(blue);
    assert!(pings(&green, "client", SERVER));
}

#[test]
fn exec_gives_the_exit_status_of_the_program() {
    if !can_build_labs("exec") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "exec");
    assert_eq!(
        lab.exec("alice", ["sh", "-c", "exit 7"]).status.code(),
        Some(7)
    );
    let unknown = lab.exec("alcie", ["true"]);
    assert!(unknown.status.code().unwrap() >= 64);
    assert!(
        text(&unknown).contains("alice"),
        "no suggestion: {}",
        text(&unknown)
    );
}
