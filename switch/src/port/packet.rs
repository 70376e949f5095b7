//! Packet sockets: one end of a veth pair, whose other end is a host's interface. For where there is no
//! `/dev/net/tun`: all that they need is a network namespace of one's own.
//!
//! With `PACKET_VNET_HDR` super-packets and partial checksums pass both ways, as through a TAP device. Three things
//! differ from it (packet(7)): the kernel takes the outermost VLAN tag out of what is received and tells it beside the
//! bytes, so it is put back here; frames that others send by the interface would be seen as well, which is switched
//! off; and a frame that is sent goes through the interface's queue, of which a veth has none.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write as _};

use super::sys;
use crate::packet::{Packet, Pool, RxBuffer};
use crate::vnet::VnetHdr;

/// Bytes that the socket holds in each direction, where the system allows it: some hundred super-packets.
const BUFFER: usize = 16 << 20;
/// Where a VLAN tag stands in a frame.
const TAG_AT: usize = 12;
const TAG_LEN: usize = 4;

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} at interface {name}")]
pub struct PacketError {
    name: String,
    step: &'static str,
    source: io::Error,
}

/// A packet socket that is bound to an interface.
#[derive(Debug)]
pub struct PacketPort {
    pub(super) socket: File,
    name: String,
    pub(super) offloads: bool,
}

/// Opens a packet socket at an interface of the calling thread's network namespace, which must be up.
///
/// With `offloads`, packets towards the interface may be super-packets with partial checksums; without, the switch
/// segments them and completes checksums before it writes. What the host sends is taken in either form.
///
/// # Errors
/// [`PacketError`] when the kernel refuses: no permission, no such interface.
pub fn open(name: &str, offloads: bool) -> Result<PacketPort, PacketError> {
    let failed = |step| {
        move |source| PacketError {
            name: name.to_owned(),
            step,
            source,
        }
    };
    let socket = sys::packet_socket().map_err(failed("open a packet socket"))?;
    sys::set_packet_option(&socket, sys::PACKET_VNET_HDR)
        .map_err(failed("receive virtio-net headers"))?;
    sys::set_packet_option(&socket, sys::PACKET_AUXDATA).map_err(failed("receive VLAN tags"))?;
    sys::set_packet_option(&socket, sys::PACKET_IGNORE_OUTGOING)
        .map_err(failed("ignore what others send"))?;
    sys::enlarge_buffers(&socket, BUFFER);
    sys::bind_packet_socket(&socket, name).map_err(failed("bind a packet socket"))?;
    Ok(PacketPort {
        socket,
        name: name.to_owned(),
        offloads,
    })
}

impl PacketPort {
    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a frame with its virtio-net header.
    pub(super) fn read(&self, rx: &mut RxBuffer, pool: &mut Pool) -> io::Result<Packet> {
        let mut header = [0; VnetHdr::SIZE];
        let [head, tail] = rx.areas();
        let (len, tag) = sys::receive(
            &self.socket,
            &mut [
                IoSliceMut::new(&mut header),
                IoSliceMut::new(head),
                IoSliceMut::new(tail),
            ],
        )?;
        let len = len.saturating_sub(VnetHdr::SIZE);
        let mut packet = rx.take(len, VnetHdr::parse(&header), pool);
        if let Some(tag) = tag {
            put_back(&mut packet, tag);
        }
        Ok(packet)
    }

    /// Writes a frame with its virtio-net header.
    pub(super) fn write(&self, packet: &Packet) -> io::Result<()> {
        let header = packet.vnet.emit();
        let parts = [
            IoSlice::new(&header),
            IoSlice::new(packet.head()),
            IoSlice::new(packet.tail()),
        ];
        (&self.socket).write_vectored(&parts).map(|_| ())
    }
}

/// Puts a VLAN tag back where it was, the offload header's offsets with it.
fn put_back(packet: &mut Packet, tag: [u8; TAG_LEN]) {
    let Some(&macs) = packet.head().first_chunk::<TAG_AT>() else {
        return;
    };
    if let Some(front) = packet.replace_front(TAG_AT, TAG_AT + TAG_LEN) {
        front[..TAG_AT].copy_from_slice(&macs);
        front[TAG_AT..].copy_from_slice(&tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vnet::{GSO_TCPV4, NEEDS_CSUM};

    #[test]
    fn a_tag_that_the_kernel_took_out_is_put_back_with_all_offsets() {
        let frame = [&[1; 6][..], &[2; 6], &[0x08, 0x00], &[9; 60]].concat();
        let mut packet = Packet::from_bytes(&frame);
        packet.vnet = VnetHdr {
            flags: NEEDS_CSUM,
            gso_type: GSO_TCPV4,
            hdr_len: 54,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
        };
        put_back(&mut packet, [0x81, 0x00, 0x00, 0x2a]);
        let tagged = [&frame[..12], &[0x81, 0x00, 0x00, 0x2a], &frame[12..]].concat();
        assert_eq!(packet.head(), tagged);
        assert_eq!((packet.vnet.hdr_len, packet.vnet.csum_start), (58, 38));
        // The length of the headers may be unknown, and stays so.
        let mut packet = Packet::from_bytes(&frame);
        packet.vnet.hdr_len = 0;
        put_back(&mut packet, [0x81, 0x00, 0x00, 0x2a]);
        assert_eq!(packet.vnet, VnetHdr::default());
    }
}
