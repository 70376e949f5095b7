//! The REST API of a controller.
//!
//! A handler parses the request, makes one call on the controller's [`Handle`](weft_controller::handle::Handle), and
//! maps the answer. Every error leaves as a problem document (RFC 9457); the OpenAPI document is made from the same
//! routes that serve.

mod app;
mod auth;
mod describe;
mod finish;
mod json;
mod list;
mod payload;
mod problem;
mod request;
mod routes;
mod server;
mod view;

pub use app::{openapi_json, router};
pub use auth::Access;
pub use server::{ServeConfig, ServeError, serve};

#[cfg(test)]
mod tests;
