//! The lowering of expressions: each has one width, known here and forgotten afterwards.

use super::Ex;
use super::layout::Home;
use super::lower::Lower;
use crate::bits::max_value;
use crate::ir;

/// Where an expression stands.
pub(crate) struct Scope<'a> {
    /// Parameters of the action around it.
    pub(crate) params: &'a [ir::Param],
    /// Whether `stack.last` means something.
    pub(crate) in_parser: bool,
}

impl Scope<'_> {
    /// A control's node or a table's key.
    pub(crate) const CONTROL: Self = Self {
        params: &[],
        in_parser: false,
    };
    /// The parser.
    pub(crate) const PARSER: Self = Self {
        params: &[],
        in_parser: true,
    };
}

impl Lower<'_> {
    /// An expression that must have `bits` bits, or fewer where they are a number of at most 32.
    pub(crate) fn sized(
        &mut self,
        object: &str,
        what: &str,
        value: &ir::Expr,
        bits: u16,
        scope: &Scope<'_>,
    ) -> Option<Ex> {
        let (value, found) = self.expr(object, value, scope)?;
        let fits = if bits == 1 { found == 1 } else { found <= bits };
        if !fits {
            let problem = format!("{what} has {found} bits instead of {bits}");
            self.errors.push(object, problem);
            return None;
        }
        Some(value)
    }

    /// An expression and its width.
    pub(crate) fn expr(
        &mut self,
        object: &str,
        value: &ir::Expr,
        scope: &Scope<'_>,
    ) -> Option<(Ex, u16)> {
        Some(match value {
            ir::Expr::Const { value, bits } => {
                self.width(object, *bits)?;
                if *value > max_value(*bits) {
                    let problem = format!("constant {value:#x} does not fit {bits} bits");
                    self.errors.push(object, problem);
                    return None;
                }
                (Ex::Const(*value), *bits)
            }
            ir::Expr::Field(name) => {
                let field = self.field(object, name)?;
                match field.home {
                    Home::Last(stack) if scope.in_parser => {
                        let slot = field.slot;
                        (Ex::Last { stack, slot }, field.bits)
                    }
                    Home::Last(_) => {
                        let problem = format!("{name} exists in the parser only");
                        self.errors.push(object, problem);
                        return None;
                    }
                    _ => (Ex::Field(field.slot), field.bits),
                }
            }
            ir::Expr::Param(name) => {
                let found = (0..)
                    .zip(scope.params)
                    .find(|(_, param)| param.name == *name);
                let Some((index, param)) = found else {
                    self.errors
                        .push(object, format!("there is no parameter {name}"));
                    return None;
                };
                let narrow = param.bits <= 64;
                (Ex::Param { index, narrow }, param.bits)
            }
            ir::Expr::Valid(name) => {
                let header = self.names.header(name);
                (Ex::Valid(self.note(object, header)?), 1)
            }
            ir::Expr::Unary(op, operand) => {
                let (operand, bits) = self.expr(object, operand, scope)?;
                let operand = Box::new(operand);
                match op {
                    ir::UnaryOp::Not => (Ex::Not(operand, max_value(bits)), bits),
                    ir::UnaryOp::IsZero => (Ex::IsZero(operand), 1),
                }
            }
            ir::Expr::Binary(op, left, right) => {
                return self.binary(object, *op, left, right, scope);
            }
            ir::Expr::Cast { bits, value } => {
                self.width(object, *bits)?;
                let (value, from) = self.expr(object, value, scope)?;
                if *bits >= from {
                    (value, *bits)
                } else {
                    (Ex::Mask(Box::new(value), max_value(*bits)), *bits)
                }
            }
            ir::Expr::Hash { bits, fields } => {
                if !(1..=64).contains(bits) {
                    let problem = format!("a hash has 1 to 64 bits, not {bits}");
                    self.errors.push(object, problem);
                    return None;
                }
                let fields = self.slots(object, fields);
                let mask = max_value(*bits);
                (Ex::Hash { fields, mask }, *bits)
            }
        })
    }

    fn binary(
        &mut self,
        object: &str,
        op: ir::BinaryOp,
        left: &ir::Expr,
        right: &ir::Expr,
        scope: &Scope<'_>,
    ) -> Option<(Ex, u16)> {
        use ir::BinaryOp::{Add, And, Eq, Le, Lt, Ne, Or, Shl, Shr, Sub, Xor};
        let left = self.expr(object, left, scope);
        let right = self.expr(object, right, scope);
        let ((left, bits), (right, other)) = (left?, right?);
        if bits != other && !matches!(op, Shl | Shr) {
            let problem = format!("operands of {op:?} have {bits} and {other} bits");
            self.errors.push(object, problem);
            return None;
        }
        let result = match op {
            Eq | Ne | Lt | Le => 1,
            Add | Sub | And | Or | Xor | Shl | Shr => bits,
        };
        let expr = Ex::Binary {
            op,
            narrow: left.is_narrow() && right.is_narrow(),
            left: Box::new(left),
            right: Box::new(right),
            mask: max_value(bits),
        };
        Some((expr, result))
    }

    fn width(&mut self, object: &str, bits: u16) -> Option<()> {
        if !(1..=128).contains(&bits) {
            let problem = format!("a value has 1 to 128 bits, not {bits}");
            self.errors.push(object, problem);
            return None;
        }
        Some(())
    }
}
