//! Ports with files: captures are replayed into a switch, and what leaves is recorded.

use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use weft_switch::host::HostError;
use weft_switch::pcapng::{Captured, Direction, Frame, Interface, LinkType, Reader, Writer};
use weft_switch::port::pcap::{Pace, PcapError, Record, Replay};

use crate::client::{Lab, at, forward, frame, insert, switches};

/// A capture with a nanosecond between frames, or as many as `apart`.
fn capture(frames: &[Vec<u8>], link_type: LinkType, apart: u64) -> Vec<u8> {
    let interface = Interface {
        name: "test",
        description: "",
        link_type,
    };
    let mut writer = Writer::new(Vec::new(), interface).unwrap();
    for (time_ns, bytes) in (1..).zip(frames) {
        let direction = match time_ns % 2 {
            1 => Direction::Inbound,
            _ => Direction::Outbound,
        };
        let time_ns = time_ns * apart;
        writer
            .frame(Frame {
                time_ns,
                direction,
                bytes,
            })
            .unwrap();
    }
    writer.finish(0, 0, 0).unwrap()
}

fn replay(file: Vec<u8>) -> Option<Replay> {
    Some(Replay {
        file: Box::new(Cursor::new(file)),
        only: None,
        pace: Pace::AtOnce,
    })
}

/// A file that is looked at when it has been written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn record(&self) -> Option<Record> {
        Some(Record {
            file: Box::new(self.clone()),
            name: "s1:p2".to_owned(),
        })
    }

    fn read(&self) -> Vec<Captured> {
        let file = self.0.lock().unwrap();
        let mut reader = Reader::new(&file[..]).unwrap();
        std::iter::from_fn(|| reader.frame().unwrap()).collect()
    }
}

fn frames(count: u16) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| frame(0x0800, &number.to_be_bytes().repeat(30)))
        .collect()
}

/// A switch that sends from port 1 to port 2.
async fn lab() -> Lab {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let entries = [insert(forward(1, "send", &[2]))];
    lab.write(1, &entries).await.unwrap();
    lab
}

#[tokio::test]
async fn what_is_replayed_leaves_in_order_and_is_recorded() {
    let lab = lab().await;
    let paper = Paper::default();
    let sent = frames(3000);
    let two = lab
        .host
        .attach_pcap(at(1, 2), None, paper.record())
        .unwrap();
    let file = capture(&sent, LinkType::Ethernet, 1);
    let mut one = lab.host.attach_pcap(at(1, 1), replay(file), None).unwrap();
    assert_eq!(one.replayed().unwrap(), 3000);
    // Every worker has passed the last frame when this returns.
    lab.host.detach(at(1, 1)).unwrap();
    assert_eq!(two.finish().unwrap(), 3000);
    let recorded = paper.read();
    assert_eq!(recorded.len(), sent.len());
    for (recorded, sent) in recorded.iter().zip(&sent) {
        assert_eq!(recorded.bytes, *sent);
        assert_eq!(recorded.link_type, Some(LinkType::Ethernet));
        assert_eq!(recorded.direction, Some(Direction::Outbound));
    }
    // A port whose record has ended refuses.
    let file = capture(&frames(5), LinkType::Ethernet, 1);
    let mut one = lab.host.attach_pcap(at(1, 1), replay(file), None).unwrap();
    assert_eq!(one.replayed().unwrap(), 5);
    lab.host.detach(at(1, 1)).unwrap();
    let drops = lab.host.counters(at(1, 2)).unwrap();
    assert_eq!(drops.drops().map(|(_, count)| count).sum::<u64>(), 5);
}

#[tokio::test]
async fn a_long_capture_waits_for_the_switch() {
    let lab = lab().await;
    let sent = frames(20_000);
    let file = capture(&sent, LinkType::Ethernet, 1);
    let mut one = lab.host.attach_pcap(at(1, 1), replay(file), None).unwrap();
    assert_eq!(one.replayed().unwrap(), 20_000);
    lab.host.detach(at(1, 1)).unwrap();
    assert_eq!(lab.host.counters(at(1, 1)).unwrap().rx().frames, 20_000);
    one.finish().unwrap();
}

#[tokio::test]
async fn one_direction_of_a_capture_can_be_replayed() {
    let lab = lab().await;
    let file = capture(&frames(7), LinkType::Ethernet, 1);
    let replay = Replay {
        file: Box::new(Cursor::new(file)),
        only: Some(Direction::Inbound),
        pace: Pace::AtOnce,
    };
    let mut one = lab.host.attach_pcap(at(1, 1), Some(replay), None).unwrap();
    assert_eq!(one.replayed().unwrap(), 4);
}

#[tokio::test]
async fn a_pause_of_hours_ends_with_the_port() {
    let lab = lab().await;
    let file = capture(&frames(2), LinkType::Ethernet, 3_600_000_000_000);
    let replay = Replay {
        file: Box::new(Cursor::new(file)),
        only: None,
        pace: Pace::AsRecorded,
    };
    let one = lab.host.attach_pcap(at(1, 1), Some(replay), None).unwrap();
    let counters = lab.host.counters(at(1, 1)).unwrap();
    let deadline = tokio::time::Instant::now() + crate::client::SOON;
    while counters.rx().frames == 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    one.finish().unwrap();
    assert_eq!(counters.rx().frames, 1);
}

#[tokio::test]
async fn what_the_port_does_not_carry_is_told() {
    let lab = lab().await;
    let ip = vec![vec![0x45; 40]];
    let mut one = lab
        .host
        .attach_pcap(at(1, 1), replay(capture(&ip, LinkType::Raw, 1)), None)
        .unwrap();
    let wrong = one.replayed().unwrap_err();
    assert!(
        matches!(wrong, PcapError::WrongLinkType { number: 1 }),
        "{wrong}"
    );
    let taken = lab.host.attach_pcap(at(1, 1), None, None);
    assert!(matches!(taken, Err(HostError::PortInUse { .. })));
    lab.host.detach(at(1, 1)).unwrap();
    let mut one = lab
        .host
        .attach_pcap(at(1, 1), replay(b"not a capture".to_vec()), None)
        .unwrap();
    assert!(matches!(one.replayed(), Err(PcapError::Read(_))));
}
