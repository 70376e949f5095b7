//! The handlers, one file for each resource.

pub(crate) mod apply;
pub(crate) mod diff;
pub(crate) mod health;
pub(crate) mod hosts;
pub(crate) mod links;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod packets;
pub(crate) mod paths;
pub(crate) mod pipeline;
pub(crate) mod resources;
pub(crate) mod switches;
pub(crate) mod topology;
pub(crate) mod traces;

use axum::response::Response;

use crate::problem::Problem;

/// What a handler gives.
pub(crate) type Answer = Result<Response, Problem>;
