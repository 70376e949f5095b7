//! Ports: where packets enter and leave the process.
//!
//! A worker owns the receiving side of a port and reads it; any worker may send by it. A *device* is one of the
//! kernel's, a *memory* port is a pair of queues for tests, a *pcap* port has files behind such queues. Links between switches of one process are no ports in this
//! sense: packets cross them inside [`crate::plane`].

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use crate::packet::{Packet, Pool, RxBuffer};
use crate::ports::Medium;
use crate::segment;

pub mod memory;
pub mod packet;
pub mod pcap;
pub mod sys;
pub mod tuntap;

pub use memory::MemoryPort;
pub use packet::PacketPort;
pub use pcap::PcapPort;
pub use tuntap::{TuntapConfig, TuntapPort};

/// What workers read and write. Shared by all workers; one of them reads it.
#[derive(Debug)]
pub struct PortIo {
    id: u64,
    kind: PortKind,
}

/// The kinds of ports.
#[derive(Debug)]
pub enum PortKind {
    /// A kernel device.
    Device(Device),
    /// A pair of queues.
    Memory(MemoryPort),
    /// A pair of queues with files behind them.
    Pcap(MemoryPort),
}

/// A device of the kernel.
#[derive(Debug)]
pub enum Device {
    /// A TAP or TUN device.
    Tuntap(TuntapPort),
    /// A packet socket at an end of a veth pair.
    Packet(PacketPort),
}

impl From<PacketPort> for Device {
    fn from(port: PacketPort) -> Self {
        Self::Packet(port)
    }
}

impl From<TuntapPort> for Device {
    fn from(port: TuntapPort) -> Self {
        Self::Tuntap(port)
    }
}

impl Device {
    /// What its packets begin with.
    pub fn medium(&self) -> Medium {
        match self {
            Self::Tuntap(port) => port.medium,
            Self::Packet(_) => Medium::L2,
        }
    }

    /// The descriptor that is readable when there are packets.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tuntap(port) => port.file.as_fd(),
            Self::Packet(port) => port.socket.as_fd(),
        }
    }

    /// Reads the next packet; `WouldBlock` when there is none.
    pub(crate) fn read(&self, rx: &mut RxBuffer, pool: &mut Pool) -> io::Result<Packet> {
        match self {
            Self::Tuntap(port) => port.read(rx, pool),
            Self::Packet(port) => port.read(rx, pool),
        }
    }

    /// Writes a packet that it [takes](Self::takes).
    pub(crate) fn write(&self, packet: &Packet) -> io::Result<()> {
        loop {
            let written = match self {
                Self::Tuntap(port) => port.write(packet),
                Self::Packet(port) => port.write(packet),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    /// Whether it takes a packet with what the offload header leaves to do. A kernel drops a super-packet without a
    /// word where something else than tags stands before the IP header of the segments.
    pub(crate) fn takes(&self, packet: &Packet) -> bool {
        let offloads = match self {
            Self::Tuntap(port) => port.offloads,
            Self::Packet(port) => port.offloads,
        };
        if packet.vnet.is_gso() {
            let is_l2 = self.medium().is_l2();
            let is_plain = !is_l2 || is_plain_ip(packet.head());
            return offloads && is_plain && !segment::is_tunnelled(packet, is_l2);
        }
        offloads || !packet.vnet.is_partial()
    }
}

fn is_plain_ip(frame: &[u8]) -> bool {
    let mut rest = frame.get(12..).unwrap_or_default();
    loop {
        match *rest {
            [0x81, 0x00, _, _, ..] | [0x88, 0xa8, _, _, ..] => rest = &rest[4..],
            [0x08, 0x00, ..] | [0x86, 0xdd, ..] => return true,
            _ => return false,
        }
    }
}

impl Drop for PortIo {
    /// Whoever waits for the queues of a port that is gone would wait for ever.
    fn drop(&mut self) {
        if let PortKind::Pcap(memory) = &self.kind {
            memory.shared.close();
        }
    }
}

impl PortIo {
    /// A port with an id, 1 and up, that no other port of the process ever had.
    pub(crate) fn new(id: u64, kind: PortKind) -> Self {
        Self { id, kind }
    }

    /// Unique in the process, never used again.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The device or the queues.
    pub(crate) fn kind(&self) -> &PortKind {
        &self.kind
    }

    /// The descriptor that is readable when the port has packets.
    pub(crate) fn ready_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            PortKind::Device(device) => device.as_fd(),
            PortKind::Memory(memory) | PortKind::Pcap(memory) => memory.shared.ready.as_fd(),
        }
    }
}
