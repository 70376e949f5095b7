//! Truncated, garbage and oversized frames from a host are counted drops with reasons, and the switch goes on.

use weft_tests::{Lab, can_build_labs, text, topology};

/// Sends hostile frames from a host's interface; the seed makes every run the same.
const SENDER: &str = r#"
import random, socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
own = s.getsockname()[4]
r = random.Random(7)
eth = lambda kind: b"\xff" * 6 + own + struct.pack("!H", kind)
def send(frame):
    try: s.send(frame)
    except OSError: pass                       # the kernel itself refuses some of them
for _ in range(200):
    send(eth(0x0800) + r.randbytes(r.randrange(0, 20)))          # IPv4 cut short
    send(eth(0x0806) + r.randbytes(r.randrange(0, 27)))          # ARP cut short
    send(eth(0x8847) + r.randbytes(r.randrange(0, 200)))         # labels from a host
    send(eth(0x8100) + r.randbytes(r.randrange(0, 4)))           # a tag cut short
    send(r.randbytes(r.randrange(14, 1514)))                     # garbage
    send(eth(0x0800) + bytes([0x4f]) + r.randbytes(30))          # options that are not there
"#;

#[test]
fn hostile_frames_are_counted_and_harmless() {
    if !can_build_labs("hostile_frames") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "hostile");
    let sent = lab.exec("alice", ["python3", "-c", SENDER]);
    assert!(sent.status.success(), "{}", text(&sent));

    let port = lab.get("/v1/switches/s1/ports/p1");
    let drops = port["counters"]["drops"]
        .as_object()
        .expect("drops are a map")
        .clone();
    let count = |reason: &str| {
        drops
            .get(reason)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0)
    };
    assert!(count("truncated") >= 600, "{port:#}");
    let total: u64 = drops.values().filter_map(serde_json::Value::as_u64).sum();
    let received = port["counters"]["rxFrames"]
        .as_u64()
        .expect("frames are counted");
    assert!(total >= 800 && total <= received, "{port:#}");

    let ping = lab.exec("alice", ["ping", "-c3", "-i0.01", "-W1", "10.0.0.2"]);
    assert!(ping.status.success(), "{}", text(&ping));
}
