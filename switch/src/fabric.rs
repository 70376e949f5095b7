//! The built-in `fabric` pipeline, as data.
//!
//! Hosts of a network reach each other by Ethernet within a subnet and through an anycast gateway between subnets,
//! over any graph of switches. Edge and core are split, as in a provider network (SR-MPLS, RFC 8402 and RFC 8660;
//! pseudowires, RFC 4448): where a host attaches, the edge decides everything about its packet, and pushes a fabric
//! header for the edge where the packet leaves; between them switches look at a label only.
//!
//! ```text
//!            ┌ host port ─ acl_in ─ ARP, ND answered · routed (routes, neighbors) ┐
//! port_in ─ flows                                                    bridged (fdb) · flooded (flood)
//!            └ link port ─ my_label ─ taken off here ─────────────────────────┤        │
//!                             └ passing through ───────────── node_paths ◂── encap     ▾
//!                                                                            egress: acl_out · port_out
//! ```
//!
//! A fabric frame is Ethernet 0x8847 · node label of the egress switch · label of the network (bottom of stack) · zero
//! control word · the customer's frame. Labels are a fixed scheme, so that no table translates them:
//! a network's label is [`VNI_LABEL`] with its number, a switch's is smaller and chosen by the controller.
//!
//! Loops are impossible for flooded packets: a frame from a host is copied to host ports of this switch and once to each
//! other edge of its network; a frame from a link goes to host ports only. Copies for other edges are told apart by
//! the replica's instance, which *is* the node label of that edge.

mod build;
mod edge;
mod flows;
mod groups;
mod headers;
mod icmp;
mod route;
mod stages;

#[cfg(test)]
mod tests;

use self::build::{bits_or, cast, field, number, pop, push, set, valid, when};
use crate::ir::{ControllerField, Expr, Format, Op, Pipeline};

/// The pipeline's name in P4Info.
pub const NAME: &str = "fabric";

/// This bit of a label says that the other 19 are a network's number.
pub const VNI_LABEL: u32 = 1 << 19;

/// Node labels: from the first one that is not reserved (RFC 3032 §2.1) to the largest that is a replica's instance.
pub const NODE_LABELS: std::ops::RangeInclusive<u32> = 16..=0xffff;

/// Why the fabric drops packets, besides the architecture's own reasons.
pub mod drops {
    /// A flow says `drop`.
    pub const FLOW: &str = "flow-drop";
    /// A flow names a group that does not exist.
    pub const NO_GROUP: &str = "no-group";
    /// A flow's meter says that the packet is above its rate.
    pub const METER: &str = "meter";
    /// The port of entry belongs to no network: the fabric is off, or knows nothing of the port.
    pub const NO_NETWORK: &str = "no-network";
    /// A frame with labels came from a host.
    pub const MPLS_FROM_HOST: &str = "mpls-from-host";
    /// A frame without labels came over a link.
    pub const UNLABELLED: &str = "unlabelled";
    /// Labels without a network's label at the bottom and a control word after it.
    pub const BAD_FABRIC_FRAME: &str = "bad-fabric-frame";
    /// A label that this switch has no path for.
    pub const NO_PATH: &str = "no-path";
    /// A fabric frame crossed too many switches.
    pub const LABEL_TTL: &str = "label-ttl-expired";
    /// A fabric frame for a host that is attached elsewhere.
    pub const MISDELIVERED: &str = "misdelivered";
    /// A labelled frame was about to leave to a host.
    pub const LABEL_LEAK: &str = "label-leak";
    /// To 01-80-C2-00-00-0x, which bridges keep to themselves (IEEE 802.1Q §8.6.3).
    pub const RESERVED_MULTICAST: &str = "reserved-multicast";
    /// The source address is a group address.
    pub const BAD_SOURCE: &str = "bad-source-mac";
    /// The destination is at the port of entry.
    pub const SAME_PORT: &str = "same-port";
    /// The inbound access list says so.
    pub const ACL_IN: &str = "acl-inbound";
    /// The outbound access list says so.
    pub const ACL_OUT: &str = "acl-outbound";
    /// Something else than an untagged IP packet for a layer-3 port.
    pub const NOT_IP: &str = "not-ip";
    /// A packet from a layer-3 port for a port that needs an Ethernet header.
    pub const NO_ETHERNET: &str = "no-ethernet";
    /// Sent to the gateway, but not untagged IP, or from an address that no router forwards.
    pub const NOT_ROUTABLE: &str = "not-routable";
    /// No route to the destination.
    pub const NO_ROUTE: &str = "no-route";
    /// The route says so.
    pub const BLACKHOLE: &str = "blackhole";
    /// Nobody has the destination's address.
    pub const NO_NEIGHBOR: &str = "no-neighbor";
    /// TTL or hop limit used up.
    pub const TTL_EXPIRED: &str = "ttl-expired";
    /// A routed packet is larger than the MTU of the way to its next hop; the architecture's own name for it.
    pub const TOO_BIG: &str = "mtu";
    /// To the gateway's own address, and nothing it answers.
    pub const TO_GATEWAY: &str = "to-gateway";
}

