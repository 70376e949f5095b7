//! Groups: several buckets under one name, which flows send packets to.
//!
//! A [`GroupSpec`] is the body of a `PUT`, the stored document and the answer's normal form. What a pipeline does with
//! groups, its annotations say:
//!
//! | on | annotation | meaning |
//! |---|---|---|
//! | table | `@weft_groups(select)` | one bucket by a hash; shares follow weights |
//! | table | `@weft_groups(failover)` | the first bucket whose watched port is up |
//! | table | `@weft_groups(hash)` | what a group hashes: a bit set with `@bit(FIELD,N)` |
//! | key of these | `@arg(group)` | the group's number |
//!
//! A group of kind `all` is a multicast group.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weft_proto::schema::{ActionSchema, Schema, TableSchema, annotations};
use weft_proto::vocab::{
    ActionCall, EntryKey, FieldMatch, MulticastGroup, MulticastGroupId, PortNo, Replica,
    TableAction, TableEntry, WeightedAction,
};

use crate::flow::text::{Form, Pattern, Ports, parse, print};
use crate::problem::{Code, FieldError, pointer_to};
use crate::resource::Program;

/// A group of one switch, as users write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// What becomes of a packet.
    pub kind: GroupKind,
    /// The fields that choose a bucket, of a `select` group; the pipeline's own choice where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Vec<String>>,
    /// Where packets go; in order of preference in a `failover` group.
    pub buckets: Vec<BucketSpec>,
    /// The user's own words, for selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a group does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupKind {
    /// One bucket gets it, always the same for the same flow of packets.
    Select,
    /// Each bucket gets a copy.
    All,
    /// The first bucket that lives gets it.
    Failover,
}

/// One way out of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BucketSpec {
    /// The port.
    pub output: Value,
    /// Its share is its weight over the sum of all; of a `select` group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// It gets nothing while its port is down; of a `failover` group this is so unless it says `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_port: Option<bool>,
}

/// How flows reach a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupTarget {
    /// By its number.
    Number(u32),
    /// As a multicast group.
    Copies(MulticastGroupId),
}

/// The multicast groups of kind `all` have these ids.
const COPIES: u32 = 0x8000_0000;
/// Most buckets where the pipeline names no limit.
const MAX_BUCKETS: usize = 1024;

/// The numbers that groups of a pipeline can have; none where it has no groups.
pub(crate) fn numbers(schema: &Schema) -> Option<RangeInclusive<u32>> {
    let sizes = [GroupKind::Select, GroupKind::Failover].map(|kind| table(schema, kind));
    let size = sizes.into_iter().flatten().map(|table| table.size).min()?;
    Some(1..=u32::try_from(size).unwrap_or(u32::MAX).clamp(1, COPIES - 1))
}

/// How flows reach a stored group with this number.
pub(crate) fn target(spec: &Value, number: u32) -> GroupTarget {
    if spec["kind"] == "all" {
        GroupTarget::Copies(MulticastGroupId(COPIES | number))
    } else {
        GroupTarget::Number(number)
    }
}

/// The table that holds groups of a kind.
fn table(schema: &Schema, kind: GroupKind) -> Option<&TableSchema> {
    named_table(
        schema,
        match kind {
            GroupKind::Select => "select",
            GroupKind::Failover => "failover",
            GroupKind::All => return None,
        },
    )
}

fn named_table<'s>(schema: &'s Schema, word: &str) -> Option<&'s TableSchema> {
    schema.tables().find(|table| {
        annotations::get(&table.annotations, "weft_groups").any(|known| known == word)
    })
}

