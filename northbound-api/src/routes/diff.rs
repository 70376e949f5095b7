//! What a switch must hold against what it holds, and its repair.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use weft_controller::handle::HandleError;
use weft_controller::problem::{Code, FieldError};

use super::Answer;
use crate::problem::{Problem, ProblemDocument};
use crate::request::{Call, Params};
use crate::view::{DiffCounts, Names, Repair, SwitchDiff};

/// Most places in each list, and the number where none is asked for.
const MAX_PLACES: usize = 10_000;
const PLACES: usize = 1000;

/// How long a repair is waited for where the caller says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a switch must hold against what it holds now, read from the switch for this answer.
#[utoipa::path(
    get, path = "/v1/switches/{switch}/diff", tag = "switches",
    params(
        ("switch" = String, Path),
        ("limit" = Option<usize>, Query, description = "Most places in each list, 0 to 10000; 1000 where it is left out. The counts are of all."),
    ),
    responses(
        (status = 200, description = "The difference.", body = SwitchDiff),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The switch does not answer.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn diff(call: Call, Path(switch): Path<String>) -> Answer {
    let limit = limit(&call.params(&["limit"])?)?;
    let diff = call.handle.switch_diff(&switch).await?;
    let names = Names::of(&call.handle, &switch)?;
    Ok(Json(SwitchDiff::new(switch, diff, limit, &names)).into_response())
}

/// Reads a switch, compares, and repairs it now. Deletes that were held back happen too.
#[utoipa::path(
    post, path = "/v1/switches/{switch}/sync", tag = "switches",
    params(
        ("switch" = String, Path),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: how long to wait for the end; 10 where it is left out."),
    ),
    responses(
        (status = 200, description = "The switch holds what it must, as far as it takes it.", body = Repair),
        (status = 202, description = "The switch is away, or another client is its primary; it is repaired when that ends.", body = Repair),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn sync(call: Call, Path(switch): Path<String>) -> Answer {
    call.params(&[])?;
    let found = match call.handle.switch_diff(&switch).await {
        Ok(diff) => Some(DiffCounts::from(&diff)),
        Err(HandleError::SwitchUnavailable { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let is_ours = call.handle.switch(&switch)?.status.connected;
    // Nothing is repaired by waiting for a switch that somebody else has, unless the caller says so.
    let patience = if is_ours { PATIENCE } else { Duration::ZERO };
    let done = (call.handle)
        .sync(&switch, call.wait().unwrap_or(patience))
        .await?;
    let status = if done {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let repair = Repair {
        switch,
        revision: call.handle.revision().to_string(),
        done,
        found,
    };
    Ok((status, Json(repair)).into_response())
}

fn limit(params: &Params) -> Result<usize, Problem> {
    let Some(text) = params.get("limit") else {
        return Ok(PLACES);
    };
    match text.parse() {
        Ok(limit) if limit <= MAX_PLACES => Ok(limit),
        _ => Err(Problem::parameter(FieldError::new(
            "?limit",
            Code::OutOfRange,
            format!("limit is 0 to {MAX_PLACES}"),
        ))),
    }
}
