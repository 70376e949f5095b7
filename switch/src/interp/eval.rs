//! Expressions: in 64 bits where everything in one fits, which nearly always is so, else in 128.

use super::Frame;
use crate::bits::mix;
use crate::ir::BinaryOp;
use crate::program::{Ex, Layout};

/// What an expression may look at.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(super) frame: &'a Frame,
    pub(super) args: &'a [u128],
    pub(super) salt: u64,
    pub(super) layout: &'a Layout,
}

impl<'a> Reader<'a> {
    /// Looks at headers only, as the parser does.
    pub(crate) fn parser(frame: &'a Frame, layout: &'a Layout) -> Self {
        Self {
            frame,
            args: &[],
            salt: 0,
            layout,
        }
    }

    /// An expression's value.
    #[inline]
    pub(crate) fn eval(self, value: &Ex) -> u128 {
        match value {
            Ex::Const(value) => *value,
            Ex::Field(slot) => slot.read(&self.frame.arena),
            Ex::Param { index, .. } => self.args[usize::from(*index)],
            _ if value.is_narrow() => u128::from(self.narrow(value)),
            _ => self.wide(value),
        }
    }

    /// The value of one bit.
    #[inline]
    pub(crate) fn test(self, cond: &Ex) -> bool {
        match cond {
            Ex::Valid(header) => self.frame.valid >> header & 1 != 0,
            _ if cond.is_narrow() => self.narrow(cond) != 0,
            _ => self.wide(cond) != 0,
        }
    }

    /// The value of a narrow expression; leaves, which are most operands, without a call.
    #[inline]
    fn narrow(self, value: &Ex) -> u64 {
        match value {
            Ex::Const(value) => *value as u64,
            Ex::Field(slot) => slot.read_narrow(&self.frame.arena),
            Ex::Param { index, .. } => self.args[usize::from(*index)] as u64,
            Ex::Valid(header) => (self.frame.valid >> header & 1) as u64,
            _ => self.narrow_node(value),
        }
    }

    fn narrow_node(self, value: &Ex) -> u64 {
        match value {
            Ex::Const(_) | Ex::Field(_) | Ex::Param { .. } | Ex::Valid(_) => self.narrow(value),
            Ex::Last { .. } | Ex::Hash { .. } => self.wide(value) as u64,
            Ex::Not(operand, mask) => !self.narrow(operand) & *mask as u64,
            Ex::IsZero(operand) => u64::from(self.narrow(operand) == 0),
            Ex::Mask(operand, mask) => self.narrow(operand) & *mask as u64,
            Ex::Binary {
                op,
                left,
                right,
                mask,
                ..
            } => {
                let left = self.narrow(left);
                let mask = *mask as u64;
                // Operands have no effects, so one that does not matter is left out.
                match op {
                    BinaryOp::And if left == 0 => return 0,
                    BinaryOp::Or if left == mask => return mask,
                    _ => {}
                }
                let right = self.narrow(right);
                match op {
                    BinaryOp::Add => left.wrapping_add(right) & mask,
                    BinaryOp::Sub => left.wrapping_sub(right) & mask,
                    BinaryOp::And => left & right,
                    BinaryOp::Or => left | right,
                    BinaryOp::Xor => left ^ right,
                    BinaryOp::Shl => shifted(right.into())
                        .map_or(0, |by| left.checked_shl(by).unwrap_or(0) & mask),
                    BinaryOp::Shr => {
                        shifted(right.into()).map_or(0, |by| left.checked_shr(by).unwrap_or(0))
                    }
                    BinaryOp::Eq => u64::from(left == right),
                    BinaryOp::Ne => u64::from(left != right),
                    BinaryOp::Lt => u64::from(left < right),
                    BinaryOp::Le => u64::from(left <= right),
                }
            }
        }
    }

    fn wide(self, value: &Ex) -> u128 {
        match value {
            Ex::Const(value) => *value,
            Ex::Field(slot) => slot.read(&self.frame.arena),
            Ex::Param { index, .. } => self.args[usize::from(*index)],
            Ex::Valid(header) => self.frame.valid >> header & 1,
            Ex::Last { stack, slot } => {
                let next = usize::from(self.frame.stack_next[usize::from(*stack)]);
                let stride = self.layout.stacks[usize::from(*stack)].stride;
                match next.checked_sub(1) {
                    Some(last) => slot.advance(last * stride).read(&self.frame.arena),
                    None => 0,
                }
            }
            Ex::Not(operand, mask) => !self.eval(operand) & mask,
            Ex::IsZero(operand) => u128::from(self.eval(operand) == 0),
            Ex::Mask(operand, mask) => self.eval(operand) & mask,
            Ex::Hash { fields, mask } => {
                let mut hash = self.salt;
                for slot in fields {
                    hash = mix_value(hash, slot.read(&self.frame.arena));
                }
                u128::from(mix(hash, 0)) & mask
            }
            Ex::Binary {
                op,
                left,
                right,
                mask,
                ..
            } => {
                let (left, right) = (self.eval(left), self.eval(right));
                match op {
                    BinaryOp::Add => left.wrapping_add(right) & mask,
                    BinaryOp::Sub => left.wrapping_sub(right) & mask,
                    BinaryOp::And => left & right,
                    BinaryOp::Or => left | right,
                    BinaryOp::Xor => left ^ right,
                    BinaryOp::Shl => shifted(right).map_or(0, |by| left << by & mask),
                    BinaryOp::Shr => shifted(right).map_or(0, |by| left >> by),
                    BinaryOp::Eq => u128::from(left == right),
                    BinaryOp::Ne => u128::from(left != right),
                    BinaryOp::Lt => u128::from(left < right),
                    BinaryOp::Le => u128::from(left <= right),
                }
            }
        }
    }
}

/// A shift distance, where it leaves anything.
fn shifted(by: u128) -> Option<u32> {
    u32::try_from(by).ok().filter(|&by| by < 128)
}

#[inline]
pub(super) fn mix_value(hash: u64, value: u128) -> u64 {
    let hash = mix(hash, value as u64);
    match (value >> 64) as u64 {
        0 => hash,
        high => mix(hash, high),
    }
}
