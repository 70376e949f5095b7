//! A packet taken apart: the arena of its fields, which headers are valid, and what its checksums have to make up for.

use crate::checksum;
use crate::program::{Layout, MAX_CHECKSUMS, MAX_HEADERS, MAX_STACKS, Program};

/// One packet's headers and metadata, taken apart.
///
/// The bytes of headers that are not valid are zero, so that reading needs no test.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) arena: Vec<u8>,
    /// Which headers are valid.
    pub(crate) valid: u128,
    /// Bytes of the packet that became headers.
    pub(crate) consumed: usize,
    /// Where a parsed header began in the packet.
    pub(crate) start: [u16; MAX_HEADERS],
    pub(crate) var_len: [u16; MAX_HEADERS],
    pub(crate) stack_next: [u8; MAX_STACKS],
    /// Which headers still stand for bytes of the packet as received.
    pub(crate) received: u128,
    /// What covered data added to each checksum.
    pub(super) covered: [u64; MAX_CHECKSUMS],
    /// What its pseudo header added.
    pub(super) pseudo: [u64; MAX_CHECKSUMS],
    /// Checksums with such additions.
    pub(super) stale: u32,
    /// Whether the headers differ from the packet's bytes.
    pub(crate) changed: bool,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            arena: Vec::new(),
            valid: 0,
            consumed: 0,
            start: [0; MAX_HEADERS],
            var_len: [0; MAX_HEADERS],
            stack_next: [0; MAX_STACKS],
            received: 0,
            covered: [0; MAX_CHECKSUMS],
            pseudo: [0; MAX_CHECKSUMS],
            stale: 0,
            changed: false,
        }
    }
}

impl Frame {
    /// Empties it for a packet of `program`.
    pub(crate) fn reset(&mut self, program: &Program) {
        self.arena.clear();
        self.arena.resize(program.layout.size, 0);
        self.valid = 0;
        self.consumed = 0;
        self.stack_next = [0; MAX_STACKS];
        self.received = 0;
        self.forget_sums();
        self.changed = false;
    }

    /// Becomes equal to `other`, in the same memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.arena.clear();
        self.arena.extend_from_slice(&other.arena);
        let Self {
            valid,
            consumed,
            start,
            var_len,
            stack_next,
            ..
        } = *other;
        self.valid = valid;
        self.consumed = consumed;
        self.start = start;
        self.var_len = var_len;
        self.stack_next = stack_next;
        self.received = other.received;
        self.covered = other.covered;
        self.pseudo = other.pseudo;
        self.stale = other.stale;
        self.changed = other.changed;
    }

    /// Bytes of the valid headers among `set`.
    pub(crate) fn header_bytes(&self, layout: &Layout, set: u128) -> usize {
        let mut left = self.valid & set;
        let mut bytes = 0;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            bytes += layout.headers[index].fixed + usize::from(self.var_len[index]);
            left &= left - 1;
        }
        bytes
    }

    fn forget_sums(&mut self) {
        while self.stale != 0 {
            let index = self.stale.trailing_zeros() as usize;
            self.covered[index] = 0;
            self.pseudo[index] = 0;
            self.stale &= self.stale - 1;
        }
    }

    /// Adds a payload's sum to the checksums of new headers that cover it.
    pub(crate) fn add_payload(&mut self, program: &Program, sum: u64) {
        for (index, checksum) in program.checksums.iter().enumerate() {
            let header = 1 << checksum.header;
            if checksum.payload && self.valid & header != 0 && self.received & header == 0 {
                self.covered[index] += sum;
                self.stale |= 1 << index;
            }
        }
    }

    pub(super) fn zero(&mut self, layout: &Layout, index: usize) {
        let header = &layout.headers[index];
        self.arena[header.at..header.at + header.fixed + header.max_var].fill(0);
        self.var_len[index] = 0;
    }

    /// Writes the checksums that changed; `partial` is where the packet's partial checksum stands.
    pub(crate) fn settle_checksums(&mut self, program: &Program, partial: Option<usize>) {
        let mut stale = self.stale;
        while stale != 0 {
            let index = stale.trailing_zeros() as usize;
            stale &= stale - 1;
            let checksum = &program.checksums[index];
            let header = usize::from(checksum.header);
            if self.valid & 1 << header == 0 {
                continue;
            }
            let received = self.received & 1 << header != 0;
            let here = usize::from(self.start[header]) + checksum.offset;
            let old = checksum.slot.read_narrow(&self.arena) as u16;
            let new = if checksum.offloadable && received && partial == Some(here) {
                checksum::update_partial(old, self.pseudo[index])
            } else if checksum.zero_is_none && old == 0 {
                continue;
            } else {
                let delta = self.covered[index] + self.pseudo[index];
                match checksum::update_full(old, delta) {
                    // Zero would say that there is none (RFC 768).
                    0 if checksum.zero_is_none => 0xffff,
                    new => new,
                }
            };
            checksum.slot.write(&mut self.arena, new.into());
        }
        self.forget_sums();
    }
}
