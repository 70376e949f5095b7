//! The devices that join hosts to switches: TAP, TUN, or a veth pair with a packet socket.
//!
//! A TAP or TUN device is the host's own interface. Of a veth pair one end is; the others ends are all in one network
//! namespace where nothing else is, so that nobody's interfaces get more, and a crash leaves none.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use weft_controller::model::{Interface, PortKind};
use weft_switch::port::Device;
use weft_switch::port::packet::{self, PacketError};
use weft_switch::port::tuntap::{self, TuntapConfig, TuntapError};
use weft_switch::ports::Medium;

use crate::netlink::{self, NetlinkError, Veth};
use crate::netns::Netns;

/// Where TAP and TUN devices come from.
pub const TUN_NODE: &str = "/dev/net/tun";

/// Why an interface cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// No TAP or TUN device.
    #[error(transparent)]
    Tuntap(#[from] TuntapError),
    /// A TAP or TUN device was asked for where there are none.
    #[error(
        "interface {interface} is declared `port: {kind}`, and {TUN_NODE} cannot be opened (`weft doctor` says what helps)"
    )]
    Closed {
        /// The interface.
        interface: String,
        /// What was declared.
        kind: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// No namespace for the other ends of veth pairs.
    #[error("cannot make a network namespace for the switches' ends of veth pairs")]
    Namespace(#[source] io::Error),
    /// No veth pair.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// No packet socket.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// More than a device takes.
    #[error("interface {0} has an MTU of {1}; at most 65535 is possible")]
    Mtu(String, u32),
}

/// Makes the interfaces of a lab's hosts.
#[derive(Debug)]
pub struct PortMaker {
    offloads: bool,
    /// Why there are no TAP devices.
    closed: Option<io::Error>,
    /// Holds the other ends of veth pairs; made with the first.
    far: Mutex<Option<Netns>>,
    made: AtomicUsize,
}

impl PortMaker {
    /// With `offloads`, hosts get super-packets with partial checksums.
    pub fn new(offloads: bool) -> Self {
        let node = OpenOptions::new().read(true).write(true).open(TUN_NODE);
        Self {
            offloads,
            closed: node.err(),
            far: Mutex::default(),
            made: AtomicUsize::new(0),
        }
    }

    /// What the user should know when hosts leave the kind of their ports open.
    pub fn notice(&self) -> Option<String> {
        self.closed.as_ref().map(|error| {
            format!(
                "{TUN_NODE} cannot be opened ({error}), so hosts get veth pairs (`weft doctor` says what helps)"
            )
        })
    }

    /// Makes an interface in the calling thread's network namespace, and the device by which the switch reaches it.
    pub(super) fn make(&self, interface: &Interface) -> Result<Device, PortError> {
        let kind = match (interface.port_kind, &self.closed) {
            (PortKind::Any, None) => PortKind::Tap,
            (PortKind::Any, Some(_)) => PortKind::Veth,
            (kind, _) => kind,
        };
        match kind {
            PortKind::Any | PortKind::Tap => self.tuntap(interface, Medium::L2, "tap"),
            PortKind::Tun => self.tuntap(interface, Medium::L3, "tun"),
            PortKind::Veth => self.veth(interface),
        }
    }

    fn tuntap(
        &self,
        interface: &Interface,
        medium: Medium,
        kind: &'static str,
    ) -> Result<Device, PortError> {
        if let Some(error) = &self.closed {
            return Err(PortError::Closed {
                interface: interface.name.clone(),
                kind,
                source: io::Error::from(error.kind()),
            });
        }
        let mtu = u16::try_from(interface.mtu)
            .map_err(|_| PortError::Mtu(interface.name.clone(), interface.mtu))?;
        let device = tuntap::create(&TuntapConfig {
            name: interface.name.clone(),
            medium,
            mac: interface.mac,
            mtu,
            offloads: self.offloads,
            up: false,
        })?;
        Ok(device.into())
    }

    fn veth(&self, interface: &Interface) -> Result<Device, PortError> {
        let mut far = self.far.lock().unwrap_or_else(PoisonError::into_inner);
        let far = match &mut *far {
            Some(far) => far,
            none => none.insert(quiet_namespace().map_err(PortError::Namespace)?),
        };
        let peer = format!("port{}", self.made.fetch_add(1, Ordering::Relaxed));
        netlink::add_veth(&Veth {
            name: interface.name.clone(),
            mac: interface.mac,
            mtu: interface.mtu,
            peer: peer.clone(),
            peer_namespace: far.as_fd().as_raw_fd(),
        })?;
        let opened = far.run(|| {
            netlink::set_up(&peer)?;
            Ok(packet::open(&peer, self.offloads)?.into())
        });
        opened.map_err(PortError::Namespace)?
    }
}

/// A namespace whose interfaces say nothing by themselves.
fn quiet_namespace() -> io::Result<Netns> {
    const QUIET: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    let made = std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(|| {
            let netns = Netns::enter_new()?;
            match fs::write(QUIET, "1") {
                // A kernel without IPv6 is quiet anyway.
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(netns),
            }
        })?;
    made.join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
