//! `weft.node.v1` over the wire.

use tonic::Code;
use weft_proto::node::v1 as node;
use weft_proto::node::v1::port::{Kind, State};

use crate::client::{A_WHILE, Lab, SOON, at, deny, forward, frame, insert, link, switches};
use weft_switch::host::Config;

fn pair() -> Config {
    let mut config = switches(2, 2);
    config.links = vec![
        link("trunk", at(1, 2), Some(at(2, 2))),
        link("h1", at(1, 1), None),
    ];
    config
}

async fn inventory(lab: &Lab) -> node::Inventory {
    let request = node::GetInventoryRequest {};
    lab.node
        .clone()
        .get_inventory(request)
        .await
        .unwrap()
        .into_inner()
}

async fn set_link(lab: &Lab, name: &str, state: State) -> Result<(), tonic::Status> {
    let request = node::SetLinkRequest {
        link: name.into(),
        state: state.into(),
    };
    lab.node.clone().set_link(request).await.map(|_| ())
}

#[tokio::test]
async fn the_inventory_lists_switches_ports_and_links() {
    let lab = Lab::start(pair()).await;
    let _port = lab.host.attach_memory(at(1, 1)).unwrap();
    let inventory = inventory(&lab).await;
    assert_eq!(inventory.boot_id, "boot");
    let [s1, s2] = <[node::Switch; 2]>::try_from(inventory.switches).unwrap();
    assert_eq!((s1.name.as_str(), s1.device_id), ("s1", 1));
    assert_ne!(s1.boot_id, s2.boot_id);
    let ports: Vec<_> = s1
        .ports
        .iter()
        .chain(&s2.ports)
        .map(|port| (port.number, port.kind(), port.state(), port.mtu))
        .collect();
    assert_eq!(
        ports,
        [
            (1, Kind::Memory, State::Up, 1500),
            (2, Kind::Patch, State::Up, 1500),
            (1, Kind::Unspecified, State::Down, 1500),
            (2, Kind::Patch, State::Up, 1500),
        ]
    );
    let [h1, trunk] = <[node::Link; 2]>::try_from(inventory.links).unwrap();
    assert_eq!((h1.name.as_str(), h1.b), ("h1", None));
    let end = node::Endpoint {
        device_id: 2,
        port: 2,
    };
    assert_eq!((trunk.name.as_str(), trunk.b), ("trunk", Some(end)));
}

