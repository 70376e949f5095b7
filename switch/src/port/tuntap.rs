//! TAP and TUN devices: a cable into the kernel's network stack, super-packets and partial checksums included. A TAP
//! device carries Ethernet frames, a TUN device bare IP packets.
//!
//! The `tun` crate creates and configures the device; the virtio-net header in front of each frame, the offloads and
//! the reads and writes are ours. The header is the 10-byte one of virtio 1.x without merged buffers, which every
//! kernel with `IFF_VNET_HDR` has.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};

use tun::AbstractDevice as _;
use weft_proto::vocab::MacAddr;

use super::sys;
use crate::packet::{Packet, Pool, RxBuffer};
use crate::ports::Medium;
use crate::vnet::VnetHdr;

/// Sets of offloads to try, the best first; segmentation needs checksums, and both IP versions go together.
const OFFLOADS: [u32; 5] = [
    sys::OFFLOAD_CSUM
        | sys::OFFLOAD_TSO4
        | sys::OFFLOAD_TSO6
        | sys::OFFLOAD_TSO_ECN
        | sys::OFFLOAD_USO4
        | sys::OFFLOAD_USO6,
    sys::OFFLOAD_CSUM | sys::OFFLOAD_TSO4 | sys::OFFLOAD_TSO6 | sys::OFFLOAD_TSO_ECN,
    sys::OFFLOAD_CSUM | sys::OFFLOAD_TSO4 | sys::OFFLOAD_TSO6,
    sys::OFFLOAD_CSUM,
    0,
];

/// How a device is made.
#[derive(Clone, Debug)]
pub struct TuntapConfig {
    /// Interface name, at most 15 bytes.
    pub name: String,
    /// Layer 2 for a TAP device, layer 3 for a TUN device.
    pub medium: Medium,
    /// The device's MAC address; a TUN device has none.
    pub mac: MacAddr,
    /// The interface's MTU in bytes.
    pub mtu: u16,
    /// Whether packets towards the kernel may be super-packets with partial checksums. Without it the switch
    /// segments them and completes checksums before it writes, so that the kernel checks what we computed.
    pub offloads: bool,
    /// Whether the interface is set up at once.
    pub up: bool,
}

/// Why a device cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} of {} device {name}", if medium.is_l2() { "TAP" } else { "TUN" })]
pub struct TuntapError {
    name: String,
    medium: Medium,
    step: &'static str,
    source: io::Error,
}

/// A TAP or TUN device. Dropping it removes the device.
#[derive(Debug)]
pub struct TuntapPort {
    pub(super) file: File,
    name: String,
    pub(super) medium: Medium,
    pub(super) offloads: bool,
}

impl TuntapPort {
    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a packet with its virtio-net header.
    pub(super) fn read(&self, rx: &mut RxBuffer, pool: &mut Pool) -> io::Result<Packet> {
        let mut header = [0; VnetHdr::SIZE];
        let [head, tail] = rx.areas();
        let len = (&self.file).read_vectored(&mut [
            IoSliceMut::new(&mut header),
            IoSliceMut::new(head),
            IoSliceMut::new(tail),
        ])?;
        let len = len.saturating_sub(VnetHdr::SIZE);
        Ok(rx.take(len, VnetHdr::parse(&header), pool))
    }

    /// Writes a packet with its virtio-net header.
    pub(super) fn write(&self, packet: &Packet) -> io::Result<()> {
        let header = packet.vnet.emit();
        let parts = [
            IoSlice::new(&header),
            IoSlice::new(packet.head()),
            IoSlice::new(packet.tail()),
        ];
        (&self.file).write_vectored(&parts).map(|_| ())
    }
}

/// Makes a device in the calling thread's network namespace.
///
/// The device stays in that namespace; the descriptor works from every thread.
///
/// # Errors
/// [`TuntapError`] when the kernel refuses: no permission, no `/dev/net/tun`, the name is taken or too long.
pub fn create(config: &TuntapConfig) -> Result<TuntapPort, TuntapError> {
    let failed = |step| {
        move |source| TuntapError {
            name: config.name.clone(),
            medium: config.medium,
            step,
            source,
        }
    };
    let mut tun = tun::Configuration::default();
    tun.tun_name(&config.name)
        .layer(match config.medium {
            Medium::L2 => tun::Layer::L2,
            Medium::L3 => tun::Layer::L3,
        })
        .mtu(config.mtu)
        .platform_config(|platform| {
            platform.vnet_hdr(true);
        });
    let mut device = tun::create(&tun)
        .map_err(io::Error::other)
        .map_err(failed("create the interface"))?;
    let header = i32::try_from(VnetHdr::SIZE).expect("the header is 10 bytes");
    sys::set_vnet_header_size(&device, header).map_err(failed("set the header size"))?;
    set_offloads(&device, config.offloads).map_err(failed("set the offloads"))?;
    if config.medium.is_l2() {
        sys::set_hardware_address(&device, config.mac).map_err(failed("set the MAC address"))?;
    }
    if config.up {
        device
            .enabled(true)
            .map_err(io::Error::other)
            .map_err(failed("set the state"))?;
    }
    let file = sys::into_nonblocking_file(device).map_err(failed("take the descriptor"))?;
    Ok(TuntapPort {
        file,
        name: config.name.clone(),
        medium: config.medium,
        offloads: config.offloads,
    })
}

/// Sets the best offloads that the kernel knows, or none. Always set: a device keeps what its last owner chose.
///
/// The device's own stack then hands over super-packets and partial checksums only where we take them, so this
/// decides both directions; with `offloads` off, what we write is plain as well.
fn set_offloads(device: &tun::Device, offloads: bool) -> io::Result<()> {
    if !offloads {
        return sys::set_offload(device, 0);
    }
    let mut last = Ok(());
    for mask in OFFLOADS {
        last = sys::set_offload(device, mask);
        if last.is_ok() {
            break;
        }
    }
    last
}
