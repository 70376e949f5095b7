//! What the compile of the fabric knows of the built-in pipeline by name; `explain.rs` reads it back, and no other place does.

use weft_proto::schema::Schema;
use weft_proto::vocab::{
    ActionCall, ActionId, EntryKey, FieldId, FieldMatch, ParamId, TableAction, TableEntry, TableId,
};

/// This bit of a label says that the other 19 are a network's number.
pub(super) const VNI_LABEL: u32 = 1 << 19;
/// Node labels; the largest is a replica's instance, too.
pub(super) const NODE_LABELS: std::ops::RangeInclusive<u64> = 16..=0xffff;

/// The pipeline lacks something that the fabric needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline has no {kind} {name:?}, which the fabric needs")]
pub struct MissingName {
    /// `table`, `action`, or of which table or action it is a field or parameter.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A table with the fields that the fabric matches.
#[derive(Clone, Debug)]
pub(super) struct Table<const N: usize> {
    id: TableId,
    fields: [FieldId; N],
}

/// An action with all its parameters.
#[derive(Clone, Debug)]
pub(super) struct Action<const N: usize> {
    id: ActionId,
    params: [ParamId; N],
}

/// All names, resolved.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) port_in: Table<1>,
    pub(super) host_port: Action<4>,
    pub(super) link_port: Action<0>,
    pub(super) my_label: Table<1>,
    pub(super) pop_label: Action<0>,
    pub(super) node_paths: Table<1>,
    pub(super) forward: Action<1>,
    pub(super) port_out: Table<1>,
    pub(super) no_labels: Action<0>,
    pub(super) routes: Table<2>,
    pub(super) routes6: Table<2>,
    pub(super) connected: Action<0>,
    pub(super) neighbors: Table<2>,
    pub(super) neighbors6: Table<2>,
    pub(super) neighbor: Action<2>,
    pub(super) routed_neighbor: Action<2>,
    pub(super) gateway: Action<0>,
    pub(super) fdb: Table<2>,
    pub(super) to_port: Action<1>,
    pub(super) to_edge: Action<1>,
    pub(super) flood: Table<2>,
    pub(super) flood_to: Action<1>,
}

impl Names {
    pub(super) fn new(schema: &Schema) -> Result<Self, MissingName> {
        Ok(Self {
            port_in: table(schema, "port_in", ["in_port"])?,
            host_port: action(
                schema,
                "host_port",
                ["vni", "gateway_mac", "gateway_ip", "gateway_ip6"],
            )?,
            link_port: action(schema, "link_port", [])?,
            my_label: table(schema, "my_label", ["label"])?,
            pop_label: action(schema, "pop_label", [])?,
            node_paths: table(schema, "node_paths", ["label"])?,
            forward: action(schema, "forward", ["port"])?,
            port_out: table(schema, "port_out", ["egress_port"])?,
            no_labels: action(schema, "no_labels", [])?,
            routes: table(schema, "routes", ["vni", "dst"])?,
            routes6: table(schema, "routes6", ["vni", "dst"])?,
            connected: action(schema, "connected", [])?,
            neighbors: table(schema, "neighbors", ["vni", "ip"])?,
            neighbors6: table(schema, "neighbors6", ["vni", "ip"])?,
            neighbor: action(schema, "neighbor", ["mac", "mtu"])?,
            routed_neighbor: action(schema, "routed_neighbor", ["mac", "mtu"])?,
            gateway: action(schema, "gateway", [])?,
            fdb: table(schema, "fdb", ["vni", "dst"])?,
            to_port: action(schema, "to_port", ["port"])?,
            to_edge: action(schema, "to_edge", ["label"])?,
            flood: table(schema, "flood", ["vni", "from_fabric"])?,
            flood_to: action(schema, "flood_to", ["group"])?,
        })
    }
}

fn table<const N: usize>(
    schema: &Schema,
    name: &str,
    fields: [&str; N],
) -> Result<Table<N>, MissingName> {
    let found = schema
        .table_by_name(name)
        .ok_or_else(|| missing("table", name))?;
    let mut ids = [FieldId(0); N];
    for (id, field) in ids.iter_mut().zip(fields) {
        let of = || missing(&format!("field of table {name}"), field);
        *id = found.field_by_name(field).ok_or_else(of)?.id;
    }
    Ok(Table {
        id: found.id,
        fields: ids,
    })
}

fn action<const N: usize>(
    schema: &Schema,
    name: &str,
    params: [&str; N],
) -> Result<Action<N>, MissingName> {
    let found = schema
        .action_by_name(name)
        .ok_or_else(|| missing("action", name))?;
    let mut ids = [ParamId(0); N];
    for (id, param) in ids.iter_mut().zip(params) {
        let of = || missing(&format!("parameter of action {name}"), param);
        *id = found.param_by_name(param).ok_or_else(of)?.id;
    }
    Ok(Action {
        id: found.id,
        params: ids,
    })
}

fn missing(kind: &str, name: &str) -> MissingName {
    MissingName {
        kind: kind.into(),
        name: name.into(),
    }
}

impl<const N: usize> Table<N> {
    /// An entry on exact values of all fields.
    pub(super) fn exact(
        &self,
        values: [u128; N],
        action: impl Into<TableAction>,
        metadata: &[u8],
    ) -> TableEntry {
        self.entry(
            values.map(|value| Some(FieldMatch::Exact(value))),
            action,
            metadata,
        )
    }

    /// An entry; `None` is don't-care.
    pub(super) fn entry(
        &self,
        values: [Option<FieldMatch>; N],
        action: impl Into<TableAction>,
        metadata: &[u8],
    ) -> TableEntry {
        let matches = self.fields.iter().zip(values);
        TableEntry {
            key: EntryKey {
                table: self.id,
                matches: matches
                    .filter_map(|(field, value)| Some((*field, value?)))
                    .collect(),
                priority: 0,
            },
            action: Some(action.into()),
            metadata: metadata.to_vec(),
            is_default: false,
            idle_timeout_ns: 0,
        }
    }
}

impl<const N: usize> Action<N> {
    /// The action with its arguments.
    pub(super) fn call(&self, args: [u128; N]) -> ActionCall {
        let mut params: Vec<_> = self.params.into_iter().zip(args).collect();
        params.sort_unstable();
        ActionCall {
            action: self.id,
            params,
        }
    }
}
