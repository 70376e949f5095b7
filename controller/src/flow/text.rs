//! Field values as people write them: numbers, addresses, port names, with a prefix length or a mask.
//!
//! Reading accepts every usual spelling, writing gives one: `parse(print(x)) == x`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;
use weft_proto::bytes::{fits, max_value};
use weft_proto::schema::{FieldSchema, ParamSchema, annotations};
use weft_proto::vocab::{FieldMatch, MacAddr, MatchKind, PortNo};

use crate::problem::{Code, FieldError};

use super::grammar::{number, pairs};

/// The kind of text, from P4Info's `@format(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A decimal number.
    Number,
    /// A hexadecimal number.
    Hex,
    /// Six bytes with colons.
    Mac,
    /// Dotted quad.
    Ipv4,
    /// Colons (RFC 4291 §2.2).
    Ipv6,
    /// The name of a port.
    Port,
}

impl Format {
    /// The format that an annotation's argument names; a decimal number where it names none.
    pub fn of(argument: Option<&str>) -> Self {
        match argument.unwrap_or_default().to_ascii_lowercase().as_str() {
            "hex" => Self::Hex,
            "mac" => Self::Mac,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "port" => Self::Port,
            _ => Self::Number,
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Hex => "a number, for example 0x0800",
            Self::Mac => "a MAC address, for example 02:00:00:00:00:01",
            Self::Ipv4 => "an IPv4 address, for example 10.0.0.1",
            Self::Ipv6 => "an IPv6 address, for example 2001:db8::1",
            Self::Port => "the name of a port",
        }
    }
}

/// How a field or a parameter is written.
#[derive(Clone, Debug)]
pub struct Form<'s> {
    /// The kind of text.
    pub format: Format,
    /// The width.
    pub bits: u16,
    /// How it is compared, which decides whether a mask is possible; parameters are exact.
    pub kind: MatchKind,
    /// Words for values.
    pub names: Vec<(&'s str, u128)>,
}

impl<'s> Form<'s> {
    /// How a key field is written.
    pub fn of_field(field: &'s FieldSchema) -> Self {
        Self {
            format: Format::of(field.format.as_deref()),
            bits: field.bits,
            kind: field.kind,
            names: names(&field.annotations),
        }
    }

    /// How a parameter is written: one value, no mask.
    pub fn of_param(param: &'s ParamSchema) -> Self {
        Self {
            format: Format::of(param.format.as_deref()),
            bits: param.bits,
            kind: MatchKind::Exact,
            names: names(&param.annotations),
        }
    }
}

impl Form<'static> {
    /// A port, by name.
    pub fn port() -> Self {
        Self {
            format: Format::Port,
            bits: 32,
            kind: MatchKind::Exact,
            names: Vec::new(),
        }
    }
}

/// A value, and which of its bits count; or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// Equal under a mask; bits of `value` outside it are zero.
    Masked {
        /// The value.
        value: u128,
        /// Which bits count.
        mask: u128,
    },
    /// `low..=high`.
    Range {
        /// Lower bound.
        low: u128,
        /// Upper bound.
        high: u128,
    },
}

impl Pattern {
    /// One value of a field that is `bits` wide.
    pub fn exact(value: u128, bits: u16) -> Self {
        Self::Masked {
            value,
            mask: max_value(bits),
        }
    }

    /// The match of an entry, on a field that is `bits` wide.
    pub fn of_match(wanted: FieldMatch, bits: u16) -> Self {
        match wanted {
            FieldMatch::Exact(value) | FieldMatch::Optional(value) => Self::exact(value, bits),
            FieldMatch::Lpm { value, prefix_len } => Self::Masked {
                value,
                mask: prefix(prefix_len.min(bits), bits),
            },
            FieldMatch::Ternary { value, mask } => Self::Masked { value, mask },
            FieldMatch::Range { low, high } => Self::Range { low, high },
        }
    }

    /// Whether it holds for a value.
    pub fn matches(self, candidate: u128) -> bool {
        match self {
            Self::Masked { value, mask } => candidate & mask == value,
            Self::Range { low, high } => (low..=high).contains(&candidate),
        }
    }

