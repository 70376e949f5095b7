//! Reading documents: from YAML files and JSON bodies to specs, with every mistake at its place.
//!
//! A reader that stops at the first mistake makes people run it once for each. So a document first becomes a [`Tree`]; the
//! spec is read from that, and each time this fails the offending part is noted, taken out, and the rest is read again.
//! What remains is expanded too, so that a dangling reference is reported beside a misspelt key. What follows from a part
//! that was taken out is not reported.

mod report;
mod shape;
mod tree;

use serde::de::DeserializeOwned;

pub use self::report::{LoadErrors, Located};
pub use self::tree::Span;

use self::shape::ShapeError;
use self::tree::{Step, Tree, Value};
use crate::expand;
use crate::model::Model;
use crate::problem::{Code, FieldError};
use crate::spec::Document;

/// Largest topology file, in bytes.
pub const MAX_FILE: usize = 4 << 20;

/// Most mistakes reported at once.
const MAX_ERRORS: usize = 20;

/// Most parts taken out of one document, maps with ignored `x-` keys included; and most values that are read again for it.
const MAX_ROUNDS: usize = 1_000;
const MAX_WORK: usize = 20_000_000;

/// Reads a topology file's document. References in it are not checked: see [`model`].
///
/// # Errors
///
/// Every mistake in the file's form.
pub fn load(text: &str, file: &str) -> Result<Document, LoadErrors> {
    let (_, document, errors) = read(text.as_bytes(), file)?;
    match document {
        Some(document) if errors.is_empty() => Ok(document),
        _ => Err(errors),
    }
}

/// Reads a topology file and expands it; `name` replaces the lab's name.
///
/// # Errors
///
/// Every mistake in form and meaning that can be told apart from the ones before it.
pub fn model(bytes: &[u8], file: &str, name: Option<&str>) -> Result<Model, LoadErrors> {
    let (tree, document, mut errors) = read(bytes, file)?;
    let Some(mut document) = document else {
        return Err(errors);
    };
    if let Some(name) = name {
        document.name = Some(name.to_owned());
    }
    let damaged: Vec<String> = errors
        .iter()
        .filter(|located| match located.error.code {
            Code::UnknownField => false,
            // A whole section leaves no hole in another.
            Code::NotSupported => located.error.pointer.matches('/').count() > 1,
            _ => true,
        })
        .map(|located| located.error.pointer.clone())
        .collect();
    match expand::expand(&document) {
        Ok(mut model) if errors.is_empty() => {
            let nodes = tree.lines_below("/topology/nodes");
            let line = |pointer: &str| nodes.get(pointer).copied();
            let line = |pointer: &str| line(pointer).or_else(|| tree.line(pointer));
            model.origins.locate(file, line);
            Ok(model)
        }
        Ok(_) => Err(errors),
        Err(found) => {
            for error in found {
                if !damaged
                    .iter()
                    .any(|pointer| is_related(pointer, &error.pointer))
                {
                    errors.add(&tree, error);
                }
            }
            Err(errors)
        }
    }
}

/// A complaint about a file that was read before, with its place and an excerpt: `FILE:LINE:COLUMN: …`.
pub fn placed(text: &str, file: &str, error: FieldError) -> String {
    let Ok(tree) = Tree::from_yaml(text) else {
        return format!("{file}: {}", error.detail);
    };
    let mut errors = LoadErrors::new(file, text);
    errors.add(&tree, error);
    let said = errors.to_string();
    said.trim_start_matches("error: ").trim_end().to_owned()
}

/// Says where in a file mistakes are that somebody else found in it.
///
/// # Errors
///
/// The file cannot be read at all.
pub fn locate(text: &str, file: &str, found: Vec<FieldError>) -> Result<LoadErrors, LoadErrors> {
    let (tree, _, _) = read(text.as_bytes(), file)?;
    let mut errors = LoadErrors::new(file, text);
    for error in found {
        errors.add(&tree, error);
    }
    Ok(errors)
}

/// Reads a spec from a JSON body.
///
/// # Errors
///
/// Every mistake in the body's form.
pub fn from_json<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Vec<FieldError>> {
    let mut tree = Tree::from(value);
    let (spec, errors) = shape(&mut tree, Extensions::Refuse);
    match spec {
        Some(spec) if errors.is_empty() => Ok(spec),
        _ => Err(errors),
    }
}

/// What happens to keys that begin with `x-`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extensions {
    Ignore,
    Refuse,
}

type Read = (Tree, Option<Document>, LoadErrors);

fn read(bytes: &[u8], file: &str) -> Result<Read, LoadErrors> {
    if bytes.len() > MAX_FILE {
        // The caller may have stopped reading there.
        let detail = format!("the file has more than the {MAX_FILE} bytes that are read");
        return Err(LoadErrors::whole(file, "", None, Code::Malformed, detail));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (good, _) = bytes.split_at(error.valid_up_to());
        let line = good.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let column = good.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
        let detail = format!(
            "the file is not UTF-8 text: byte 0x{:02x}",
            bytes[error.valid_up_to()]
        );
        LoadErrors::whole(
            file,
            "",
            Some(Span {
                line,
                column,
                len: 1,
            }),
            Code::Malformed,
            detail,
        )
    })?;
    let original = Tree::from_yaml(text).map_err(|error| {
        let at = error.location().and_then(tree::span);
        LoadErrors::whole(
            file,
            text,
            at,
            Code::Malformed,
            report::yaml_message(&error),
        )
    })?;
    let mut errors = LoadErrors::new(file, text);
    if original.value == Value::Null {
        errors.add(
            &original,
            FieldError::new("", Code::Malformed, "the file is empty"),
        );
        return Err(errors);
    }
    let mut tree = original.clone();
    if let Value::Map(entries) = &mut tree.value {
        entries.retain(|(key, _)| !key.text.starts_with("x-"));
    }
    let (document, found) = shape(&mut tree, Extensions::Ignore);
    for error in found {
        errors.add(&original, error);
    }
    let document = document.map(|mut document: Document| {
        document.name.get_or_insert_with(|| lab_name(file));
        document
    });
    Ok((original, document, errors))
}

