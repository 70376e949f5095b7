//! A small builder for pipeline programs: expressions, operations, and structured control flow.
//!
//! [`control`] lowers steps, which nest like statements, to the flat graph of [`Control`], back to front: each step is
//! lowered knowing the name of the node that follows it.

use std::collections::BTreeMap;

use crate::ir::{
    Action, ActionRef, BinaryOp, Bits, Control, Expr, Format, HeaderType, Instance, Key, KeyKind,
    Node, NodeKind, Op, Param, Scope, UnaryOp,
};

// === expressions ===

pub(super) fn field(name: &str) -> Expr {
    Expr::Field(name.into())
}

pub(super) fn param(name: &str) -> Expr {
    Expr::Param(name.into())
}

pub(super) fn valid(instance: &str) -> Expr {
    Expr::Valid(instance.into())
}

pub(super) fn number(value: u128, bits: u16) -> Expr {
    Expr::Const { value, bits }
}

pub(super) fn cast(bits: u16, value: Expr) -> Expr {
    Expr::Cast {
        bits,
        value: Box::new(value),
    }
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr::Binary(op, Box::new(left), Box::new(right))
}

pub(super) fn eq(left: Expr, right: Expr) -> Expr {
    binary(BinaryOp::Eq, left, right)
}

pub(super) fn ne(left: Expr, right: Expr) -> Expr {
    binary(BinaryOp::Ne, left, right)
}

pub(super) fn le(left: Expr, right: Expr) -> Expr {
    binary(BinaryOp::Le, left, right)
}

pub(super) fn lt(left: Expr, right: Expr) -> Expr {
    binary(BinaryOp::Lt, left, right)
}

pub(super) fn add(left: Expr, right: Expr) -> Expr {
    binary(BinaryOp::Add, left, right)
}

pub(super) fn sub(left: Expr, right: Expr) -> Expr {
    binary(BinaryOp::Sub, left, right)
}

pub(super) fn shl(left: Expr, count: u128) -> Expr {
    binary(BinaryOp::Shl, left, number(count, 8))
}

pub(super) fn shr(left: Expr, count: u128) -> Expr {
    binary(BinaryOp::Shr, left, number(count, 8))
}

pub(super) fn bits_and(left: Expr, right: Expr) -> Expr {
    binary(BinaryOp::And, left, right)
}

pub(super) fn bits_or(left: Expr, right: Expr) -> Expr {
    binary(BinaryOp::Or, left, right)
}

pub(super) fn is_zero(value: Expr) -> Expr {
    Expr::Unary(UnaryOp::IsZero, Box::new(value))
}

/// One bit: a value of `bits` bits is not zero.
pub(super) fn not_zero(value: Expr, bits: u16) -> Expr {
    ne(value, number(0, bits))
}

/// One bit: all operands, which are one bit each.
pub(super) fn all<const N: usize>(operands: [Expr; N]) -> Expr {
    chain(operands, bits_and)
}

/// One bit: any operand, which are one bit each.
pub(super) fn any<const N: usize>(operands: [Expr; N]) -> Expr {
    chain(operands, bits_or)
}

fn chain<const N: usize>(operands: [Expr; N], op: fn(Expr, Expr) -> Expr) -> Expr {
    operands
        .into_iter()
        .reduce(op)
        .expect("there is at least one operand")
}

/// One bit: complement.
pub(super) fn not(value: Expr) -> Expr {
    Expr::Unary(UnaryOp::Not, Box::new(value))
}

/// One bit: bit `index` of a value of `bits` bits.
pub(super) fn bit(value: Expr, index: u16, bits: u16) -> Expr {
    not_zero(bits_and(value, number(1 << index, bits)), bits)
}

// === operations ===

pub(super) fn set(dst: &str, value: Expr) -> Op {
    Op::Set {
        dst: dst.into(),
        value,
    }
}

pub(super) fn copy(dst: &str, src: &str) -> Op {
    set(dst, field(src))
}

pub(super) fn drop(reason: &str) -> Op {
    Op::Drop(reason.into())
}

pub(super) fn push(stack: &str, count: u8) -> Op {
    Op::Push {
        stack: stack.into(),
        count,
    }
}

pub(super) fn pop(stack: &str, count: u8) -> Op {
    Op::Pop {
        stack: stack.into(),
        count,
    }
}

pub(super) fn when(cond: Expr, then: Vec<Op>) -> Op {
    either(cond, then, Vec::new())
}

pub(super) fn either(cond: Expr, then: Vec<Op>, otherwise: Vec<Op>) -> Op {
    Op::If {
        cond,
        then,
        otherwise,
    }
}

// === declarations ===

pub(super) fn bits(name: &str, bits: u16) -> Bits {
    Bits {
        name: name.into(),
        bits,
    }
}

