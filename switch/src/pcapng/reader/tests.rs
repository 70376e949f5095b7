//! What the writer wrote, what others wrote, and what nobody should have written.

use proptest::prelude::*;

use super::super::{Frame, Interface, Writer};
use super::*;

fn read(file: &[u8]) -> Result<Vec<Captured>, ReadError> {
    let mut reader = Reader::new(file)?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn write(link_type: LinkType, frames: &[(u64, Direction, Vec<u8>)]) -> Vec<u8> {
    let interface = Interface {
        name: "p1",
        description: "",
        link_type,
    };
    let mut writer = Writer::new(Vec::new(), interface).unwrap();
    for (time_ns, direction, bytes) in frames {
        let (time_ns, direction) = (*time_ns, *direction);
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

/// A block in big-endian order.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 12).unwrap().to_be_bytes();
    [&kind.to_be_bytes()[..], &len, body, &len].concat()
}

#[test]
fn pcap_of_both_byte_orders_and_resolutions_is_read() {
    for (magic, fraction) in [(MICROSECONDS, 5_000), (NANOSECONDS, 5_000_000)] {
        let header = [magic, 0x0002_0004, 0, 0, 65_535, 101];
        let packet = [7, fraction, 3, 9];
        let expected = Captured {
            time_ns: 7_005_000_000,
            link_type: Some(LinkType::Raw),
            direction: None,
            bytes: vec![1, 2, 3],
            original_len: 9,
        };
        for order in [u32::to_be_bytes, u32::to_le_bytes] {
            let words = header.iter().chain(&packet);
            let mut file: Vec<u8> = words.flat_map(|word| order(*word)).collect();
            file.extend([1, 2, 3]);
            assert_eq!(read(&file).unwrap(), std::slice::from_ref(&expected));
        }
    }
}

#[test]
fn big_endian_sections_simple_packets_and_unknown_blocks_are_read() {
    let section = block(
        SECTION_HEADER,
        &[&BYTE_ORDER.to_be_bytes()[..], &[0, 1, 0, 0], &[0xff; 8]].concat(),
    );
    // Ethernet, at most 4 bytes kept, resolution 2^-2 seconds.
    let interface = block(
        INTERFACE,
        &[0, 1, 0, 0, 0, 0, 0, 4, 0, 9, 0, 1, 0x82, 0, 0, 0],
    );
    let unknown = block(0x0bad, &[1, 2, 3, 4]);
    let simple = block(SIMPLE_PACKET, &[0, 0, 0, 9, 1, 2, 3, 4]);
    let packet = [[0; 4], [0; 4], [0, 0, 0, 6], [0, 0, 0, 2], [0, 0, 0, 2]].concat();
    let packet = block(PACKET, &[&packet[..], &[8, 9, 0, 0]].concat());
    let file = [&section[..], &interface, &unknown, &simple, &packet].concat();
    let frames = read(&file).unwrap();
    assert_eq!(frames.len(), 2);
    assert_eq!(
        (&frames[0].bytes[..], frames[0].original_len),
        (&[1, 2, 3, 4][..], 9)
    );
    assert_eq!(
        (&frames[1].bytes[..], frames[1].time_ns),
        (&[8, 9][..], 1_500_000_000)
    );
    // A new section forgets the interfaces.
    let again = [&file[..], &section, &packet].concat();
    assert!(matches!(
        read(&again),
        Err(ReadError::Broken { block: 6, .. })
    ));
}

#[test]
fn what_is_no_capture_is_told() {
    assert!(matches!(read(b"GIF89a"), Err(ReadError::NotACapture)));
    assert!(matches!(read(b""), Err(ReadError::Io(_))));
    let mut file = write(LinkType::Ethernet, &[(1, Direction::Inbound, vec![0; 60])]);
    file.truncate(file.len() - 5);
    assert!(matches!(read(&file), Err(ReadError::Io(_))));
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        raw in any::<bool>(),
        frames in prop::collection::vec(
            (0..u64::MAX / 2, any::<bool>(), prop::collection::vec(any::<u8>(), 0..70)), 0..8),
    ) {
        let link_type = if raw { LinkType::Raw } else { LinkType::Ethernet };
        let frames: Vec<_> = frames.into_iter().map(|(time, inbound, bytes)| {
            (time, if inbound { Direction::Inbound } else { Direction::Outbound }, bytes)
        }).collect();
        let found = read(&write(link_type, &frames)).unwrap();
        prop_assert_eq!(found.len(), frames.len());
        for (found, (time_ns, direction, bytes)) in found.iter().zip(&frames) {
            prop_assert_eq!((found.time_ns, found.link_type), (*time_ns, Some(link_type)));
            prop_assert_eq!((found.direction, &found.bytes), (Some(*direction), bytes));
        }
    }

    #[test]
    fn any_bytes_end_in_frames_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        begin in prop_oneof![
            Just(vec![]),
            Just([&SECTION_HEADER.to_le_bytes()[..], &28u32.to_le_bytes(), &BYTE_ORDER.to_le_bytes(), &[1, 0, 0, 0], &[0xff; 8], &28u32.to_le_bytes()].concat()),
            Just([&MICROSECONDS.to_le_bytes()[..], &[0; 16], &[1, 0, 0, 0]].concat()),
        ],
        change in any::<(u8, u8)>(),
    ) {
        let _ = read(&[&begin[..], &bytes].concat());
        // A file that was right, with one byte changed.
        let mut file = write(LinkType::Ethernet, &[(1, Direction::Inbound, vec![7; 33])]);
        let at = usize::from(change.0) % file.len();
        file[at] = change.1;
        let _ = read(&file);
    }
}
