//! What this machine allows, found out by trying it.
//!
//! Each need is tried in a process of its own, which is started as `weft doctor --probe NAME` and says what it found:
//! a process that enters namespaces does not come back from them, and one that the machine kills has told as much.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use weft_proto::vocab::MacAddr;
use weft_switch::port::packet;
use weft_switch::port::tuntap::{self, TuntapConfig};
use weft_switch::ports::Medium;

use crate::dataplane::chain;
use crate::host::ports::TUN_NODE;
use crate::netlink::{self, Veth};
use crate::netns::Netns;
use crate::process::spawn_in_pid_namespace;
use crate::user_namespace;

const CONTAINER: &str = "outside of containers, or in one with --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined";
const KERNEL: &str = "a kernel with CONFIG_VETH and CONFIG_PACKET; in a container: --cap-add NET_ADMIN --cap-add NET_RAW";

/// What labs need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Root, or a user namespace to be root in.
    Privileges,
    /// Hosts are network namespaces.
    NetworkNamespaces,
    /// A lab is a PID namespace.
    PidNamespaces,
    /// Interfaces are configured by netlink.
    Netlink,
    /// Probes and captures in hosts.
    RawSockets,
    /// TAP and TUN devices come from here.
    TunDevice,
    /// `port: tap`: a TAP device with super-packets and partial checksums.
    Tap,
    /// `port: tun`: the same of a TUN device.
    Tun,
    /// `port: veth`: a veth pair and a packet socket with virtio-net headers.
    PacketSocket,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The need.
    pub name: String,
    /// Whether it is met.
    pub works: bool,
    /// How it is met, or why not.
    pub detail: String,
    /// One line that helps where it is not.
    pub fix: Option<String>,
}

/// Why something does not work, and what helps.
struct Trouble {
    detail: String,
    fix: String,
}

impl Trouble {
    fn new(what: &str, error: &dyn std::error::Error, fix: impl Into<String>) -> Self {
        Self {
            detail: format!("cannot {what}: {}", chain(error)),
            fix: fix.into(),
        }
    }
}

impl Need {
    /// Everything that labs need.
    pub const ALL: [Self; 9] = [
        Self::Privileges,
        Self::NetworkNamespaces,
        Self::PidNamespaces,
        Self::Netlink,
        Self::RawSockets,
        Self::TunDevice,
        Self::Tap,
        Self::Tun,
        Self::PacketSocket,
    ];

    /// Its name, for people and for the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileges => "privileges",
            Self::NetworkNamespaces => "network-namespaces",
            Self::PidNamespaces => "pid-namespaces",
            Self::Netlink => "netlink",
            Self::RawSockets => "raw-sockets",
            Self::TunDevice => "tun-device",
            Self::Tap => "tap",
            Self::Tun => "tun",
            Self::PacketSocket => "packet-socket",
        }
    }

    /// Whether a lab can do without it, by another kind of port.
    pub fn is_a_choice(self) -> bool {
        matches!(
            self,
            Self::TunDevice | Self::Tap | Self::Tun | Self::PacketSocket
        )
    }

    /// A need by its name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|need| need.name() == name)
    }

    /// Tries it in a process of its own.
    pub fn check(self) -> Finding {
        let unknown = |detail: String| Finding {
            name: self.name().to_owned(),
            works: false,
            detail,
            fix: Some(CONTAINER.to_owned()),
        };
        let output = Command::new("/proc/self/exe")
            .args(["doctor", "--probe", self.name()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        match output {
            Err(error) => unknown(format!("cannot start a process: {error}")),
            Ok(output) => serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
                unknown(match output.status.signal() {
                    Some(signal) => format!("the kernel ended the attempt with signal {signal}"),
                    None => "the attempt ended without a word".to_owned(),
                })
            }),
        }
    }

    /// Tries it in this process, which must be made for it and have one thread.
    pub fn probe(self) -> Finding {
        let (works, detail, fix) = match self.attempt() {
            Ok(detail) => (true, detail, None),
            Err(Trouble { detail, fix }) => (false, detail, Some(fix)),
        };
        Finding {
            name: self.name().to_owned(),
            works,
            detail,
            fix,
        }
    }

    fn attempt(self) -> Result<String, Trouble> {
        match self {
            Self::Privileges => become_root(),
            Self::NetworkNamespaces => enter_namespace().map(|_| "can be made".to_owned()),
            Self::PidNamespaces => pid_namespace(),
            Self::Netlink => {
                enter_namespace()?;
                netlink::configure(&[])
                    .map_err(|error| Trouble::new("configure an interface", &error, CONTAINER))?;
                Ok("configures interfaces".to_owned())
            }
            Self::RawSockets => {
                enter_namespace()?;
                Socket::new(Domain::PACKET, Type::RAW, None).map_err(|error| {
                    let fix = "in a container: --cap-add NET_RAW";
                    Trouble::new("open a packet socket", &error, fix)
                })?;
                Ok("can be opened".to_owned())
            }
            Self::TunDevice => tun_device(),
            Self::Tap => device(Medium::L2),
            Self::Tun => device(Medium::L3),
            Self::PacketSocket => packet_socket(),
        }
    }
}

