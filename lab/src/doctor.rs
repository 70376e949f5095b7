//! What this machine allows, found out by trying it.
//!
//! Each need is tried in a process of its own, which is started as `weft doctor --probe NAME` and says what it found:
//! a process that enters namespaces does not come back from them, and one that the machine kills has told as much.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use weft_proto::vocab::MacAddr;
use weft_switch::port::tuntap::{self, TuntapConfig};
use weft_switch::ports::Medium;

use crate::dataplane::chain;
use crate::netlink;
use crate::netns::Netns;
use crate::process::spawn_in_pid_namespace;

const TUN: &str = "/dev/net/tun";
const AS_ROOT: &str = "run it as root";
const CONTAINER: &str = "outside of containers, or in one with --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined";

/// What labs need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Root: this version does not build labs in a user namespace.
    Privileges,
    /// Hosts are network namespaces.
    NetworkNamespaces,
    /// A lab is a PID namespace.
    PidNamespaces,
    /// Interfaces are configured by netlink.
    Netlink,
    /// TAP devices come from here.
    TunDevice,
    /// TAP devices with super-packets and partial checksums.
    Tap,
    /// Sockets that see whole frames.
    RawSockets,
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
    pub const ALL: [Self; 7] = [
        Self::Privileges,
        Self::NetworkNamespaces,
        Self::PidNamespaces,
        Self::Netlink,
        Self::TunDevice,
        Self::Tap,
        Self::RawSockets,
    ];

    /// Its name, for people and for the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileges => "privileges",
            Self::NetworkNamespaces => "network-namespaces",
            Self::PidNamespaces => "pid-namespaces",
            Self::Netlink => "netlink",
            Self::TunDevice => "tun-device",
            Self::Tap => "tap",
            Self::RawSockets => "raw-sockets",
        }
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
            Self::Privileges if geteuid().is_root() => Ok("root".to_owned()),
            Self::Privileges => Err(Trouble {
                detail: "this is not root".to_owned(),
                fix: AS_ROOT.to_owned(),
            }),
            Self::NetworkNamespaces => enter_namespace().map(|_| "can be made".to_owned()),
            Self::PidNamespaces => pid_namespace(),
            Self::Netlink => {
                enter_namespace()?;
                netlink::configure(&[])
                    .map_err(|error| Trouble::new("configure an interface", &error, CONTAINER))?;
                Ok("configures interfaces".to_owned())
            }
            Self::TunDevice => tun_device(),
            Self::Tap => tap_device(),
            Self::RawSockets => {
                enter_namespace()?;
                Socket::new(Domain::PACKET, Type::RAW, None).map_err(|error| {
                    let fix = "in a container: --cap-add NET_RAW";
                    Trouble::new("open a packet socket", &error, fix)
                })?;
                Ok("can be opened".to_owned())
            }
        }
    }
}

/// Root as it is, or in a user namespace.
fn become_root() -> Result<String, Trouble> {
    if geteuid().is_root() {
        return Ok("root".to_owned());
    }
    let (user, group) = (geteuid(), getegid());
    let failed = |error: io::Error| {
        let what = "make a user namespace, and this is not root";
        Trouble::new(what, &error, user_namespace_fix())
    };
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(io::Error::from)
        .map_err(failed)?;
    for (file, content) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), content).map_err(failed)?;
    }
    Ok("a user namespace".to_owned())
}

/// What keeps this machine's users from namespaces of their own.
fn user_namespace_fix() -> String {
    let switches = [
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("user.max_user_namespaces", "0", "15000"),
    ];
    for (name, off, on) in switches {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        if fs::read_to_string(file).is_ok_and(|value| value.trim() == off) {
            return format!("sudo sysctl -w {name}={on}");
        }
    }
    AS_ROOT.to_owned()
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
    match OpenOptions::new().read(true).write(true).open(TUN) {
        Ok(_) => Ok(format!("{TUN} opens")),
        Err(error) => {
            let fix = match error.kind() {
                io::ErrorKind::NotFound => {
                    "sudo modprobe tun; in a container: --device /dev/net/tun"
                }
                io::ErrorKind::PermissionDenied => "sudo chmod 0666 /dev/net/tun",
                _ => "sudo modprobe tun",
            };
            Err(Trouble::new(&format!("open {TUN}"), &error, fix))
        }
    }
}

fn tap_device() -> Result<String, Trouble> {
    tun_device()?;
    enter_namespace()?;
    let config = TuntapConfig {
        name: "weft0".to_owned(),
        medium: Medium::L2,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        offloads: true,
        up: true,
    };
    match tuntap::create(&config) {
        Ok(_) => Ok("with virtio-net header and offloads".to_owned()),
        Err(error) => Err(Trouble::new(
            "make a TAP device with virtio-net header and offloads",
            &error,
            "in a container: --cap-add NET_ADMIN; else a kernel with CONFIG_TUN",
        )),
    }
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
}
