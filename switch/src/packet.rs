//! Packet buffers: a head that is rewritten, a tail that is shared.
//!
//! ```text
//! head (one allocation, HEAD_SIZE)                      tail (shared, read only)
//! +----------+---------------------+-----------+        +----------------------------+
//! | headroom | headers and payload |  unused   |        | rest of a longer frame     |
//! +----------+---------------------+-----------+        +----------------------------+
//!            start                 end
//! ```
//!
//! All headers are in the head, so rewriting, encapsulation and copies for multicast touch 2 KiB at most, however
//! long the frame is. A [`Pool`] keeps heads and tails for reuse; in the steady state nothing is allocated.

use std::fmt;
use std::sync::Arc;

use crate::vnet::VnetHdr;

/// Size of a head, headroom included.
pub const HEAD_SIZE: usize = 2048;
/// Free bytes in front of a packet as received.
pub const HEADROOM: usize = 128;
/// Bytes of a frame that its head holds.
pub const HEAD_DATA: usize = HEAD_SIZE - HEADROOM;
/// Size of a tail: with the head's part enough for any frame that a device can deliver.
pub const TAIL_SIZE: usize = 65_792;
/// Buffers of each kind that a pool keeps; more are freed.
const POOL_LIMIT: usize = 1024;

/// A frame with its offload state.
pub struct Packet {
    head: Box<[u8; HEAD_SIZE]>,
    start: usize,
    end: usize,
    tail: Option<Tail>,
    /// What is left to do to the bytes.
    pub vnet: VnetHdr,
}

/// The part of a frame that does not fit its head.
#[derive(Clone)]
struct Tail {
    buffer: Arc<[u8]>,
    len: usize,
}

impl Packet {
    /// A packet that holds a copy of `bytes`, which are at most [`HEAD_DATA`] and [`TAIL_SIZE`] together; longer input is
    /// cut.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Pool::default().packet(bytes)
    }

    /// Bytes of the whole frame, super-packet or not.
    pub fn len(&self) -> usize {
        self.head().len() + self.tail().len()
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first bytes, all headers among them.
    pub fn head(&self) -> &[u8] {
        &self.head[self.start..self.end]
    }

    /// The first bytes, for change in place.
    pub fn head_mut(&mut self) -> &mut [u8] {
        &mut self.head[self.start..self.end]
    }

    /// The bytes after the head; empty for a short frame.
    pub fn tail(&self) -> &[u8] {
        match &self.tail {
            Some(tail) => &tail.buffer[..tail.len],
            None => &[],
        }
    }

    /// A copy of all bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        [self.head(), self.tail()].concat()
    }

    /// Wire segments that this packet becomes: 1, or more for a super-packet.
    pub fn segments(&self) -> u32 {
        if !self.vnet.is_gso() || self.vnet.gso_size == 0 {
            return 1;
        }
        let payload = self.len().saturating_sub(usize::from(self.vnet.hdr_len));
        let count = payload.div_ceil(usize::from(self.vnet.gso_size)).max(1);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Bytes of all wire segments together, each with its own headers.
    pub fn wire_bytes(&self) -> u64 {
        let repeated = u64::from(self.segments() - 1) * u64::from(self.vnet.hdr_len);
        self.len() as u64 + repeated
    }

    /// Bytes of the largest wire segment.
    pub fn largest_segment(&self) -> usize {
        if !self.vnet.is_gso() {
            return self.len();
        }
        let segment = usize::from(self.vnet.hdr_len) + usize::from(self.vnet.gso_size);
        self.len().min(segment)
    }

    /// Leaves out what follows the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        let head_len = self.end - self.start;
        if len <= head_len {
            self.end = self.start + len;
            self.tail = None;
        } else if let Some(tail) = &mut self.tail {
            tail.len = tail.len.min(len - head_len);
        }
    }

    /// Writes bytes at an offset of a packet whose tail is not shared, as [`Pool::blank`] makes them.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        let head_len = self.end - self.start;
        let (front, rest) = bytes.split_at(bytes.len().min(head_len.saturating_sub(at)));
        let start = self.start + at.min(head_len);
        self.head[start..start + front.len()].copy_from_slice(front);
        if let Some(tail) = &mut self.tail
            && let Some(buffer) = Arc::get_mut(&mut tail.buffer)
            && !rest.is_empty()
        {
            let at = at.saturating_sub(head_len);
            buffer[at..at + rest.len()].copy_from_slice(rest);
        }
    }

    /// Calls `sink` with the bytes of a range, in one or two parts, each with its offset within the range.
    pub(crate) fn copy_range(&self, from: usize, len: usize, mut sink: impl FnMut(usize, &[u8])) {
        let (head, tail) = (self.head(), self.tail());
        let in_head = head.len().saturating_sub(from).min(len);
        if in_head > 0 {
            sink(0, &head[from..from + in_head]);
        }
        if in_head < len {
            let from = (from + in_head) - head.len();
            sink(in_head, &tail[from..from + len - in_head]);
        }
    }

    /// Replaces the first `old` bytes, which are in the head, by `new` bytes and returns those to be written; moves
    /// the offload offsets along. `None`, and nothing changed, where the headroom is too small.
    pub fn replace_front(&mut self, old: usize, new: usize) -> Option<&mut [u8]> {
        let body = self.start + old;
        if body > self.end {
            return None;
        }
        let start = body.checked_sub(new)?;
        self.start = start;
        if old != new {
            self.vnet.shift(old, new);
        }
        Some(&mut self.head[start..body])
    }
}

