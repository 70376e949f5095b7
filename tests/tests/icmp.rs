//! What the kernel of a host hears from the fabric's router: traceroute, path MTU discovery, unreachable hosts.

use weft_tests::{Lab, can_build_labs, text, topology};

/// Runs a shell command in a host, whatever its exit status, and returns what it said.
fn say(lab: &Lab, host: &str, command: &str) -> String {
    text(&lab.exec(host, ["sh", "-c", command]))
}

#[test]
fn senders_hear_of_packets_that_ended() {
    if !can_build_labs("senders_hear_of_packets_that_ended") {
        return;
    }
    let lab = Lab::up(&topology("ipv6"), "icmp");
    // The first hop is the router, the second is the host: what traceroute shows.
    for (target, hop) in [
        ("10.0.2.1", "10.0.1.254"),
        ("2001:db8:2::1", "2001:db8:1::fe"),
    ] {
        let first = say(&lab, "web", &format!("ping -n -c1 -W2 -t1 {target}"));
        assert!(first.contains(&format!("rom {hop}")), "{first}");
        assert!(
            first.contains("ime to live exceeded") || first.contains("op limit"),
            "{first}"
        );
        let second = say(&lab, "web", &format!("ping -n -c1 -W2 -t2 {target}"));
        assert!(second.contains(" 0% packet loss"), "{second}");
    }
    for (target, word) in [
        ("10.0.2.77", "Host Unreachable"),
        ("192.0.2.1", "Net Unreachable"),
        ("2001:db8:2::77", "Address unreachable"),
        ("2001:db8:9::1", "No route"),
    ] {
        let said = say(&lab, "web", &format!("ping -n -c1 -W2 {target}"));
        assert!(said.contains(word), "{said}");
    }
    // The kernel learns the MTU of the way to `far`, and what may be fragmented arrives.
    for target in ["10.0.4.9", "2001:db8:4::9"] {
        let said = say(
            &lab,
            "web",
            &format!("ping -n -c1 -W2 -M do -s 1400 {target}"),
        );
        assert!(
            said.contains("mtu=1280") || said.contains("mtu = 1280"),
            "{said}"
        );
    }
    let said = say(&lab, "six", "ping -n -c2 -i0.2 -W2 -s 1400 2001:db8:4::9");
    assert!(
        said.contains("1 received"),
        "the second is fragmented by its sender: {said}"
    );
    let said = say(&lab, "db", "ping -n -c1 -W2 -M dont -s 1400 10.0.4.9");
    assert!(said.contains(" 0% packet loss"), "{said}");
}
