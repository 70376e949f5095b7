//! The example labs of `topologies/`, in process.

use std::collections::BTreeSet;
use std::path::Path;

use weft_controller::compile::GATEWAY_MAC;
use weft_controller::load;
use weft_controller::model::FabricMode;

use crate::frames::{self, Arp, BROADCAST, Ends};
use crate::lab::Lab;

fn labs() -> Vec<Lab> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // Folders hold what a topology needs besides.
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| {
            let bytes = std::fs::read(file).unwrap();
            load::model(&bytes, &file.to_string_lossy(), None).unwrap()
        })
        .filter(|model| model.fabric == FabricMode::Auto)
        .map(Lab::new)
        .collect()
}

#[test]
fn in_every_example_everybody_reaches_everybody_and_hears_broadcast_once() {
    let labs = labs();
    assert!(labs.len() >= 4);
    for mut lab in labs {
        let hosts: Vec<String> = lab.model.hosts.keys().cloned().collect();
        let has_v4 = |host: &&String| {
            let addresses = &lab.model.hosts[*host].interfaces[0].addresses;
            addresses.iter().any(|net| net.addr().is_ipv4())
        };
        let v4: Vec<String> = hosts.iter().filter(has_v4).cloned().collect();
        let bare: BTreeSet<String> = (hosts.iter())
            .filter(|host| !lab.interface(host).port_kind.is_l2())
            .cloned()
            .collect();
        for src in &v4 {
            for dst in v4.iter().filter(|dst| *dst != src) {
                reaches(&mut lab, src, dst, &bare);
            }
            if bare.contains(src) {
                continue;
            }
            let mut ends = lab.ends(src, src);
            ends.dst_mac = BROADCAST;
            let outcome = lab.send(src, &frames::udp(ends, (1, 2), b"all"));
            let others = (hosts.iter()).filter(|host| *host != src && !bare.contains(*host));
            let others: Vec<_> = others.collect();
            assert_eq!(outcome.hosts(), others, "{}", lab.model.name);
        }
    }
}

/// One host asks for another's MAC address and sends to it, where each has Ethernet; else the router stands between.
fn reaches(lab: &mut Lab, src: &str, dst: &str, bare: &BTreeSet<String>) {
    let name = lab.model.name.clone();
    let next = match bare.contains(dst) {
        true => GATEWAY_MAC,
        false => lab.mac(dst),
    };
    let ends = Ends {
        dst_mac: next,
        ..lab.ends(src, dst)
    };
    let frame = frames::echo_request(ends, 1);
    let sent = if bare.contains(src) {
        &frame[14..]
    } else {
        let request = Arp::request(lab.mac(src), lab.ip(src), lab.ip(dst));
        let outcome = lab.send(src, &request.to_bytes());
        let reply = Arp::parse(outcome.only(src)).unwrap();
        assert_eq!(reply.sha, next, "{name}");
        &frame[..]
    };
    let outcome = lab.send(src, sent);
    let got = outcome.only(dst);
    if bare.contains(src) || bare.contains(dst) {
        // From the addresses on: a router changes what is before them.
        let got = if bare.contains(dst) { got } else { &got[14..] };
        assert_eq!(got[12..], frame[26..], "{name}: {src} to {dst}");
    } else {
        assert_eq!(got, frame, "{name}: {src} to {dst}");
    }
    let visited: BTreeSet<_> = outcome.hops.iter().collect();
    assert_eq!(visited.len(), outcome.hops.len());
}
