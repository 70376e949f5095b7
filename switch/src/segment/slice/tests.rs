use proptest::prelude::*;

use super::*;
use crate::segment::tests::{Flow, payload};
use crate::segment::{validate, without_offloads};

fn frames(packet: &Packet) -> Vec<Packet> {
    let (mut pool, mut out) = (Pool::default(), Vec::new());
    without_offloads(packet.clone(), true, &mut pool, &mut out);
    out
}

proptest! {
    /// The oracle is segmentation: the segments of a part are those of the whole.
    #[test]
    fn a_part_has_the_segments_of_the_whole(
        kind in 0_usize..4,
        len in 1_usize..60_000,
        size in 400_u16..9000,
        first in 0_u16..40,
        count in 1_u16..40,
    ) {
        let mut packet = Flow::ALL[kind].super_packet(&payload(len), size);
        prop_assert!(validate(&mut packet, true).is_ok());
        let all = frames(&packet);
        let part = slice(&packet, true, first, count, &mut Pool::default());
        let (first, count) = (usize::from(first), usize::from(count));
        match part {
            None => prop_assert!(first >= all.len()),
            Some(mut part) => {
                prop_assert!(validate(&mut part, true).is_ok());
                let end = all.len().min(first + count);
                prop_assert_eq!(part.segments() as usize, end - first);
                prop_assert_eq!(frames(&part), &all[first..end]);
            }
        }
    }
}
