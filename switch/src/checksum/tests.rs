use proptest::prelude::*;

use super::*;

/// Word by word, as RFC 1071 §1 says it.
fn plain(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// Equal modulo 65 535: zero has two forms.
fn same(a: u16, b: u16) -> bool {
    a % 0xffff == b % 0xffff
}

#[test]
fn the_example_of_rfc_1071() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(fold(sum(&bytes).into()), 0xddf2);
}

#[test]
fn the_example_of_rfc_1624() {
    // §4: a checksum of 0xDD2F with a word that goes from 0x5555 to 0x3285 becomes 0, not 0xFFFF.
    assert_eq!(update_full(0xdd2f, delta(0x5555, 0x3285, 0)), 0x0000);
}

#[test]
fn every_word_can_become_every_corner() {
    for old in 0..=u16::MAX {
        for new in [0_u16, 1, 0x7fff, 0x8000, 0xfffe, 0xffff] {
            for other in [0_u64, 1, 0x1234, 0xffff] {
                let before = finish(u64::from(old) + other);
                let after = finish(u64::from(new) + other);
                let updated = update_full(before, delta(old.into(), new.into(), 0));
                assert!(
                    same(updated, after),
                    "{old:#x} -> {new:#x} beside {other:#x}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn a_sum_is_the_plain_one(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(same(fold(sum(&bytes).into()), plain(&bytes)));
    }

    #[test]
    fn a_sum_does_not_depend_on_where_it_is_split(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        at in 0_usize..100,
    ) {
        let (head, tail) = bytes.split_at(at.min(bytes.len()));
        prop_assert!(same(fold(sum_parts(head, tail).into()), plain(&bytes)));
    }

    #[test]
    fn a_wide_update_is_the_recomputation(
        mut bytes in proptest::collection::vec(any::<u8>(), 40),
        new: u128,
    ) {
        let before = finish(sum(&bytes));
        let old = u128::from_be_bytes(bytes[8..24].try_into().unwrap());
        bytes[8..24].copy_from_slice(&new.to_be_bytes());
        prop_assert!(same(update_full(before, delta(old, new, 0)), finish(sum(&bytes))));
    }

    #[test]
    fn a_byte_at_an_even_offset_is_a_word_s_upper_half(
        mut bytes in proptest::collection::vec(any::<u8>(), 20),
        new: u8,
    ) {
        let before = finish(sum(&bytes));
        let old = std::mem::replace(&mut bytes[8], new);
        let updated = update_full(before, delta(old.into(), new.into(), 8));
        prop_assert!(same(updated, finish(sum(&bytes))));
    }
}