/// The name of a lab whose file does not say it.
pub(crate) fn lab_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    let stem = base.split('.').next().unwrap_or(base);
    let name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect();
    if name.is_empty() {
        "lab".to_owned()
    } else {
        name
    }
}

/// Reads a spec, taking out of the tree what is wrong.
fn shape<T: DeserializeOwned>(
    tree: &mut Tree,
    extensions: Extensions,
) -> (Option<T>, Vec<FieldError>) {
    let mut errors: Vec<FieldError> = Vec::new();
    for _ in 0..MAX_ROUNDS.min(MAX_WORK / tree.size()) {
        let mut track = serde_path_to_error::Track::new();
        let error = match T::deserialize(serde_path_to_error::Deserializer::new(&*tree, &mut track))
        {
            Ok(spec) => return (Some(spec), errors),
            Err(error) => error,
        };
        let steps: Vec<Step> = track
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(Step::Nth(*index)),
                serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
                serde_path_to_error::Segment::Enum { .. }
                | serde_path_to_error::Segment::Unknown => None,
            })
            .collect();
        let is_extension = extensions == Extensions::Ignore
            && matches!(&error, ShapeError::Unknown { field, .. } if field.starts_with("x-"));
        if !is_extension {
            let found = field_error(tree.pointer(&steps), error);
            // A key that was taken out because of its value is not missing.
            if !errors.iter().any(|known| known.pointer == found.pointer) {
                errors.push(found);
            }
        }
        let taken = match is_extension {
            true => tree.take_out_extensions(&steps),
            false => errors.len() < MAX_ERRORS && tree.take_out(&steps),
        };
        if !taken {
            return (None, errors);
        }
    }
    let detail = "more maps have keys that begin with `x-` than are looked at";
    errors.push(FieldError::new("", Code::OutOfRange, detail));
    (None, errors)
}

fn field_error(pointer: String, error: ShapeError) -> FieldError {
    let detail = error.to_string();
    match error {
        ShapeError::Unknown { field, .. }
            if LATER.contains(&field.as_str())
                || (pointer.contains("/expect/") && LATER_EXPECT.contains(&field.as_str())) =>
        {
            FieldError::new(
                pointer,
                Code::NotSupported,
                format!("`{field}` is not supported yet"),
            )
        }
        ShapeError::Unknown { field, allowed } => {
            let meant = other_word(&field).filter(|word| allowed.iter().any(|name| name == word));
            let mut error =
                FieldError::new(pointer, Code::UnknownField, detail).with_allowed(&field, allowed);
            if let (None, Some(word)) = (&error.did_you_mean, meant) {
                error = error.with_suggestion(word);
            }
            error
        }
        ShapeError::Variant { found, allowed } => {
            FieldError::new(pointer, Code::UnknownValue, detail).with_allowed(&found, allowed)
        }
        ShapeError::Missing(field) => FieldError::new(
            crate::problem::pointer_to(&pointer, field),
            Code::MissingField,
            detail,
        ),
        ShapeError::Type { .. } => FieldError::new(pointer, Code::WrongType, detail),
        ShapeError::Other(message) if message.starts_with("invalid IP") => {
            let example = match message.as_str() {
                "invalid IPv6 address syntax" => "an IPv6 address, for example `2001:db8::1`",
                _ => "an IPv4 address, for example `10.0.0.1`",
            };
            FieldError::new(pointer, Code::WrongFormat, format!("expected {example}"))
        }
        ShapeError::Other(message) => {
            let code = if message.starts_with("missing unit") {
                Code::MissingUnit
            } else if message.contains("out of range") {
                Code::OutOfRange
            } else {
                Code::WrongFormat
            };
            FieldError::new(pointer, code, message)
        }
    }
}

/// Our word for what other tools call otherwise.
fn other_word(field: &str) -> Option<&'static str> {
    let words = [
        ("address", "ip"),
        ("ipv4", "ip"),
        ("gw", "gateway"),
        ("type", "kind"),
        ("switch", "attach"),
        ("latency", "delay"),
        ("bandwidth", "rate"),
        ("cost", "metric"),
        ("target", "to"),
        ("source", "from"),
        ("description", "name"),
    ];
    let known = crate::problem::closest(field, words.iter().map(|(word, _)| *word))?;
    words
        .iter()
        .find(|(word, _)| *word == known)
        .map(|(_, ours)| *ours)
}

/// Whether one pointer leads through the other.
fn is_related(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Keys that the file format has and this version does not.
const LATER: &[&str] = &[
    "virtualNetworks",
    "networkSecurityGroups",
    "networkSecurityGroup",
    "routeTables",
    "virtualNetworkPeerings",
    "virtualNetworkGateways",
    "connections",
    "expressRouteCircuits",
    "privateLinkServices",
    "privateEndpoints",
    "privateDnsZones",
    "loadBalancers",
    "natGateways",
    "relayNamespaces",
    "relayAgents",
    "sites",
    "segments",
    "principals",
    "tokenIssuers",
    "dnsResolvers",
    "api",
    "subnet",
    "publicIPAddress",
    "enableIPForwarding",
    "bgp",
    "aqm",
    "steps",
];

/// Keys under `expect` that the file format has and this version does not.
const LATER_EXPECT: &[&str] = &["delivered", "reordered", "duplicated", "jitter"];

#[cfg(test)]
mod tests;
