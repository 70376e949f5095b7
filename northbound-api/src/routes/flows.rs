//! Flows: one at a time under its switch, and all of them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weft_controller::flow::FlowSpec;
use weft_controller::handle::{
    DeleteAnswer, DeleteFlow, FlowFilter, HandleError, IfMatch, PutFlow, WriteContext, WriteOutcome,
};
use weft_controller::object::is_name;
use weft_controller::problem::{Code, FieldError};
use weft_controller::status::FlowView;
use weft_controller::store::Revision;

use super::Answer;
use crate::json;
use crate::list::{self, ListParams, Page};
use crate::problem::{Problem, ProblemDocument};
use crate::request::{Call, Document, Patch, etag};
use crate::view::{Diff, Flow, FlowBody, Names};

/// How often a merge patch is applied again because somebody else wrote in between.
const PATCH_ATTEMPTS: usize = 8;

/// Flows of all switches.
#[utoipa::path(
    get, path = "/v1/flows", tag = "flows",
    params(
        ListParams,
        ("switch" = Option<String>, Query, description = "Those of one switch."),
        ("owner" = Option<String>, Query, description = "Those of one owner."),
    ),
    responses(
        (status = 200, description = "One page, by switch and name.", body = Page<Flow>),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_all(call: Call) -> Answer {
    let mut known = list::PARAMS.to_vec();
    known.extend(["switch", "owner"]);
    let params = call.params(&known)?;
    let filter = FlowFilter {
        switch: params.get("switch").map(str::to_owned),
        owner: params.get("owner").map(str::to_owned),
        labels: BTreeMap::new(),
    };
    answer_list(&call, &params, &filter)
}

/// Flows of one switch.
#[utoipa::path(
    get, path = "/v1/switches/{switch}/flows", tag = "flows",
    params(("switch" = String, Path), ListParams, ("owner" = Option<String>, Query, description = "Those of one owner.")),
    responses(
        (status = 200, description = "One page, by name.", body = Page<Flow>),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(call: Call, Path(switch): Path<String>) -> Answer {
    let mut known = list::PARAMS.to_vec();
    known.push("owner");
    let params = call.params(&known)?;
    call.handle.switch(&switch)?;
    let filter = FlowFilter {
        switch: Some(switch),
        owner: params.get("owner").map(str::to_owned),
        labels: BTreeMap::new(),
    };
    answer_list(&call, &params, &filter)
}

fn answer_list(call: &Call, params: &crate::request::Params, filter: &FlowFilter) -> Answer {
    // Read before the list, so that watching from it misses nothing.
    let revision = call.handle.revision();
    let mut names = BTreeMap::new();
    let mut flows = Vec::new();
    for view in call.handle.flows(filter) {
        if !names.contains_key(&view.switch) {
            names.insert(view.switch.clone(), Names::of(&call.handle, &view.switch)?);
        }
        if let Some(names) = names.get(&view.switch) {
            flows.push(Flow::new(view, names));
        }
    }
    list::page(params, revision, flows)
}

/// One flow, with live counters.
#[utoipa::path(
    get, path = "/v1/switches/{switch}/flows/{flow}", tag = "flows",
    params(
        ("switch" = String, Path), ("flow" = String, Path),
        ("If-None-Match" = Option<String>, Header, description = "Answer 304 when it is at this revision."),
    ),
    responses(
        (status = 200, description = "The flow.", body = Flow),
        (status = 304, description = "It is at that revision."),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(call: Call, Path((switch, flow)): Path<(String, String)>) -> Answer {
    call.params(&[])?;
    let view = call.handle.flow_with_counters(&switch, &flow).await?;
    if call.has_already(view.revision) {
        return Ok(tagged(
            StatusCode::NOT_MODIFIED.into_response(),
            view.revision,
        ));
    }
    Ok(answer(&call, StatusCode::OK, view, None)?)
}

/// Declares a flow. Saying the same again changes nothing.
#[utoipa::path(
    put, path = "/v1/switches/{switch}/flows/{flow}", tag = "flows",
    params(
        ("switch" = String, Path), ("flow" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Validate, compile and compare only."),
        ("force" = Option<bool>, Query, description = "Take over what another owner made."),
        ("If-Match" = Option<String>, Header, description = "Change only this revision."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: until it is realized or rejected."),
        ("Weft-Manager" = Option<String>, Header, description = "The owner; the principal where it is left out."),
    ),
    request_body = FlowBody,
    responses(
        (status = 200, description = "Changed, or as it was.", body = Flow),
        (status = 201, description = "Created.", body = Flow),
        (status = 202, description = "Stored; the switch is away.", body = Flow),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    call: Call,
    Path((switch, flow)): Path<(String, String)>,
    document: Document,
) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    check_name(&flow)?;
    // An unknown switch is 404 before the content is looked at.
    call.handle.switch(&switch)?;
    let fixed = [("name", flow.as_str()), ("switch", switch.as_str())];
    let spec: FlowSpec = document.without(&Flow::READ_ONLY, &fixed)?.parse()?;
    write(&call, switch, flow, spec, context)
        .await
        .map_err(Problem::from)
}

/// Changes members of a flow (merge patch, RFC 7396); what the answer shows is what is patched.
#[utoipa::path(
    patch, path = "/v1/switches/{switch}/flows/{flow}", tag = "flows",
    params(
        ("switch" = String, Path), ("flow" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Validate, compile and compare only."),
        ("force" = Option<bool>, Query, description = "Take over what another owner made."),
        ("If-Match" = Option<String>, Header, description = "Change only this revision."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: until it is realized or rejected."),
        ("Weft-Manager" = Option<String>, Header, description = "The owner; the principal where it is left out."),
    ),
    request_body(content = FlowBody, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "Changed, or as it was.", body = Flow),
        (status = 202, description = "Stored; the switch is away.", body = Flow),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn patch(
    call: Call,
    Path((switch, flow)): Path<(String, String)>,
    Patch(change): Patch,
) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    for _ in 0..PATCH_ATTEMPTS {
        let current = call.handle.flow(&switch, &flow)?;
        let mut document = serde_json::to_value(&current.spec).unwrap_or(Value::Null);
        json::merge(&mut document, change.clone());
        let spec: FlowSpec = Document(document).parse()?;
        let mut guarded = context.clone();
        if guarded.if_match.is_none() {
            guarded.if_match = Some(IfMatch::OneOf(vec![current.revision]));
        }
        match write(&call, switch.clone(), flow.clone(), spec, guarded).await {
            Err(HandleError::PreconditionFailed { .. }) if context.if_match.is_none() => {}
            result => return result.map_err(Problem::from),
        }
    }
    Err(Problem::new(
        StatusCode::CONFLICT,
        "conflict",
        "The object contradicts another one",
        "others keep changing the flow; try again",
    ))
}

/// Takes a flow back.
#[utoipa::path(
    delete, path = "/v1/switches/{switch}/flows/{flow}", tag = "flows",
    params(
        ("switch" = String, Path), ("flow" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Compare only."),
        ("force" = Option<bool>, Query, description = "Even if another owner made it."),
        ("If-Match" = Option<String>, Header, description = "Only at this revision."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: until the switch does not forward by it."),
        ("Weft-Manager" = Option<String>, Header, description = "The owner; the principal where it is left out."),
    ),
    responses(
        (status = 200, description = "What a dry run found.", body = Removal),
        (status = 202, description = "Deleted; the switch is away and still has it.", body = Removal),
        (status = 204, description = "Deleted."),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(call: Call, Path((switch, flow)): Path<(String, String)>) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    let dry_run = context.dry_run;
    let request = DeleteFlow {
        switch: switch.clone(),
        name: flow,
        context,
    };
    let deleted = call.handle.delete_flow(request).await?;
    removed(&call, &switch, deleted, dry_run).await
}

/// Answers a deletion.
pub(crate) async fn removed(
    call: &Call,
    switch: &str,
    deleted: DeleteAnswer,
    dry_run: bool,
) -> Answer {
    let revision = deleted.revision;
    let removal = Removal::from(deleted);
    if dry_run {
        return Ok(Json(removal).into_response());
    }
    let waited = wait(call, switch, revision).await?;
    let mut response = if call.handle.switch(switch)?.status.connected {
        StatusCode::NO_CONTENT.into_response()
    } else {
        (StatusCode::ACCEPTED, Json(removal)).into_response()
    };
    response.headers_mut().extend(waited);
    Ok(response)
}

/// What a deletion did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Removal {
    /// The revision without the flow.
    revision: String,
    /// Table entries that it takes away.
    diff: Diff,
}

impl From<DeleteAnswer> for Removal {
    fn from(deleted: DeleteAnswer) -> Self {
        Self {
            revision: deleted.revision.to_string(),
            diff: deleted.diff.into(),
        }
    }
}

async fn write(
    call: &Call,
    switch: String,
    name: String,
    spec: FlowSpec,
    context: WriteContext,
) -> Result<Response, HandleError> {
    let dry_run = context.dry_run;
    let request = PutFlow {
        switch,
        name,
        spec,
        context,
    };
    let stored = call.handle.put_flow(request).await?;
    let mut view = stored.flow;
    if dry_run {
        return answer(call, StatusCode::OK, view, Some(stored.diff.into()));
    }
    let waited = wait(call, &view.switch, view.revision).await?;
    if waited.is_some() {
        view = match call
            .handle
            .flow_with_counters(&view.switch, &view.name)
            .await
        {
            Ok(now) => now,
            // Somebody deleted it while we waited; what was stored is still the answer.
            Err(HandleError::NotFound { .. }) => view,
            Err(error) => return Err(error),
        };
    }
    let status = match stored.outcome {
        _ if !call.handle.switch(&view.switch)?.status.connected => StatusCode::ACCEPTED,
        WriteOutcome::Created => StatusCode::CREATED,
        WriteOutcome::Updated | WriteOutcome::Unchanged => StatusCode::OK,
    };
    let location = format!("/v1/switches/{}/flows/{}", view.switch, view.name);
    let mut response = answer(call, status, view, None)?;
    if stored.outcome == WriteOutcome::Created
        && let Ok(location) = HeaderValue::from_str(&location)
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.headers_mut().extend(waited);
    Ok(response)
}

/// Waits for a switch as long as the request prefers; the header that says so, if it does.
pub(crate) async fn wait(
    call: &Call,
    switch: &str,
    revision: Revision,
) -> Result<Option<(HeaderName, HeaderValue)>, HandleError> {
    let Some(patience) = call.wait() else {
        return Ok(None);
    };
    call.handle
        .wait_realized(switch, revision, patience)
        .await?;
    let applied = HeaderValue::from_str(&format!("wait={}", patience.as_secs())).ok();
    let name = HeaderName::from_static("preference-applied");
    Ok(applied.map(|value| (name, value)))
}

fn answer(
    call: &Call,
    status: StatusCode,
    view: FlowView,
    diff: Option<Diff>,
) -> Result<Response, HandleError> {
    let names = Names::of(&call.handle, &view.switch)?;
    let revision = view.revision;
    let is_stored = diff.is_none();
    let body = Json(Flow::new(view, &names).with_diff(diff));
    let response = (status, body).into_response();
    Ok(if is_stored {
        tagged(response, revision)
    } else {
        response
    })
}

pub(crate) fn tagged(mut response: Response, revision: Revision) -> Response {
    if let Ok(tag) = etag(revision) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    if is_name(name) {
        return Ok(());
    }
    Err(Problem::invalid(vec![FieldError::new(
        "/name",
        Code::InvalidName,
        "a name has 1 to 253 characters of A-Z a-z 0-9 . _ -, and is not . or ..",
    )]))
}
