//! What is wrong with a document, precisely: where, which rule, and what would be right.
//!
//! One mistake is one [`FieldError`], whatever carried the document: the answer 422 lists them as `errors`, and a file's
//! loader turns the pointer into a line and a column.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One mistake in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{pointer}: {detail}")]
pub struct FieldError {
    /// Where: a JSON pointer into the document (RFC 6901), empty for the whole of it.
    pub pointer: String,
    /// Which rule was broken.
    pub code: Code,
    /// The same in one sentence for people.
    pub detail: String,
    /// What was probably meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub did_you_mean: Option<String>,
    /// Everything that would be right here, where that is a short list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

impl FieldError {
    /// A mistake without suggestion.
    pub fn new(pointer: impl Into<String>, code: Code, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
            did_you_mean: None,
            allowed: Vec::new(),
        }
    }

    /// Adds the list of what is right, and from it what `given` was probably meant to be.
    #[must_use]
    pub fn with_allowed<S: Into<String>>(
        mut self,
        given: &str,
        allowed: impl IntoIterator<Item = S>,
    ) -> Self {
        self.allowed = allowed.into_iter().map(Into::into).collect();
        self.did_you_mean = closest(given, self.allowed.iter().map(String::as_str));
        self
    }

    /// Adds what was probably meant.
    #[must_use]
    pub fn with_suggestion(mut self, suggestion: impl Into<String>) -> Self {
        self.did_you_mean = Some(suggestion.into());
        self
    }

    /// The same mistake in a document that holds this one at `prefix` (a pointer).
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

/// Appends one token to a JSON pointer, escaped (RFC 6901 §3).
pub fn pointer_to(parent: &str, token: impl fmt::Display) -> String {
    let token = token.to_string().replace('~', "~0").replace('/', "~1");
    format!("{parent}/{token}")
}

/// The candidate that is most like `given`, where one is like it at all.
pub fn closest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = given.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let score = similarity(&lower, &candidate.to_lowercase());
        if score >= LIKE && best.is_none_or(|(top, _)| score > top) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_owned())
}

/// Least likeness of a suggestion.
const LIKE: f64 = 0.6;

/// Likeness from 0 to 1. Words in another order, or one that is missing (`ip_dst` for `ipv4_dst`), stay alike.
fn similarity(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b).max(strsim::sorensen_dice(a, b) * 0.95)
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The rules that a document can break. The text form is part of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    /// No such key, field or parameter.
    UnknownField,
    /// A key that must be there is not.
    MissingField,
    /// A value of another JSON or YAML type.
    WrongType,
    /// A text that cannot be read as what belongs here.
    WrongFormat,
    /// A number, or a length, outside its bounds.
    OutOfRange,
    /// A value that has more bits than the field.
    TooWide,
    /// A quantity without a unit.
    MissingUnit,
    /// A value that is none of the words that are known here.
    UnknownValue,
    /// The same thing twice.
    Duplicate,
    /// Two things that exclude each other.
    Conflict,
    /// A name that does not follow the rule for names.
    InvalidName,
    /// No such action.
    UnknownAction,
    /// Actions that the pipeline cannot do together, or in this order.
    ImpossibleActionList,
    /// Match fields of which one excludes another.
    ImpossibleMatch,
    /// No such port on the switch.
    NoSuchPort,
    /// No such switch.
    NoSuchSwitch,
    /// No such node.
    NoSuchNode,
    /// No such link.
    NoSuchLink,
    /// No such thing of another kind.
    NoSuchReference,
    /// Known, and not supported yet.
    NotSupported,
    /// The document is too large, too deep, or not text.
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_finds_the_usual_slips() {
        let fields = ["in_port", "eth_type", "ipv4_src", "ipv4_dst", "tcp_dst"];
        for (given, meant) in [
            ("ip_dst", "ipv4_dst"),
            ("ipv4-dst", "ipv4_dst"),
            ("inport", "in_port"),
            ("IPV4_SRC", "ipv4_src"),
            ("tcp_dest", "tcp_dst"),
        ] {
            assert_eq!(closest(given, fields).as_deref(), Some(meant), "{given}");
        }
        assert_eq!(closest("colour", fields), None);
    }

    #[test]
    fn pointer_tokens_are_escaped() {
        assert_eq!(pointer_to("/links", "a/b~c"), "/links/a~1b~0c");
    }

    #[test]
    fn json_form_is_that_of_the_contract() {
        let error = FieldError::new("/match/ip_dst", Code::UnknownField, "no such match field")
            .with_allowed("ip_dst", ["ipv4_dst", "ipv4_src"]);
        assert_eq!(
            serde_json::to_value(error).unwrap(),
            serde_json::json!({
                "pointer": "/match/ip_dst",
                "code": "unknown-field",
                "detail": "no such match field",
                "didYouMean": "ipv4_dst",
                "allowed": ["ipv4_dst", "ipv4_src"],
            })
        );
    }
}
