//! Building hosts: for each a namespace, its devices, its addresses, and the sockets of its responders.
//!
//! A device of a switch port is made inside the host's namespace and is the host's own interface: between the host's
//! network stack and the switch there is nothing else. Hosts are built on two threads at once; more do not help,
//! because the kernel makes devices one at a time.

use std::fs;
use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use weft_controller::model::{Attachment, Host, HostKind, Interface};
use weft_switch::port::Device;

use crate::netlink::{self, DefaultRoute, InterfaceConfig, NetlinkError};
use crate::netns::Netns;
use crate::responders::{Family, ListenError, Responder};

pub mod ports;

use self::ports::{PortError, PortMaker};

const BUILDERS: usize = 2;

/// A host that exists.
#[derive(Debug)]
pub struct BuiltHost {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub netns: Netns,
    /// Its devices and where each is to be attached.
    pub devices: Vec<(Attachment, Device)>,
    /// Its responders, listening but not yet answering.
    pub responders: Vec<Responder>,
}

/// Why a host cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot build host {host}")]
pub struct HostBuildError {
    host: String,
    #[source]
    cause: Box<Cause>,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("cannot make a network namespace")]
    Namespace(#[source] io::Error),
    #[error("cannot set {name}")]
    Setting {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("no thread could be started for it")]
    Thread,
}

/// Builds hosts, all of them or none.
///
/// # Errors
/// The first failure; what was built is gone then.
pub fn build_all<'a>(
    hosts: impl IntoIterator<Item = &'a Host>,
    ports: &PortMaker,
) -> Result<Vec<BuiltHost>, HostBuildError> {
    let hosts: Vec<&Host> = hosts.into_iter().collect();
    let next = AtomicUsize::new(0);
    let built = Mutex::new(Vec::with_capacity(hosts.len()));
    let work = || {
        while let Some((index, host)) = take(&next, &hosts) {
            let result = build(host, ports);
            if result.is_err() {
                // The others need not begin what will be thrown away.
                next.store(hosts.len(), Ordering::Relaxed);
            }
            built
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for number in 0..BUILDERS.min(hosts.len()) {
            let spawned = std::thread::Builder::new()
                .name(format!("build-{number}"))
                .spawn_scoped(scope, work);
            if let Err(error) = spawned {
                tracing::warn!(%error, "cannot start a building thread");
            }
        }
    });
    let mut built = built.into_inner().unwrap_or_else(PoisonError::into_inner);
    built.sort_by_key(|(index, _)| *index);
    let built: Vec<_> = built
        .into_iter()
        .map(|(_, result)| result)
        .collect::<Result<_, _>>()?;
    match hosts.get(built.len()) {
        Some(missing) => Err(HostBuildError {
            host: missing.name.clone(),
            cause: Box::new(Cause::Thread),
        }),
        None => Ok(built),
    }
}

fn take<'a>(next: &AtomicUsize, hosts: &[&'a Host]) -> Option<(usize, &'a Host)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    hosts.get(index).map(|host| (index, *host))
}

/// Builds one host; the calling thread ends up in its namespace.
fn build(host: &Host, ports: &PortMaker) -> Result<BuiltHost, HostBuildError> {
    build_inner(host, ports).map_err(|cause| HostBuildError {
        host: host.name.clone(),
        cause: Box::new(cause),
    })
}

fn build_inner(host: &Host, ports: &PortMaker) -> Result<BuiltHost, Cause> {
    let netns = Netns::enter_new().map_err(Cause::Namespace)?;
    let has_v6 = host
        .interfaces
        .iter()
        .flat_map(|interface| &interface.addresses)
        .any(|address| address.addr().is_ipv6());
    quieten(host.kind, has_v6)?;
    let mut devices = Vec::with_capacity(host.interfaces.len());
    for interface in &host.interfaces {
        devices.push((interface.attachment.clone(), ports.make(interface)?));
    }
    netlink::configure(&configs(host))?;
    let family = if has_v6 { Family::Dual } else { Family::V4 };
    let responders = host
        .listen
        .iter()
        .map(|listen| Responder::open(&host.name, listen, family))
        .collect::<Result<_, _>>()?;
    Ok(BuiltHost {
        name: host.name.clone(),
        netns,
        devices,
        responders,
    })
}

/// What netlink sets. The first gateway of each IP version is the default route; where there is none, and for hosts
/// whose gateway is behind a layer-3 interface, which has no neighbours to ask, the route names the interface alone.
fn configs(host: &Host) -> Vec<InterfaceConfig> {
    let mut configs: Vec<InterfaceConfig> = host
        .interfaces
        .iter()
        .map(|interface| InterfaceConfig {
            name: interface.name.clone(),
            mac: Some(interface.mac).filter(|_| interface.port_kind.is_l2()),
            mtu: interface.mtu,
            addresses: interface.addresses.clone(),
            routes: Vec::new(),
        })
        .collect();
    for is_v4 in [true, false] {
        let gateway = |interface: &Interface| {
            let mut gateways = interface.gateways.iter().copied();
            gateways.find(|gateway| gateway.is_ipv4() == is_v4)
        };
        let speaks = |interface: &Interface| {
            let mut addresses = interface.addresses.iter();
            addresses.any(|net| net.addr().is_ipv4() == is_v4)
        };
        let is_bare = |interface: &Interface| !interface.port_kind.is_l2() && speaks(interface);
        let mut interfaces = host.interfaces.iter();
        let chosen = (interfaces.position(|interface| gateway(interface).is_some()))
            .or_else(|| host.interfaces.iter().position(is_bare));
        let Some(index) = chosen else { continue };
        let interface = &host.interfaces[index];
        configs[index].routes.push(match gateway(interface) {
            Some(gateway) if interface.port_kind.is_l2() => DefaultRoute::Via(gateway),
            _ if is_v4 => DefaultRoute::Device4,
            _ => DefaultRoute::Device6,
        });
    }
    configs
}