    /// As the match of an entry; `None` where it holds for every value.
    pub fn to_match(self, form: &Form<'_>) -> Option<FieldMatch> {
        let max = max_value(form.bits);
        Some(match (self, form.kind) {
            (Self::Masked { mask: 0, .. }, _) => return None,
            (Self::Range { low: 0, high }, _) if high == max => return None,
            (Self::Masked { value, .. }, MatchKind::Exact) => FieldMatch::Exact(value),
            (Self::Masked { value, .. }, MatchKind::Optional) => FieldMatch::Optional(value),
            (Self::Masked { value, mask }, MatchKind::Lpm) => FieldMatch::Lpm {
                value,
                prefix_len: ones(mask),
            },
            (Self::Masked { value, mask }, MatchKind::Ternary) => {
                FieldMatch::Ternary { value, mask }
            }
            (Self::Masked { value, mask }, MatchKind::Range) => FieldMatch::Range {
                low: value,
                high: value | (max & !mask),
            },
            (Self::Range { low, high }, _) => FieldMatch::Range { low, high },
        })
    }
}

/// Ports of the switch, for [`Format::Port`].
pub type Ports = BTreeMap<String, PortNo>;

/// Reads one value as users write it.
///
/// # Errors
///
/// What is wrong with it, under an empty pointer.
pub fn parse(form: &Form<'_>, ports: &Ports, given: &Value) -> Result<Pattern, FieldError> {
    let text = match given {
        Value::Number(number) => {
            let Some(number) = number.as_u64() else {
                return Err(mistake(
                    Code::OutOfRange,
                    format!("{number} is not a whole number of 0 or more"),
                ));
            };
            if form.format == Format::Port {
                return port_by_number(form, ports, number);
            }
            if matches!(form.format, Format::Mac | Format::Ipv4 | Format::Ipv6) {
                return Err(mistake(
                    Code::WrongFormat,
                    format!("expected {}, as a string", form.format.wanted()),
                ));
            }
            return exact(form, u128::from(number));
        }
        Value::String(text) => text.trim(),
        other => {
            return Err(mistake(
                Code::WrongType,
                format!(
                    "expected {}, found {}",
                    form.format.wanted(),
                    kind_of(other)
                ),
            ));
        }
    };
    if form.format == Format::Port {
        return port_by_name(form, ports, text);
    }
    if form.kind == MatchKind::Range
        && form.format != Format::Mac
        && let Some((low, high)) = text.split_once('-')
    {
        let (low, high) = (single(form, low)?, single(form, high)?);
        if low > high {
            return Err(mistake(
                Code::OutOfRange,
                format!("the range {text} is empty"),
            ));
        }
        return Ok(Pattern::Range { low, high });
    }
    let Some((value, mask)) = text.split_once('/') else {
        return exact(form, single(form, text)?);
    };
    let value = single(form, value)?;
    let mask = parse_mask(form, mask)?;
    if mask != max_value(form.bits) {
        match form.kind {
            MatchKind::Exact | MatchKind::Optional => {
                return Err(mistake(
                    Code::WrongFormat,
                    "one value is wanted here, without prefix length or mask",
                ));
            }
            MatchKind::Lpm | MatchKind::Range if !is_prefix(mask, form.bits) => {
                return Err(mistake(
                    Code::WrongFormat,
                    "only a prefix is possible here, not a mask with gaps",
                ));
            }
            _ => {}
        }
    }
    let is_address = matches!(form.format, Format::Mac | Format::Ipv4 | Format::Ipv6);
    let masked = Pattern::Masked {
        value: value & mask,
        mask,
    };
    if value & mask != value && !is_address {
        // An address with host bits is a habit; a number with bits that do not count is a slip.
        let meant = print(form, ports, masked);
        return Err(mistake(
            Code::WrongFormat,
            format!("{text} has bits set that the mask leaves out"),
        )
        .with_suggestion(
            meant
                .as_str()
                .map_or_else(|| meant.to_string(), str::to_owned),
        ));
    }
    Ok(masked)
}

/// Writes a value in the one canonical form.
pub fn print(form: &Form<'_>, ports: &Ports, pattern: Pattern) -> Value {
    let (value, mask) = match pattern {
        Pattern::Masked { value, mask } => (value, mask),
        Pattern::Range { low, high } => {
            return format!("{}-{}", print_one(form, low), print_one(form, high)).into();
        }
    };
    if form.format == Format::Port {
        let name = ports.iter().find(|(_, port)| u128::from(port.0) == value);
        return name
            .map_or_else(|| value.to_string(), |(name, _)| name.clone())
            .into();
    }
    if mask == max_value(form.bits) {
        return match (form.format, u64::try_from(value)) {
            (Format::Number, Ok(number)) if number < 1 << 53 => number.into(),
            _ => print_one(form, value).into(),
        };
    }
    let mask = match form.format {
        Format::Ipv4 | Format::Ipv6 if is_prefix(mask, form.bits) => ones(mask).to_string(),
        Format::Number | Format::Hex => format!("{mask:#x}"),
        _ => print_one(form, mask),
    };
    format!("{}/{mask}", print_one(form, value)).into()
}

