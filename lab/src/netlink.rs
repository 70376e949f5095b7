//! Addresses, routes and link states of the calling thread's network namespace, by netlink in process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use ipnet::IpNet;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use weft_proto::vocab::MacAddr;

/// What an interface that exists gets.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Its name.
    pub name: String,
    /// Its MAC address, where it has Ethernet.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNet>,
    /// Default routes through it.
    pub routes: Vec<DefaultRoute>,
}

/// Where packets to nobody known go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultRoute {
    /// To a neighbour.
    Via(IpAddr),
    /// Over the interface, whoever is there; IPv4.
    Device4,
    /// The same for IPv6.
    Device6,
}

/// A veth pair.
#[derive(Clone, Debug)]
pub struct Veth {
    /// The name of the end in the calling thread's namespace.
    pub name: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// The MTU of both ends in bytes.
    pub mtu: u32,
    /// The name of the other end.
    pub peer: String,
    /// The network namespace that it is made in.
    pub peer_namespace: RawFd,
}

/// Why a namespace cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Open(#[source] std::io::Error),
    /// The interface does not exist.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// The kernel refused.
    #[error("cannot {what} of interface {interface}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// On which interface.
        interface: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
}

/// Configures the loopback and the given interfaces of the calling thread's namespace, and sets them up.
///
/// # Errors
/// [`NetlinkError`]; what was done until then stays.
pub fn configure(interfaces: &[InterfaceConfig]) -> Result<(), NetlinkError> {
    with_socket(async |handle| configure_with(handle, interfaces).await)
}

/// Makes a veth pair, one end in the calling thread's namespace.
///
/// # Errors
/// [`NetlinkError`]; nothing is made then.
pub fn add_veth(veth: &Veth) -> Result<(), NetlinkError> {
    let peer = LinkUnspec::new_with_name(&veth.peer)
        .mtu(veth.mtu)
        .setns_by_fd(veth.peer_namespace)
        .build();
    let pair = LinkVeth::new(&veth.name, &veth.peer)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .address(veth.mac.0.to_vec())
        .mtu(veth.mtu)
        .build();
    with_socket(async |handle| {
        let added = handle.link().add(pair).execute().await;
        added.map_err(refused("make the veth pair", &veth.name))
    })
}

/// Sets an interface of the calling thread's namespace up.
///
/// # Errors
/// [`NetlinkError`].
pub fn set_up(name: &str) -> Result<(), NetlinkError> {
    let up = LinkUnspec::new_with_name(name).up().build();
    with_socket(async |handle| {
        let changed = handle.link().change(up).execute().await;
        changed.map_err(refused("set the state", name))
    })
}

/// Lends a netlink socket of the calling thread's namespace.
fn with_socket<T>(
    work: impl AsyncFnOnce(&Handle) -> Result<T, NetlinkError>,
) -> Result<T, NetlinkError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(NetlinkError::Open)?;
    runtime.block_on(async {
        // The socket is opened here, on this thread, and so in its namespace.
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Open)?;
        let driver = tokio::spawn(connection);
        let done = work(&handle).await;
        driver.abort();
        done
    })
}

async fn configure_with(
    handle: &Handle,
    interfaces: &[InterfaceConfig],
) -> Result<(), NetlinkError> {
    const LOOPBACK_INDEX: u32 = 1;
    let up = LinkUnspec::new_with_index(LOOPBACK_INDEX).up().build();
    handle
        .link()
        .change(up)
        .execute()
        .await
        .map_err(refused("set the state", "lo"))?;
    for interface in interfaces {
        let name = interface.name.as_str();
        let index = nix::net::if_::if_nametoindex(name)
            .map_err(|_| NetlinkError::NoInterface(name.to_owned()))?;
        let mut link = LinkUnspec::new_with_index(index).mtu(interface.mtu).up();
        if let Some(mac) = interface.mac {
            link = link.address(mac.0.to_vec());
        }
        handle
            .link()
            .change(link.build())
            .execute()
            .await
            .map_err(refused("set MAC, MTU and state", name))?;
        for address in &interface.addresses {
            handle
                .address()
                .add(index, address.addr(), address.prefix_len())
                .execute()
                .await
                .map_err(refused("add an address", name))?;
        }
        for route in &interface.routes {
            let (v4, v6) = (
                RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index),
                RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index),
            );
            let route = match *route {
                DefaultRoute::Via(IpAddr::V4(gateway)) => v4.gateway(gateway).build(),
                DefaultRoute::Via(IpAddr::V6(gateway)) => v6.gateway(gateway).build(),
                DefaultRoute::Device4 => v4.scope(RouteScope::Link).build(),
                DefaultRoute::Device6 => v6.build(),
            };
            handle
                .route()
                .add(route)
                .replace()
                .execute()
                .await
                .map_err(refused("add a default route", name))?;
        }
    }
    Ok(())
}

fn refused(what: &'static str, interface: &str) -> impl FnOnce(rtnetlink::Error) -> NetlinkError {
    let interface = interface.to_owned();
    move |source| NetlinkError::Refused {
        what,
        interface,
        source,
    }
}
