//! The ports of all switches of a process and how they are connected.
//!
//! [`Topology`] is the master copy: it has one writer and checks every change. Workers get a [`Wiring`], an immutable
//! table made from it, in which a patch link is an index: following it costs one load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_proto::vocab::{DeviceId, PortNo};

use crate::counters::PortCounters;
use crate::drops::DropReason;
use crate::host::{Endpoint, HostError, LinkSpec, LinkState, PortSpec, SwitchSpec};
use crate::port::{PortIo, PortKind};
use crate::ports::Medium;

/// Switches, ports and links of a process.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    /// Devices that were ever attached; gives them ids.
    attached: u64,
    switches: BTreeMap<DeviceId, Switch>,
    links: BTreeMap<String, Link>,
}

/// A switch's part of the topology.
#[derive(Debug)]
pub(crate) struct Switch {
    /// Its name.
    pub(crate) name: String,
    /// Its ports.
    pub(crate) ports: BTreeMap<PortNo, Port>,
    /// Drops of packets from the controller, and of packets at ports that do not exist.
    pub(crate) cpu: Arc<PortCounters>,
}

/// A port.
#[derive(Debug)]
pub(crate) struct Port {
    /// What was declared.
    pub(crate) spec: PortSpec,
    /// What is behind it.
    pub(crate) connection: Connection,
    /// The link that it belongs to.
    pub(crate) link: Option<String>,
    /// What passed through it.
    pub(crate) counters: Arc<PortCounters>,
}

/// What is behind a port.
#[derive(Clone, Debug)]
pub(crate) enum Connection {
    /// Nothing yet.
    None,
    /// Another switch of the process.
    Patch(Endpoint),
    /// A device.
    Io(Arc<PortIo>),
}

/// A link.
#[derive(Debug)]
pub(crate) struct Link {
    /// What was declared.
    pub(crate) spec: LinkSpec,
    /// Whether it is taken down.
    pub(crate) state: LinkState,
}

impl Topology {
    /// Builds and checks the topology of a host that starts.
    pub(crate) fn new(switches: Vec<SwitchSpec>, links: Vec<LinkSpec>) -> Result<Self, HostError> {
        let mut topology = Self::default();
        let mut names = BTreeSet::new();
        for spec in switches {
            let SwitchSpec {
                name,
                device_id,
                ports,
            } = spec;
            if device_id == DeviceId(0) {
                return Err(HostError::InvalidDevice { name });
            }
            if topology.switches.contains_key(&device_id) || !names.insert(name.clone()) {
                return Err(HostError::DuplicateSwitch {
                    name,
                    device: device_id,
                });
            }
            let switch = Switch {
                name,
                ports: BTreeMap::new(),
                cpu: Arc::default(),
            };
            topology.switches.insert(device_id, switch);
            for port in ports {
                topology.add_port(device_id, port)?;
            }
        }
        for link in links {
            topology.add_link(link)?;
        }
        Ok(topology)
    }

    /// Adds a port without a connection.
    pub(crate) fn add_port(&mut self, device: DeviceId, spec: PortSpec) -> Result<(), HostError> {
        let port = spec.number;
        let switch = self
            .switches
            .get_mut(&device)
            .ok_or(HostError::UnknownPort { device, port })?;
        let reserved = port.0 == 0 || port.0 >= 0xffff_ff00;
        if reserved || switch.ports.contains_key(&port) {
            return Err(HostError::InvalidPort { device, port });
        }
        switch.ports.insert(
            port,
            Port {
                spec,
                connection: Connection::None,
                link: None,
                counters: Arc::default(),
            },
        );
        Ok(())
    }

    fn add_link(&mut self, spec: LinkSpec) -> Result<(), HostError> {
        if self.links.contains_key(&spec.name) {
            return Err(HostError::DuplicateLink { name: spec.name });
        }
        let free = |port: &Port| matches!(port.connection, Connection::None) && port.link.is_none();
        let in_use = |at: Endpoint| HostError::PortInUse {
            device: at.device,
            port: at.port,
        };
        if spec.b == Some(spec.a) {
            return Err(in_use(spec.a));
        }
        for at in [Some(spec.a), spec.b].into_iter().flatten() {
            let port = self.port_mut(at)?;
            if !free(port) {
                return Err(in_use(at));
            }
            if spec.b.is_some() && !port.spec.medium.is_l2() {
                return Err(HostError::WrongMedium {
                    device: at.device,
                    port: at.port,
                });
            }
        }
        let ends = [(Some(spec.a), spec.b), (spec.b, Some(spec.a))];
        for (end, peer) in ends {
            if let Some(end) = end {
                let port = self.port_mut(end)?;
                port.link = Some(spec.name.clone());
                if let Some(peer) = peer {
                    port.connection = Connection::Patch(peer);
                }
            }
        }
        let link = Link {
            spec,
            state: LinkState::Up,
        };
        self.links.insert(link.spec.name.clone(), link);
        Ok(())
    }

