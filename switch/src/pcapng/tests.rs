//! What is written is read back by a reader that follows the format's text, not the writer.

use proptest::prelude::*;

use super::*;

/// A block: its type and its body.
type Block = (u32, Vec<u8>);

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn blocks(mut file: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let len = usize::try_from(u32_at(file, 4)).unwrap();
        assert_eq!(len % 4, 0);
        assert_eq!(u32_at(file, len - 4), u32_at(file, 4));
        blocks.push((u32_at(file, 0), file[8..len - 4].to_vec()));
        file = &file[len..];
    }
    blocks
}

/// The options of a block, from where they begin; they end with the block.
fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut options = Vec::new();
    loop {
        let code = u16::from_le_bytes([bytes[0], bytes[1]]);
        let len = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
        if code == 0 {
            assert_eq!(bytes.len(), 4);
            return options;
        }
        options.push((code, bytes[4..4 + len].to_vec()));
        bytes = &bytes[4 + len.next_multiple_of(4)..];
    }
}

/// Time, flags and bytes of each packet block.
fn packets(blocks: &[Block]) -> Vec<(u64, u32, Vec<u8>)> {
    let packets = blocks.iter().filter(|(kind, _)| *kind == 6);
    packets
        .map(|(_, body)| {
            assert_eq!(u32_at(body, 0), 0, "the only interface");
            let time = u64::from(u32_at(body, 4)) << 32 | u64::from(u32_at(body, 8));
            let len = usize::try_from(u32_at(body, 12)).unwrap();
            assert_eq!(u32_at(body, 12), u32_at(body, 16), "nothing is cut");
            let options = options(&body[20 + len.next_multiple_of(4)..]);
            let (code, flags) = &options[0];
            assert_eq!((options.len(), *code), (1, 2));
            (time, u32_at(flags, 0), body[20..20 + len].to_vec())
        })
        .collect()
}

const INTERFACE_OF_TEST: Interface<'static> = Interface {
    name: "leaf1:p1",
    description: "link x",
    link_type: LinkType::Ethernet,
};

#[test]
fn a_capture_says_who_made_it_where_and_what_was_lost() {
    let writer = Writer::new(Vec::new(), INTERFACE_OF_TEST).unwrap();
    let file = writer.finish(7, 3, 1).unwrap();
    let blocks = blocks(&file);
    let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [0x0a0d_0d0a, 1, 5]);
    assert_eq!(u32_at(&blocks[0].1, 0), 0x1a2b_3c4d);
    let interface = &blocks[1].1;
    assert_eq!(u32_at(interface, 0), 1, "Ethernet");
    let described = options(&interface[8..]);
    assert_eq!(described[0], (2, b"leaf1:p1".to_vec()));
    assert_eq!(described[1], (3, b"link x".to_vec()));
    assert_eq!(described[2], (9, vec![9]));
    let statistics = options(&blocks[2].1[12..]);
    assert_eq!(statistics[0], (4, 3u64.to_le_bytes().to_vec()));
    assert_eq!(statistics[1], (5, 1u64.to_le_bytes().to_vec()));
}

proptest! {
    #[test]
    fn frames_of_any_length_and_time_are_read_back(
        frames in prop::collection::vec(
            (any::<u64>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..70)),
            0..8,
        ),
    ) {
        let mut writer = Writer::new(Vec::new(), INTERFACE_OF_TEST).unwrap();
        for (time_ns, inbound, bytes) in &frames {
            let direction = if *inbound { Direction::Inbound } else { Direction::Outbound };
            writer.frame(Frame { time_ns: *time_ns, direction, bytes }).unwrap();
        }
        let file = writer.finish(0, 0, 0).unwrap();
        let expected: Vec<_> = frames
            .into_iter()
            .map(|(time, inbound, bytes)| (time, if inbound { 1 } else { 2 }, bytes))
            .collect();
        prop_assert_eq!(packets(&blocks(&file)), expected);
    }
}
