//! Links and their impairments.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::exactly_one_of;
use crate::quantity::{BitsPerSec, ByteSize, PacketCount, Percent, TimeSpan};

/// One link, or several by ranges or `mesh`: exactly one of `endpoints` and `mesh`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("oneOf" = exactly_one_of(&["endpoints", "mesh"])))]
pub struct LinkSpec {
    /// Its name; `node:interface--node:interface` where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Both ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointSpec>,
    /// Two sets: each of the first with each of the second. One set: all pairs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mesh: Vec<String>,
    /// Cost of crossing it, 1 and up; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Shared-risk link groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub srlgs: Vec<String>,
    /// Its capacity; `impair.rate` where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<BitsPerSec>,
    /// Its state at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<LinkState>,
    /// Impairments of both directions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impair: Option<ImpairSpec>,
}

/// Whether a link carries packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LinkState {
    /// It does.
    #[default]
    Up,
    /// It does not.
    Down,
}

/// One end of a link: `node`, `node:interface`, or a map that says more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointSpec {
    /// The node, or a range of nodes.
    pub node: String,
    /// The interface, or a range of them; chosen where it is left out.
    pub interface: Option<String>,
    /// Impairments of what this end sends.
    pub impair: Option<ImpairSpec>,
}

impl EndpointSpec {
    /// Reads `node` or `node:interface`.
    pub fn parse(text: &str) -> Self {
        let (node, interface) = match text.split_once(':') {
            Some((node, interface)) => (node, Some(interface.to_owned())),
            None => (text, None),
        };
        Self {
            node: node.to_owned(),
            interface,
            impair: None,
        }
    }
}

impl fmt::Display for EndpointSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{}:{interface}", self.node),
            None => f.write_str(&self.node),
        }
    }
}

/// The form with keys.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EndpointMap {
    node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    impair: Option<ImpairSpec>,
}

impl Serialize for EndpointSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.impair.is_none() {
            return serializer.collect_str(self);
        }
        let Self {
            node,
            interface,
            impair,
        } = self.clone();
        EndpointMap {
            node,
            interface,
            impair,
        }
        .serialize(serializer)
    }
}

impl JsonSchema for EndpointSpec {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<EndpointMap>();
        json_schema!({ "anyOf": [{ "type": "string", "examples": ["edge1:p1"] }, map] })
    }
}

impl<'de> Deserialize<'de> for EndpointSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = EndpointSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an endpoint, for example `edge1:p1`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<EndpointSpec, E> {
                Ok(EndpointSpec::parse(text))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<EndpointSpec, A::Error> {
                let EndpointMap {
                    node,
                    interface,
                    impair,
                } = EndpointMap::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(EndpointSpec {
                    node,
                    interface,
                    impair,
                })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// What a link does to the packets of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImpairSpec {
    /// Bits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<BitsPerSec>,
    /// Time on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<TimeSpan>,
    /// How much the delay varies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<TimeSpan>,
    /// How the jitter is distributed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// How much one random value depends on the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Percent>,
    /// Share of packets lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Percent>,
    /// Share of packets that overtake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Percent>,
    /// Share of packets that arrive twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Percent>,
    /// Share of packets with a wrong bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Percent>,
    /// What may wait for the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Largest IP packet, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<super::node::Mtu>,
}

impl ImpairSpec {
    /// Whether it leaves packets as they are.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The distribution of a jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Distribution {
    /// Evenly.
    Uniform,
    /// By the bell curve.
    Normal,
    /// With a heavy tail.
    Pareto,
}

/// The length of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// In bytes, `64kb`.
    Bytes(ByteSize),
    /// In packets, `256p`.
    Packets(PacketCount),
}

impl Serialize for Queue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(size) => size.serialize(serializer),
            Self::Packets(count) => count.serialize(serializer),
        }
    }
}

impl JsonSchema for Queue {
    fn schema_name() -> Cow<'static, str> {
        "Queue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bytes = generator.subschema_for::<ByteSize>();
        let packets = generator.subschema_for::<PacketCount>();
        json_schema!({ "anyOf": [bytes, packets] })
    }
}

impl<'de> Deserialize<'de> for Queue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(count) => Ok(Self::Packets(count)),
            Err(_) => text.parse().map(Self::Bytes).map_err(de::Error::custom),
        }
    }
}
