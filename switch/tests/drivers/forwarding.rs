//! What packets do between the calls.

use weft_proto::codec::Query;
use weft_proto::p4::v1 as wire;
use weft_proto::vocab::MulticastGroupId;
use weft_switch::drops::DropReason;

use crate::client::{A_WHILE, Lab, SOON, at, forward, frame, group, insert, link, switches};
use crate::pipeline;

#[tokio::test]
async fn a_group_copies_to_every_port_but_that_of_entry() {
    let lab = Lab::start(switches(1, 3)).await;
    let ports: Vec<_> = (1..=3)
        .map(|port| lab.host.attach_memory(at(1, port)).unwrap())
        .collect();
    let _primary = lab.own(1).await;
    let batch = [group(4, &[1, 2, 3]), insert(forward(1, "replicate", &[4]))];
    lab.write(1, &batch).await.unwrap();
    let sent = frame(0x0806, &[1; 46]);
    ports[0].send(&sent);
    assert_eq!(ports[1].receive(SOON), Some(sent.clone()));
    assert_eq!(ports[2].receive(SOON), Some(sent));
    assert_eq!(ports[0].receive(A_WHILE), None);
    let groups = lab.read(1, &Query::Groups(Some(MulticastGroupId(4)))).await;
    assert_eq!(groups.len(), 1);
}

#[tokio::test]
async fn a_loop_of_links_ends_and_is_counted() {
    let mut config = switches(2, 3);
    config.links = vec![
        link("left", at(1, 2), Some(at(2, 2))),
        link("right", at(2, 3), Some(at(1, 3))),
    ];
    let lab = Lab::start(config).await;
    let port = lab.host.attach_memory(at(1, 1)).unwrap();
    for device in 1..=2 {
        let stream = lab.stream().await;
        stream.bid(device, 1);
        let config = Some(pipeline::config(7));
        let action = wire::set_forwarding_pipeline_config_request::Action::VerifyAndCommit;
        // The bid is on its way; whoever is not primary yet is told so.
        let mut stream = stream;
        stream.arbitration().await;
        lab.set_config(device, action, config).await.unwrap();
        let entries = [
            insert(forward(1, "send", &[2])),
            insert(forward(2, "send", &[3])),
            insert(forward(3, "send", &[2])),
        ];
        lab.write(device, &entries).await.unwrap();
        port.send(&frame(0x0800, b"round and round"));
    }
    assert_eq!(port.receive(A_WHILE), None);
    let dropped: u64 = [at(1, 2), at(1, 3), at(2, 2), at(2, 3)]
        .into_iter()
        .flat_map(|at| lab.host.counters(at).unwrap().drops().collect::<Vec<_>>())
        .filter(|&(reason, _)| reason == DropReason::HOP_LIMIT.0)
        .map(|(_, count)| count)
        .sum();
    assert_eq!(dropped, 1);
}

#[tokio::test]
async fn garbage_on_a_port_stops_nothing() {
    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    lab.write(1, &[insert(forward(1, "send", &[2]))])
        .await
        .unwrap();
    for len in 0..14 {
        one.send(&vec![0xff; len]);
    }
    let good = frame(0x0800, &[0; 46]);
    one.send(&good);
    assert_eq!(two.receive(SOON), Some(good));
    let counters = lab.host.counters(at(1, 1)).unwrap();
    let truncated = DropReason::TRUNCATED.0;
    assert_eq!(counters.drops().collect::<Vec<_>>(), [(truncated, 14)]);
}
