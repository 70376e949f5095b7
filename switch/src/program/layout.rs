//! Where each header, stack element and metadata field stands in the arena.

#![expect(
    clippy::cast_possible_truncation,
    reason = "there are at most 128 headers and 16 stacks, which is checked here"
)]

use std::collections::BTreeMap;

use super::lower::Errors;
use super::{MAX_HEADERS, MAX_STACKS};
use crate::bits::{PAD, Slot};
use crate::ir;

/// A header's place; each element of a stack is a header of its own.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) at: usize,
    /// Bytes of the fixed part.
    pub(crate) fixed: usize,
    pub(crate) max_var: usize,
}

/// A stack: consecutive headers at a constant stride.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) stride: usize,
}

/// The architecture's fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StdFields {
    pub(crate) in_port: Slot,
    pub(crate) egress_port: Slot,
    pub(crate) instance: Slot,
    pub(crate) packet_length: Slot,
    pub(crate) wire_length: Slot,
    pub(crate) l3: Slot,
    pub(crate) egress_l3: Slot,
    pub(crate) quoted_length: Slot,
}

/// All places.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) headers: Vec<Header>,
    pub(crate) stacks: Vec<Stack>,
    pub(crate) std: StdFields,
    /// Bytes of the arena, padding included.
    pub(crate) size: usize,
}

/// What kind of storage a field is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Header(u8),
    /// The last extracted element of a stack.
    Last(u8),
    Meta,
    Std,
}

/// A resolved field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) slot: Slot,
    pub(crate) bits: u16,
    pub(crate) home: Home,
    /// Bits from the header's start.
    pub(crate) offset: usize,
}

/// A resolved instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Header(u8),
    Stack(u8),
}

/// The names of all places; needed only while a pipeline is lowered.
#[derive(Debug)]
pub(crate) struct Names<'p> {
    types: BTreeMap<&'p str, &'p ir::HeaderType>,
    instances: BTreeMap<&'p str, (Place, &'p str)>,
    meta: BTreeMap<&'p str, (Slot, u16)>,
    std: BTreeMap<&'static str, (Slot, u16)>,
    pub(crate) layout: Layout,
}

