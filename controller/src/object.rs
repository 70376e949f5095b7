//! What the store holds: keys and documents.

use serde::{Deserialize, Serialize};

use crate::quantity::BitsPerSec;
use crate::spec::{ImpairSpec, LinkState};

/// Declared states of links.
pub(crate) const LINKS: &str = "/links/";
/// Declared pipelines of switches.
pub(crate) const PIPELINES: &str = "/pipelines/";
/// The identity of this store, made when it was new.
pub(crate) const CLUSTER: &str = "/controller/cluster";

/// A declared object with its owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document<T> {
    /// Who made it.
    pub(crate) owner: String,
    /// The resource that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) set: Option<String>,
    /// What it goes by on its switch, where it has a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<u32>,
    /// What was declared.
    pub(crate) spec: T,
}

/// What is declared of a link while it runs; what is left out is as the file says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LinkDeclaration {
    /// Whether it shall carry packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<LinkState>,
    /// Its cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<u32>,
    /// Risks that it shares with other links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) srlgs: Option<Vec<String>>,
    /// Its capacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capacity: Option<BitsPerSec>,
    /// Impairments of both directions; one that says nothing takes the file's away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) impair: Option<ImpairSpec>,
}

/// The stored form of a document.
pub(crate) fn encode(document: &impl Serialize) -> bytes::Bytes {
    serde_json::to_vec(document)
        .expect("documents have text keys and no failing serializer")
        .into()
}

/// The key of a link's declared state.
pub(crate) fn link_key(link: &str) -> String {
    format!("{LINKS}{link}")
}

/// The key of a switch's declared pipeline.
pub(crate) fn pipeline_key(switch: &str) -> String {
    format!("{PIPELINES}{switch}")
}

/// What [`is_name`] wants, for messages.
pub const NAME_RULE: &str =
    "a name has 1 to 253 characters of A-Z a-z 0-9 . _ -, and is not . or ..";

/// Whether a text may name an object: 1 to 253 characters of `[A-Za-z0-9._-]`, not `.` or `..`.
pub fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=253).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "web-in", "A_b.c", "...", &"x".repeat(253)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(254)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
