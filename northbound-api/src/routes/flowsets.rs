//! Flow sets: all flows of one purpose, over any switches, declared at once.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weft_controller::flow::FlowSpec;
use weft_controller::handle::{
    ChangeKind, DeleteFlowSet, FlowChange, FlowSetView, HandleError, PutFlowSet, SetFlow,
    WriteOutcome,
};
use weft_controller::load;
use weft_controller::problem::{Code, FieldError, pointer_to};
use weft_controller::status::Phase;
use weft_controller::store::Revision;

use super::Answer;
use super::flows::{Removal, check_name, tagged};
use crate::list::{self, Item, ListParams, Page};
use crate::problem::{Problem, ProblemDocument};
use crate::request::{Call, Document};
use crate::view::{Diff, Flow, FlowSetBody, Names};

/// A flow set with its flows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FlowSet {
    /// Its name.
    name: String,
    /// Who made it.
    owner: String,
    /// Its flows, by switch and name.
    flows: Vec<Flow>,
    /// How far it has come.
    status: SetStatus,
    /// Numbers of flows that the write adds, changes, removes, and leaves alone; of a PUT only.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<Diff>,
    /// The flows that are not as they were; of a PUT only.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Change>>,
}

/// How far a flow set has come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SetStatus {
    /// That of the flow that is farthest behind; `rejected` where one is.
    #[schema(value_type = String)]
    phase: Phase,
    /// The revision that declared it.
    desired_revision: String,
    /// The revision that all its switches have reached.
    observed_revision: String,
}

/// A flow that a write adds, changes or removes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Change {
    /// The switch.
    switch: String,
    /// The flow.
    name: String,
    /// `add`, `change` or `remove`.
    #[schema(value_type = String)]
    change: ChangeKind,
}

impl From<FlowChange> for Change {
    fn from(change: FlowChange) -> Self {
        Self {
            switch: change.switch,
            name: change.name,
            change: change.kind,
        }
    }
}

impl Item for FlowSet {
    fn key(&self) -> String {
        self.name.clone()
    }
}

impl FlowSet {
    /// Members of an answer that the server makes; a client may send them back unread.
    const READ_ONLY: [&str; 4] = ["owner", "status", "diff", "changes"];

    fn new(call: &Call, view: FlowSetView) -> Result<Self, HandleError> {
        let phase = view.phase();
        let observed = view.flows.iter().map(|flow| flow.status.observed_revision);
        let observed = observed.min().unwrap_or(view.revision);
        let mut flows = Vec::new();
        let mut names: Option<(String, Names)> = None;
        for flow in view.flows {
            let switch = &flow.switch;
            if names.as_ref().is_none_or(|(known, _)| known != switch) {
                names = Some((switch.clone(), Names::of(&call.handle, switch)?));
            }
            if let Some((_, names)) = &names {
                flows.push(Flow::new(flow, names));
            }
        }
        Ok(Self {
            name: view.name,
            owner: view.owner,
            flows,
            status: SetStatus {
                phase,
                desired_revision: view.revision.to_string(),
                observed_revision: observed.to_string(),
            },
            diff: None,
            changes: None,
        })
    }
}

/// All flow sets.
#[utoipa::path(
    get, path = "/v1/flowsets", tag = "flows", params(ListParams),
    responses(
        (status = 200, description = "One page, by name.", body = Page<FlowSet>),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(call: Call) -> Answer {
    let params = call.params(&list::PARAMS)?;
    let revision = call.handle.revision();
    let mut sets = Vec::new();
    for name in call.handle.flow_set_names() {
        // One that was deleted meanwhile is not there.
        if let Ok(view) = call.handle.flow_set(&name) {
            sets.push(FlowSet::new(&call, view)?);
        }
    }
    list::page(&params, revision, sets)
}

/// One flow set with its flows.
#[utoipa::path(
    get, path = "/v1/flowsets/{set}", tag = "flows",
    params(
        ("set" = String, Path),
        ("If-None-Match" = Option<String>, Header, description = "Answer 304 when it is at this revision."),
    ),
    responses(
        (status = 200, description = "The set.", body = FlowSet),
        (status = 304, description = "It is at that revision."),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(call: Call, Path(set): Path<String>) -> Answer {
    call.params(&[])?;
    let view = call.handle.flow_set(&set)?;
    let revision = view.revision;
    if call.has_already(revision) {
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), revision));
    }
    let body = Json(FlowSet::new(&call, view)?);
    Ok(tagged(body.into_response(), revision))
}

