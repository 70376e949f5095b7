//! The whole graph.

use axum::Json;
use axum::response::IntoResponse;

use super::Answer;
use crate::problem::ProblemDocument;
use crate::request::Call;
use crate::view::Topology;

/// Nodes and links.
#[utoipa::path(
    get, path = "/v1/topology", tag = "topology",
    responses(
        (status = 200, description = "Nodes and links by name.", body = Topology),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn topology(call: Call) -> Answer {
    call.params(&[])?;
    Ok(Json(Topology::from(call.handle.topology())).into_response())
}
