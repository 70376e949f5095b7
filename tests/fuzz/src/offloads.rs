//! What a kernel device hands over: a virtio-net header and a frame; through the pipeline, and cut for a device that takes
//! no offloads.

use std::cell::RefCell;

use weft_switch::datapath::Emit;
use weft_switch::packet::{Packet, Pool};
use weft_switch::segment;
use weft_switch::vnet::VnetHdr;

use crate::frames;

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// A byte for the port, one for how often the frame's last byte is repeated (so that small inputs make large frames), ten
/// of the virtio-net header, and the frame.
pub fn run(data: &[u8]) {
    let Some(([port, repeat], rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let Some((header, frame)) = rest.split_first_chunk::<{ VnetHdr::SIZE }>() else {
        return;
    };
    let mut frame = frame.to_vec();
    if let Some(last) = frame.last().copied() {
        frame.extend(std::iter::repeat_n(last, usize::from(*repeat) * 256));
    }
    POOL.with_borrow_mut(|pool| {
        for is_l2 in [true, false] {
            let mut packet = received(&frame, VnetHdr::parse(header), pool);
            if segment::validate(&mut packet, is_l2).is_ok() {
                cut(packet, is_l2, pool);
            }
        }
        let packet = received(&frame, VnetHdr::parse(header), pool);
        for emit in frames::send(*port, packet) {
            if let Emit::Port { packet, .. } = emit {
                // What the pipeline lets through was checked, and stays right whatever was done to its head.
                for is_l2 in [true, false] {
                    let mut copy = pool.copy(&packet);
                    if segment::validate(&mut copy, is_l2).is_ok() {
                        cut(copy, is_l2, pool);
                    }
                }
            }
        }
    });
}

fn received(frame: &[u8], header: VnetHdr, pool: &mut Pool) -> Packet {
    let mut buffer = pool.rx();
    let mut rest = frame;
    let mut len = 0;
    for area in buffer.areas() {
        let count = rest.len().min(area.len());
        let (now, later) = rest.split_at(count);
        area[..count].copy_from_slice(now);
        (rest, len) = (later, len + count);
    }
    buffer.take(len, header, pool)
}

fn cut(packet: Packet, is_l2: bool, pool: &mut Pool) {
    let (segments, largest, len) = (packet.segments(), packet.largest_segment(), packet.len());
    let is_gso = packet.vnet.is_gso();
    let wire_bytes = packet.wire_bytes();
    let mut out = Vec::new();
    segment::without_offloads(packet, is_l2, pool, &mut out);
    if is_gso {
        assert_eq!(
            u32::try_from(out.len()),
            Ok(segments),
            "segments of {len} bytes"
        );
        let total: usize = out.iter().map(Packet::len).sum();
        assert_eq!(
            u64::try_from(total),
            Ok(wire_bytes),
            "bytes of all segments"
        );
    }
    for packet in out {
        assert!(packet.len() <= largest.max(len.min(largest)) || !is_gso);
        assert!(!packet.vnet.is_gso() && !packet.vnet.is_partial());
        pool.recycle(packet);
    }
}

/// Whole frames, unfinished checksums, and super-packets of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let kinds = frames::kinds();
    let mut seeds = Vec::new();
    for frame in &kinds {
        seeds.push([&[0, 0], &VnetHdr::default().emit()[..], frame].concat());
    }
    // TCP over IPv4 (kinds 4), UDP over IPv6 (kinds 7): partial, and 64 KiB.
    for (kind, gso_type, csum_start, csum_offset) in [(4, 1, 34, 16), (4, 4, 34, 16), (7, 5, 54, 6)]
    {
        for repeat in [0, 40, 255] {
            let header = VnetHdr {
                flags: 1,
                gso_type: if repeat == 0 { 0 } else { gso_type },
                hdr_len: 54,
                gso_size: 1000,
                csum_start,
                csum_offset,
            };
            seeds.push([&[0, repeat], &header.emit()[..], &kinds[kind]].concat());
        }
    }
    seeds
}