/// Declares a flow set: these flows, and no others. What it no longer says goes.
#[utoipa::path(
    put, path = "/v1/flowsets/{set}", tag = "flows",
    params(
        ("set" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Validate, compile and compare only."),
        ("force" = Option<bool>, Query, description = "Take over what another owner made."),
        ("If-Match" = Option<String>, Header, description = "Change only this revision."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: until it is realized or rejected."),
        ("Weft-Manager" = Option<String>, Header, description = "The owner; the principal where it is left out."),
    ),
    request_body = FlowSetBody,
    responses(
        (status = 200, description = "Changed, or as it was.", body = FlowSet),
        (status = 201, description = "Created.", body = FlowSet),
        (status = 202, description = "Stored; a switch is away.", body = FlowSet),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(call: Call, Path(name): Path<String>, document: Document) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    check_name(&name)?;
    let fixed = [("name", name.as_str())];
    let flows = flows(document.without(&FlowSet::READ_ONLY, &fixed)?)?;
    let switches: Vec<String> = flows.iter().map(|flow| flow.switch.clone()).collect();
    let dry_run = context.dry_run;
    let location = format!("/v1/flowsets/{name}");
    let request = PutFlowSet {
        name: name.clone(),
        flows,
        context,
    };
    let stored = call.handle.put_flow_set(request).await?;
    let revision = stored.set.revision;
    let mut view = stored.set;
    let mut waited = HeaderMap::new();
    if !dry_run {
        waited = wait(&call, &switches, revision).await?;
        if !waited.is_empty() {
            // Somebody may have deleted it while we waited; what was stored is still the answer.
            view = call.handle.flow_set(&name).unwrap_or(view);
        }
    }
    let is_away = is_away(&call, &switches)?;
    let mut set = FlowSet::new(&call, view)?;
    set.diff = Some(stored.diff.into());
    set.changes = Some(stored.changes.into_iter().map(Change::from).collect());
    if dry_run {
        return Ok(Json(set).into_response());
    }
    let status = match stored.outcome {
        _ if is_away => StatusCode::ACCEPTED,
        WriteOutcome::Created => StatusCode::CREATED,
        WriteOutcome::Updated | WriteOutcome::Unchanged => StatusCode::OK,
    };
    let mut response = tagged((status, Json(set)).into_response(), revision);
    if stored.outcome == WriteOutcome::Created
        && let Ok(location) = HeaderValue::from_str(&location)
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.headers_mut().extend(waited);
    Ok(response)
}

/// Takes a flow set back, with its flows.
#[utoipa::path(
    delete, path = "/v1/flowsets/{set}", tag = "flows",
    params(
        ("set" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Compare only."),
        ("force" = Option<bool>, Query, description = "Even if another owner made it."),
        ("If-Match" = Option<String>, Header, description = "Only at this revision."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: until no switch forwards by it."),
        ("Weft-Manager" = Option<String>, Header, description = "The owner; the principal where it is left out."),
    ),
    responses(
        (status = 200, description = "What a dry run found.", body = Removal),
        (status = 202, description = "Deleted; a switch is away and still has its flows.", body = Removal),
        (status = 204, description = "Deleted."),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(call: Call, Path(name): Path<String>) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    let known = call.handle.flow_set(&name)?;
    let switches: Vec<String> = (known.flows.iter())
        .map(|flow| flow.switch.clone())
        .collect();
    let dry_run = context.dry_run;
    let deleted = (call.handle)
        .delete_flow_set(DeleteFlowSet { name, context })
        .await?;
    let revision = deleted.revision;
    let removal = Json(Removal::from(deleted));
    if dry_run {
        return Ok(removal.into_response());
    }
    let waited = wait(&call, &switches, revision).await?;
    let mut response: Response = if is_away(&call, &switches)? {
        (StatusCode::ACCEPTED, removal).into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    };
    response.headers_mut().extend(waited);
    Ok(response)
}

/// Reads the flows of a body; every mistake has its place in the whole.
fn flows(document: Document) -> Result<Vec<SetFlow>, Problem> {
    let Value::Object(mut members) = document.0 else {
        let detail = "a flow set is an object with flows";
        let error = FieldError::new("", Code::WrongType, detail);
        return Err(Problem::invalid(vec![error]));
    };
    let list = members.remove("flows");
    let mut errors: Vec<_> = (members.keys())
        .map(|unknown| {
            let detail = format!("a flow set has no {unknown}");
            FieldError::new(pointer_to("", unknown), Code::UnknownField, detail)
                .with_allowed(unknown, ["flows"])
        })
        .collect();
    let mut flows = Vec::new();
    match list {
        Some(Value::Array(list)) => {
            for (index, flow) in list.into_iter().enumerate() {
                match one(flow) {
                    Ok(flow) => flows.push(flow),
                    Err(mistakes) => {
                        let pointer = pointer_to("/flows", index);
                        errors.extend(mistakes.into_iter().map(|error| error.under(&pointer)));
                    }
                }
            }
        }
        Some(_) => errors.push(FieldError::new(
            "/flows",
            Code::WrongType,
            "a list of flows is wanted",
        )),
        None => errors.push(FieldError::new(
            "/flows",
            Code::MissingField,
            "a flow set lists all its flows; [] is none",
        )),
    }
    if errors.is_empty() {
        Ok(flows)
    } else {
        Err(Problem::invalid(errors))
    }
}

fn one(mut flow: Value) -> Result<SetFlow, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut word = |name: &str| match flow.as_object_mut().and_then(|flow| flow.remove(name)) {
        Some(Value::String(text)) => text,
        given => {
            let code = given.map_or(Code::MissingField, |_| Code::WrongType);
            let pointer = pointer_to("", name);
            let detail = format!("the flow's {name} is wanted, a text");
            errors.push(FieldError::new(pointer, code, detail));
            String::new()
        }
    };
    let (switch, name) = (word("switch"), word("name"));
    if let Value::Object(members) = &mut flow {
        for known in Flow::READ_ONLY {
            members.remove(known);
        }
    }
    match load::from_json::<FlowSpec>(flow) {
        Ok(spec) if errors.is_empty() => Ok(SetFlow { switch, name, spec }),
        Ok(_) => Err(errors),
        Err(mistakes) => {
            errors.extend(mistakes);
            Err(errors)
        }
    }
}

/// Waits for all switches as long as the request prefers; the header that says so, if it does.
async fn wait(
    call: &Call,
    switches: &[String],
    revision: Revision,
) -> Result<HeaderMap, HandleError> {
    let mut headers = HeaderMap::new();
    let Some(patience) = call.wait() else {
        return Ok(headers);
    };
    let all = switches
        .iter()
        .map(|switch| call.handle.wait_realized(switch, revision, patience));
    for done in futures_util::future::join_all(all).await {
        done?;
    }
    let name = HeaderName::from_static("preference-applied");
    if let Ok(value) = HeaderValue::from_str(&format!("wait={}", patience.as_secs())) {
        headers.insert(name, value);
    }
    Ok(headers)
}

fn is_away(call: &Call, switches: &[String]) -> Result<bool, HandleError> {
    for switch in switches {
        if !call.handle.switch(switch)?.status.connected {
            return Ok(true);
        }
    }
    Ok(false)
}