/// Compiles a group; also gives the spec in normal form. Compiling the normal form gives the same again.
///
/// # Errors
///
/// Every mistake in the spec, not just the first.
pub(crate) fn compile(
    schema: &Schema,
    ports: &Ports,
    switch: &str,
    number: u32,
    spec: &GroupSpec,
) -> Result<(GroupSpec, Program), Vec<FieldError>> {
    let mut reader = Reader {
        ports,
        switch,
        kind: spec.kind,
        errors: Vec::new(),
    };
    let table = table(schema, spec.kind);
    if table.is_none() && spec.kind != GroupKind::All {
        let detail = format!("the pipeline of {switch} has no groups of this kind");
        return Err(vec![FieldError::new("/kind", Code::NotSupported, detail)]);
    }
    let buckets = reader.buckets(spec, most_buckets(schema, table));
    let hash = reader.hash(schema, number, spec);
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    let (shown, buckets): (Vec<_>, Vec<_>) = buckets.into_iter().unzip();
    let mut program = Program::default();
    match table {
        None => program.groups.push(MulticastGroup {
            id: MulticastGroupId(COPIES | number),
            replicas: {
                // In the order in which a switch tells of them.
                let ports: BTreeSet<PortNo> = buckets.iter().map(|bucket| bucket.port).collect();
                let copy = |port| Replica { port, instance: 0 };
                ports.into_iter().map(copy).collect()
            },
            ..MulticastGroup::default()
        }),
        Some(table) => {
            let Some(action) = bucket_action(schema, table) else {
                let detail = format!("groups of {switch} cannot send to a port");
                return Err(vec![FieldError::new("/kind", Code::NotSupported, detail)]);
            };
            let members = buckets.iter().map(|bucket| WeightedAction {
                call: call(action, bucket.port.0.into()),
                weight: bucket.weight,
                watch_port: bucket.watches.then_some(bucket.port),
            });
            let action = TableAction::OneShot(members.collect());
            program.entries.push(entry(table, number, action));
        }
    }
    program.entries.extend(hash);
    let normalised = GroupSpec {
        buckets: shown,
        ..spec.clone()
    };
    Ok((normalised, program))
}

/// A bucket as it is compiled.
struct Bucket {
    port: PortNo,
    weight: u32,
    watches: bool,
}

struct Reader<'a> {
    ports: &'a Ports,
    switch: &'a str,
    kind: GroupKind,
    errors: Vec<FieldError>,
}

