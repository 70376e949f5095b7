//! What users declare: one type for each resource, the same in YAML, REST and the store.
//!
//! A spec says what was written and nothing more: ranges are not expanded, defaults are not filled in, references may
//! dangle. [`expand`](crate::expand) turns a whole [`Document`] into a [`Model`](crate::model::Model).

pub mod link;
pub mod node;
pub mod path;
pub mod test;
pub mod trace;

use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use self::link::{Distribution, EndpointSpec, ImpairSpec, LinkSpec, LinkState, Queue};
pub use self::node::{
    InterfaceSpec, ListenSpec, NodeKind, NodeSpec, PortKindSpec, ReadySpec, RunSpec,
};
pub use self::test::{
    Connect, DnsProbe, ExecProbe, Expect, HttpProbe, Mode, PathExpect, PingProbe, ProbeSpec, Rcode,
    RecordType, RttExpect, SpreadExpect, StreamProbe, TestSpec, ThroughputExpect,
};

use crate::quantity::TimeSpan;
use crate::resource::{Kind, Place};

/// A topology file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// The lab's name; the file's name where it is left out.
    pub name: Option<String>,
    /// Seeds everything random.
    #[serde(default)]
    pub seed: u64,
    /// Nodes and links.
    pub topology: TopologySpec,
    /// The controller's settings.
    #[serde(default)]
    pub controller: ControllerSpec,
    /// The data plane's settings.
    #[serde(default)]
    pub dataplane: DataplaneSpec,
    /// Flow sets by name; REST's `/v1/flowsets/{name}`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub flowsets: IndexMap<String, serde_json::Value>,
    /// What the file expects of the lab.
    #[serde(default)]
    pub tests: Vec<TestSpec>,
    /// Claims about all packets; reported as skipped.
    #[serde(default)]
    pub verify: Vec<serde_json::Value>,
}

impl Document {
    /// The declared resources of the file: each section that is a collection of the API.
    pub fn sections(&self) -> impl Iterator<Item = (Kind, &IndexMap<String, serde_json::Value>)> {
        let section = |kind| match kind {
            Kind::FlowSet => Some((kind, &self.flowsets)),
            // Under a switch, which no section is.
            Kind::Flow | Kind::Entry | Kind::Group | Kind::Meter => None,
        };
        Kind::sections().filter_map(section)
    }

    /// The resources of the sections, one by one, as they are to be declared.
    pub fn resources(&self) -> impl Iterator<Item = (Place, &serde_json::Value)> {
        self.sections().flat_map(|(kind, section)| {
            let places = section.iter();
            places.map(move |(name, spec)| (Place::new(kind, &[name]), spec))
        })
    }
}

/// Nodes and links, in the shape of containerlab's files.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopologySpec {
    /// Settings of every node, the weakest.
    #[serde(default)]
    pub defaults: NodeSpec,
    /// Settings of every node of a kind.
    #[serde(default)]
    pub kinds: IndexMap<String, NodeSpec>,
    /// Settings of every node of a group.
    #[serde(default)]
    pub groups: IndexMap<String, NodeSpec>,
    /// Nodes by name; a name may be a range, `h[1-8]`.
    #[serde(default)]
    pub nodes: IndexMap<String, NodeSpec>,
    /// Links.
    #[serde(default)]
    pub links: Vec<LinkSpec>,
}

/// The controller's settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControllerSpec {
    /// Who forwards.
    #[serde(default)]
    pub fabric: FabricSpec,
}

/// Who decides how packets are forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FabricSpec {
    /// The controller.
    #[default]
    Auto,
    /// Nobody: every hop is programmed by hand.
    None,
}

/// The data plane's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DataplaneSpec {
    /// Data threads, 1 to 64.
    pub workers: u16,
    /// How long a data thread polls before it sleeps.
    pub spin: TimeSpan,
    /// Whether frames may reach hosts with unfinished checksums and as whole super-packets.
    pub offloads: bool,
}

impl Default for DataplaneSpec {
    fn default() -> Self {
        Self {
            workers: 1,
            spin: TimeSpan(0),
            offloads: true,
        }
    }
}

/// That exactly one of some keys is there, for a schema.
fn exactly_one_of(keys: &[&str]) -> serde_json::Value {
    keys.iter()
        .map(|key| serde_json::json!({ "required": [key] }))
        .collect()
}

/// One value or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("one value or a list")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::StrDeserializer::new(text))
                    .map(|one| OneOrMany(vec![one]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Self::Value, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = seq.next_element()? {
                    many.push(one);
                }
                Ok(OneOrMany(many))
            }
        }

        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}