/// Kinds of ports, as `port_in` classifies them; 0 is unknown.
mod port_kind {
    pub(super) const HOST: u128 = 1;
    pub(super) const LINK: u128 = 2;
}

/// The pipeline.
pub fn pipeline() -> Pipeline {
    let mut actions = flows::actions();
    actions.extend(stages::actions());
    actions.extend(edge::actions());
    actions.extend(groups::actions());
    let mut tables = vec![flows::table()];
    tables.extend(stages::tables());
    tables.extend(edge::tables());
    tables.extend(groups::tables());
    let mut selectors = vec![stages::paths_selector()];
    selectors.extend(groups::selectors());
    Pipeline {
        name: NAME.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        headers: headers::types(),
        instances: headers::instances(),
        uncounted_instances: ["fabric_eth", "mpls", "cw"].map(String::from).into(),
        link_instances: ["eth", "vlan"].map(String::from).into(),
        metadata: headers::metadata(),
        parser: headers::parser(),
        actions,
        selectors,
        tables,
        meters: vec![flows::meters()],
        counters: Vec::new(),
        ingress: stages::ingress(),
        egress: stages::egress(),
        deparser: headers::deparser(),
        checksums: headers::checksums(),
        packet_in: vec![ControllerField {
            name: "ingress_port".into(),
            field: "std.in_port".into(),
            format: Format::Port,
        }],
        packet_out: vec![ControllerField {
            name: "egress_port".into(),
            field: "meta.packet_out_port".into(),
            format: Format::Port,
        }],
    }
}

/// Takes the fabric header off, if there is one.
fn strip_fabric() -> Vec<Op> {
    vec![when(
        valid("fabric_eth"),
        vec![
            Op::SetInvalid("fabric_eth".into()),
            pop("mpls", headers::MAX_LABELS),
            Op::SetInvalid("cw".into()),
        ],
    )]
}

/// Puts the fabric header in front: two labels, for an edge and for the packet's network.
fn push_fabric(node_label: Expr) -> Vec<Op> {
    // Both ends of a patch link or tunnel take every frame, so the addresses only need to be no one's.
    const DST: u128 = 0x0257_4654_0002;
    const SRC: u128 = 0x0257_4654_0001;
    // A pipe (RFC 3443): hops of the fabric are not the customer's hops.
    const TTL: u128 = 255;

    vec![
        Op::SetValid("fabric_eth".into()),
        set("fabric_eth.dst", number(DST, 48)),
        set("fabric_eth.src", number(SRC, 48)),
        set("fabric_eth.type", number(headers::MPLS, 16)),
        Op::SetValid("cw".into()),
        set("cw.word", number(0, 32)),
        push("mpls", 2),
        set("mpls[0].label", node_label),
        set("mpls[0].ttl", number(TTL, 8)),
        set(
            "mpls[1].label",
            bits_or(cast(20, field("meta.vni")), number(VNI_LABEL.into(), 20)),
        ),
        set("mpls[1].bos", number(1, 1)),
        set("mpls[1].ttl", number(TTL, 8)),
    ]
}
