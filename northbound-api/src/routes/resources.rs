//! Declared resources: one set of handlers for every kind, and the routes that each kind has.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get as route_get;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use weft_controller::handle::{
    DeleteAnswer, DeleteResource, HandleError, IfMatch, PutResource, ResourceView, WriteContext,
    WriteOutcome,
};
use weft_controller::object::{NAME_RULE, is_name};
use weft_controller::problem::{Code, FieldError};
use weft_controller::resource::{COMPUTED, Kind, Place};
use weft_controller::store::Revision;

use super::Answer;
use crate::app::App;
use crate::describe;
use crate::json;
use crate::list;
use crate::problem::Problem;
use crate::request::{Call, Document, Params, Patch, etag};
use crate::view::{Diff, Names, Resource};

/// How often a merge patch is applied again because somebody else wrote in between.
const PATCH_ATTEMPTS: usize = 8;

/// Parameters of a write.
const WRITE_PARAMS: [&str; 2] = ["dryRun", "force"];

/// The routes of all kinds.
pub(crate) fn routes(mut router: OpenApiRouter<App>) -> OpenApiRouter<App> {
    for kind in Kind::ALL {
        router = router.routes(collection(kind)).routes(item(kind));
    }
    router
}

fn collection(kind: Kind) -> UtoipaMethodRouter<App> {
    let handler = route_get(
        move |call: Call, Path(names): Path<Vec<String>>| async move { list(call, kind, names) },
    );
    (describe::schemas(kind), describe::collection(kind), handler)
}

fn item(kind: Kind) -> UtoipaMethodRouter<App> {
    type Names = Path<Vec<String>>;
    let handler = route_get(move |call: Call, Path(names): Names| get(call, kind, names))
        .put(move |call: Call, Path(names): Names, body: Document| put(call, kind, names, body))
        .patch(move |call: Call, Path(names): Names, body: Patch| patch(call, kind, names, body))
        .delete(move |call: Call, Path(names): Names| delete(call, kind, names));
    (Vec::new(), describe::item(kind), handler)
}

/// Flows of all switches.
#[utoipa::path(
    get, path = "/v1/flows", tag = "flows",
    params(
        list::ListParams,
        ("switch" = Option<String>, Query, description = "Those of one switch."),
        ("owner" = Option<String>, Query, description = "Those of one owner."),
    ),
    responses(
        (status = 200, description = "One page, by switch and name."),
        (status = "4XX", description = "A problem.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn all_flows(call: Call) -> Answer {
    let params = list_params(&call, &["switch"])?;
    let switch: Vec<&str> = params.get("switch").into_iter().collect();
    page(&call, &params, Kind::Flow, &switch)
}

fn list(call: Call, kind: Kind, mut names: Vec<String>) -> Answer {
    let params = list_params(&call, &[])?;
    // What does not exist has no empty list.
    names.push("any".to_owned());
    let place = place(&call, kind, &names)?;
    let parents: Vec<&str> = place.parents().map(|(_, name)| name).collect();
    page(&call, &params, kind, &parents)
}

fn list_params(call: &Call, more: &[&str]) -> Result<Params, Problem> {
    call.params(&[&list::PARAMS[..], &["owner"], more].concat())
}

fn page(call: &Call, params: &Params, kind: Kind, parents: &[&str]) -> Answer {
    // Read before the list, so that watching from it misses nothing.
    let revision = call.handle.revision();
    let owner = params.get("owner");
    let views = call.handle.resources(kind, parents).into_iter();
    let views = views.filter(|view| owner.is_none_or(|owner| view.owner == owner));
    let mut names = Words::new(call);
    let items: Result<Vec<_>, _> = views.map(|view| names.resource(view)).collect();
    list::page(params, revision, items?)
}

async fn get(call: Call, kind: Kind, names: Vec<String>) -> Answer {
    call.params(&[])?;
    let place = place(&call, kind, &names)?;
    let view = call.handle.resource_with_counters(&place).await?;
    if call.has_already(view.revision) {
        let unchanged = StatusCode::NOT_MODIFIED.into_response();
        return Ok(tagged(unchanged, view.revision));
    }
    let revision = view.revision;
    let body = Json(Words::new(&call).resource(view)?);
    Ok(tagged(body.into_response(), revision))
}

async fn put(call: Call, kind: Kind, names: Vec<String>, document: Document) -> Answer {
    let params = call.params(&WRITE_PARAMS)?;
    let context = call.write_context(&params)?;
    if !names.last().is_some_and(|name| is_name(name)) {
        let error = FieldError::new("/name", Code::InvalidName, NAME_RULE);
        return Err(Problem::invalid(vec![error]));
    }
    // What it is under is looked for before the content is looked at.
    let place = place(&call, kind, &names)?;
    let words = kind.parents().iter().copied().chain(["name"]);
    let fixed: Vec<_> = words.zip(names.iter().map(String::as_str)).collect();
    let Document(spec) = document.without(&COMPUTED, &fixed)?;
    Ok(write(&call, place, spec, context).await?)
}

async fn patch(call: Call, kind: Kind, names: Vec<String>, Patch(change): Patch) -> Answer {
    let params = call.params(&WRITE_PARAMS)?;
    let context = call.write_context(&params)?;
    let place = place(&call, kind, &names)?;
    for _ in 0..PATCH_ATTEMPTS {
        let current = call.handle.resource(&place)?;
        let mut document = crate::view::document(&current);
        json::merge(&mut document, change.clone());
        let mut guarded = context.clone();
        if guarded.if_match.is_none() {
            guarded.if_match = Some(IfMatch::OneOf(vec![current.revision]));
        }
        match write(&call, place.clone(), document, guarded).await {
            Err(HandleError::PreconditionFailed { .. }) if context.if_match.is_none() => {}
            result => return Ok(result?),
        }
    }
    Err(Problem::new(
        StatusCode::CONFLICT,
        "conflict",
        "The object contradicts another one",
        format!("others keep changing the {}; try again", kind.noun()),
    ))
}

async fn delete(call: Call, kind: Kind, names: Vec<String>) -> Answer {
    let params = call.params(&WRITE_PARAMS)?;
    let context = call.write_context(&params)?;
    let place = place(&call, kind, &names)?;
    let known = call.handle.resource(&place)?;
    let dry_run = context.dry_run;
    let deleted = call.handle.delete(DeleteResource { place, context });
    let deleted = deleted.await?;
    let revision = deleted.revision;
    let removal = Removal::from(deleted);
    if dry_run {
        return Ok(Json(removal).into_response());
    }
    let switches: Vec<&str> = known.switches().into_iter().collect();
    let waited = wait(&call, &switches, revision).await?;
    let mut response = if is_away(&call, &switches)? {
        (StatusCode::ACCEPTED, Json(removal)).into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    };
    response.headers_mut().extend(waited);
    Ok(response)
}

/// What a deletion did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Removal {
    /// The revision without the resource.
    revision: String,
    /// What goes with it: what it made, else what its switch holds for it.
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
    place: Place,
    spec: Value,
    context: WriteContext,
) -> Result<Response, HandleError> {
    let dry_run = context.dry_run;
    let request = PutResource {
        place: place.clone(),
        spec,
        context,
    };
    let stored = call.handle.put(request).await?;
    let mut view = stored.resource;
    let revision = view.revision;
    let (diff, changes) = (Diff::from(stored.diff), stored.changes);
    let mut words = Words::new(call);
    if dry_run {
        let body = words.resource(view)?.with_diff(diff, changes);
        return Ok(Json(body).into_response());
    }
    let switches: Vec<String> = view.switches().into_iter().map(str::to_owned).collect();
    let switches: Vec<&str> = switches.iter().map(String::as_str).collect();
    let waited = wait(call, &switches, revision).await?;
    if !waited.is_empty() {
        view = match call.handle.resource_with_counters(&place).await {
            Ok(now) => now,
            // Somebody deleted it while we waited; what was stored is still the answer.
            Err(HandleError::NotFound { .. }) => view,
            Err(error) => return Err(error),
        };
    }
    let status = match stored.outcome {
        _ if is_away(call, &switches)? => StatusCode::ACCEPTED,
        WriteOutcome::Created => StatusCode::CREATED,
        WriteOutcome::Updated | WriteOutcome::Unchanged => StatusCode::OK,
    };
    let mut body = words.resource(view)?;
    if place.kind.has_members() {
        body = body.with_diff(diff, changes);
    }
    let mut response = tagged((status, Json(body)).into_response(), revision);
    if stored.outcome == WriteOutcome::Created
        && let Ok(location) = HeaderValue::from_str(&describe::address(&place))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.headers_mut().extend(waited);
    Ok(response)
}

