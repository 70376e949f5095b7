//! Why writes are refused.

/// Why a write was refused; [`Self::code`] is P4Runtime's canonical code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// INSERT of what is there.
    #[error("{what} exists already")]
    AlreadyExists {
        /// The object.
        what: String,
    },
    /// MODIFY or DELETE of what is not there.
    #[error("{what} does not exist")]
    NotFound {
        /// The object.
        what: String,
    },
    /// There is no room.
    #[error("{what} is full: it holds {size}")]
    Full {
        /// The table, profile or group.
        what: String,
        /// Its size.
        size: usize,
    },
    /// What others refer to cannot go.
    #[error("{what} is in use by {by}")]
    InUse {
        /// The object.
        what: String,
        /// Who refers to it.
        by: String,
    },
    /// The program does not allow a change.
    #[error("{what} is constant")]
    Constant {
        /// The object.
        what: String,
    },
    /// The request makes no sense for this program.
    #[error("{what}: {problem}")]
    Invalid {
        /// The object.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// An array has no such cell.
    #[error("{what} has {size} cells, and none with index {index}")]
    NoCell {
        /// The array.
        what: String,
        /// The index.
        index: usize,
        /// Its size.
        size: usize,
    },
    /// A value does not fit its field.
    #[error("{what}: value {value:#x} is wider than {bits} bits")]
    TooWide {
        /// The field.
        what: String,
        /// The value.
        value: u128,
        /// The field's width.
        bits: u16,
    },
}

impl WriteError {
    /// The canonical code (P4Runtime §9.1, §12.3).
    pub fn code(&self) -> tonic::Code {
        match self {
            Self::AlreadyExists { .. } => tonic::Code::AlreadyExists,
            Self::NotFound { .. } => tonic::Code::NotFound,
            Self::InUse { .. } => tonic::Code::FailedPrecondition,
            Self::Full { .. } => tonic::Code::ResourceExhausted,
            Self::Constant { .. } => tonic::Code::PermissionDenied,
            Self::Invalid { .. } => tonic::Code::InvalidArgument,
            Self::TooWide { .. } | Self::NoCell { .. } => tonic::Code::OutOfRange,
        }
    }
}
