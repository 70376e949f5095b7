//! What a switch can match and do, and the program that users declare for it.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use weft_controller::handle::{
    DeletePipeline, HandleError, PipelineView, PutPipeline, WriteOutcome,
};
use weft_controller::pipeline::PipelineSpec;

use super::Answer;
use crate::problem::ProblemDocument;
use crate::request::{Call, Document, etag};
use crate::view::{DeclarePipeline, Pipeline};

/// Members of an answer that a request need not repeat.
const COMPUTED: [&str; 10] = [
    "name",
    "version",
    "tables",
    "actions",
    "actionProfiles",
    "packetIn",
    "packetOut",
    "declared",
    "owner",
    "status",
];

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
    let view = call.handle.pipeline_view(&switch)?;
    if let Some(declared) = &view.declared
        && call.has_already(declared.revision)
    {
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), &view));
    }
    let body = Json(Pipeline::from(&view)).into_response();
    Ok(tagged(body, &view))
}

/// Declares a switch's pipeline. The switch is asked first: where it refuses, the phase is `rejected` and it goes on as
/// it is. A switch with a declared pipeline is no part of the fabric, and no path leads over it.
#[utoipa::path(
    put, path = "/v1/switches/{switch}/pipeline", tag = "switches",
    params(
        ("switch" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Check only, store nothing."),
        ("force" = Option<bool>, Query, description = "Take over what another owner made."),
        ("If-Match" = Option<String>, Header, description = "Change only this revision."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: answer when the switch runs it, or refuses."),
    ),
    request_body = DeclarePipeline,
    responses(
        (status = 200, description = "It was declared before.", body = Pipeline),
        (status = 201, description = "It is new.", body = Pipeline),
        (status = 202, description = "The switch is away.", body = Pipeline),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(call: Call, Path(switch): Path<String>, document: Document) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    call.handle.switch(&switch)?;
    let document = document.without(&COMPUTED, &[("switch", &switch)])?;
    let spec: PipelineSpec = document.parse()?;
    let dry_run = context.dry_run;
    let request = PutPipeline {
        switch: switch.clone(),
        spec,
        context,
    };
    let (mut view, outcome) = call.handle.put_pipeline(request).await?;
    if dry_run {
        return Ok(Json(Pipeline::from(&view)).into_response());
    }
    let waited = wait(&call, &switch).await?;
    if !waited.is_empty() {
        view = call.handle.pipeline_view(&switch)?;
    }
    let connected = call.handle.switch(&switch)?.status.connected;
    let status = match outcome {
        _ if !connected => StatusCode::ACCEPTED,
        WriteOutcome::Created => StatusCode::CREATED,
        WriteOutcome::Updated | WriteOutcome::Unchanged => StatusCode::OK,
    };
    let mut response = (status, Json(Pipeline::from(&view))).into_response();
    response.headers_mut().extend(waited);
    Ok(tagged(response, &view))
}

/// Takes a declared pipeline back: the switch gets the built-in one, and is part of the fabric again.
#[utoipa::path(
    delete, path = "/v1/switches/{switch}/pipeline", tag = "switches",
    params(
        ("switch" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Check only, change nothing."),
        ("force" = Option<bool>, Query, description = "Take back what another owner made."),
        ("If-Match" = Option<String>, Header, description = "Take back only this revision."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: answer when the switch has followed."),
    ),
    responses(
        (status = 202, description = "It is gone; the switch is away."),
        (status = 204, description = "It is gone."),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(call: Call, Path(switch): Path<String>) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    let dry_run = context.dry_run;
    let request = DeletePipeline {
        switch: switch.clone(),
        context,
    };
    call.handle.delete_pipeline(request).await?;
    if dry_run {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let waited = wait(&call, &switch).await?;
    let connected = call.handle.switch(&switch)?.status.connected;
    let status = if connected {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::ACCEPTED
    };
    let mut response = status.into_response();
    response.headers_mut().extend(waited);
    Ok(response)
}

/// Waits as long as the request prefers; the header that says so, if it does.
async fn wait(call: &Call, switch: &str) -> Result<HeaderMap, HandleError> {
    let mut headers = HeaderMap::new();
    if let Some(patience) = call.wait() {
        call.handle.wait_pipeline(switch, patience).await?;
        let value = HeaderValue::from_str(&format!("wait={}", patience.as_secs()));
        if let Ok(value) = value {
            headers.insert(HeaderName::from_static("preference-applied"), value);
        }
    }
    Ok(headers)
}

fn tagged(mut response: Response, view: &PipelineView) -> Response {
    let revision = view.declared.as_ref().map(|declared| declared.revision);
    if let Some(tag) = revision.and_then(|revision| etag(revision).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
