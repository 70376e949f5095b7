//! The groups that flows send packets to: one bucket is chosen for each packet, and a bucket is an output.
//!
//! A flow's verdict `group` names a group by its number. The number is looked up in two tables, so a number is one kind
//! of group only; a number that is in neither is a drop. Annotations say to a northbound what the tables are for:
//!
//! * `@weft_groups(select)`: a hash over the packet keeps a flow on one bucket; shares follow weights.
//! * `@weft_groups(failover)`: the first bucket whose watched port is up; weights do not count.
//! * `@weft_groups(hash)`: which fields a `select` group hashes. The parameter of its action is a bit set, `@bit(FIELD,N)`
//!   on it, where `l4` is both ports. A group without an entry here hashes what the table's initial default action says.
//!
//! The key of each is the group's number, `@arg(group)`; 0 is no group. An entry of the first two is a one-shot set of `flow_output`,
//! each with weight and watched port; without a bucket whose watched port is up, packets are dropped as `empty-group`.
//! Groups of kind "all" are multicast groups, which are no tables.
//!
//! What is hashed is the customer's packet as the flow's edits left it. A field that it does not have counts as zero, and a
//! frame without IP is hashed by its Ethernet addresses, whatever the bit set says.

use super::build::{
    Step, action, any, any_scope, bit, bits, cast, drop, either, field, formatted, is_zero, key,
    not_zero, param, set, valid, when,
};
use super::drops;
use super::stages::table;
use crate::ir::{
    Action, Bits, Call, Expr, Format, Key, KeyKind, Op, Param, Selector, SelectorMode, Table,
};

const SELECT: &str = "flow_groups";
const FAILOVER: &str = "flow_failover";
const HASH: &str = "flow_hash";
/// What both tables' groups do.
const BUCKET: &str = "flow_output";

const FIELDS_BITS: u16 = 16;

const L4_SRC: (&str, &str) = ("hash_l4_src", "meta.l4_src");
const L4_DST: (&str, &str) = ("hash_l4_dst", "meta.l4_dst");
const ETH_SRC: (&str, &str) = ("hash_eth_src", "eth.src");
const ETH_DST: (&str, &str) = ("hash_eth_dst", "eth.dst");

/// A field that can be hashed.
struct Hashed {
    word: &'static str,
    /// Where the values go, and where they come from.
    copies: &'static [(&'static str, &'static str)],
    /// It is hashed where nobody says what is.
    usual: bool,
}

const fn hashed(
    word: &'static str,
    copies: &'static [(&'static str, &'static str)],
    usual: bool,
) -> Hashed {
    Hashed {
        word,
        copies,
        usual,
    }
}

/// In the order of their bits.
const HASHED: [Hashed; 11] = [
    hashed("ipv4_src", &[("hash_src", "ipv4.src")], true),
    hashed("ipv4_dst", &[("hash_dst", "ipv4.dst")], true),
    hashed("ipv6_src", &[("hash_src", "ipv6.src")], true),
    hashed("ipv6_dst", &[("hash_dst", "ipv6.dst")], true),
    hashed("ip_proto", &[("hash_proto", "meta.ip_proto")], true),
    hashed("l4", &[L4_SRC, L4_DST], true),
    hashed("l4_src", &[L4_SRC], false),
    hashed("l4_dst", &[L4_DST], false),
    hashed("eth_src", &[ETH_SRC], false),
    hashed("eth_dst", &[ETH_DST], false),
    hashed("vlan_vid", &[("hash_vlan", "vlan[0].vid")], false),
];

/// What is hashed, and which group a flow names.
pub(super) fn metadata() -> Vec<Bits> {
    [
        ("flow_group", 32),
        ("hash_src", 128),
        ("hash_dst", 128),
        ("hash_proto", 8),
        ("hash_l4_src", 16),
        ("hash_l4_dst", 16),
        ("hash_eth_src", 48),
        ("hash_eth_dst", 48),
        ("hash_vlan", 12),
    ]
    .map(|(name, width)| bits(name, width))
    .into()
}