impl Reader<'_> {
    fn mistake(&mut self, pointer: &str, code: Code, detail: impl Into<String>) {
        self.errors.push(FieldError::new(pointer, code, detail));
    }

    fn buckets(&mut self, spec: &GroupSpec, most: usize) -> Vec<(BucketSpec, Bucket)> {
        let count: u64 = match self.kind {
            GroupKind::Select => (spec.buckets.iter())
                .map(|bucket| u64::from(bucket.weight.unwrap_or(1)))
                .sum(),
            _ => spec.buckets.len().try_into().unwrap_or(u64::MAX),
        };
        if spec.buckets.is_empty() {
            let detail = "a group has at least one bucket";
            self.mistake("/buckets", Code::OutOfRange, detail);
        } else if usize::try_from(count).map_or(true, |count| count > most) {
            let what = if self.kind == GroupKind::Select {
                "weights add up to"
            } else {
                "buckets are"
            };
            let detail = format!("{what} {count}, at most {most} fit");
            self.mistake("/buckets", Code::OutOfRange, detail);
        }
        let mut seen: BTreeMap<PortNo, usize> = BTreeMap::new();
        let mut read = Vec::new();
        for (index, bucket) in spec.buckets.iter().enumerate() {
            let pointer = pointer_to("/buckets", index);
            let Some(found) = self.bucket(&pointer, bucket) else {
                continue;
            };
            if let Some(first) = seen.insert(found.1.port, index)
                && self.kind != GroupKind::Select
            {
                let detail = format!("bucket {first} has this port already");
                let pointer = pointer_to(&pointer, "output");
                self.mistake(&pointer, Code::Duplicate, detail);
            }
            read.push(found);
        }
        read
    }

    fn bucket(&mut self, pointer: &str, spec: &BucketSpec) -> Option<(BucketSpec, Bucket)> {
        let is_select = self.kind == GroupKind::Select;
        match spec.weight {
            Some(0) => {
                let pointer = pointer_to(pointer, "weight");
                self.mistake(&pointer, Code::OutOfRange, "a weight is 1 or more");
            }
            Some(_) if !is_select => {
                let pointer = pointer_to(pointer, "weight");
                let detail = "only buckets of a select group have weights";
                self.mistake(&pointer, Code::Conflict, detail);
            }
            _ => {}
        }
        if self.kind == GroupKind::All && spec.watch_port == Some(true) {
            let pointer = pointer_to(pointer, "watchPort");
            let detail = "each bucket of this group gets a copy, whatever becomes of the others";
            self.mistake(&pointer, Code::Conflict, detail);
        }
        let form = Form::port();
        let pattern = match parse(&form, self.ports, &spec.output) {
            Ok(pattern) => pattern,
            Err(mut error) => {
                if error.code == Code::NoSuchPort {
                    error.detail.insert_str(0, &format!("{} has ", self.switch));
                }
                self.errors
                    .push(error.under(&pointer_to(pointer, "output")));
                return None;
            }
        };
        let Pattern::Masked { value, .. } = pattern else {
            return None;
        };
        let watches = (spec.watch_port).unwrap_or(self.kind == GroupKind::Failover);
        let weight = spec.weight.unwrap_or(1);
        let shown = BucketSpec {
            output: print(&form, self.ports, pattern),
            weight: is_select.then_some(weight),
            watch_port: (self.kind != GroupKind::All).then_some(watches),
        };
        let bucket = Bucket {
            port: PortNo(u32::try_from(value).unwrap_or_default()),
            weight,
            watches,
        };
        Some((shown, bucket))
    }

    /// The entry that says what the group hashes.
    fn hash(&mut self, schema: &Schema, number: u32, spec: &GroupSpec) -> Option<TableEntry> {
        let fields = spec.hash.as_ref()?;
        if self.kind != GroupKind::Select {
            let detail = "only a select group hashes";
            self.mistake("/hash", Code::Conflict, detail);
            return None;
        }
        let known = named_table(schema, "hash").and_then(|table| {
            let action = bucket_action(schema, table)?;
            let bits = annotations::get(&action.params.first()?.annotations, "bit");
            let bits = bits.filter_map(|text| {
                let (field, bit) = text.split_once(',')?;
                Some((field.trim(), bit.trim().parse::<u32>().ok()?))
            });
            Some((table, action, bits.collect::<BTreeMap<_, _>>()))
        });
        let Some((table, action, bits)) = known else {
            let detail = format!("what groups of {} hash cannot be changed", self.switch);
            self.mistake("/hash", Code::NotSupported, detail);
            return None;
        };
        if fields.is_empty() {
            let detail = "a hash is over one field at least; leave it out for the usual ones";
            self.mistake("/hash", Code::OutOfRange, detail);
        }
        let mut set = 0_u128;
        for (index, field) in fields.iter().enumerate() {
            let pointer = pointer_to("/hash", index);
            match bits.get(field.as_str()) {
                Some(bit) if set & 1 << bit != 0 => {
                    self.mistake(&pointer, Code::Duplicate, format!("{field} stands twice"));
                }
                Some(bit) => set |= 1 << bit,
                None => {
                    let detail = format!("{} cannot hash {field}", self.switch);
                    let error = FieldError::new(pointer, Code::UnknownField, detail);
                    self.errors
                        .push(error.with_allowed(field, bits.keys().copied()));
                }
            }
        }
        Some(entry(table, number, TableAction::Call(call(action, set))))
    }
}

fn most_buckets(schema: &Schema, table: Option<&TableSchema>) -> usize {
    let profile = table.and_then(|table| schema.profile(table.profile?));
    let most = profile.map_or(0, |profile| profile.max_group_size);
    match usize::try_from(most) {
        Ok(0) | Err(_) => MAX_BUCKETS,
        Ok(most) => most,
    }
}

/// The one action of a table's entries that takes one argument.
fn bucket_action<'s>(schema: &'s Schema, table: &TableSchema) -> Option<&'s ActionSchema> {
    let actions = table.actions.iter().filter(|action| action.in_entries);
    let mut actions = actions.filter_map(|action| schema.action(action.id));
    actions.find(|action| action.params.len() == 1)
}

fn call(action: &ActionSchema, argument: u128) -> ActionCall {
    let params = action.params.iter().map(|param| (param.id, argument));
    ActionCall {
        action: action.id,
        params: params.collect(),
    }
}

fn entry(table: &TableSchema, number: u32, action: TableAction) -> TableEntry {
    let field = table.fields.iter();
    let field = field.map(|field| (field.id, FieldMatch::Exact(number.into())));
    TableEntry {
        key: EntryKey {
            table: table.id,
            matches: field.collect(),
            priority: 0,
        },
        action: Some(action),
        metadata: Vec::new(),
        is_default: false,
        idle_timeout_ns: 0,
    }
}