impl Clone for Packet {
    fn clone(&self) -> Self {
        Self {
            head: self.head.clone(),
            start: self.start,
            end: self.end,
            tail: self.tail.clone(),
            vnet: self.vnet,
        }
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("len", &self.len())
            .field("head", &self.head())
            .field("vnet", &self.vnet)
            .finish()
    }
}

impl PartialEq for Packet {
    /// Same bytes, wherever they are split, and same offload state.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.vnet == other.vnet
            && self
                .head()
                .iter()
                .chain(self.tail())
                .eq(other.head().iter().chain(other.tail()))
    }
}

impl Eq for Packet {}

/// Buffers for reuse; one pool for each worker.
#[derive(Default)]
#[expect(
    clippy::vec_box,
    reason = "heads move between pool and packets by pointer"
)]
pub struct Pool {
    heads: Vec<Box<[u8; HEAD_SIZE]>>,
    tails: Vec<Arc<[u8]>>,
}

impl Pool {
    /// A packet that holds a copy of `bytes`; input over [`HEAD_DATA`] and [`TAIL_SIZE`] together is cut.
    pub fn packet(&mut self, bytes: &[u8]) -> Packet {
        let (front, rest) = bytes.split_at(bytes.len().min(HEAD_DATA));
        let mut packet = Packet {
            head: self.head(),
            start: HEADROOM,
            end: HEADROOM + front.len(),
            tail: None,
            vnet: VnetHdr::default(),
        };
        packet.head_mut().copy_from_slice(front);
        if !rest.is_empty() {
            let rest = &rest[..rest.len().min(TAIL_SIZE)];
            let mut buffer = self.tail();
            Arc::get_mut(&mut buffer).expect("tails in a pool are not shared")[..rest.len()]
                .copy_from_slice(rest);
            packet.tail = Some(Tail {
                buffer,
                len: rest.len(),
            });
        }
        packet
    }

    /// A packet of `len` bytes, whatever they are, whose tail is not shared.
    pub(crate) fn blank(&mut self, len: usize) -> Packet {
        let front = len.min(HEAD_DATA);
        let rest = (len - front).min(TAIL_SIZE);
        Packet {
            head: self.head(),
            start: HEADROOM,
            end: HEADROOM + front,
            tail: (rest > 0).then(|| Tail {
                buffer: self.tail(),
                len: rest,
            }),
            vnet: VnetHdr::default(),
        }
    }

    /// A copy that shares the tail.
    pub fn copy(&mut self, packet: &Packet) -> Packet {
        let mut copy = Packet {
            head: self.head(),
            start: packet.start,
            end: packet.end,
            tail: packet.tail.clone(),
            vnet: packet.vnet,
        };
        copy.head_mut().copy_from_slice(packet.head());
        copy
    }

    /// Takes the buffers of a packet that has been sent or dropped. A tail that a copy still uses is kept by the copy.
    pub fn recycle(&mut self, packet: Packet) {
        if self.heads.len() < POOL_LIMIT {
            self.heads.push(packet.head);
        }
        if let Some(Tail { mut buffer, .. }) = packet.tail
            && self.tails.len() < POOL_LIMIT
            && Arc::get_mut(&mut buffer).is_some()
        {
            self.tails.push(buffer);
        }
    }

    /// A buffer to receive into.
    pub fn rx(&mut self) -> RxBuffer {
        RxBuffer {
            head: self.head(),
            tail: self.tail(),
        }
    }

    fn head(&mut self) -> Box<[u8; HEAD_SIZE]> {
        self.heads.pop().unwrap_or_else(|| Box::new([0; HEAD_SIZE]))
    }

    fn tail(&mut self) -> Arc<[u8]> {
        self.tails
            .pop()
            .unwrap_or_else(|| vec![0; TAIL_SIZE].into())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("heads", &self.heads.len())
            .field("tails", &self.tails.len())
            .finish()
    }
}

/// Two areas for a scattered read; the second is handed on only with frames that need it.
pub struct RxBuffer {
    head: Box<[u8; HEAD_SIZE]>,
    tail: Arc<[u8]>,
}

impl RxBuffer {
    /// Where the frame goes: the first [`HEAD_DATA`] bytes, then the rest.
    pub fn areas(&mut self) -> [&mut [u8]; 2] {
        let tail = Arc::get_mut(&mut self.tail).expect("a receive buffer's tail is not shared");
        [&mut self.head[HEADROOM..], tail]
    }

    /// Makes a packet of the `len` bytes that were received, and takes fresh buffers from `pool` for what it keeps.
    pub fn take(&mut self, len: usize, vnet: VnetHdr, pool: &mut Pool) -> Packet {
        let front = len.min(HEAD_DATA);
        let rest = (len - front).min(TAIL_SIZE);
        let tail = (rest > 0).then(|| Tail {
            buffer: std::mem::replace(&mut self.tail, pool.tail()),
            len: rest,
        });
        Packet {
            head: std::mem::replace(&mut self.head, pool.head()),
            start: HEADROOM,
            end: HEADROOM + front,
            tail,
            vnet,
        }
    }
}

impl fmt::Debug for RxBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RxBuffer").finish_non_exhaustive()
    }
}
