use etherparse::{Ipv4Slice, PacketBuilder};
use proptest::prelude::*;

use super::*;

/// An IPv4 packet behind Ethernet, with options.
fn frame(options: &[u8], word: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
        .udp(1, 2)
        .write(&mut frame, payload)
        .unwrap();
    frame.splice(34..34, options.iter().copied());
    let header_len = 20 + options.len();
    frame[14] = 0x40 | low_nibble(header_len / 4);
    let total = length(frame.len() - 14);
    put16(&mut frame, 16, total);
    put16(&mut frame, 18, 0xbeef);
    put16(&mut frame, 20, word);
    put16(&mut frame, 24, 0);
    let sum = checksum::sum(&frame[14..14 + header_len]);
    put16(&mut frame, 24, checksum::finish(sum));
    frame
}

fn fragments(frame: &[u8], size: usize) -> Option<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    let packet = Packet::from_bytes(frame);
    let done = fragment(packet, true, size, &mut Pool::default(), &mut out);
    assert_eq!(done, !out.is_empty());
    done.then(|| out.iter().map(Packet::to_vec).collect())
}

/// Offset, more fragments, options and payload of a fragment, read by somebody else.
fn read(frame: &[u8]) -> (usize, bool, Vec<u8>, Vec<u8>) {
    let slice = Ipv4Slice::from_slice(&frame[14..]).unwrap();
    let header = slice.header();
    assert_eq!(
        header.to_header().calc_header_checksum(),
        header.header_checksum()
    );
    assert_eq!((header.identification(), header.ttl()), (0xbeef, 9));
    assert_eq!(
        &frame[..14],
        &[[4; 6], [2; 6]]
            .concat()
            .into_iter()
            .chain([8, 0])
            .collect::<Vec<_>>()
    );
    let offset = usize::from(header.fragments_offset().value()) * 8;
    let payload = slice.payload().payload.to_vec();
    (
        offset,
        header.more_fragments(),
        header.options().to_vec(),
        payload,
    )
}

#[test]
fn options_that_say_so_are_in_every_fragment_and_the_others_in_the_first_only() {
    // Record route is in the first fragment, strict source route in all (RFC 791 §3.1).
    let record = [7, 7, 4, 0, 0, 0, 0];
    let source = [0x89, 7, 8, 1, 2, 3, 4];
    let options = [&record[..], &source, &[1, 0]].concat();
    let got = fragments(&frame(&options, 0, &[5; 200]), 100).unwrap();
    let read: Vec<_> = got.iter().map(|frame| read(frame)).collect();
    assert_eq!(read[0].2, options);
    for later in &read[1..] {
        assert_eq!(later.2, [&source[..], &[0]].concat());
    }
}

#[test]
fn padding_of_the_frame_is_no_payload() {
    let mut padded = frame(&[], 0, &[5; 4]);
    let whole = padded.clone();
    padded.resize(60, 0xee);
    assert_eq!(fragments(&padded, 1500).unwrap(), [padded.clone()]);
    let got = fragments(&padded, 28).unwrap();
    let payload: Vec<u8> = got.iter().flat_map(|frame| read(frame).3).collect();
    assert_eq!(payload, whole[34..]);
}

#[test]
fn what_is_no_ipv4_packet_or_leaves_no_room_is_refused() {
    assert_eq!(fragments(&frame(&[], 0, &[5; 100]), 27), None);
    let mut ipv6 = frame(&[], 0, &[5; 100]);
    ipv6[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
    assert_eq!(fragments(&ipv6, 100), None);
    assert_eq!(fragments(&[0; 10], 100), None);
}

proptest! {
    #[test]
    fn fragments_put_together_are_the_packet(
        payload in proptest::collection::vec(any::<u8>(), 0..4000),
        size in 28usize..1600,
        is_fragment in any::<bool>(),
        words in 0usize..3,
    ) {
        let word = if is_fragment { 0x2000 | 100 } else { 0 };
        let sent = frame(&vec![1; words * 4], word, &payload);
        let Some(got) = fragments(&sent, size) else {
            prop_assert!(size < 28 + words * 4);
            return Ok(());
        };
        let first = usize::from(word & OFFSET) * 8;
        let (mut next, mut whole) = (first, Vec::new());
        for (index, frame) in got.iter().enumerate() {
            prop_assert!(got.len() == 1 || frame.len() - 14 <= size);
            let (offset, more, _, payload) = read(frame);
            prop_assert_eq!(offset, next);
            prop_assert_eq!(more, is_fragment || index + 1 < got.len());
            next += payload.len();
            whole.extend(payload);
        }
        prop_assert_eq!(&whole, &sent[34 + words * 4..]);
    }
}
