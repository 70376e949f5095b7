//! TAP devices: an Ethernet cable into the kernel's network stack, super-packets and partial checksums included.
//!
//! The `tun` crate creates and configures the device; the virtio-net header in front of each frame, the offloads and
//! the reads and writes are ours. The header is the 10-byte one of virtio 1.x without merged buffers, which every
//! kernel with `IFF_VNET_HDR` has.

use std::fs::File;
use std::io;

use tun::AbstractDevice as _;
use weft_proto::vocab::MacAddr;

use super::sys;

/// Bytes of the virtio-net header in front of each frame.
pub const VNET_HEADER_LEN: usize = 10;

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

/// How a TAP device is made.
#[derive(Clone, Debug)]
pub struct TapConfig {
    /// Interface name, at most 15 bytes.
    pub name: String,
    /// The device's MAC address.
    pub mac: MacAddr,
    /// The interface's MTU in bytes.
    pub mtu: u16,
    /// Whether packets towards the kernel may be super-packets with partial checksums. Without it the switch
    /// segments them and completes checksums before it writes, so that the kernel checks what we computed.
    pub offloads: bool,
    /// Whether the interface is set up at once.
    pub up: bool,
}

/// Why a TAP device cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} of TAP device {name}")]
pub struct TapError {
    name: String,
    step: &'static str,
    source: io::Error,
}

/// A TAP device before it is attached to a switch. Dropping it removes the device.
#[derive(Debug)]
pub struct TapPort {
    pub(crate) file: File,
    pub(crate) name: String,
    pub(crate) offloads: bool,
}

impl TapPort {
    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Makes a TAP device in the calling thread's network namespace.
///
/// The device stays in that namespace; the descriptor works from every thread.
///
/// # Errors
/// [`TapError`] when the kernel refuses: no permission, no `/dev/net/tun`, the name is taken or too long.
pub fn create(config: &TapConfig) -> Result<TapPort, TapError> {
    let failed = |step| {
        move |source| TapError {
            name: config.name.clone(),
            step,
            source,
        }
    };
    let mut tun = tun::Configuration::default();
    tun.tun_name(&config.name)
        .layer(tun::Layer::L2)
        .mtu(config.mtu)
        .platform_config(|platform| {
            platform.vnet_hdr(true);
        });
    let mut device = tun::create(&tun)
        .map_err(io::Error::other)
        .map_err(failed("create the interface"))?;
    let header = i32::try_from(VNET_HEADER_LEN).expect("the header is 10 bytes");
    sys::set_vnet_header_size(&device, header).map_err(failed("set the header size"))?;
    set_offloads(&device, config.offloads).map_err(failed("set the offloads"))?;
    sys::set_hardware_address(&device, config.mac).map_err(failed("set the MAC address"))?;
    if config.up {
        device
            .enabled(true)
            .map_err(io::Error::other)
            .map_err(failed("set the state"))?;
    }
    let file = sys::into_nonblocking_file(device).map_err(failed("take the descriptor"))?;
    Ok(TapPort {
        file,
        name: config.name.clone(),
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
