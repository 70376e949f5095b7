//! Why packets end: the architecture's reasons, then those that the pipeline names.

use std::fmt;
use std::sync::Arc;

use crate::counters::REASONS;

/// A reason of a drop, an index into [`crate::program::Program::drop_reasons`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DropReason(pub u16);

macro_rules! reasons {
    ($($(#[$doc:meta])* $constant:ident = $index:literal, $name:literal;)*) => {
        impl DropReason {
            $($(#[$doc])* pub const $constant: Self = Self($index);)*

            /// Names of the reasons that every pipeline has, in order.
            pub const FIXED: &[&str] = &[$($name),*];
        }
    };
}

reasons! {
    /// A header was longer than the packet.
    TRUNCATED = 0, "truncated";
    /// The virtio-net header does not fit the bytes.
    BAD_OFFLOAD_HEADER = 1, "bad-offload-header";
    /// The parser ended in `reject`, or ran over a stack's end.
    PARSER_REJECT = 2, "parser-reject";
    /// Headers grew beyond the headroom, or the packet beyond 64 KiB.
    OVERSIZE = 3, "oversize";
    /// The pipeline decided nothing.
    NO_VERDICT = 4, "no-verdict";
    /// The egress port does not exist.
    NO_SUCH_PORT = 5, "no-such-port";
    /// The egress port is down.
    PORT_DOWN = 6, "port-down";
    /// The IP packet is larger than the egress port's MTU.
    MTU = 7, "mtu";
    /// The packet crossed too many switches of one process.
    HOP_LIMIT = 8, "hop-limit";
    /// The packet became too many copies.
    COPY_LIMIT = 9, "copy-limit";
    /// A group without a member that is up, or a flood without another port.
    EMPTY_GROUP = 10, "empty-group";
    /// The switch has no pipeline yet.
    NO_PIPELINE = 11, "no-pipeline";
    /// The egress port's device took the packet not: it is down, full or gone.
    DEVICE_REFUSED = 12, "device-refused";
    /// A copy for the controller found no primary, or one that reads too slowly.
    NO_CONTROLLER = 13, "no-controller";
}

/// What each drop counter of a switch's ports counts, for as long as the switch exists: the reasons of a new pipeline
/// get counters of their own, and those of the pipelines before keep theirs.
#[derive(Debug)]
pub(crate) struct DropNames(Vec<String>);

impl DropNames {
    /// The name of the last counter, which is for all reasons that have none of their own.
    const OTHER: &str = "other";

    /// The counter of each of a program's reasons.
    pub(crate) fn slots(&mut self, reasons: &[String]) -> Arc<[u16]> {
        reasons.iter().map(|reason| self.slot(reason)).collect()
    }

    fn slot(&mut self, reason: &str) -> u16 {
        let slot = match self.0.iter().position(|known| known == reason) {
            Some(slot) => slot,
            None if self.0.len() < REASONS - 1 => {
                self.0.push(reason.to_owned());
                self.0.len() - 1
            }
            None => REASONS - 1,
        };
        u16::try_from(slot).unwrap_or(u16::MAX)
    }

    /// What a counter counts.
    pub(crate) fn name(&self, slot: u16) -> &str {
        (self.0.get(usize::from(slot))).map_or(Self::OTHER, String::as_str)
    }
}

impl Default for DropNames {
    /// The reasons that every pipeline has.
    fn default() -> Self {
        Self(DropReason::FIXED.iter().map(ToString::to_string).collect())
    }
}

impl fmt::Display for DropReason {
    /// The name of a fixed reason; a pipeline's own reasons print as `pipeline-drop-N`, since their names are the program's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::FIXED.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "pipeline-drop-{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(own: &[&str]) -> Vec<String> {
        DropReason::FIXED
            .iter()
            .chain(own)
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn reasons_keep_their_counters_over_pipelines() {
        let mut known = DropNames::default();
        let first = known.slots(&names(&["denied", "odd"]));
        let second = known.slots(&names(&["new", "denied"]));
        let fixed = DropReason::FIXED.len();
        assert_eq!(first[..fixed], second[..fixed]);
        assert_eq!(
            first[fixed],
            second[fixed + 1],
            "the same name, the same counter"
        );
        assert!(
            !first.contains(&second[fixed]),
            "another name, another counter"
        );
        assert_eq!(known.name(first[fixed + 1]), "odd");
        assert_eq!(known.slots(&names(&["denied", "odd"])), first);
    }

    #[test]
    fn reasons_beyond_the_counters_share_the_last() {
        let mut known = DropNames::default();
        let many: Vec<String> = (0..200).map(|n| format!("r{n}")).collect();
        let slots = known.slots(&many);
        assert_eq!(usize::from(slots[199]), REASONS - 1);
        assert_eq!(known.name(slots[199]), "other");
        assert_eq!(known.name(slots[0]), "r0");
    }
}
