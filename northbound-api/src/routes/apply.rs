//! A file's resources, declared together.

use axum::Json;
use axum::extract::Request;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weft_controller::handle::{Apply, ResourceChange};
use weft_controller::load::{self, LoadErrors};
use weft_controller::problem::{Code, FieldError, pointer_to};
use weft_controller::resource::{Kind, Place};

use super::Answer;
use super::resources::{is_away, wait};
use crate::json;
use crate::problem::{Problem, ProblemDocument};
use crate::request::{Call, content};
use crate::view::{Change, Diff};

/// What a file declares, and what becomes of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Applied {
    /// The revision that has it; of a dry run the one that it was compared with.
    revision: String,
    /// Numbers of resources that it adds, changes, removes, and leaves alone.
    diff: Diff,
    /// Those that are not as they were.
    changes: Vec<AppliedChange>,
}

/// A resource that is not as it was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AppliedChange {
    /// Its collection, such as `flowsets`.
    collection: &'static str,
    #[serde(flatten)]
    change: Change,
}

impl From<ResourceChange> for AppliedChange {
    fn from(change: ResourceChange) -> Self {
        Self {
            collection: change.place.kind.collection(),
            change: Change::from(change),
        }
    }
}

/// Declares the resources of a file in one transaction, and takes back what its owner does not declare any more.
///
/// As YAML it is a topology file, whose topology has to be that of the lab; as JSON it has sections only.
#[utoipa::path(
    post, path = "/v1/apply", tag = "apply",
    params(
        ("dryRun" = Option<bool>, Query, description = "Validate, compile and compare only."),
        ("prune" = Option<bool>, Query, description = "false: take nothing back."),
        ("force" = Option<bool>, Query, description = "Take over what other owners made."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: until it is realized."),
        ("Weft-Manager" = Option<String>, Header, description = "The owner; the principal where it is left out."),
    ),
    request_body(content(("application/yaml"), (Object = "application/json"))),
    responses(
        (status = 200, description = "Declared; of a dry run: what would change.", body = Applied),
        (status = 202, description = "Stored; a switch is away.", body = Applied),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn apply(call: Call, request: Request) -> Answer {
    let params = call.params(&["dryRun", "prune", "force"])?;
    let context = call.write_context(&params)?;
    let prune = params.get("prune").is_none() || params.flag("prune")?;
    let is_yaml = (request.headers().get(header::CONTENT_TYPE))
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.contains("yaml"));
    let kinds = ["application/json", "application/yaml", "text/yaml"];
    let bytes = content(request, &kinds).await?;
    let (resources, model) = if is_yaml {
        let name = call.handle.topology().name;
        let text = String::from_utf8_lossy(&bytes);
        let document = load::load(&text, "file").map_err(invalid)?;
        let model = load::model(&bytes, "file", Some(&name)).map_err(invalid)?;
        let resources = document.resources();
        let resources = resources.map(|(place, spec)| (place, spec.clone()));
        (resources.collect(), Some(Box::new(model)))
    } else {
        let body = json::parse(&bytes).map_err(Problem::bad_request)?;
        (sections(body).map_err(Problem::invalid)?, None)
    };
    let dry_run = context.dry_run;
    let request = Apply {
        resources,
        model,
        prune,
        context,
    };
    let applied = call.handle.apply(request).await?;
    let switches: Vec<&str> = applied.switches().into_iter().collect();
    let body = |applied: &weft_controller::handle::ApplyAnswer| {
        let changes = applied.changes.iter().cloned();
        Json(Applied {
            revision: applied.revision.to_string(),
            diff: applied.diff.into(),
            changes: changes.map(AppliedChange::from).collect(),
        })
    };
    if dry_run {
        return Ok(body(&applied).into_response());
    }
    let waited = wait(&call, &switches, applied.revision).await?;
    let mut response: Response = body(&applied).into_response();
    if is_away(&call, &switches)? {
        *response.status_mut() = axum::http::StatusCode::ACCEPTED;
    }
    response.headers_mut().extend(waited);
    Ok(response)
}

fn invalid(errors: LoadErrors) -> Problem {
    Problem::invalid(errors.iter().map(|located| located.error.clone()).collect())
}

/// The resources of a JSON body: sections by their collections' names.
fn sections(body: Value) -> Result<Vec<(Place, Value)>, Vec<FieldError>> {
    let Value::Object(sections) = body else {
        let detail = "an object with sections is wanted";
        return Err(vec![FieldError::new("", Code::WrongType, detail)]);
    };
    let (mut resources, mut errors) = (Vec::new(), Vec::new());
    for (name, section) in sections {
        let pointer = pointer_to("", &name);
        let kind = Kind::sections().find(|kind| kind.collection() == name);
        match (kind, section) {
            (Some(kind), Value::Object(section)) => {
                for (name, spec) in section {
                    resources.push((Place::new(kind, &[&name]), spec));
                }
            }
            (Some(_), _) => {
                let detail = "an object of names and what they are is wanted";
                errors.push(FieldError::new(pointer, Code::WrongType, detail));
            }
            (None, _) => {
                let detail = format!("there is no section {name}");
                let error = FieldError::new(pointer, Code::UnknownField, detail);
                errors.push(error.with_allowed(&name, Kind::sections().map(Kind::collection)));
            }
        }
    }
    if errors.is_empty() {
        Ok(resources)
    } else {
        Err(errors)
    }
}
