//! Links that go down and up while packets travel.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weft_tests::{Lab, can_build_labs, json, text, topology, wait_for, weft, weft_binary};

/// Echo requests that may be lost while the network heals: half a second's worth, on a machine that does other things
/// too.
const LOST_MAX: u32 = 50;
const SOON: Duration = Duration::from_secs(20);

/// A ping every 10 ms, until it is interrupted.
fn ping(lab: &Lab, from: &str, to: &str) -> Child {
    Command::new(weft_binary())
        .args(["exec", "--lab", lab.name(), from, "--"])
        .args(["ping", "-i", "0.01", "-q", to])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Ends a ping; how many requests it sent, and how many answers it got.
fn finish(ping: Child) -> (u32, u32) {
    let interrupted = Command::new("kill")
        .args(["-INT", &ping.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    let said = ping.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let number = |before: &str| {
        let words = said.split(before).next().unwrap();
        words.split([' ', '\n']).next_back().unwrap().parse()
    };
    match (number(" packets transmitted"), number(" received")) {
        (Ok(sent), Ok(received)) => (sent, received),
        _ => panic!("ping said {said}"),
    }
}

/// The spines on the paths of least cost between two hosts.
fn spines(lab: &Lab, from: &str, to: &str) -> Vec<String> {
    let found = json(&lab.weft("path", [from, to, "--ecmp", "-o", "json"]));
    let nodes = |path: &serde_json::Value| {
        let nodes = path["nodes"].as_array().unwrap().iter();
        nodes
            .filter_map(|node| node.as_str())
            .find(|node| node.starts_with("spine"))
            .unwrap()
            .to_owned()
    };
    let mut spines: Vec<String> = found["paths"]
        .as_array()
        .unwrap()
        .iter()
        .map(nodes)
        .collect();
    spines.sort();
    spines
}

fn packets_through(lab: &Lab, switch: &str) -> u64 {
    let ports = lab.get(&format!("/v1/switches/{switch}/ports"));
    let ports = ports["items"].as_array().unwrap().iter();
    ports
        .filter_map(|port| port["counters"]["rxPackets"].as_u64())
        .sum()
}

#[test]
fn traffic_goes_another_way_when_its_link_breaks_and_both_ways_when_it_is_back() {
    if !can_build_labs("traffic_goes_another_way") {
        return;
    }
    let lab = Lab::up(&topology("leaf-spine"), "link-down");
    assert_eq!(spines(&lab, "h1", "h8"), ["spine1", "spine2"]);
    // Whichever spine the echo requests take, one of the two breaks is on their way.
    for spine in ["spine1", "spine2"] {
        let other = if spine == "spine1" {
            "spine2"
        } else {
            "spine1"
        };
        let link = lab.get("/v1/links");
        let link = link["items"].as_array().unwrap().iter().find_map(|link| {
            let name = link["name"].as_str()?;
            (name.contains(&format!("{spine}:")) && name.contains("leaf1:")).then_some(name)
        });
        let link = link.unwrap().to_owned();
        let probe = ping(&lab, "h1", "10.0.0.8");
        let before = packets_through(&lab, spine) + packets_through(&lab, other);
        wait_for("echo requests flow", SOON, || {
            packets_through(&lab, spine) + packets_through(&lab, other) > before + 20
        });

        let set = json(&lab.weft("link", ["set", &link, "down", "-o", "json"]));
        assert_eq!(set["state"], "down", "{set:#}");
        assert_eq!(spines(&lab, "h1", "h8"), [other]);
        let healed = packets_through(&lab, other);
        wait_for("echo requests take the other way", SOON, || {
            packets_through(&lab, other) > healed + 100
        });

        // By one of its ends, as a person would name it.
        let end = link.split("--").next().unwrap();
        let set = lab.weft("link", ["set", end, "up"]);
        assert!(set.status.success(), "{}", text(&set));
        assert_eq!(spines(&lab, "h1", "h8"), ["spine1", "spine2"]);
        let (sent, received) = finish(probe);
        let lost = sent.saturating_sub(received);
        println!("{link} down and up at 10 ms: {lost} of {sent} echo requests lost");
        assert!(lost <= LOST_MAX, "{lost} of {sent} lost");
    }
}

#[test]
fn a_metric_moves_traffic_and_little_is_lost() {
    if !can_build_labs("a_metric_moves_traffic") {
        return;
    }
    let lab = Lab::up(&topology("leaf-spine"), "link-metric");
    assert_eq!(spines(&lab, "h1", "h8"), ["spine1", "spine2"]);
    let links = lab.get("/v1/links");
    let links = links["items"].as_array().unwrap();
    let costly = |metric: &str| {
        for link in links {
            let name = link["name"].as_str().unwrap();
            if name.contains("spine1:") {
                let set = lab.weft("link", ["set", name, "--metric", metric]);
                assert!(set.status.success(), "{}", text(&set));
            }
        }
    };
    let probe = ping(&lab, "h1", "10.0.0.8");
    costly("9");
    assert_eq!(spines(&lab, "h1", "h8"), ["spine2"]);
    let (idle, busy) = (
        packets_through(&lab, "spine1"),
        packets_through(&lab, "spine2"),
    );
    wait_for("echo requests take the cheaper way", SOON, || {
        packets_through(&lab, "spine2") > busy + 100
    });
    assert_eq!(packets_through(&lab, "spine1"), idle);
    costly("1");
    assert_eq!(spines(&lab, "h1", "h8"), ["spine1", "spine2"]);
    let (sent, received) = finish(probe);
    println!(
        "metrics up and down at 10 ms: {} of {sent} lost",
        sent - received
    );
    assert!(sent - received <= LOST_MAX, "{received} of {sent}");
}

#[test]
fn wrong_changes_of_links_are_told_apart() {
    if !can_build_labs("wrong_changes_of_links") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "link-wrong");
    // Stored, and it says that packets do not feel it yet.
    let impaired = lab.weft("link", ["set", "alice:eth0", "--delay", "10ms"]);
    assert!(impaired.status.success(), "{}", text(&impaired));
    assert!(text(&impaired).contains("not impaired yet"));
    let link = lab.get("/v1/links/alice:eth0");
    assert_eq!(link["latency"], "10ms", "{link:#}");
    let clear = lab.weft("link", ["set", "alice:eth0", "--clear"]);
    assert!(clear.status.success(), "{}", text(&clear));
    let link = lab.get("/v1/links/alice:eth0");
    assert_eq!(link["latency"], serde_json::Value::Null, "{link:#}");
    let unitless = lab.weft("link", ["set", "alice:eth0", "--delay", "10"]);
    assert_eq!(unitless.status.code(), Some(65), "{}", text(&unitless));
    assert!(
        text(&unitless).contains("/impair/delay"),
        "{}",
        text(&unitless)
    );
    let unknown = lab.weft("link", ["set", "nobody:eth0", "down"]);
    assert!(unknown.status.code().unwrap() >= 64, "{}", text(&unknown));
    let nothing = lab.weft("link", ["set", "alice:eth0"]);
    assert_eq!(nothing.status.code(), Some(64), "{}", text(&nothing));
    // A host's link is one as well.
    let down = lab.weft("link", ["set", "alice:eth0", "down"]);
    assert!(down.status.success(), "{}", text(&down));
    let lost = lab.exec("alice", ["ping", "-c1", "-W1", "10.0.0.2"]);
    assert!(!lost.status.success());
    let up = lab.weft("link", ["set", "alice:eth0", "up"]);
    assert!(up.status.success(), "{}", text(&up));
    let back = lab.exec("alice", ["ping", "-c1", "-W2", "10.0.0.2"]);
    assert!(back.status.success(), "{}", text(&back));
    let without_lab = weft(["link", "set", "x", "down", "--lab", "no-such-lab"]);
    assert!(without_lab.status.code().unwrap() >= 64);
}