pub(super) fn header(name: &str, fields: &[(&str, u16)], max_varbytes: u16) -> HeaderType {
    HeaderType {
        name: name.into(),
        fields: fields
            .iter()
            .map(|(name, width)| bits(name, *width))
            .collect(),
        max_varbytes,
    }
}

pub(super) fn instance(name: &str, header: &str) -> Instance {
    Instance {
        name: name.into(),
        header: header.into(),
        stack: None,
    }
}

pub(super) fn stack(name: &str, header: &str, count: u8) -> Instance {
    Instance {
        stack: Some(count),
        ..instance(name, header)
    }
}

pub(super) fn key(name: &str, value: Expr, kind: KeyKind, format: Format) -> Key {
    Key {
        name: name.into(),
        value,
        kind,
        format,
        annotations: Vec::new(),
    }
}

pub(super) fn formatted(name: &str, bits: u16, format: Format) -> Param {
    Param {
        name: name.into(),
        bits,
        format,
        annotations: Vec::new(),
    }
}

pub(super) fn action(name: &str, doc: &str, params: Vec<Param>, ops: Vec<Op>) -> Action {
    Action {
        name: name.into(),
        doc: doc.into(),
        params,
        ops,
        annotations: Vec::new(),
    }
}

pub(super) fn any_scope(names: &[&str]) -> Vec<ActionRef> {
    names
        .iter()
        .map(|name| ActionRef {
            name: (*name).into(),
            scope: Scope::Any,
        })
        .collect()
}

// === control flow ===

/// A statement of a control.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Applies a table, then runs what belongs to a hit or a miss.
    Apply {
        table: &'static str,
        hit: Vec<Self>,
        miss: Vec<Self>,
    },
    /// Branches.
    If {
        cond: Expr,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
    /// Runs operations.
    Run(Vec<Op>),
}

impl Step {
    pub(super) fn apply(table: &'static str) -> Self {
        Self::Apply {
            table,
            hit: Vec::new(),
            miss: Vec::new(),
        }
    }

    pub(super) fn apply_or_drop(table: &'static str, reason: &str) -> Self {
        Self::Apply {
            table,
            hit: Vec::new(),
            miss: vec![Self::drop(reason)],
        }
    }

    pub(super) fn when(cond: Expr, then: Vec<Self>) -> Self {
        Self::either(cond, then, Vec::new())
    }

    pub(super) fn either(cond: Expr, then: Vec<Self>, otherwise: Vec<Self>) -> Self {
        Self::If {
            cond,
            then,
            otherwise,
        }
    }

    /// Drops for a reason and ends the control.
    pub(super) fn drop(reason: &str) -> Self {
        Self::Run(vec![drop(reason), Op::Exit])
    }

    /// Drops for a reason and ends the control if a condition holds.
    pub(super) fn drop_if(cond: Expr, reason: &str) -> Self {
        Self::when(cond, vec![Self::drop(reason)])
    }
}

/// Lowers statements to a control graph.
pub(super) fn control(steps: Vec<Step>) -> Control {
    let mut lowering = Lowering { nodes: Vec::new() };
    let start = lowering.steps(steps, None);
    let mut nodes = lowering.nodes;
    nodes.reverse();
    Control { start, nodes }
}

struct Lowering {
    nodes: Vec<Node>,
}

impl Lowering {
    fn steps(&mut self, steps: Vec<Step>, next: Option<String>) -> Option<String> {
        steps
            .into_iter()
            .rev()
            .fold(next, |next, step| Some(self.step(step, next)))
    }

    fn step(&mut self, step: Step, next: Option<String>) -> String {
        let (name, kind) = match step {
            Step::Run(ops) => (self.fresh("run"), NodeKind::Run { ops, next }),
            Step::If {
                cond,
                then,
                otherwise,
            } => {
                let then = self.steps(then, next.clone());
                let otherwise = self.steps(otherwise, next);
                let kind = NodeKind::If {
                    cond,
                    then,
                    otherwise,
                };
                (self.fresh("if"), kind)
            }
            Step::Apply { table, hit, miss } => {
                let on_hit = self.branch(hit, next.as_ref());
                let on_miss = self.branch(miss, next.as_ref());
                let kind = NodeKind::Table {
                    table: table.to_owned(),
                    on_action: BTreeMap::new(),
                    on_hit,
                    on_miss,
                    next,
                };
                (table.to_owned(), kind)
            }
        };
        self.nodes.push(Node {
            name: name.clone(),
            kind,
        });
        name
    }

    fn branch(&mut self, steps: Vec<Step>, next: Option<&String>) -> Option<Option<String>> {
        (!steps.is_empty()).then(|| self.steps(steps, next.cloned()))
    }

    /// Names count from the end, since nodes are made back to front.
    fn fresh(&self, what: &str) -> String {
        format!("{what}{}", self.nodes.len())
    }
}
