//! Internet checksums: sums over bytes, and incremental updates (RFC 1071, RFC 1624).
//!
//! All arithmetic is ones' complement on 16-bit words, that is, modulo 65 535 with two zeros. Two properties are used
//! throughout: the sum of a number's words is the number modulo 65 535, and a shift by `n` bits rotates that sum.

#![expect(
    clippy::cast_possible_truncation,
    reason = "sums are folded to 16 bits before they are cut"
)]

/// The ones' complement sum of a number's 16-bit words.
#[inline]
pub fn fold(mut sum: u128) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum of the words of `bytes`; an odd last byte counts as a word's upper half.
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut total = 0_u128;
    for word in words {
        total += u128::from(u64::from_be_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    total += u128::from(u64::from_be_bytes(last));
    u64::from(fold(total))
}

/// The sum of `head` followed by `tail`.
pub fn sum_parts(head: &[u8], tail: &[u8]) -> u64 {
    let tail_sum = fold(u128::from(sum(tail)));
    // After an odd number of bytes, everything is shifted by one byte.
    let tail_sum = if head.len() % 2 == 1 {
        tail_sum.rotate_left(8)
    } else {
        tail_sum
    };
    sum(head) + u64::from(tail_sum)
}

/// A checksum from the sum of everything that it covers.
pub fn finish(sum: u64) -> u16 {
    !fold(u128::from(sum))
}

/// A full checksum after its covered data changed by `delta` (RFC 1624, equation 3).
#[inline]
pub fn update_full(checksum: u16, delta: u64) -> u16 {
    !fold(u128::from(!checksum) + u128::from(delta))
}

/// A partial checksum, the pseudo header's sum, after that header changed by `delta`.
#[inline]
pub fn update_partial(checksum: u16, delta: u64) -> u16 {
    fold(u128::from(checksum) + u128::from(delta))
}

/// What replacing `old` by `new`, shifted left by `shift` bits within 16-bit words, adds to the sum.
#[inline]
pub fn delta(old: u128, new: u128, shift: u8) -> u64 {
    if old == new {
        return 0;
    }
    let rotated = |value| fold(value).rotate_left(u32::from(shift));
    u64::from(!rotated(old)) + u64::from(rotated(new))
}

#[cfg(test)]
mod tests;
