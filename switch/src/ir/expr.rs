//! Expressions.

use serde::{Deserialize, Serialize};

use super::{FieldRef, hex};

/// An expression. Both sides of a binary operator have one width; arithmetic wraps at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Expr {
    /// A constant.
    Const {
        /// Its value.
        #[serde(with = "hex")]
        value: u128,
        /// Its width in bits.
        bits: u16,
    },
    /// A field's value; zero where its header is not valid.
    Field(FieldRef),
    /// A parameter of the action.
    Param(String),
    /// 1 bit: whether an instance (or `stack[i]`) is valid.
    Valid(String),
    /// An operator on one operand.
    Unary(UnaryOp, Box<Self>),
    /// An operator on two operands.
    Binary(BinaryOp, Box<Self>, Box<Self>),
    /// Zero-extends or truncates.
    Cast {
        /// The new width.
        bits: u16,
        /// What is cast.
        value: Box<Self>,
    },
    /// A deterministic hash over fields, salted for each switch.
    Hash {
        /// Width of the result.
        bits: u16,
        /// What is hashed.
        fields: Vec<FieldRef>,
    },
}

/// An operator on one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UnaryOp {
    /// Bitwise complement.
    Not,
    /// 1 bit: the operand is zero.
    IsZero,
}

/// An operator on two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BinaryOp {
    /// Sum, wrapping.
    Add,
    /// Difference, wrapping.
    Sub,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left; the right side may have another width.
    Shl,
    /// Shift right, logical; the right side may have another width.
    Shr,
    /// 1 bit: equal.
    Eq,
    /// 1 bit: not equal.
    Ne,
    /// 1 bit: less, unsigned.
    Lt,
    /// 1 bit: less or equal, unsigned.
    Le,
}