impl<'p> Names<'p> {
    /// Lays everything out.
    pub(crate) fn new(pipeline: &'p ir::Pipeline, errors: &mut Errors) -> Self {
        let mut types = BTreeMap::new();
        for header in &pipeline.headers {
            check_type(header, errors);
            if types.insert(header.name.as_str(), header).is_some() {
                errors.push(format!("header type {}", header.name), "is declared twice");
            }
        }
        let mut headers = Vec::new();
        let mut stacks = Vec::new();
        let mut instances = BTreeMap::new();
        let mut at = 0;
        for instance in &pipeline.instances {
            let object = || format!("instance {}", instance.name);
            if matches!(instance.name.as_str(), "meta" | "std") {
                errors.push(object(), "has a reserved name");
            }
            let Some(header) = types.get(instance.header.as_str()) else {
                errors.push(
                    object(),
                    format!("there is no header type {}", instance.header),
                );
                continue;
            };
            let first = headers.len();
            let fixed = header
                .fields
                .iter()
                .map(|field| usize::from(field.bits))
                .sum::<usize>()
                / 8;
            let max_var = usize::from(header.max_varbytes);
            let count = instance.stack.map_or(1, usize::from);
            if count == 0 {
                errors.push(object(), "is a stack of no elements");
            }
            for _ in 0..count {
                headers.push(Header { at, fixed, max_var });
                at += fixed + max_var;
            }
            if headers.len() > MAX_HEADERS || stacks.len() >= MAX_STACKS {
                errors.push(object(), "is one too many: 128 headers, 16 stacks at most");
                break;
            }
            let place = if instance.stack.is_some() {
                stacks.push(Stack {
                    first,
                    count,
                    stride: fixed + max_var,
                });
                Place::Stack((stacks.len() - 1) as u8)
            } else {
                Place::Header(first as u8)
            };
            let named = (place, instance.header.as_str());
            if instances.insert(instance.name.as_str(), named).is_some() {
                errors.push(object(), "is declared twice");
            }
        }
        let mut place = |bits: u16| {
            // Each begins at a byte, so that most are read by one aligned load.
            let slot = Slot::new(at * 8, bits.clamp(1, 128));
            at += usize::from(bits).div_ceil(8);
            (slot, bits)
        };
        let mut meta = BTreeMap::new();
        for field in &pipeline.metadata {
            let object = || format!("metadata {}", field.name);
            if !(1..=128).contains(&field.bits) {
                errors.push(object(), "must have 1 to 128 bits");
            }
            if meta
                .insert(field.name.as_str(), place(field.bits))
                .is_some()
            {
                errors.push(object(), "is declared twice");
            }
        }
        let mut std = BTreeMap::new();
        let mut define = |name: &'static str, bits| {
            let (slot, bits) = place(bits);
            std.insert(name, (slot, bits));
            slot
        };
        let fields = StdFields {
            in_port: define("in_port", 32),
            egress_port: define("egress_port", 32),
            instance: define("instance", 16),
            packet_length: define("packet_length", 32),
            wire_length: define("wire_length", 32),
            l3: define("l3", 1),
            egress_l3: define("egress_l3", 1),
            quoted_length: define("quoted_length", 16),
        };
        let layout = Layout {
            headers,
            stacks,
            std: fields,
            size: at + PAD,
        };
        Self {
            types,
            instances,
            meta,
            std,
            layout,
        }
    }

    /// An instance, a stack or a stack's element.
    pub(crate) fn place(&self, name: &str) -> Result<Place, String> {
        if let Some((base, index)) = element(name) {
            let (place, _) = self.instance(base)?;
            let Place::Stack(stack) = place else {
                return Err(format!("{base} is not a stack"));
            };
            let stack = self.layout.stacks[usize::from(stack)];
            if index >= stack.count {
                return Err(format!("{base} has {} elements only", stack.count));
            }
            return Ok(Place::Header((stack.first + index) as u8));
        }
        Ok(self.instance(name)?.0)
    }

    /// One header: an instance or a stack's element.
    pub(crate) fn header(&self, name: &str) -> Result<u8, String> {
        match self.place(name)? {
            Place::Header(header) => Ok(header),
            Place::Stack(_) => Err(format!("{name} is a stack; name one element, {name}[0]")),
        }
    }

    /// A stack.
    pub(crate) fn stack(&self, name: &str) -> Result<u8, String> {
        match self.place(name)? {
            Place::Stack(stack) => Ok(stack),
            Place::Header(_) => Err(format!("{name} is not a stack")),
        }
    }

    /// The headers of an instance or stack, as a set.
    pub(crate) fn headers(&self, name: &str) -> Result<u128, String> {
        Ok(match self.place(name)? {
            Place::Header(header) => 1 << header,
            Place::Stack(stack) => self.layout.stacks[usize::from(stack)].set(),
        })
    }

    /// A field.
    pub(crate) fn field(&self, name: &str) -> Result<Field, String> {
        let Some((base, field)) = name.rsplit_once('.') else {
            return Err(format!("{name} is not of the form instance.field"));
        };
        let simple = match base {
            "meta" => self.meta.get(field).map(|&found| (found, Home::Meta)),
            "std" => self.std.get(field).map(|&found| (found, Home::Std)),
            _ => return self.header_field(base, field),
        };
        let ((slot, bits), home) = simple.ok_or_else(|| format!("there is no field {name}"))?;
        Ok(Field {
            slot,
            bits,
            home,
            offset: 0,
        })
    }

    fn header_field(&self, base: &str, field: &str) -> Result<Field, String> {
        let (header, home, type_name) = if let Some(stack_name) = base.strip_suffix(".last") {
            let (place, type_name) = self.instance(stack_name)?;
            let Place::Stack(stack) = place else {
                return Err(format!("{stack_name} is not a stack"));
            };
            let first = self.layout.stacks[usize::from(stack)].first;
            (first, Home::Last(stack), type_name)
        } else {
            let header = self.header(base)?;
            let instance = element(base).map_or(base, |(stack, _)| stack);
            let (_, type_name) = self.instance(instance)?;
            (usize::from(header), Home::Header(header), type_name)
        };
        let mut offset = 0;
        for candidate in &self.types[type_name].fields {
            if candidate.name == field {
                let start = self.layout.headers[header].at * 8 + offset;
                return Ok(Field {
                    slot: Slot::new(start, candidate.bits.clamp(1, 128)),
                    bits: candidate.bits,
                    home,
                    offset,
                });
            }
            offset += usize::from(candidate.bits);
        }
        Err(format!("header type {type_name} has no field {field}"))
    }

    fn instance(&self, name: &str) -> Result<(Place, &'p str), String> {
        self.instances
            .get(name)
            .copied()
            .ok_or_else(|| format!("there is no instance {name}"))
    }
}

impl Stack {
    /// Its elements as a set of headers.
    pub(crate) fn set(&self) -> u128 {
        crate::bits::max_value(self.count as u16) << self.first
    }
}

/// `stack[i]` as stack and index.
fn element(name: &str) -> Option<(&str, usize)> {
    let (base, index) = name.strip_suffix(']')?.split_once('[')?;
    Some((base, index.parse().ok()?))
}

fn check_type(header: &ir::HeaderType, errors: &mut Errors) {
    let object = || format!("header type {}", header.name);
    let mut bits = 0;
    let mut names = std::collections::BTreeSet::new();
    for field in &header.fields {
        if !(1..=128).contains(&field.bits) {
            errors.push(
                object(),
                format!("field {} must have 1 to 128 bits", field.name),
            );
        }
        if !names.insert(&field.name) {
            errors.push(object(), format!("field {} is declared twice", field.name));
        }
        bits += usize::from(field.bits);
    }
    if bits == 0 || bits % 8 != 0 {
        errors.push(
            object(),
            format!("has {bits} bits: a header is one or more whole bytes"),
        );
    }
    if bits / 8 + usize::from(header.max_varbytes) > crate::packet::HEAD_DATA {
        errors.push(object(), "is longer than a packet's head");
    }
}
