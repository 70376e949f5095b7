//! The REST API of a controller.
//!
//! How a request walks:
//!
//! ```text
//!  socket ─► server ─► finish ─► auth ─► routes/… ─► Handle ─► view ─► JSON
//!                        ▲                  │ request, json, list: what was asked
//!                        └── problem ◄──────┴ anything that is wrong
//! ```
//!
//! 1. [`serve`] listens: TCP with a token, or a Unix socket without ([`Access`]).
//! 2. `finish` gives the request a trace id, a log line, and in the end a problem document (RFC 9457) for any error.
//! 3. A handler in `routes`, one file for each resource, parses what was asked: parameters, conditions and preferences by
//!    `request`, bodies strictly by `json`, pages and selectors by `list`.
//! 4. It makes one call on the controller's [`Handle`](weft_controller::handle::Handle), which decides everything.
//! 5. `view` says the answer in names instead of numbers.
//!
//! [`router`] holds the routes, and [`openapi_json`] the document that is made from the same routes; `describe` says there
//! once what every kind of resource has.

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
