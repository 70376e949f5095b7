//! The virtio-net header that travels with each packet: what is still left to do to its bytes.
//!
//! A *super-packet* is up to 64 KiB of one TCP or UDP flow that will be cut into wire segments later, by a device or
//! in software. A *partial* checksum holds the pseudo header's sum only, not complemented; whoever owns
//! the device finishes it (virtio 1.2 §5.1.6.2). The values come from a guest, so nothing here is trusted until
//! the datapath has looked at the bytes.

/// Flag: the checksum at `csum_start + csum_offset` is partial.
pub const NEEDS_CSUM: u8 = 1;
/// Flag: whoever sent this has verified the checksum.
pub const DATA_VALID: u8 = 2;
/// Not a super-packet.
pub const GSO_NONE: u8 = 0;
/// TCP over IPv4.
pub const GSO_TCPV4: u8 = 1;
/// TCP over IPv6.
pub const GSO_TCPV6: u8 = 4;
/// UDP over either, each segment a datagram of its own.
pub const GSO_UDP_L4: u8 = 5;
/// Bit beside the type: the TCP stream uses ECN.
pub const GSO_ECN: u8 = 0x80;

/// Fields of the virtio-net header, without `num_buffers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHdr {
    /// [`NEEDS_CSUM`], [`DATA_VALID`].
    pub flags: u8,
    /// [`GSO_NONE`], [`GSO_TCPV4`], [`GSO_TCPV6`] or [`GSO_UDP_L4`], perhaps with [`GSO_ECN`].
    pub gso_type: u8,
    /// Bytes of all headers of a super-packet, the transport header included; 0 for unknown.
    pub hdr_len: u16,
    /// Payload bytes of each wire segment but the last.
    pub gso_size: u16,
    /// First byte that the checksum covers, from the frame's start.
    pub csum_start: u16,
    /// Where the checksum stands, from `csum_start`.
    pub csum_offset: u16,
}

impl VnetHdr {
    /// Length on the descriptor, `num_buffers` not included.
    pub const SIZE: usize = 10;

    /// Reads the little-endian form.
    pub fn parse(bytes: &[u8; Self::SIZE]) -> Self {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = *bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_le_bytes([h0, h1]),
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
        }
    }

    /// Writes the little-endian form.
    pub fn emit(&self) -> [u8; Self::SIZE] {
        let [h0, h1] = self.hdr_len.to_le_bytes();
        let [g0, g1] = self.gso_size.to_le_bytes();
        let [s0, s1] = self.csum_start.to_le_bytes();
        let [o0, o1] = self.csum_offset.to_le_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
    }

    /// The segmentation type without the ECN bit.
    pub fn gso(&self) -> u8 {
        self.gso_type & !GSO_ECN
    }

    /// Whether this is a super-packet.
    pub fn is_gso(&self) -> bool {
        self.gso() != GSO_NONE
    }

    /// Whether the checksum is partial.
    pub fn is_partial(&self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// Where the partial checksum stands, from the frame's start.
    pub fn csum_field(&self) -> usize {
        usize::from(self.csum_start) + usize::from(self.csum_offset)
    }

    /// Follows headers that grew from `old` to `new` bytes in front of the checksummed part.
    pub fn shift(&mut self, old: usize, new: usize) {
        let moved = |offset: u16| {
            let offset = (usize::from(offset) + new).saturating_sub(old);
            u16::try_from(offset).unwrap_or(u16::MAX)
        };
        if self.is_partial() {
            self.csum_start = moved(self.csum_start);
        }
        // 0 means unknown and stays so.
        if self.hdr_len != 0 {
            self.hdr_len = moved(self.hdr_len);
        }
    }
}
