//! How a command ends: exit status and what is said about it.
//!
//! 1 is kept for a network that is wrong and 2 for a file without tests, so everything else that goes wrong is 64 or
//! above, by the meanings of `sysexits.h`.

use std::process::ExitCode;

/// The caller asked for something that cannot be.
pub(crate) const USAGE: u8 = 64;
/// What was given does not fit.
pub(crate) const DATA: u8 = 65;
/// A file or an object does not exist.
pub(crate) const NO_INPUT: u8 = 66;
/// A lab or a controller is not there.
pub(crate) const UNAVAILABLE: u8 = 69;
/// It should have worked.
pub(crate) const SOFTWARE: u8 = 70;
/// The caller may not do that.
pub(crate) const NO_PERMISSION: u8 = 77;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
    /// The message is complete and was laid out; no prefix is put before it.
    is_laid_out: bool,
}

impl Failure {
    /// A failure with an exit status.
    pub(crate) fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
            is_laid_out: false,
        }
    }

    /// A failure told by a message.
    pub(crate) fn message(code: u8, message: impl Into<String>) -> Self {
        Self::new(code, anyhow::Error::msg(message.into()))
    }

    /// A failure whose text has its own layout.
    pub(crate) fn laid_out(code: u8, message: impl Into<String>) -> Self {
        Self {
            is_laid_out: true,
            ..Self::message(code, message)
        }
    }

    /// The exit status.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_laid_out {
            return write!(f, "{}", self.error);
        }
        write!(f, "error: {:#}", self.error)
    }
}

impl From<weft_lab::runtime_dir::RuntimeDirError> for Failure {
    fn from(error: weft_lab::runtime_dir::RuntimeDirError) -> Self {
        use weft_lab::runtime_dir::RuntimeDirError;
        let code = match &error {
            RuntimeDirError::Name(_) | RuntimeDirError::TooLong { .. } => USAGE,
            RuntimeDirError::Running(_) => UNAVAILABLE,
            RuntimeDirError::Io { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                NO_PERMISSION
            }
            RuntimeDirError::Foreign(_) => NO_PERMISSION,
            RuntimeDirError::Io { .. } => SOFTWARE,
        };
        Self::new(code, error)
    }
}

impl From<weft_lab::client::ClientError> for Failure {
    fn from(error: weft_lab::client::ClientError) -> Self {
        use weft_lab::client::ClientError;
        let code = match &error {
            ClientError::Url(_) | ClientError::Request(_) => USAGE,
            ClientError::Connect { .. } | ClientError::Broken(_) | ClientError::Timeout(_) => {
                UNAVAILABLE
            }
        };
        Self::new(code, error)
    }
}

impl From<weft_lab::plan::PlanError> for Failure {
    fn from(error: weft_lab::plan::PlanError) -> Self {
        use weft_lab::plan::PlanError;
        match &error {
            PlanError::Read { .. } => Self::new(NO_INPUT, error),
            PlanError::Content(errors) => Self::laid_out(DATA, errors.to_string()),
        }
    }
}

impl From<weft_lab::up::UpError> for Failure {
    fn from(error: weft_lab::up::UpError) -> Self {
        use weft_lab::up::UpError;
        match error {
            UpError::RuntimeDir(error) => error.into(),
            UpError::Spawn(_) | UpError::Failed(_) | UpError::Ended | UpError::Timeout => {
                Self::new(SOFTWARE, error)
            }
        }
    }
}

impl From<weft_lab::user_namespace::UserNamespaceError> for Failure {
    fn from(error: weft_lab::user_namespace::UserNamespaceError) -> Self {
        Self::new(NO_PERMISSION, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(SOFTWARE, error)
    }
}
