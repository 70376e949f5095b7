//! The example labs of `topologies/`, in process.

use std::collections::BTreeSet;
use std::path::Path;

use weft_controller::load;
use weft_controller::model::FabricMode;

use crate::frames::{self, Arp, BROADCAST};
use crate::lab::Lab;

fn labs() -> Vec<Lab> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
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
        for src in &v4 {
            for dst in v4.iter().filter(|dst| *dst != src) {
                let request = Arp::request(lab.mac(src), lab.ip(src), lab.ip(dst));
                let outcome = lab.send(src, &request.to_bytes());
                let reply = Arp::parse(outcome.only(src)).unwrap();
                assert_eq!(reply.sha, lab.mac(dst), "{}", lab.model.name);
                let frame = frames::echo_request(lab.ends(src, dst), 1);
                let outcome = lab.send(src, &frame);
                assert_eq!(
                    outcome.only(dst),
                    frame,
                    "{}: {src} to {dst}",
                    lab.model.name
                );
                let visited: BTreeSet<_> = outcome.hops.iter().collect();
                assert_eq!(visited.len(), outcome.hops.len());
            }
            let mut ends = lab.ends(src, src);
            ends.dst_mac = BROADCAST;
            let outcome = lab.send(src, &frames::udp(ends, (1, 2), b"all"));
            let others: Vec<_> = hosts.iter().filter(|host| *host != src).collect();
            assert_eq!(outcome.hosts(), others, "{}", lab.model.name);
        }
    }
}
