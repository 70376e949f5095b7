//! What the datapath knows of a switch's ports.

use std::collections::BTreeMap;

use weft_proto::vocab::PortNo;

/// Ports below this number are found by index.
const DENSE: usize = 4096;

/// What a port's packets begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    /// An Ethernet header: TAP, veth, links between switches.
    #[default]
    L2,
    /// The IP header: TUN.
    L3,
}

impl Medium {
    /// Whether packets have an Ethernet header.
    pub fn is_l2(self) -> bool {
        self == Self::L2
    }
}

/// A port's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Largest customer IP packet, in bytes.
    pub mtu: u32,
    /// Whether it carries packets.
    pub up: bool,
    /// Whether its packets have an Ethernet header (TAP, veth); else they begin with the IP header (TUN).
    pub is_l2: bool,
}

/// The ports of a switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet {
    ports: BTreeMap<PortNo, PortInfo>,
    /// The same, by number, as far as numbers are small.
    dense: Vec<Option<PortInfo>>,
}

impl PortSet {
    /// Adds a port or replaces its attributes.
    pub fn insert(&mut self, number: PortNo, info: PortInfo) {
        self.ports.insert(number, info);
        self.index(number, Some(info));
    }

    /// Removes a port.
    pub fn remove(&mut self, number: PortNo) -> Option<PortInfo> {
        self.index(number, None);
        self.ports.remove(&number)
    }

    /// Takes a port up or down; false where there is no such port.
    pub fn set_up(&mut self, number: PortNo, up: bool) -> bool {
        let Some(&info) = self.ports.get(&number) else {
            return false;
        };
        self.insert(number, PortInfo { up, ..info });
        true
    }

    /// A port's attributes.
    pub fn get(&self, number: PortNo) -> Option<&PortInfo> {
        match usize::try_from(number.0) {
            Ok(index) if index < DENSE => self.dense.get(index)?.as_ref(),
            _ => self.ports.get(&number),
        }
    }

    /// Whether a port exists and carries packets.
    pub fn is_up(&self, number: PortNo) -> bool {
        self.get(number).is_some_and(|info| info.up)
    }

    /// All ports in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (PortNo, &PortInfo)> {
        self.ports.iter().map(|(&number, info)| (number, info))
    }

    fn index(&mut self, number: PortNo, info: Option<PortInfo>) {
        let Ok(index) = usize::try_from(number.0) else {
            return;
        };
        if index >= DENSE {
            return;
        }
        if self.dense.len() <= index {
            self.dense.resize(index + 1, None);
        }
        self.dense[index] = info;
    }
}

impl FromIterator<(PortNo, PortInfo)> for PortSet {
    fn from_iter<I: IntoIterator<Item = (PortNo, PortInfo)>>(ports: I) -> Self {
        let mut set = Self::default();
        for (number, info) in ports {
            set.insert(number, info);
        }
        set
    }
}
