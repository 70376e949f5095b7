//! Watching what passes a host's interface or a switch's port.
//!
//! Everything is seen at the switch's end of the link: a host's interface is the port that it is attached to, seen
//! from the other side.

use std::net::IpAddr;
use std::path::Path;

use bytes::Bytes;
use tonic::Streaming;
use weft_controller::model::{Endpoint, Link, Model};
use weft_controller::southbound;
use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_client::NodeClient;
use weft_switch::pcapng::{Direction, LinkType};

use crate::exec::similar;
use crate::plan::{Plan, PlanError};
use crate::runtime_dir::{LabDir, RuntimeDirError, read_json};

/// Which frames are wanted; a field that is `None` matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Source or destination; for ARP sender or target.
    pub host: Option<IpAddr>,
    /// TCP or UDP port of either end.
    pub port: Option<u16>,
    /// IP protocol.
    pub ip_proto: Option<u8>,
    /// Ethernet type of what is behind tags and labels.
    pub ether_type: Option<u16>,
}

/// Why nothing can be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The lab's files cannot be read.
    #[error(transparent)]
    RuntimeDir(#[from] RuntimeDirError),
    /// The lab's file cannot be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no such node.
    #[error("the lab has no node `{name}`{}", suggestion.as_ref().map_or_else(String::new, |like| format!("; did you mean `{like}`?")))]
    NoNode {
        /// The name that was given.
        name: String,
        /// A name like it.
        suggestion: Option<String>,
    },
    /// The node has no such interface.
    #[error("{node} has no interface `{interface}`; it has {}", all.join(", "))]
    NoInterface {
        /// The node.
        node: String,
        /// The interface that was given.
        interface: String,
        /// Those that there are.
        all: Vec<String>,
    },
    /// The data plane refused.
    #[error("the data plane refuses: {}", .0.message())]
    Refused(Box<tonic::Status>),
    /// The data plane has ended, not in order.
    #[error("the lab has ended: {}", .0.message())]
    Broken(Box<tonic::Status>),
}

/// A place where frames are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `node:interface`.
    pub name: String,
    /// The link.
    pub link: String,
    endpoint: node::Endpoint,
    /// What its frames begin with.
    pub link_type: LinkType,
    /// Whether it is the host's end.
    is_host: bool,
}

/// A capture that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    place: Place,
    stream: Streaming<node::CapturedFrames>,
}

/// Frames, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// Those that were kept.
    pub kept: Vec<Frame>,
    /// The number of those that could not be kept, since the last time.
    pub dropped: u64,
}

/// A frame as it is on the wire.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Which way it passed.
    pub direction: Direction,
    /// All its bytes.
    pub bytes: Bytes,
}

impl Place {
    /// Finds `node:interface`; a node with one interface needs no more than its name.
    ///
    /// # Errors
    /// [`CaptureError::NoNode`], [`CaptureError::NoInterface`].
    pub fn find(model: &Model, name: &str) -> Result<Self, CaptureError> {
        let (node, interface) = match name.split_once(':') {
            Some((node, interface)) => (node, Some(interface)),
            None => (name, None),
        };
        let ends: Vec<_> = (model.links.values())
            .flat_map(|link| [(&link.a, link), (&link.b, link)])
            .filter(|(end, _)| end.node == node)
            .collect();
        if !model.switches.contains_key(node) && !model.hosts.contains_key(node) {
            let names = model.switches.keys().chain(model.hosts.keys());
            return Err(CaptureError::NoNode {
                name: node.to_owned(),
                suggestion: similar(node, names),
            });
        }
        let found = match interface {
            Some(interface) => ends.iter().find(|(end, _)| end.interface == interface),
            None => ends.first().filter(|_| ends.len() == 1),
        };
        let seen_at = found.and_then(|&(end, link)| {
            let is_host = end.port.is_none();
            let at_switch = if is_host { link.other(node) } else { end };
            let endpoint = node::Endpoint {
                device_id: model.switches.get(&at_switch.node)?.device_id.0,
                port: at_switch.port?.0,
            };
            Some(Self {
                name: end.to_string(),
                link: link.name.clone(),
                endpoint,
                link_type: link_type(model, link),
                is_host,
            })
        });
        seen_at.ok_or_else(|| CaptureError::NoInterface {
            node: node.to_owned(),
            interface: interface.unwrap_or_default().to_owned(),
            all: ends.iter().map(|(end, _)| end.interface.clone()).collect(),
        })
    }
}

