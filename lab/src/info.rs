//! What a lab consists of, as its data plane writes it down once it is built.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weft_controller::model::Model;

use crate::host::BuiltHost;

/// The content of `lab.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabInfo {
    /// The lab's name.
    pub name: String,
    /// The data plane's process, as `/proc` names it.
    pub pid: u32,
    /// The topology file it was built from.
    pub file: String,
    /// Switches by name.
    pub switches: BTreeMap<String, SwitchInfo>,
    /// Hosts by name.
    pub hosts: BTreeMap<String, HostInfo>,
    /// Links by name.
    pub links: BTreeMap<String, LinkInfo>,
}

/// A switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwitchInfo {
    /// P4Runtime's device id.
    pub device_id: u64,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNet>,
    /// The path of its network namespace, while the data plane runs.
    pub netns: String,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkInfo {
    /// Both ends as `node:interface`.
    pub endpoints: [String; 2],
}

impl LabInfo {
    /// Describes a lab whose hosts have been built by process `pid`.
    pub fn new(model: &Model, file: &str, pid: u32, hosts: &[BuiltHost]) -> Self {
        let switches = model
            .switches
            .iter()
            .map(|(name, switch)| {
                let device_id = switch.device_id.0;
                (name.clone(), SwitchInfo { device_id })
            })
            .collect();
        let hosts = hosts
            .iter()
            .map(|built| {
                let addresses = model
                    .hosts
                    .get(&built.name)
                    .into_iter()
                    .flat_map(|host| &host.interfaces)
                    .flat_map(|interface| interface.addresses.iter().copied())
                    .collect();
                let netns = built.netns.path_for(pid);
                (built.name.clone(), HostInfo { addresses, netns })
            })
            .collect();
        let links = model
            .links
            .iter()
            .map(|(name, link)| {
                let endpoints = [link.a.to_string(), link.b.to_string()];
                (name.clone(), LinkInfo { endpoints })
            })
            .collect();
        Self {
            name: model.name.clone(),
            pid,
            file: file.to_owned(),
            switches,
            hosts,
            links,
        }
    }
}