fn print_one(form: &Form<'_>, value: u128) -> String {
    match form.format {
        Format::Number | Format::Port => value.to_string(),
        Format::Hex => {
            let digits = usize::from(form.bits.div_ceil(4));
            format!("0x{value:0digits$x}")
        }
        Format::Mac => MacAddr::from_bits(u64::try_from(value).unwrap_or_default()).to_string(),
        Format::Ipv4 => Ipv4Addr::from(u32::try_from(value).unwrap_or_default()).to_string(),
        Format::Ipv6 => Ipv6Addr::from(value).to_string(),
    }
}

/// The name of a JSON type, with its article.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn names(annotations: &[String]) -> Vec<(&str, u128)> {
    annotations::get(annotations, "names")
        .flat_map(pairs)
        .collect()
}

fn exact(form: &Form<'_>, value: u128) -> Result<Pattern, FieldError> {
    if !fits(value, form.bits) {
        return Err(too_wide(form, value));
    }
    Ok(Pattern::exact(value, form.bits))
}

/// One value without mask.
fn single(form: &Form<'_>, text: &str) -> Result<u128, FieldError> {
    let text = text.trim();
    let named = form
        .names
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    let value = match (named, form.format) {
        (Some((_, value)), _) => Some(*value),
        (None, Format::Number | Format::Hex | Format::Port) => number(text),
        (None, Format::Mac) => mac(text),
        (None, Format::Ipv4) => text.parse::<Ipv4Addr>().ok().map(|a| a.to_bits().into()),
        (None, Format::Ipv6) => text.parse::<Ipv6Addr>().ok().map(Ipv6Addr::to_bits),
    };
    let Some(value) = value else {
        let names = form.names.iter().map(|(name, _)| *name);
        let error = mistake(
            Code::WrongFormat,
            format!("\"{text}\" is not {}", form.format.wanted()),
        );
        return Err(if form.names.is_empty() {
            error
        } else {
            error.with_allowed(text, names)
        });
    };
    if fits(value, form.bits) {
        Ok(value)
    } else {
        Err(too_wide(form, value))
    }
}

/// `/n` is a prefix length, anything else a mask in the format of the value.
fn parse_mask(form: &Form<'_>, text: &str) -> Result<u128, FieldError> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse::<u16>() {
            Ok(length) if length <= form.bits => Ok(prefix(length, form.bits)),
            _ => Err(mistake(
                Code::OutOfRange,
                format!("the prefix length is 0 to {}", form.bits),
            )),
        };
    }
    single(
        &Form {
            names: Vec::new(),
            ..form.clone()
        },
        text,
    )
}

fn mac(text: &str) -> Option<u128> {
    let mut bytes = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 2 || part.starts_with('+') {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts
        .next()
        .is_none()
        .then(|| MacAddr(bytes).to_bits().into())
}

fn port_by_name(form: &Form<'_>, ports: &Ports, name: &str) -> Result<Pattern, FieldError> {
    if let Some(port) = ports.get(name) {
        return exact(form, port.0.into());
    }
    Err(mistake(Code::NoSuchPort, format!("no port {name}"))
        .with_allowed(name, ports.keys().cloned()))
}

fn port_by_number(form: &Form<'_>, ports: &Ports, number: u64) -> Result<Pattern, FieldError> {
    if ports.values().any(|port| u64::from(port.0) == number) {
        return exact(form, number.into());
    }
    Err(mistake(Code::NoSuchPort, format!("no port {number}"))
        .with_allowed(&number.to_string(), ports.keys().cloned()))
}

fn too_wide(form: &Form<'_>, value: u128) -> FieldError {
    let (value, max) = match form.format {
        Format::Hex => (
            format!("{value:#x}"),
            format!("{:#x}", max_value(form.bits)),
        ),
        _ => (value.to_string(), max_value(form.bits).to_string()),
    };
    mistake(
        Code::TooWide,
        format!("{value} does not fit into {} bits: 0 to {max}", form.bits),
    )
}

fn mistake(code: Code, detail: impl Into<String>) -> FieldError {
    FieldError::new("", code, detail)
}

fn prefix(length: u16, bits: u16) -> u128 {
    max_value(bits) & !max_value(bits - length)
}

fn is_prefix(mask: u128, bits: u16) -> bool {
    mask == prefix(ones(mask), bits)
}

fn ones(mask: u128) -> u16 {
    u16::try_from(mask.count_ones()).unwrap_or(u16::MAX)
}