#[tokio::test]
async fn a_link_that_goes_down_stops_packets_and_is_announced() {
    let lab = Lab::start(pair()).await;
    let near = lab.host.attach_memory(at(1, 1)).unwrap();
    let far = lab.host.attach_memory(at(2, 1)).unwrap();
    let _primaries = (lab.own(1).await, lab.own(2).await);
    lab.write(1, &[insert(forward(1, "send", &[2]))])
        .await
        .unwrap();
    lab.write(2, &[insert(forward(2, "send", &[1]))])
        .await
        .unwrap();
    let request = node::WatchEventsRequest {};
    let mut events = lab
        .node
        .clone()
        .watch_events(request)
        .await
        .unwrap()
        .into_inner();
    let snapshot = events.message().await.unwrap().unwrap();
    assert!(matches!(
        snapshot.event,
        Some(node::event::Event::Snapshot(_))
    ));

    set_link(&lab, "trunk", State::Down).await.unwrap();
    near.send(&frame(0x0800, b"lost"));
    assert_eq!(far.receive(A_WHILE), None);
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(events.message().await.unwrap().unwrap().event.unwrap());
    }
    match &told[..] {
        [
            node::event::Event::LinkChanged(link),
            node::event::Event::PortChanged(a),
            node::event::Event::PortChanged(b),
        ] => {
            assert_eq!(link.link.as_ref().unwrap().state(), State::Down);
            assert_eq!((a.device_id, b.device_id), (1, 2));
            assert_eq!(a.port.as_ref().unwrap().state(), State::Down);
        }
        other => panic!("unexpected events {other:?}"),
    }
    set_link(&lab, "trunk", State::Down).await.unwrap();
    set_link(&lab, "trunk", State::Up).await.unwrap();
    near.send(&frame(0x0800, b"found"));
    assert_eq!(far.receive(SOON), Some(frame(0x0800, b"found")));
    let next = events.message().await.unwrap().unwrap().event.unwrap();
    assert!(matches!(next, node::event::Event::LinkChanged(link)
        if link.link.as_ref().unwrap().state() == State::Up));

    let request = node::GetPortCountersRequest { device_id: 1 };
    let counters = lab.node.clone().get_port_counters(request).await.unwrap();
    let port = &counters.get_ref().ports[0];
    assert_eq!((port.rx_frames, port.drops.len()), (2, 1));
    assert_eq!(port.drops.get("port-down"), Some(&1));

    let unknown = set_link(&lab, "nowhere", State::Up).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let missing = set_link(&lab, "trunk", State::Unspecified)
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_recorder_tells_the_path_of_what_it_was_asked_for() {
    let lab = Lab::start(pair()).await;
    let near = lab.host.attach_memory(at(1, 1)).unwrap();
    let far = lab.host.attach_memory(at(2, 1)).unwrap();
    let _primaries = (lab.own(1).await, lab.own(2).await);
    lab.write(1, &[insert(forward(1, "send", &[2]))])
        .await
        .unwrap();
    let entries = [
        insert(forward(2, "send", &[1])),
        insert(deny(0x86dd, 1, "refuse")),
    ];
    lab.write(2, &entries).await.unwrap();

    let filter = node::PathFilter {
        destination: vec![10, 0, 0, 2].into(),
        ip_proto: 17,
        destination_port: 53,
        ..node::PathFilter::default()
    };
    let request = node::StartPathRecorderRequest {
        filter: Some(filter),
        limit: 3,
    };
    let mut client = lab.node.clone();
    let recorder = client.start_path_recorder(request).await.unwrap();
    let recorder_id = recorder.get_ref().recorder_id;
    let udp = |port: u8| {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([0x80, 0, 0, port, 0, 8, 0, 0]);
        frame(0x0800, &packet)
    };
    for port in [53, 80, 53, 53, 53] {
        near.send(&udp(port));
        far.receive(SOON).unwrap();
    }
    let request = node::TakeRecordedPathsRequest {
        recorder_id,
        stop: false,
    };
    let taken = client
        .take_recorded_paths(request)
        .await
        .unwrap()
        .into_inner();
    let [path] = <[node::RecordedPath; 1]>::try_from(taken.paths).unwrap();
    assert_eq!((path.packets, taken.missed), (3, 1));
    assert_eq!(path.source, vec![10, 0, 0, 1]);
    assert_eq!((path.source_port, path.destination_port), (0x8000, 53));
    assert_eq!(path.drop_reason, "");
    let hops: Vec<_> = path
        .hops
        .iter()
        .map(|hop| (hop.device_id, hop.in_port, hop.out_port))
        .collect();
    assert_eq!(hops, [(1, 1, 2), (2, 2, 1)]);

    let stop = node::TakeRecordedPathsRequest {
        recorder_id,
        stop: true,
    };
    client.take_recorded_paths(stop).await.unwrap();
    let gone = client.take_recorded_paths(stop).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);

    let all = node::StartPathRecorderRequest::default();
    let recorder_id = client
        .start_path_recorder(all)
        .await
        .unwrap()
        .get_ref()
        .recorder_id;
    near.send(&frame(0x86dd, &[0; 40]));
    assert_eq!(far.receive(A_WHILE), None);
    let stop = node::TakeRecordedPathsRequest {
        recorder_id,
        stop: true,
    };
    let taken = client.take_recorded_paths(stop).await.unwrap().into_inner();
    let [path] = <[node::RecordedPath; 1]>::try_from(taken.paths).unwrap();
    assert_eq!(path.drop_reason, "refused");
    assert_eq!(path.hops.last().unwrap().out_port, 0);
}

