//! Errors of writes on the wire: one answer for each update of a batch (P4Runtime §12.3).
//!
//! The status of a call whose updates failed is `UNKNOWN`, and its details hold a `google.rpc.Status` with one
//! `p4.v1.Error` for each update, in order, those that succeeded included.

use prost::Message as _;
use tonic::{Code, Status};

use crate::codec::{EntryError, GroupError, MetadataError};
use crate::{google, p4};

/// Why one update failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UpdateError {
    /// The canonical code.
    pub code: Code,
    /// A short sentence; many of them must fit into one trailer.
    pub message: String,
}

impl UpdateError {
    /// An error with this code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<EntryError> for UpdateError {
    fn from(error: EntryError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<GroupError> for UpdateError {
    fn from(error: GroupError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<MetadataError> for UpdateError {
    fn from(error: MetadataError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<UpdateError> for Status {
    fn from(error: UpdateError) -> Self {
        Self::new(error.code, error.message)
    }
}

/// The status of a call of which at least one update failed.
pub fn batch_error(results: &[Result<(), UpdateError>]) -> Status {
    error_of("updates", results)
}

/// The status of a read of which at least one request failed; what the others asked for has been answered before it
/// (P4Runtime §13.3).
pub fn read_error(results: &[Result<(), UpdateError>]) -> Status {
    error_of("requests", results)
}

fn error_of(what: &str, results: &[Result<(), UpdateError>]) -> Status {
    let failed = results.iter().filter(|result| result.is_err()).count();
    let message = format!("{failed} of {} {what} failed", results.len());
    let details = results.iter().map(|result| {
        let error = match result {
            Ok(()) => p4::v1::Error::default(),
            Err(error) => p4::v1::Error {
                canonical_code: error.code.into(),
                message: shorten(&error.message).to_owned(),
                ..p4::v1::Error::default()
            },
        };
        prost_types::Any {
            type_url: ERROR_TYPE.to_owned(),
            value: error.encode_to_vec(),
        }
    });
    let status = google::rpc::Status {
        code: Code::Unknown.into(),
        message: message.clone(),
        details: details.collect(),
    };
    Status::with_details(Code::Unknown, message, status.encode_to_vec().into())
}

/// The reverse of [`batch_error`] and [`read_error`]; `None` for the status of a call that failed as a whole.
pub fn parse_batch_error(status: &Status) -> Option<Vec<p4::v1::Error>> {
    if status.code() != Code::Unknown || status.details().is_empty() {
        return None;
    }
    let details = google::rpc::Status::decode(status.details()).ok()?.details;
    details
        .iter()
        .map(|any| match any.type_url.rsplit_once('/') {
            Some((_, ERROR_NAME)) => p4::v1::Error::decode(any.value.as_slice()).ok(),
            _ => None,
        })
        .collect()
}

fn shorten(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE)]
}

const ERROR_NAME: &str = "p4.v1.Error";
const ERROR_TYPE: &str = "type.googleapis.com/p4.v1.Error";

/// Bytes of one update's message.
const MAX_MESSAGE: usize = 160;
