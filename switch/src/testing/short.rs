//! Short forms of the representation's parts.

use std::collections::BTreeMap;

use crate::ir::*;

pub(crate) fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) fn bits(name: &str, bits: u16) -> Bits {
    Bits {
        name: name.into(),
        bits,
    }
}

pub(crate) fn header(name: &str, fields: &[(&str, u16)], max_varbytes: u16) -> HeaderType {
    let fields = fields
        .iter()
        .map(|(name, width)| bits(name, *width))
        .collect();
    HeaderType {
        name: name.into(),
        fields,
        max_varbytes,
    }
}

pub(crate) fn instance(name: &str, header: &str, stack: Option<u8>) -> Instance {
    Instance {
        name: name.into(),
        header: header.into(),
        stack,
    }
}

pub(crate) fn field(name: &str) -> Expr {
    Expr::Field(name.into())
}

pub(crate) fn param(name: &str) -> Expr {
    Expr::Param(name.into())
}

pub(crate) fn number(value: u128, bits: u16) -> Expr {
    Expr::Const { value, bits }
}

pub(crate) fn cast(bits: u16, value: Expr) -> Expr {
    Expr::Cast {
        bits,
        value: Box::new(value),
    }
}

pub(crate) fn op(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr::Binary(op, Box::new(left), Box::new(right))
}

pub(crate) fn set(dst: &str, value: Expr) -> Op {
    Op::Set {
        dst: dst.into(),
        value,
    }
}

pub(crate) fn action(name: &str, params: &[(&str, u16)], ops: Vec<Op>) -> Action {
    let params = params.iter().map(|(name, bits)| Param {
        name: (*name).into(),
        bits: *bits,
        format: Format::Number,
        annotations: vec![],
    });
    Action {
        name: name.into(),
        params: params.collect(),
        ops,
        ..Action::default()
    }
}

pub(crate) fn key(name: &str, value: Expr, kind: KeyKind) -> Key {
    Key {
        name: name.into(),
        value,
        kind,
        format: Format::Number,
        annotations: vec![],
    }
}

pub(crate) fn table(name: &str, actions: &[&str], size: u32) -> Table {
    let actions = actions.iter().map(|name| ActionRef {
        name: (*name).into(),
        scope: Scope::Any,
    });
    Table {
        name: name.into(),
        doc: String::new(),
        keys: vec![],
        actions: actions.collect(),
        default_action: None,
        const_default: false,
        const_entries: vec![],
        size,
        selector: None,
        counters: false,
        meter: None,
        idle_timeout: false,
        annotations: vec![],
    }
}

pub(super) fn apply(table: &str, next: Option<&str>) -> Node {
    Node {
        name: table.into(),
        kind: NodeKind::Table {
            table: table.into(),
            on_action: BTreeMap::new(),
            on_hit: None,
            on_miss: None,
            next: next.map(Into::into),
        },
    }
}

pub(super) fn controller(name: &str, field: &str) -> ControllerField {
    ControllerField {
        name: name.into(),
        field: field.into(),
        format: Format::Number,
    }
}

pub(super) fn ahead(offset: u16, bits: u16) -> SelectKey {
    SelectKey::Lookahead { offset, bits }
}

pub(super) fn state(
    name: &str,
    extract: &[&str],
    select: &[SelectKey],
    cases: &[(u128, &str)],
    default: &str,
) -> State {
    let case = |&(value, next): &(u128, &str)| Case {
        values: vec![Masked {
            value,
            mask: u128::MAX,
        }],
        next: next.into(),
    };
    let extract = extract.iter().map(|name| Extract {
        instance: (*name).into(),
        var_length: None,
    });
    State {
        name: name.into(),
        extract: extract.collect(),
        select: select.to_vec(),
        cases: cases.iter().map(case).collect(),
        default: default.into(),
    }
}
