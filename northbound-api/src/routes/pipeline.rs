//! What a switch can match and do.

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;

use super::Answer;
use crate::problem::ProblemDocument;
use crate::request::Call;
use crate::view::Pipeline;

/// Tables, fields and actions of a switch's pipeline, with the JSON Schema of each table's entries.
#[utoipa::path(
    get, path = "/v1/switches/{switch}/pipeline", tag = "switches", params(("switch" = String, Path)),
    responses(
        (status = 200, description = "The pipeline.", body = Pipeline),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(call: Call, Path(switch): Path<String>) -> Answer {
    call.params(&[])?;
    let schema = call.handle.pipeline(&switch)?;
    Ok(Json(Pipeline::from(&*schema)).into_response())
}
