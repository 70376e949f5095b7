//! Every kind of port, by what crosses it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use weft_tests::{Lab, can_build_labs, text, topology, weft_binary};

/// Bytes of a transfer: many super-packets.
const TRANSFER: u64 = 16 << 20;
/// The least number of packets that they need.
const PACKETS: u64 = TRANSFER / 1460;

const SERVE: &str = "
import hashlib, socket, sys
s = socket.create_server((sys.argv[1], 9000), family=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)
print('ready', flush=True)
c, _ = s.accept()
h = hashlib.sha256()
while b := c.recv(1 << 16):
    h.update(b)
print(h.hexdigest())";

const SEND: &str = "
import hashlib, random, socket, sys
data = random.Random(7).randbytes(int(sys.argv[2]))
s = socket.create_connection((sys.argv[1], 9000))
s.sendall(data)
s.close()
print(hashlib.sha256(data).hexdigest())";

/// Sends random bytes by TCP; what arrives has to be the same.
fn transfer(lab: &Lab, from: &str, to: &str, address: &str) {
    let mut server = Command::new(weft_binary())
        .args(["exec", "--lab", lab.name(), to, "--"])
        .args(["python3", "-c", SERVE, address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    let sent = lab.exec(
        from,
        ["python3", "-c", SEND, address, &TRANSFER.to_string()],
    );
    assert!(sent.status.success(), "{}", text(&sent));
    let sent = String::from_utf8(sent.stdout).unwrap();
    assert_eq!(said.next().unwrap().unwrap(), sent.trim_end());
    assert!(server.wait().unwrap().success());
}

/// A port by the host that is at it.
fn port(lab: &Lab, host: &str) -> Value {
    for switch in lab.status()["switches"].as_array().unwrap() {
        let switch = switch["name"].as_str().unwrap();
        let ports = lab.get(&format!("/v1/switches/{switch}/ports"));
        let mut ports = ports["items"].as_array().unwrap().iter();
        let peer = format!("{host}:eth0");
        if let Some(port) = ports.find(|port| port["peer"] == peer.as_str()) {
            return port.clone();
        }
    }
    panic!("{host} is attached nowhere");
}

fn count(port: &Value, counter: &str) -> u64 {
    port["counters"][counter].as_u64().unwrap()
}

/// Transfers both ways between two hosts at one switch, and sees that super-packets crossed whole.
fn super_packets_cross(lab: &Lab, a: (&str, &str), b: (&str, &str)) {
    for (from, to) in [(a, b), (b, a)] {
        let before = [port(lab, from.0), port(lab, to.0)];
        transfer(lab, from.0, to.0, to.1);
        let after = [port(lab, from.0), port(lab, to.0)];
        let grown = |side: usize, name| count(&after[side], name) - count(&before[side], name);
        for (side, packets, frames) in [(0, "rxPackets", "rxFrames"), (1, "txPackets", "txFrames")]
        {
            let (packets, frames) = (grown(side, packets), grown(side, frames));
            assert!(
                packets >= PACKETS,
                "{packets} packets from {} to {}",
                from.0,
                to.0
            );
            assert!(
                frames < PACKETS / 2,
                "{frames} frames for {packets} packets from {} to {}",
                from.0,
                to.0
            );
        }
    }
}

#[test]
fn super_packets_cross_between_layers_whole_and_both_ways() {
    if !can_build_labs("super_packets_cross_between_layers") {
        return;
    }
    let lab = Lab::up(&topology("tun-and-tap"), "ports");
    assert_eq!(port(&lab, "ann")["kind"], "tap");
    assert_eq!(port(&lab, "tim")["kind"], "tun");
    let (ann, tim) = (("ann", "10.0.1.1"), ("tim", "10.0.1.2"));
    super_packets_cross(&lab, ann, tim);
    let (ann, ted) = (("ann", "2001:db8:1::1"), ("ted", "2001:db8:2::2"));
    super_packets_cross(&lab, ann, ted);
    // What is too large for the way is cut by its sender, who hears of it.
    transfer(&lab, "ann", "tom", "10.0.1.4");
    transfer(&lab, "ted", "bob", "2001:db8:1::3");
    let fits = lab.exec("tim", ["ping", "-c1", "-Mdo", "-s1272", "10.0.1.3"]);
    assert!(fits.status.success(), "{}", text(&fits));
    let too_large = lab.exec("tim", ["ping", "-c1", "-Mdo", "-s1273", "10.0.1.3"]);
    assert!(!too_large.status.success(), "{}", text(&too_large));
    assert!(text(&too_large).contains("1300"), "{}", text(&too_large));
}

/// Hosts of every kind at one switch.
const KINDS: &str = "
name: kinds
topology:
  nodes:
    west: { kind: switch }
    vera: { kind: host, port: veth, ip: [10.0.1.1/24, '2001:db8:1::1/64'] }
    vic: { kind: host, port: veth, ip: [10.0.1.2/24, '2001:db8:1::2/64'] }
    tia: { kind: host, port: tap, ip: [10.0.1.3/24, '2001:db8:1::3/64'] }
    tim: { kind: host, port: tun, ip: [10.0.1.4/24, '2001:db8:1::4/64'] }
";

#[test]
fn super_packets_cross_packet_sockets_whole_and_both_ways() {
    if !can_build_labs("super_packets_cross_packet_sockets") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kinds.yaml");
    std::fs::write(&file, KINDS).unwrap();
    let lab = Lab::up(&file, "ports-kinds");
    assert_eq!(port(&lab, "vera")["kind"], "packetSocket");
    super_packets_cross(&lab, ("vera", "10.0.1.1"), ("vic", "10.0.1.2"));
    super_packets_cross(&lab, ("vera", "2001:db8:1::1"), ("tia", "2001:db8:1::3"));
    super_packets_cross(&lab, ("vera", "10.0.1.1"), ("tim", "10.0.1.4"));
    // What a host says before the switch has a pipeline and its entries is lost, and nothing else.
    let drops = port(&lab, "vera")["counters"]["drops"].clone();
    let reasons = drops.as_object().unwrap().keys();
    let early = ["no-pipeline", "no-network"];
    let others: Vec<_> = reasons
        .filter(|reason| !early.contains(&reason.as_str()))
        .collect();
    assert!(others.is_empty(), "{drops}");
}

#[test]
fn vlan_tags_pass_packet_sockets() {
    if !can_build_labs("vlan_tags_pass_packet_sockets") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kinds.yaml");
    std::fs::write(&file, KINDS).unwrap();
    let lab = Lab::up(&file, "ports-vlan");
    // The kernel here may have no VLAN devices, so frames are written and read by packet sockets of the hosts.
    const LISTEN: &str = "
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('eth0', 0)); s.settimeout(10)
s.setsockopt(263, 8, 1)
print('ready', flush=True)
while True:
    frame, told, _, _ = s.recvmsg(2000, 256)
    if b'tagged payload' in frame:
        status, _, _, _, _, tci, tpid = struct.unpack('IIIHHHH', told[0][2])
        print(frame[12:14].hex(), tci, hex(tpid))
        break";
    const SEND: &str = "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
mac = bytes.fromhex(open('/sys/class/net/eth0/address').read().strip().replace(':', ''))
s.send(bytes([255] * 6) + mac + bytes.fromhex('8100002a88b5') + b'tagged payload' * 8)";
    for (from, to) in [("vera", "vic"), ("vic", "tia"), ("tia", "vera")] {
        let mut listener = Command::new(weft_binary())
            .args([
                "exec",
                "--lab",
                lab.name(),
                to,
                "--",
                "python3",
                "-c",
                LISTEN,
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(listener.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "ready");
        let sent = lab.exec(from, ["python3", "-c", SEND]);
        assert!(sent.status.success(), "{}", text(&sent));
        let seen = said.next().unwrap().unwrap();
        assert_eq!(seen, "88b5 42 0x8100", "{from} to {to}");
        assert!(listener.wait().unwrap().success());
    }
}

#[test]
fn a_tun_host_sees_an_interface_without_neighbours() {
    if !can_build_labs("a_tun_host_sees") {
        return;
    }
    let lab = Lab::up(&topology("tun-and-tap"), "ports-tun");
    let see = |command: &str| {
        let seen = lab.exec("ted", ["sh", "-c", command]);
        assert!(seen.status.success(), "{}", text(&seen));
        String::from_utf8(seen.stdout).unwrap().trim().to_owned()
    };
    // ARPHRD_NONE; IFF_NOARP 0x80 and IFF_POINTOPOINT 0x10.
    assert_eq!(see("cat /sys/class/net/eth0/type"), "65534");
    let flags = see("cat /sys/class/net/eth0/flags");
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap();
    assert_eq!(flags & 0x90, 0x90, "{flags:#x}");
    // A default route without a gateway.
    let routes = see("cat /proc/net/route");
    assert!(routes.contains("eth0\t00000000\t00000000\t"), "{routes}");
    // Its neighbours reach it by the router's address.
    let ping = lab.exec("ann", ["ping", "-c1", "10.0.1.2"]);
    assert!(ping.status.success(), "{}", text(&ping));
    let known = lab.exec("ann", ["cat", "/proc/net/arp"]);
    let known = String::from_utf8(known.stdout).unwrap();
    let tim = known.lines().find(|line| line.starts_with("10.0.1.2 "));
    assert!(tim.unwrap().contains("02:57:46:54:00:fe"), "{known}");
}