    /// Puts a device behind a port that has nothing yet.
    pub(crate) fn attach(&mut self, at: Endpoint, kind: PortKind) -> Result<(), HostError> {
        let id = self.attached + 1;
        let port = self.port_mut(at)?;
        if !matches!(port.connection, Connection::None) {
            return Err(HostError::PortInUse {
                device: at.device,
                port: at.port,
            });
        }
        if let PortKind::Device(device) = &kind
            && device.medium() != port.spec.medium
        {
            return Err(HostError::WrongMedium {
                device: at.device,
                port: at.port,
            });
        }
        port.connection = Connection::Io(Arc::new(PortIo::new(id, kind)));
        self.attached = id;
        Ok(())
    }

    /// Takes the device away from a port.
    pub(crate) fn detach(&mut self, at: Endpoint) -> Result<(), HostError> {
        let port = self.port_mut(at)?;
        if matches!(port.connection, Connection::Io(_)) {
            port.connection = Connection::None;
        }
        Ok(())
    }

    /// Takes the devices away from all ports.
    pub(crate) fn take_devices(&mut self) -> Vec<Arc<PortIo>> {
        let ports = self
            .switches
            .values_mut()
            .flat_map(|switch| switch.ports.values_mut());
        ports
            .filter(|port| matches!(port.connection, Connection::Io(_)))
            .filter_map(
                |port| match std::mem::replace(&mut port.connection, Connection::None) {
                    Connection::Io(io) => Some(io),
                    Connection::None | Connection::Patch(_) => None,
                },
            )
            .collect()
    }

    /// Takes a link down or up; `false` when it is in that state already.
    pub(crate) fn set_link(&mut self, name: &str, state: LinkState) -> Result<bool, HostError> {
        let link = self
            .links
            .get_mut(name)
            .ok_or_else(|| HostError::UnknownLink {
                name: name.to_owned(),
            })?;
        let changed = link.state != state;
        link.state = state;
        Ok(changed)
    }

    /// All switches.
    pub(crate) fn switches(&self) -> &BTreeMap<DeviceId, Switch> {
        &self.switches
    }

    /// All links.
    pub(crate) fn links(&self) -> &BTreeMap<String, Link> {
        &self.links
    }

    /// A port.
    pub(crate) fn port(&self, at: Endpoint) -> Option<&Port> {
        self.switches.get(&at.device)?.ports.get(&at.port)
    }

    /// The numbers of a switch's ports.
    pub(crate) fn port_numbers(&self, device: DeviceId) -> BTreeSet<PortNo> {
        let switch = self.switches.get(&device);
        let ports = switch.into_iter().flat_map(|switch| switch.ports.keys());
        ports.copied().collect()
    }

    fn port_mut(&mut self, at: Endpoint) -> Result<&mut Port, HostError> {
        let Endpoint { device, port } = at;
        self.switches
            .get_mut(&device)
            .and_then(|switch| switch.ports.get_mut(&port))
            .ok_or(HostError::UnknownPort { device, port })
    }

    /// Whether a port carries packets: something is behind it, and its link is up.
    pub(crate) fn port_state(&self, port: &Port) -> LinkState {
        let link = port.link.as_ref().and_then(|name| self.links.get(name));
        let link_up = link.is_none_or(|link| link.state == LinkState::Up);
        if link_up && !matches!(port.connection, Connection::None) {
            LinkState::Up
        } else {
            LinkState::Down
        }
    }

    /// The table that workers forward by.
    pub(crate) fn wiring(&self) -> Wiring {
        let index: BTreeMap<DeviceId, usize> = self.switches.keys().copied().zip(0..).collect();
        let devices = self
            .switches
            .iter()
            .map(|(&device, switch)| WiredDevice {
                device,
                cpu: Arc::clone(&switch.cpu),
                ports: switch
                    .ports
                    .values()
                    .map(|port| WiredPort {
                        number: port.spec.number,
                        mtu: port.spec.mtu,
                        medium: port.spec.medium,
                        up: self.port_state(port) == LinkState::Up,
                        counters: Arc::clone(&port.counters),
                        target: match &port.connection {
                            Connection::None => Target::Nothing,
                            Connection::Io(io) => Target::Io(Arc::clone(io)),
                            Connection::Patch(peer) => {
                                index.get(&peer.device).map_or(Target::Nothing, |&device| {
                                    Target::Patch {
                                        device,
                                        port: peer.port,
                                    }
                                })
                            }
                        },
                    })
                    .collect(),
            })
            .collect();
        Wiring { devices }
    }
}

