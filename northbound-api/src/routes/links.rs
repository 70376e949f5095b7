//! Links between nodes.

use axum::Json;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use weft_controller::handle::PutLinkState;
use weft_controller::problem::{Code, FieldError};
use weft_controller::status::{LinkView, OperState};

use super::Answer;
use crate::list::{self, ListParams, Page};
use crate::problem::{Problem, ProblemDocument};
use crate::request::{Call, Document, Patch, etag};
use crate::view::Link;

/// What can be changed of a link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LinkPatch {
    /// Whether it carries packets.
    state: Option<LinkState>,
}

/// A link's declared state.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LinkState {
    /// It carries packets.
    Up,
    /// It carries none.
    Down,
}

/// Members that the file declares, and that cannot be changed while a lab runs.
const FIXED: [&str; 4] = ["impair", "metric", "srlgs", "capacity"];

/// All links.
#[utoipa::path(
    get, path = "/v1/links", tag = "links", params(ListParams),
    responses(
        (status = 200, description = "One page.", body = Page<Link>),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(call: Call) -> Answer {
    let params = call.params(&list::PARAMS)?;
    let links = call.handle.links().into_iter().map(Link::from);
    list::page(&params, call.handle.revision(), links)
}

/// One link, by its name or by one of its endpoints, `node:interface`.
#[utoipa::path(
    get, path = "/v1/links/{link}", tag = "links", params(("link" = String, Path)),
    responses(
        (status = 200, description = "The link.", body = Link),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(call: Call, Path(link): Path<String>) -> Answer {
    call.params(&[])?;
    Ok(answer(call.handle.link(&link)?))
}

/// Takes a link down or up (merge patch).
#[utoipa::path(
    patch, path = "/v1/links/{link}", tag = "links",
    params(
        ("link" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Check only, change nothing."),
        ("If-Match" = Option<String>, Header, description = "Change only this revision."),
    ),
    request_body(content = LinkPatch, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "The link as it is now.", body = Link),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn patch(call: Call, Path(link): Path<String>, Patch(body): Patch) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    let current = call.handle.link(&link)?;
    refuse_fixed(&body)?;
    let patch: LinkPatch = Document(body).parse()?;
    let Some(state) = patch.state else {
        return Ok(answer(current));
    };
    let state = match state {
        LinkState::Up => OperState::Up,
        LinkState::Down => OperState::Down,
    };
    let request = PutLinkState {
        link: current.name,
        state,
        context,
    };
    Ok(answer(call.handle.put_link_state(request).await?))
}

fn refuse_fixed(body: &Value) -> Result<(), Problem> {
    let errors: Vec<_> = (FIXED.iter())
        .filter(|name| body.get(**name).is_some())
        .map(|name| {
            FieldError::new(
                format!("/{name}"),
                Code::NotSupported,
                format!("{name} of a running link cannot be changed yet"),
            )
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(errors))
    }
}

fn answer(link: LinkView) -> Response {
    let tag = etag(link.revision).ok();
    let mut response = Json(Link::from(link)).into_response();
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
