//! What the network did with a probe: the ways its packets took, as the switches recorded them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tonic::transport::Channel;
use weft_controller::model::{Model, Peer, Switch};
use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_client::NodeClient;
use weft_proto::vocab::{DeviceId, PortNo};

use super::cases::{Packets, Target};

/// Packets that one case may have recorded.
const LIMIT: u32 = 262_144;

/// A recorder that runs on the lab's switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderId(u64);

/// Asks the switches of a lab.
#[derive(Clone, Debug)]
pub struct Observer {
    client: NodeClient<Channel>,
    model: Arc<Model>,
}

/// The way of some packets of one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The flow.
    pub flow: Flow,
    /// The nodes, hosts at both ends included where they are known.
    pub nodes: Vec<String>,
    /// The links between them.
    pub links: Vec<String>,
    /// How it ended.
    pub end: WayEnd,
    /// How many packets took it.
    pub packets: u64,
}

/// What tells flows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol.
    pub proto: u32,
    /// Source port; 0 where there is none.
    pub source_port: u32,
    /// Destination port; 0 where there is none.
    pub destination_port: u32,
}

/// How a way ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayEnd {
    /// At a host.
    Delivered(String),
    /// At the controller.
    Controller,
    /// Nowhere, for this reason.
    Dropped(String),
}

impl Observer {
    /// Asks through a channel to the lab's data plane.
    pub fn new(channel: Channel, model: Arc<Model>) -> Self {
        Self {
            client: NodeClient::new(channel),
            model,
        }
    }

    /// Begins to record the packets that a probe's sender sends to its target.
    ///
    /// # Errors
    /// The switches' answer.
    pub async fn start(
        &self,
        target: &Target,
        packets: &Packets,
    ) -> Result<RecorderId, tonic::Status> {
        let (proto, port) = packets.transport();
        let proto = match (proto, target.address) {
            (1, IpAddr::V6(_)) => 58,
            _ => proto,
        };
        let filter = node::PathFilter {
            source: bytes_of(target.source),
            destination: bytes_of(target.address),
            ip_proto: u32::from(proto),
            source_port: 0,
            destination_port: port.map_or(0, u32::from),
        };
        let request = node::StartPathRecorderRequest {
            filter: Some(filter),
            limit: LIMIT,
        };
        let answer = self.client.clone().start_path_recorder(request).await?;
        Ok(RecorderId(answer.into_inner().recorder_id))
    }

    /// Ends a recorder and takes what it saw.
    ///
    /// # Errors
    /// The switches' answer.
    pub async fn finish(&self, recorder: RecorderId) -> Result<Vec<Way>, tonic::Status> {
        let request = node::TakeRecordedPathsRequest {
            recorder_id: recorder.0,
            stop: true,
        };
        let recorded = self
            .client
            .clone()
            .take_recorded_paths(request)
            .await?
            .into_inner();
        Ok(recorded
            .paths
            .iter()
            .filter_map(|path| way(&self.model, path))
            .collect())
    }
}

fn bytes_of(address: IpAddr) -> bytes::Bytes {
    match address {
        IpAddr::V4(address) => address.octets().to_vec().into(),
        IpAddr::V6(address) => address.octets().to_vec().into(),
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// A recorded path in names; `None` where it names what the lab has not.
fn way(model: &Model, path: &node::RecordedPath) -> Option<Way> {
    let flow = Flow {
        source: address_of(&path.source)?,
        destination: address_of(&path.destination)?,
        proto: path.ip_proto,
        source_port: path.source_port,
        destination_port: path.destination_port,
    };
    let (mut nodes, mut links) = (Vec::new(), Vec::new());
    let mut last = None;
    for (index, hop) in path.hops.iter().enumerate() {
        let switch = model.switch_by_device(DeviceId(hop.device_id))?;
        if index == 0
            && let Some((peer, link)) = beyond(switch, hop.in_port)
        {
            nodes.push(peer);
            links.push(link);
        }
        nodes.push(switch.name.clone());
        last = beyond(switch, hop.out_port);
        links.extend(last.as_ref().map(|(_, link)| link.clone()));
    }
    let end = if !path.drop_reason.is_empty() {
        WayEnd::Dropped(path.drop_reason.clone())
    } else if let Some((host, _)) = last {
        nodes.push(host.clone());
        WayEnd::Delivered(host)
    } else {
        WayEnd::Controller
    };
    Some(Way {
        flow,
        nodes,
        links,
        end,
        packets: path.packets,
    })
}

/// What is at the other end of a port, and the link to it.
fn beyond(switch: &Switch, port: u32) -> Option<(String, String)> {
    let port = switch.ports.get(&PortNo(port))?;
    let peer = match &port.peer {
        Peer::Switch { switch, .. } => switch,
        Peer::Host { host, .. } => host,
    };
    Some((peer.clone(), port.link.clone()))
}

/// The nodes and links that each flow crossed, delivered packets only.
pub fn crossed<'a>(ways: impl IntoIterator<Item = &'a Way>) -> BTreeMap<Flow, BTreeSet<&'a str>> {
    let mut flows: BTreeMap<Flow, BTreeSet<&str>> = BTreeMap::new();
    for way in ways {
        if matches!(way.end, WayEnd::Delivered(_)) {
            let names = way.nodes.iter().chain(&way.links).map(String::as_str);
            flows.entry(way.flow).or_default().extend(names);
        }
    }
    flows
}

#[cfg(test)]
mod tests {
    use weft_controller::load;

    use super::*;

    #[test]
    fn recorded_paths_are_told_in_names() {
        let text = "
topology:
  nodes: { 's[1-2]': { kind: switch }, 'h[1-2]': { kind: host } }
  links:
    - endpoints: ['h1:eth0', 's1:p9']
    - { name: trunk, endpoints: ['s1:p1', 's2:p1'] }
    - endpoints: ['h2:eth0', 's2:p9']
";
        let model = load::model(text.as_bytes(), "lab.yaml", None).unwrap();
        let hop = |device_id, in_port, out_port| node::PathHop {
            device_id,
            in_port,
            out_port,
        };
        let recorded = |hops: Vec<node::PathHop>, reason: &str| node::RecordedPath {
            source: vec![10, 0, 0, 1].into(),
            destination: vec![10, 0, 0, 2].into(),
            hops,
            drop_reason: reason.to_owned(),
            packets: 3,
            ..node::RecordedPath::default()
        };
        let delivered = way(&model, &recorded(vec![hop(1, 9, 1), hop(2, 1, 9)], "")).unwrap();
        assert_eq!(delivered.nodes, ["h1", "s1", "s2", "h2"]);
        assert_eq!(
            delivered.links,
            ["h1:eth0--s1:p9", "trunk", "h2:eth0--s2:p9"]
        );
        assert_eq!(delivered.end, WayEnd::Delivered("h2".to_owned()));
        let dropped = way(&model, &recorded(vec![hop(1, 9, 0)], "no-verdict")).unwrap();
        assert_eq!(
            (dropped.nodes.len(), dropped.end),
            (2, WayEnd::Dropped("no-verdict".to_owned()))
        );
        let to_controller = way(&model, &recorded(vec![hop(1, 9, PortNo::CPU.0)], "")).unwrap();
        assert_eq!(to_controller.end, WayEnd::Controller);
        assert_eq!(
            way(&model, &recorded(vec![hop(7, 1, 2)], "")),
            None,
            "no such switch"
        );
        assert_eq!(
            crossed([&delivered, &to_controller])
                .values()
                .map(BTreeSet::len)
                .collect::<Vec<_>>(),
            [7]
        );
    }
}
