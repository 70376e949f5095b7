//! The description of the API itself.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;

use crate::app::openapi_json;

/// This document.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object))
)]
pub(crate) async fn document() -> impl IntoResponse {
    // Few ask for it, so it is made when somebody does.
    static DOCUMENT: LazyLock<String> = LazyLock::new(openapi_json);
    (
        [(header::CONTENT_TYPE, "application/json")],
        DOCUMENT.as_str(),
    )
}