/// What frames of a link begin with: on one to a host at a layer-3 port with IP.
fn link_type(model: &Model, link: &Link) -> LinkType {
    let is_l2 = |end: &Endpoint| {
        let mut interfaces = model
            .hosts
            .get(&end.node)
            .into_iter()
            .flat_map(|h| &h.interfaces);
        let found = interfaces.find(|interface| interface.name == end.interface);
        found.is_none_or(|interface| interface.port_kind.is_l2())
    };
    match is_l2(&link.a) && is_l2(&link.b) {
        true => LinkType::Ethernet,
        false => LinkType::Raw,
    }
}

impl Capture {
    /// Begins to capture at `node:interface` of a running lab; every frame that passes from now on is in it.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub async fn begin(dir: &LabDir, name: &str, filter: Filter) -> Result<Self, CaptureError> {
        let plan: Plan = read_json(&dir.plan_file())?;
        let place = Place::find(&plan.model()?, name)?;
        Self::at(&dir.p4runtime_socket(), place, filter).await
    }

    async fn at(socket: &Path, place: Place, filter: Filter) -> Result<Self, CaptureError> {
        let request = node::CaptureRequest {
            port: Some(place.endpoint),
            filter: Some(node::CaptureFilter {
                host: filter.host.map_or_else(Bytes::new, octets),
                port: filter.port.unwrap_or_default().into(),
                ip_proto: filter.ip_proto.unwrap_or_default().into(),
                ether_type: filter.ether_type.unwrap_or_default().into(),
            }),
        };
        let mut client = NodeClient::new(southbound::unix(socket));
        let answer = client.capture(request).await;
        let answer = answer.map_err(|status| CaptureError::Refused(Box::new(status)))?;
        Ok(Self {
            place,
            stream: answer.into_inner(),
        })
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The next frames; `None` when the lab has ended.
    ///
    /// # Errors
    /// [`CaptureError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Frames>, CaptureError> {
        let message = self.stream.message().await;
        let message = message.map_err(|status| CaptureError::Broken(Box::new(status)))?;
        let Some(node::CapturedFrames { frames, dropped }) = message else {
            return Ok(None);
        };
        let is_host = self.place.is_host;
        let kept = frames.into_iter().map(|frame| {
            let into_switch = frame.direction() == node::captured_frame::Direction::Inbound;
            Frame {
                time_ns: frame.time_ns,
                // What enters the switch leaves the host.
                direction: match into_switch != is_host {
                    true => Direction::Inbound,
                    false => Direction::Outbound,
                },
                bytes: frame.frame,
            }
        });
        Ok(Some(Frames {
            kept: kept.collect(),
            dropped,
        }))
    }
}

fn octets(address: IpAddr) -> Bytes {
    match address {
        IpAddr::V4(address) => address.octets().to_vec().into(),
        IpAddr::V6(address) => address.octets().to_vec().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let text = "{name: x, topology: {nodes: {a: {kind: host}, s1: {kind: switch}, s2: {kind: switch}}, \
                    links: [{endpoints: ['a:eth0', 's1:p1']}, {endpoints: ['s1:p2', 's2:p7']}]}}";
        weft_controller::load::model(text.as_bytes(), "x.yaml", None).unwrap()
    }

    #[test]
    fn a_host_is_watched_at_its_port_and_by_its_name() {
        let model = model();
        let host = Place::find(&model, "a:eth0").unwrap();
        assert_eq!(Place::find(&model, "a").unwrap(), host);
        let port = Place::find(&model, "s1:p1").unwrap();
        assert_eq!(host.endpoint, port.endpoint);
        assert!(host.is_host && !port.is_host);
        let far = Place::find(&model, "s2").unwrap();
        assert_eq!((far.name.as_str(), far.endpoint.device_id), ("s2:p7", 2));
    }

    #[test]
    fn wrong_places_are_answered_with_right_ones() {
        let model = model();
        let said = |name| Place::find(&model, name).unwrap_err().to_string();
        assert_eq!(said("s1"), "s1 has no interface ``; it has p1, p2");
        assert_eq!(said("s1:p3"), "s1 has no interface `p3`; it has p1, p2");
        assert_eq!(
            said("s3:p1"),
            "the lab has no node `s3`; did you mean `s1`?"
        );
    }
}
