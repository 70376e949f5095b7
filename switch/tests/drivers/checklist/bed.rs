//! A switch whose pipeline has action profiles and clone sessions, and the messages that program it.

use tonic::Code;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::entity::Entity;
use weft_proto::p4::v1::set_forwarding_pipeline_config_request::Action;
use weft_proto::p4::v1::table_action::Type;
use weft_proto::p4::v1::update::Type as Kind;
use weft_proto::schema::Schema;
use weft_switch::ir::{
    self, ActionRef, Expr, Format, Key, KeyKind, Op, Param, Pipeline, Scope, Selector, SizeCounts,
    Table,
};
use weft_switch::port::MemoryPort;

use super::codes;
use crate::client::{Lab, Stream, at, election, link, switches};
use crate::pipeline;

/// Profiles by name.
pub(super) const SPREAD: &str = "spread";
pub(super) const WEIGHED: &str = "weighed";
pub(super) const PLAIN: &str = "plain";

/// The test pipeline with tables `balance` and `balance2` (selector `spread`: 8 members, 4 in a group), `heavy`
/// (selector `weighed`: weights of 20, 10 in a group) and `indirect` (profile `plain`: 2 members), all keyed by the
/// port of entry; `balance` and `indirect` decide where packets go. Action `mirror` of `forward` clones.
fn with_profiles() -> Pipeline {
    let mut pipeline = pipeline::pipeline();
    let hash = vec!["ethernet.src".to_owned(), "ethernet.dst".to_owned()];
    pipeline.selectors = vec![
        Selector {
            name: SPREAD.into(),
            hash: hash.clone(),
            size: 8,
            max_group_size: 4,
            ..Selector::default()
        },
        Selector {
            name: WEIGHED.into(),
            hash,
            size_counts: SizeCounts::Weights,
            size: 20,
            max_group_size: 10,
            ..Selector::default()
        },
        Selector {
            name: PLAIN.into(),
            size: 2,
            ..Selector::default()
        },
    ];
    let param = |name: &str| Param {
        name: name.into(),
        bits: 32,
        format: Format::Number,
        annotations: Vec::new(),
    };
    pipeline.actions.push(ir::Action {
        name: "mirror".into(),
        params: vec![param("session"), param("port")],
        ops: vec![
            Op::Clone(Expr::Param("session".into())),
            Op::Output(Expr::Param("port".into())),
        ],
        ..ir::Action::default()
    });
    let action = |name: &str| ActionRef {
        name: name.into(),
        scope: Scope::Any,
    };
    let forward = pipeline.tables.iter_mut();
    let forward = forward.into_iter().find(|table| table.name == "forward");
    forward.unwrap().actions.push(action("mirror"));
    for (name, selector) in [
        ("balance", SPREAD),
        ("balance2", SPREAD),
        ("heavy", WEIGHED),
        ("indirect", PLAIN),
    ] {
        pipeline.tables.push(Table {
            name: name.into(),
            doc: String::new(),
            keys: vec![Key {
                name: "in_port".into(),
                value: Expr::Field("std.in_port".into()),
                kind: KeyKind::Exact,
                format: Format::Port,
                annotations: Vec::new(),
            }],
            actions: vec![action("send"), action("refuse")],
            default_action: None,
            const_default: false,
            const_entries: Vec::new(),
            size: 16,
            selector: Some(selector.into()),
            counters: false,
            idle_timeout: false,
            ..pipeline.tables[0].clone()
        });
    }
    // forward -> balance -> indirect -> deny.
    for (node, next) in [("balance", "indirect"), ("indirect", "deny")] {
        pipeline.ingress.nodes.push(ir::Node {
            name: node.into(),
            kind: ir::NodeKind::Table {
                table: node.into(),
                on_action: Default::default(),
                on_hit: None,
                on_miss: None,
                next: Some(next.into()),
            },
        });
    }
    for node in &mut pipeline.ingress.nodes {
        if let ("forward", ir::NodeKind::Table { next, .. }) = (node.name.as_str(), &mut node.kind)
        {
            *next = Some("balance".into());
        }
    }
    pipeline
}

/// A switch with four ports, each behind a link `l1` to `l4`.
pub(super) struct Bed {
    pub(super) lab: Lab,
    pub(super) ports: Vec<MemoryPort>,
    pub(super) primary: Stream,
    schema: Schema,
}

impl Bed {
    pub(super) async fn new() -> Self {
        let mut config = switches(1, 4);
        config.links = (1..=4)
            .map(|port| link(&format!("l{port}"), at(1, port), None))
            .collect();
        let lab = Lab::start(config).await;
        let ports = (1..=4).map(|port| lab.host.attach_memory(at(1, port)).unwrap());
        let ports = ports.collect();
        let mut primary = lab.stream().await;
        primary.bid(1, 1);
        assert_eq!(primary.arbitration().await, (Code::Ok, 1));
        let config = pipeline::config_of(with_profiles(), 1);
        let schema = Schema::new(config.p4info.as_ref().unwrap()).unwrap();
        lab.set_config(1, Action::VerifyAndCommit, Some(config))
            .await
            .unwrap();
        Self {
            lab,
            ports,
            primary,
            schema,
        }
    }

    /// The code of one update.
    pub(super) async fn write(&self, kind: Kind, entity: impl Into<Wrapped>) -> Code {
        let request = wire::WriteRequest {
            device_id: 1,
            election_id: Some(election(1)),
            updates: vec![wire::Update {
                r#type: kind.into(),
                entity: Some(wire::Entity {
                    entity: Some(entity.into().0),
                }),
            }],
            ..wire::WriteRequest::default()
        };
        match self.lab.p4.clone().write(request).await {
            Ok(_) => Code::Ok,
            Err(status) => codes(&status)[0],
        }
    }