/// The place that a path names; what it is under has to exist.
fn place(call: &Call, kind: Kind, names: &[String]) -> Result<Place, Problem> {
    // A name with a slash is nobody's.
    if let Some(name) = names.iter().find(|name| name.contains('/')) {
        return Err(Problem::not_found(format!("no {} {name}", kind.noun())));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(call.handle.place(kind, &names)?)
}

/// Waits for switches as long as the request prefers; the header that says so, if it does.
pub(crate) async fn wait(
    call: &Call,
    switches: &[&str],
    revision: Revision,
) -> Result<HeaderMap, HandleError> {
    let mut headers = HeaderMap::new();
    let Some(patience) = call.wait() else {
        return Ok(headers);
    };
    let all = (switches.iter()).map(|switch| call.handle.wait_realized(switch, revision, patience));
    for done in futures_util::future::join_all(all).await {
        done?;
    }
    let name = HeaderName::from_static("preference-applied");
    if let Ok(value) = HeaderValue::from_str(&format!("wait={}", patience.as_secs())) {
        headers.insert(name, value);
    }
    Ok(headers)
}

pub(crate) fn is_away(call: &Call, switches: &[&str]) -> Result<bool, HandleError> {
    for switch in switches {
        if !call.handle.switch(switch)?.status.connected {
            return Ok(true);
        }
    }
    Ok(false)
}

fn tagged(mut response: Response, revision: Revision) -> Response {
    if let Ok(tag) = etag(revision) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The words of each switch that comes up in an answer.
struct Words<'a> {
    call: &'a Call,
    names: BTreeMap<String, Names>,
}

impl<'a> Words<'a> {
    fn new(call: &'a Call) -> Self {
        Self {
            call,
            names: BTreeMap::new(),
        }
    }

    fn resource(&mut self, view: ResourceView) -> Result<Resource, HandleError> {
        for switch in view.switches() {
            if !self.names.contains_key(switch) {
                let names = Names::of(&self.call.handle, switch)?;
                self.names.insert(switch.to_owned(), names);
            }
        }
        Ok(Resource::new(view, &self.names))
    }
}
