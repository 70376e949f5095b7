//! Why packets end: the architecture's reasons, then those that the pipeline names.

use std::fmt;

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

impl fmt::Display for DropReason {
    /// The name of a fixed reason; a pipeline's own reasons print as `pipeline-drop-N`, since their names are the program's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::FIXED.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "pipeline-drop-{}", self.0),
        }
    }
}