    pub(super) async fn insert(&self, entity: impl Into<Wrapped>) -> Code {
        self.write(Kind::Insert, entity).await
    }

    pub(super) async fn modify(&self, entity: impl Into<Wrapped>) -> Code {
        self.write(Kind::Modify, entity).await
    }

    pub(super) async fn delete(&self, entity: impl Into<Wrapped>) -> Code {
        self.write(Kind::Delete, entity).await
    }

    /// What a read of one entity is answered.
    pub(super) async fn read(&self, entity: impl Into<Wrapped>) -> Vec<Entity> {
        let request = wire::ReadRequest {
            device_id: 1,
            entities: vec![wire::Entity {
                entity: Some(entity.into().0),
            }],
            ..wire::ReadRequest::default()
        };
        let responses = self.lab.p4.clone().read(request).await.unwrap();
        let mut responses = responses.into_inner();
        let mut entities = Vec::new();
        while let Some(response) = responses.message().await.unwrap() {
            let found = response.entities.into_iter();
            entities.extend(found.map(|entity| entity.entity.unwrap()));
        }
        entities
    }

    /// The id of an action profile.
    pub(super) fn profile(&self, name: &str) -> u32 {
        let mut profiles = self.schema.profiles();
        profiles.find(|profile| profile.name == name).unwrap().id.0
    }

    /// An action with its arguments.
    pub(super) fn action(&self, name: &str, args: &[u8]) -> wire::Action {
        let action = self.schema.action_by_name(name).unwrap();
        let params = action.params.iter().zip(args);
        wire::Action {
            action_id: action.id.0,
            params: params
                .map(|(param, value)| wire::action::Param {
                    param_id: param.id.0,
                    value: vec![*value].into(),
                })
                .collect(),
        }
    }

    /// A member that sends to a port.
    pub(super) fn member(&self, profile: &str, id: u32, port: u8) -> wire::ActionProfileMember {
        wire::ActionProfileMember {
            action_profile_id: self.profile(profile),
            member_id: id,
            action: Some(self.action("send", &[port])),
        }
    }

    /// A group of members, each with its weight and, unless it is 0, its watched port.
    pub(super) fn group(
        &self,
        profile: &str,
        id: u32,
        members: &[(u32, i32, u8)],
        max_size: i32,
    ) -> wire::ActionProfileGroup {
        use wire::action_profile_group::member::WatchKind;
        let member = |&(member_id, weight, watch): &(u32, i32, u8)| {
            let watch = (watch != 0).then(|| WatchKind::WatchPort(vec![watch].into()));
            wire::action_profile_group::Member {
                member_id,
                weight,
                watch_kind: watch,
            }
        };
        wire::ActionProfileGroup {
            action_profile_id: self.profile(profile),
            group_id: id,
            members: members.iter().map(member).collect(),
            max_size,
        }
    }

    /// An entry for a port of entry.
    pub(super) fn entry(&self, table: &str, in_port: u8, action: Type) -> wire::TableEntry {
        let table = self.schema.table_by_name(table).unwrap();
        wire::TableEntry {
            table_id: table.id.0,
            r#match: vec![wire::FieldMatch {
                field_id: table.fields[0].id.0,
                field_match_type: Some(wire::field_match::FieldMatchType::Exact(
                    wire::field_match::Exact {
                        value: vec![in_port].into(),
                    },
                )),
            }],
            action: Some(wire::TableAction {
                r#type: Some(action),
            }),
            ..wire::TableEntry::default()
        }
    }

    /// A one-shot set: port, weight and, unless it is 0, watched port.
    pub(super) fn set(&self, members: &[(u8, i32, u8)]) -> Type {
        use wire::action_profile_action::WatchKind;
        let member = |&(port, weight, watch): &(u8, i32, u8)| {
            let watch = (watch != 0).then(|| WatchKind::WatchPort(vec![watch].into()));
            wire::ActionProfileAction {
                action: Some(self.action("send", &[port])),
                weight,
                watch_kind: watch,
            }
        };
        Type::ActionProfileActionSet(wire::ActionProfileActionSet {
            action_profile_actions: members.iter().map(member).collect(),
            ..wire::ActionProfileActionSet::default()
        })
    }
}

/// An entity of a message.
pub(super) struct Wrapped(pub(super) Entity);

impl From<wire::ActionProfileMember> for Wrapped {
    fn from(member: wire::ActionProfileMember) -> Self {
        Self(Entity::ActionProfileMember(member))
    }
}

impl From<wire::ActionProfileGroup> for Wrapped {
    fn from(group: wire::ActionProfileGroup) -> Self {
        Self(Entity::ActionProfileGroup(group))
    }
}

impl From<wire::TableEntry> for Wrapped {
    fn from(entry: wire::TableEntry) -> Self {
        Self(Entity::TableEntry(entry))
    }
}

impl From<wire::MulticastGroupEntry> for Wrapped {
    fn from(group: wire::MulticastGroupEntry) -> Self {
        use wire::packet_replication_engine_entry::Type;
        Self(Entity::PacketReplicationEngineEntry(
            wire::PacketReplicationEngineEntry {
                r#type: Some(Type::MulticastGroupEntry(group)),
            },
        ))
    }
}

impl From<wire::CloneSessionEntry> for Wrapped {
    fn from(session: wire::CloneSessionEntry) -> Self {
        use wire::packet_replication_engine_entry::Type;
        Self(Entity::PacketReplicationEngineEntry(
            wire::PacketReplicationEngineEntry {
                r#type: Some(Type::CloneSessionEntry(session)),
            },
        ))
    }
}
