//! Field values as byte strings (P4Runtime §8.3).
//!
//! On the wire a value is an unsigned big-endian number. We write the shortest form, and read every form that is
//! padded with zero bytes in front, however long.

use ::bytes::Bytes;

/// Encodes a value in the shortest form; zero is one zero byte.
pub fn encode(value: u128) -> Bytes {
    let skip = (value.leading_zeros() / 8).min(15) as usize;
    Bytes::copy_from_slice(&value.to_be_bytes()[skip..])
}

/// Decodes a value of a field that is `bits` wide.
///
/// # Errors
///
/// An empty string is no value, and neither is one with bits set above the width.
pub fn decode(bytes: &[u8], bits: u16) -> Result<u128, ByteStringError> {
    if bytes.is_empty() {
        return Err(ByteStringError::Empty);
    }
    let significant = bytes
        .iter()
        .position(|&byte| byte != 0)
        .map_or(&[][..], |first| &bytes[first..]);
    if significant.len() > size_of::<u128>() {
        return Err(ByteStringError::TooWide { bits });
    }
    let value = significant
        .iter()
        .fold(0, |value, &byte| value << 8 | u128::from(byte));
    if fits(value, bits) {
        Ok(value)
    } else {
        Err(ByteStringError::TooWide { bits })
    }
}

/// The largest value of a field that is `bits` wide; widths above 128 count as 128.
pub fn max_value(bits: u16) -> u128 {
    match bits {
        0 => 0,
        1..=127 => (1 << bits) - 1,
        _ => u128::MAX,
    }
}

/// Whether a value needs no more than `bits` bits.
pub fn fits(value: u128, bits: u16) -> bool {
    value <= max_value(bits)
}

/// Why a byte string is no value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByteStringError {
    /// There is no byte.
    #[error("the byte string is empty")]
    Empty,
    /// A bit above the field's width is set.
    #[error("the value has more than {bits} bits")]
    TooWide {
        /// The field's width.
        bits: u16,
    },
}
