//! Whether the controller runs, and whether it has done its first work.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::request::Call;

/// Health.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `starting`.
    status: &'static str,
}

/// The controller answers.
#[utoipa::path(
    get, path = "/v1/health/live", tag = "health", security(()),
    responses((status = 200, description = "It runs.", body = Health))
)]
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Every switch has been brought to its desired state and every link was reported. `Prefer: wait=5` waits for it.
#[utoipa::path(
    get, path = "/v1/health/ready", tag = "health", security(()),
    params(("Prefer" = Option<String>, Header, description = "`wait=SECONDS`")),
    responses(
        (status = 200, description = "It is ready.", body = Health),
        (status = 503, description = "Not yet.", body = Health),
    )
)]
pub(crate) async fn ready(call: Call) -> Response {
    let mut ready = call.handle.ready();
    if let Some(patience) = call.wait() {
        // Whether it came in time is read below.
        let _ = tokio::time::timeout(patience, ready.wait_for(|ready| *ready)).await;
    }
    let is_ready = *ready.borrow();
    let (code, status) = if is_ready {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    };
    (code, Json(Health { status })).into_response()
}