/// Settings of the namespace, before it has devices: no chatter that nobody asked for, and forwarding in routers.
fn quieten(kind: HostKind, has_v6: bool) -> Result<(), Cause> {
    if has_v6 {
        for (name, value) in [
            ("accept_ra", "0"),
            ("autoconf", "0"),
            ("accept_dad", "0"),
            ("router_solicitations", "0"),
        ] {
            set("ipv6/conf/default", name, value)?;
        }
    } else {
        set("ipv6/conf/default", "disable_ipv6", "1")?;
    }
    if kind == HostKind::Router {
        set("ipv4", "ip_forward", "1")?;
        set("ipv4/conf/default", "rp_filter", "0")?;
        set("ipv4/conf/all", "rp_filter", "0")?;
        if has_v6 {
            set("ipv6/conf/all", "forwarding", "1")?;
            set("ipv6/conf/default", "forwarding", "1")?;
        }
    }
    Ok(())
}

fn set(group: &str, name: &str, value: &str) -> Result<(), Cause> {
    match fs::write(format!("/proc/sys/net/{group}/{name}"), value) {
        // A kernel without IPv6 has nothing to be quietened.
        Err(error) if error.kind() == io::ErrorKind::NotFound && group.starts_with("ipv6") => {
            Ok(())
        }
        Err(source) => Err(Cause::Setting {
            name: format!("{group}/{name}"),
            source,
        }),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use weft_controller::load;

    use super::*;

    fn hosts(text: &str) -> Vec<Host> {
        let model = load::model(text.as_bytes(), "test.yaml", None).unwrap();
        model.hosts.into_values().collect()
    }

    fn see(host: &BuiltHost, command: &str) -> String {
        let output = host
            .netns
            .run_program(|| Command::new("sh").args(["-c", command]).output())
            .unwrap()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn a_host_has_its_name_mac_mtu_and_no_chatter() {
        if !crate::netns::allowed("a_host_has_its_name_mac_mtu_and_no_chatter") {
            return;
        }
        let declared = hosts(
            "name: t\ntopology:\n  nodes:\n    s1: { kind: switch }\n    a: { kind: host, ip: 10.1.0.1/24, gateway: 10.1.0.254, mtu: 1400 }\n    b: { kind: host, ip: 10.2.0.1/24 }\n",
        );
        let built = build_all(&declared, &PortMaker::new(true)).unwrap();
        assert_eq!(built.len(), 2);
        let (a, interface) = (&built[0], &declared[0].interfaces[0]);
        let sys = |name: &str| see(a, &format!("cat /sys/class/net/{}/{name}", interface.name));
        assert_eq!(sys("address"), interface.mac.to_string());
        assert_eq!(sys("mtu"), "1400");
        assert_eq!(
            see(a, "ls /sys/class/net"),
            format!("{}\nlo", interface.name)
        );
        let disabled = format!(
            "cat /proc/sys/net/ipv6/conf/{}/disable_ipv6",
            interface.name
        );
        assert_eq!(see(a, &disabled), "1");
        // The default route in the kernel's own notation: destination and mask 0, gateway as a little-endian number.
        let routes = see(a, "cat /proc/self/net/route");
        assert!(routes.contains("\t00000000\tFE00010A\t"), "{routes}");
    }

    #[test]
    fn default_routes_name_a_gateway_only_where_there_are_neighbours() {
        let declared = hosts(
            "name: t\ntopology:\n  nodes:\n    s1: { kind: switch }\n    a: { kind: host, ip: 10.1.0.1/24, gateway: 10.1.0.254 }\n    b: { kind: host, port: tun, ip: [10.1.0.2/24, '2001:db8::2/64'] }\n    c: { kind: host, port: tun, ip: 10.9.0.1/32 }\n",
        );
        let routes = |index: usize| {
            let configs = configs(&declared[index]);
            (configs[0].mac.is_some(), configs[0].routes.clone())
        };
        let gateway = DefaultRoute::Via("10.1.0.254".parse().unwrap());
        assert_eq!(routes(0), (true, vec![gateway]));
        let both = vec![DefaultRoute::Device4, DefaultRoute::Device6];
        assert_eq!(routes(1), (false, both));
        assert_eq!(routes(2), (false, vec![DefaultRoute::Device4]));
    }

    #[test]
    fn a_failing_host_leaves_none() {
        if !crate::netns::allowed("a_failing_host_leaves_none") {
            return;
        }
        let mut declared = hosts(
            "name: t\ntopology:\n  nodes:\n    s1: { kind: switch }\n    h[1-8]: { kind: host, listen: [{ tcp: 80, reply: a }] }\n",
        );
        let again = declared[3].listen.clone();
        declared[3].listen.extend(again);
        let error = build_all(&declared, &PortMaker::new(true)).unwrap_err();
        assert_eq!(error.to_string(), "cannot build host h4");
        assert!(crate::dataplane::chain(&error).contains("cannot listen on port 80"));
    }
}