pub(super) fn selectors() -> Vec<Selector> {
    let hash = metadata().into_iter().skip(1);
    vec![
        Selector {
            name: "flow_buckets".into(),
            hash: hash.map(|field| format!("meta.{}", field.name)).collect(),
            size: 1 << 20,
            max_group_size: 1_024,
            ..Selector::default()
        },
        Selector {
            name: "failover_buckets".into(),
            mode: SelectorMode::FirstLive,
            size: 1 << 20,
            max_group_size: 64,
            ..Selector::default()
        },
    ]
}

pub(super) fn tables() -> Vec<Table> {
    let groups = |name: &str, doc: &str, kind: &str, selector: &Selector| Table {
        doc: doc.into(),
        keys: vec![group_key()],
        actions: any_scope(&[BUCKET]),
        size: 65_536,
        selector: Some(selector.name.clone()),
        counters: true,
        annotations: vec![format!("@weft_groups({kind})")],
        ..table(name)
    };
    let selectors = selectors();
    vec![
        Table {
            doc: "What a group hashes, where it is not addresses, protocol and ports".into(),
            keys: vec![group_key()],
            actions: any_scope(&["hash_fields"]),
            default_action: Some(Call {
                action: "hash_fields".into(),
                args: [("fields".into(), usual())].into(),
            }),
            size: 65_536,
            annotations: vec!["@weft_groups(hash)".into()],
            ..table(HASH)
        },
        groups(
            SELECT,
            "Groups among whose buckets a hash chooses",
            "select",
            &selectors[0],
        ),
        groups(
            FAILOVER,
            "Groups whose first bucket with a watched port that is up takes everything",
            "failover",
            &selectors[1],
        ),
    ]
}

fn group_key() -> Key {
    Key {
        annotations: vec!["@arg(group)".into()],
        ..key(
            "group",
            field("meta.flow_group"),
            KeyKind::Exact,
            Format::Number,
        )
    }
}

fn usual() -> u64 {
    let hashed = HASHED.iter().enumerate();
    let usual = hashed.filter(|(_, hashed)| hashed.usual);
    usual.fold(0, |set, (index, _)| set | 1 << index)
}

pub(super) fn actions() -> Vec<Action> {
    let bits = (0..).zip(&HASHED);
    let bits = bits.map(|(bit, hashed): (u16, _)| format!("@bit({},{bit})", hashed.word));
    vec![action(
        "hash_fields",
        "Chooses what the group hashes",
        vec![Param {
            annotations: bits.collect(),
            ..formatted("fields", FIELDS_BITS, Format::Hex)
        }],
        hash_fields(),
    )]
}

fn hash_fields() -> Vec<Op> {
    let has_ip = || any([valid("ipv4"), valid("ipv6")]);
    let mut ops = vec![either(
        has_ip(),
        Vec::new(),
        [ETH_SRC, ETH_DST].into_iter().map(take).collect(),
    )];
    ops.extend((0..).zip(&HASHED).map(|(index, hashed)| {
        let copies = hashed.copies.iter().copied().map(take).collect();
        when(bit(param("fields"), index, FIELDS_BITS), copies)
    }));
    ops
}

/// Copies a value to where the hash reads it, unless its header is not there.
fn take((to, from): (&str, &str)) -> Op {
    let value = match from {
        "ipv4.src" | "ipv4.dst" => cast(128, field(from)),
        _ => field(from),
    };
    let header = from.split('.').next().unwrap_or_default();
    let op = set(&format!("meta.{to}"), value);
    match header {
        "meta" => op,
        header => when(valid(header), vec![op]),
    }
}

/// What a flow does that sends to a group: it names it. Labels are taken off by the bucket.
pub(super) fn choose(group: Expr) -> Vec<Op> {
    vec![
        when(
            is_zero(group.clone()),
            vec![drop(drops::NO_GROUP), Op::Exit],
        ),
        set("meta.flow_group", group),
    ]
}

/// What becomes of a packet whose flow named a group.
pub(super) fn steps() -> Step {
    Step::when(
        not_zero(field("meta.flow_group"), 32),
        vec![
            Step::apply(HASH),
            // The bucket's action ends the control.
            Step::apply(SELECT),
            Step::apply_or_drop(FAILOVER, drops::NO_GROUP),
        ],
    )
}
