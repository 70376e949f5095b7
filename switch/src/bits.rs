//! Bit fields at constant places of a byte arena, and the hash that the datapath uses.

#![expect(
    clippy::cast_possible_truncation,
    reason = "fields are cut to their widths here, on purpose"
)]

/// Bytes that an arena has after its last field, so that each access is one wide load or store.
pub(crate) const PAD: usize = 24;

/// Where a field of 1 to 128 bits stands in an arena, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    byte: u32,
    lead: u8,
    bits: u8,
}

impl Slot {
    /// The field of `bits` bits that begins `offset` bits after the arena's start.
    pub(crate) fn new(offset: usize, bits: u16) -> Self {
        Self {
            byte: u32::try_from(offset / 8).expect("arenas are small"),
            lead: (offset % 8) as u8,
            bits: u8::try_from(bits).expect("fields have 128 bits at most"),
        }
    }

    /// The same field `bytes` further on.
    pub(crate) fn advance(self, bytes: usize) -> Self {
        let byte = self.byte + u32::try_from(bytes).expect("arenas are small");
        Self { byte, ..self }
    }

    /// The width.
    pub(crate) fn bits(self) -> u16 {
        self.bits.into()
    }

    /// Whether one 64-bit access covers it.
    #[inline]
    pub(crate) fn is_narrow(self) -> bool {
        self.lead + self.bits <= 64
    }

    /// The value of a narrow field.
    #[inline]
    pub(crate) fn read_narrow(self, arena: &[u8]) -> u64 {
        (load64(arena, self.byte as usize) << self.lead) >> (64 - self.bits)
    }

    /// The value.
    #[inline]
    pub(crate) fn read(self, arena: &[u8]) -> u128 {
        if self.is_narrow() {
            return u128::from(self.read_narrow(arena));
        }
        let at = self.byte as usize;
        let mut word = load128(arena, at) << self.lead;
        if self.end() > 128 {
            word |= u128::from(arena[at + 16] >> (8 - self.lead));
        }
        word >> (128 - self.bits)
    }

    /// Stores the low bits of `value` in a narrow field.
    #[inline]
    pub(crate) fn write_narrow(self, arena: &mut [u8], value: u64) {
        let at = self.byte as usize;
        let shift = 64 - self.lead - self.bits;
        let mask = (u64::MAX >> (64 - self.bits)) << shift;
        let word = load64(arena, at) & !mask | (value << shift) & mask;
        arena[at..at + 8].copy_from_slice(&word.to_be_bytes());
    }

    /// Stores the low bits of `value`.
    #[inline]
    pub(crate) fn write(self, arena: &mut [u8], value: u128) {
        if self.is_narrow() {
            return self.write_narrow(arena, value as u64);
        }
        self.write_wide(arena, value);
    }

    fn write_wide(self, arena: &mut [u8], value: u128) {
        let at = self.byte as usize;
        let mask = u128::MAX >> (128 - self.bits);
        let value = value & mask;
        let over = self.end().saturating_sub(128);
        if over == 0 {
            let shift = 128 - u32::from(self.lead) - u32::from(self.bits);
            let word = load128(arena, at) & !(mask << shift) | (value << shift);
            arena[at..at + 16].copy_from_slice(&word.to_be_bytes());
            return;
        }
        let word = load128(arena, at) & !(mask >> over) | (value >> over);
        arena[at..at + 16].copy_from_slice(&word.to_be_bytes());
        let last = &mut arena[at + 16];
        *last = *last & (0xff >> over) | ((value << (8 - over)) as u8);
    }

    /// Bits from the first byte's start to the field's end.
    fn end(self) -> u32 {
        u32::from(self.lead) + u32::from(self.bits)
    }
}

/// The largest value of `bits` bits.
pub(crate) fn max_value(bits: u16) -> u128 {
    match bits {
        0 => 0,
        1..=127 => (1 << bits) - 1,
        _ => u128::MAX,
    }
}

/// Takes one word into a hash: a folded 128-bit product, as in the wyhash family.
#[inline]
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word ^ 0x9e37_79b9_7f4a_7c15)
        * u128::from(hash.rotate_left(29) ^ 0xd1b5_4a32_d192_ed03);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Chooses one of `count` by a hash whose upper bits are good.
#[inline]
pub(crate) fn choose(hash: u64, count: usize) -> usize {
    ((u128::from(hash) * count as u128) >> 64) as usize
}

#[inline]
fn load64(arena: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(arena[at..at + 8].try_into().expect("8 bytes"))
}

#[inline]
fn load128(arena: &[u8], at: usize) -> u128 {
    u128::from_be_bytes(arena[at..at + 16].try_into().expect("16 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit, from the left.
    fn scan(arena: &[u8], offset: usize, bits: u16) -> u128 {
        (offset..offset + usize::from(bits)).fold(0, |value, bit| {
            value << 1 | u128::from(arena[bit / 8] >> (7 - bit % 8) & 1)
        })
    }

    proptest! {
        #[test]
        fn a_slot_reads_what_a_bit_scan_reads(
            arena in proptest::collection::vec(any::<u8>(), 40 + PAD),
            offset in 0_usize..160,
            bits in 1_u16..=128,
        ) {
            let slot = Slot::new(offset, bits);
            prop_assert_eq!(slot.read(&arena), scan(&arena, offset, bits));
        }

        #[test]
        fn a_write_changes_its_field_only(
            arena in proptest::collection::vec(any::<u8>(), 40 + PAD),
            offset in 0_usize..160,
            bits in 1_u16..=128,
                value: u128,
        ) {
            let slot = Slot::new(offset, bits);
            let mut changed = arena.clone();
            slot.write(&mut changed, value);
            prop_assert_eq!(slot.read(&changed), value & max_value(bits));
            slot.write(&mut changed, slot.read(&arena));
            prop_assert_eq!(changed, arena);
        }
    }
}