#[tokio::test]
async fn fingerprints_follow_content_and_not_order() {
    let lab = Lab::start(switches(2, 1)).await;
    let _primaries = (lab.own(1).await, lab.own(2).await);
    let mut entries = [
        insert(forward(1, "send", &[2])),
        insert(forward(2, "send", &[1])),
        insert(deny(0x0800, 1, "pass")),
    ];
    lab.write(1, &entries).await.unwrap();
    entries.reverse();
    lab.write(2, &entries[..2]).await.unwrap();
    let fingerprints = async |device_id| {
        let request = node::GetFingerprintsRequest { device_id };
        let answer = lab.node.clone().get_fingerprints(request).await.unwrap();
        answer.into_inner().tables
    };
    assert_ne!(fingerprints(1).await, fingerprints(2).await);
    lab.write(2, &entries[2..]).await.unwrap();
    let both = fingerprints(1).await;
    assert_eq!(both, fingerprints(2).await);
    assert_eq!(both.iter().map(|table| table.entries).sum::<u64>(), 3);
}

#[tokio::test]
async fn a_claim_is_remembered_and_one_behind_it_refused() {
    let lab = Lab::start(switches(1, 0)).await;
    let claim = async |epoch, revision| {
        let request = node::ClaimRequest {
            device_id: 1,
            cluster_id: "c".into(),
            epoch,
            revision,
        };
        lab.node.clone().claim(request).await.unwrap().into_inner()
    };
    assert!(claim(2, 10).await.accepted);
    let refused = claim(1, 99).await;
    assert_eq!(
        (refused.accepted, refused.epoch, refused.revision),
        (false, 2, 10)
    );
}

#[tokio::test]
async fn a_capture_shows_what_passes_a_port_both_ways_until_its_reader_goes() {
    let lab = Lab::start(pair()).await;
    let near = lab.host.attach_memory(at(1, 1)).unwrap();
    let far = lab.host.attach_memory(at(2, 1)).unwrap();
    let _primaries = (lab.own(1).await, lab.own(2).await);
    for (device, from, to) in [(1, 1, 2), (1, 2, 1), (2, 1, 2), (2, 2, 1)] {
        lab.write(device, &[insert(forward(from, "send", &[to]))])
            .await
            .unwrap();
    }
    let request = |device_id, port| node::CaptureRequest {
        port: Some(node::Endpoint { device_id, port }),
        filter: None,
    };
    let mut trunk = (lab.node.clone().capture(request(1, 2)).await.unwrap()).into_inner();
    near.send(&frame(0x0800, b"there"));
    assert_eq!(far.receive(SOON), Some(frame(0x0800, b"there")));
    far.send(&frame(0x0800, b"back"));
    assert_eq!(near.receive(SOON), Some(frame(0x0800, b"back")));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let message = trunk.message().await.unwrap().unwrap();
        assert_eq!(message.dropped, 0);
        seen.extend(message.frames);
    }
    assert!(seen[0].time_ns <= seen[1].time_ns);
    let seen: Vec<_> = (seen.iter())
        .map(|seen| (seen.direction(), seen.frame.to_vec()))
        .collect();
    use node::captured_frame::Direction;
    assert_eq!(
        seen,
        [
            (Direction::Outbound, frame(0x0800, b"there")),
            (Direction::Inbound, frame(0x0800, b"back")),
        ]
    );

    drop(trunk);

    let unknown = lab.node.clone().capture(request(1, 9)).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    let mut wrong = request(1, 1);
    wrong.filter = Some(node::CaptureFilter {
        port: 70_000,
        ..node::CaptureFilter::default()
    });
    let wrong = lab.node.clone().capture(wrong).await;
    assert_eq!(wrong.unwrap_err().code(), Code::InvalidArgument);
}