/// Whether labs can be built by what was found: everything but the ports works, and one kind of port for Ethernet.
pub fn labs_run(findings: &[Finding]) -> bool {
    let works = |need: Need| {
        let mut findings = findings.iter();
        findings.any(|finding| finding.name == need.name() && finding.works)
    };
    let mut needs = Need::ALL.into_iter();
    needs.all(|need| need.is_a_choice() || works(need))
        && (works(Need::Tap) || works(Need::PacketSocket))
}

/// Root as it is, or in a user namespace.
fn become_root() -> Result<String, Trouble> {
    let found = match user_namespace::is_root() {
        true => "root",
        false => "in a user namespace",
    };
    user_namespace::enter_new().map_err(|error| Trouble {
        detail: chain(&error),
        fix: user_namespace::fix(),
    })?;
    Ok(found.to_owned())
}

fn enter_namespace() -> Result<Netns, Trouble> {
    become_root()?;
    Netns::enter_new().map_err(|error| Trouble::new("make a network namespace", &error, CONTAINER))
}

fn pid_namespace() -> Result<String, Trouble> {
    become_root()?;
    let failed = |error: io::Error| Trouble::new("make a PID namespace", &error, CONTAINER);
    // Whatever it runs ends at once: it has no input.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut first = spawn_in_pid_namespace(command).map_err(failed)?;
    let ended = first.wait().map_err(failed)?;
    match ended.success() {
        true => Ok("can be made".to_owned()),
        false => Err(failed(io::Error::other(format!(
            "its first process ended with {ended}"
        )))),
    }
}

fn tun_device() -> Result<String, Trouble> {
    match OpenOptions::new().read(true).write(true).open(TUN_NODE) {
        Ok(_) => Ok(format!("{TUN_NODE} opens")),
        Err(error) => {
            let fix = match error.kind() {
                io::ErrorKind::NotFound => {
                    "sudo modprobe tun; in a container: --device /dev/net/tun"
                }
                io::ErrorKind::PermissionDenied => "sudo chmod 0666 /dev/net/tun",
                _ => "sudo modprobe tun",
            };
            Err(Trouble::new(&format!("open {TUN_NODE}"), &error, fix))
        }
    }
}

fn device(medium: Medium) -> Result<String, Trouble> {
    tun_device()?;
    enter_namespace()?;
    let config = TuntapConfig {
        name: "weft0".to_owned(),
        medium,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        offloads: true,
        up: true,
    };
    match tuntap::create(&config) {
        Ok(_) => Ok("with virtio-net header and offloads".to_owned()),
        Err(error) => Err(Trouble::new(
            "make a device with virtio-net header and offloads",
            &error,
            "in a container: --cap-add NET_ADMIN; else a kernel with CONFIG_TUN",
        )),
    }
}

fn packet_socket() -> Result<String, Trouble> {
    let here = enter_namespace()?;
    let veth = Veth {
        name: "weft0".to_owned(),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        peer: "weft1".to_owned(),
        peer_namespace: here.as_fd().as_raw_fd(),
    };
    netlink::add_veth(&veth)
        .and_then(|()| netlink::set_up(&veth.peer))
        .map_err(|error| Trouble::new("make a veth pair", &error, KERNEL))?;
    packet::open(&veth.peer, true)
        .map_err(|error| Trouble::new("open a packet socket", &error, KERNEL))?;
    Ok("on a veth pair, with virtio-net header".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_known_by_their_names() {
        for need in Need::ALL {
            assert_eq!(Need::by_name(need.name()), Some(need));
        }
        assert_eq!(Need::by_name("rest"), None);
    }

    #[test]
    fn one_kind_of_port_is_enough() {
        let found = |missing: &[Need]| {
            let findings = Need::ALL.map(|need| Finding {
                name: need.name().to_owned(),
                works: !missing.contains(&need),
                detail: String::new(),
                fix: None,
            });
            labs_run(&findings)
        };
        assert!(found(&[]));
        assert!(found(&[Need::TunDevice, Need::Tap, Need::Tun]));
        assert!(found(&[Need::PacketSocket]));
        assert!(!found(&[Need::Tap, Need::PacketSocket]));
        assert!(!found(&[Need::Privileges]));
    }
}