/// Every port of every switch, and where it leads. Sorted by device and by port.
#[derive(Debug, Default)]
pub struct Wiring {
    pub(crate) devices: Vec<WiredDevice>,
}

/// A switch of a [`Wiring`].
#[derive(Debug)]
pub(crate) struct WiredDevice {
    /// The switch.
    pub(crate) device: DeviceId,
    /// Its ports, sorted by number.
    pub(crate) ports: Vec<WiredPort>,
    /// Counters for what entered by no port.
    pub(crate) cpu: Arc<PortCounters>,
}

/// A port of a [`Wiring`].
#[derive(Debug)]
pub(crate) struct WiredPort {
    /// Its number.
    pub(crate) number: PortNo,
    /// Largest customer IP packet in bytes.
    pub(crate) mtu: u32,
    /// What its packets begin with.
    pub(crate) medium: Medium,
    /// Whether it carries packets.
    pub(crate) up: bool,
    /// What passed through it.
    pub(crate) counters: Arc<PortCounters>,
    /// Where it leads.
    pub(crate) target: Target,
}

/// Where a port leads.
#[derive(Debug)]
pub(crate) enum Target {
    /// Nowhere.
    Nothing,
    /// To another switch of the process.
    Patch {
        /// Index into [`Wiring::devices`].
        device: usize,
        /// The port there.
        port: PortNo,
    },
    /// To a device.
    Io(Arc<PortIo>),
}

impl Wiring {
    /// The wiring for a [`crate::plane::Plane`] without threads and devices: a port without a patch link is up and
    /// leads out of the plane.
    ///
    /// # Errors
    /// [`HostError`] where a name, id or port is taken twice or missing.
    pub fn new(switches: Vec<SwitchSpec>, links: Vec<LinkSpec>) -> Result<Self, HostError> {
        let mut wiring = Topology::new(switches, links)?.wiring();
        let ports = wiring
            .devices
            .iter_mut()
            .flat_map(|device| &mut device.ports);
        for port in ports.filter(|port| matches!(port.target, Target::Nothing)) {
            port.up = true;
        }
        Ok(wiring)
    }

    /// All ports with a device behind them.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (Endpoint, &Arc<PortIo>)> {
        self.devices.iter().flat_map(|wired| {
            wired.ports.iter().filter_map(|port| match &port.target {
                Target::Io(io) => Some((
                    Endpoint {
                        device: wired.device,
                        port: port.number,
                    },
                    io,
                )),
                Target::Nothing | Target::Patch { .. } => None,
            })
        })
    }

    /// Counts a packet that no controller took.
    pub(crate) fn lost_by_controller(&self, device: DeviceId) {
        if let Some(index) = self.index(device) {
            self.devices[index].cpu.dropped(DropReason::NO_CONTROLLER.0);
        }
    }

    /// A port.
    pub(crate) fn port(&self, at: Endpoint) -> Option<&WiredPort> {
        self.devices.get(self.index(at.device)?)?.port(at.port)
    }

    /// The counters of a port.
    pub fn counters(&self, at: Endpoint) -> Option<&PortCounters> {
        self.port(at).map(|port| &*port.counters)
    }

    /// What packets at a port begin with; unknown ports, and the controller, have Ethernet.
    pub(crate) fn medium(&self, at: Endpoint) -> Medium {
        self.port(at).map_or(Medium::L2, |port| port.medium)
    }

    /// The index of a device.
    pub(crate) fn index(&self, device: DeviceId) -> Option<usize> {
        self.devices
            .binary_search_by_key(&device, |wired| wired.device)
            .ok()
    }
}

impl WiredDevice {
    /// A port by its number. Numbers mostly count from 1, so the place of one is tried first.
    pub(crate) fn port(&self, number: PortNo) -> Option<&WiredPort> {
        let guess = usize::try_from(number.0).ok()?.wrapping_sub(1);
        if let Some(port) = self.ports.get(guess)
            && port.number == number
        {
            return Some(port);
        }
        let index = self
            .ports
            .binary_search_by_key(&number, |port| port.number)
            .ok()?;
        self.ports.get(index)
    }

    /// The counters of what entered by `number`.
    pub(crate) fn counters(&self, number: PortNo) -> &PortCounters {
        self.port(number).map_or(&self.cpu, |port| &port.counters)
    }
}

#[cfg(test)]
mod tests;
