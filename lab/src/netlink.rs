//! Addresses, routes and link states of the calling thread's network namespace, by netlink in process.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use weft_proto::vocab::MacAddr;

/// What an interface that exists gets.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNet>,
    /// Default routes through it.
    pub gateways: Vec<IpAddr>,
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(NetlinkError::Open)?;
    runtime.block_on(async {
        // The socket is opened here, on this thread, and so in its namespace.
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Open)?;
        let driver = tokio::spawn(connection);
        let configured = configure_with(&handle, interfaces).await;
        driver.abort();
        configured
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
        let link = LinkUnspec::new_with_index(index)
            .address(interface.mac.0.to_vec())
            .mtu(interface.mtu)
            .up()
            .build();
        handle
            .link()
            .change(link)
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
        for gateway in &interface.gateways {
            let route = match gateway {
                IpAddr::V4(gateway) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                    .gateway(*gateway)
                    .output_interface(index)
                    .build(),
                IpAddr::V6(gateway) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                    .gateway(*gateway)
                    .output_interface(index)
                    .build(),
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
