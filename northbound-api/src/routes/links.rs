//! Links between nodes.

use axum::Json;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::ToSchema;
use weft_controller::handle::PatchLink;
use weft_controller::status::LinkView;

use super::Answer;
use crate::list::{self, ListParams, Page};
use crate::problem::ProblemDocument;
use crate::request::{Call, Patch, etag};
use crate::view::Link;

/// What can be changed of a link.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body; it is read by its members")]
#[schema(rename_all = "camelCase")]
pub(crate) struct LinkPatch {
    /// Whether it carries packets: `up` or `down`.
    state: Option<String>,
    /// Its cost for paths, 1 and up.
    #[schema(minimum = 1)]
    metric: Option<u32>,
    /// Risks that it shares with other links.
    srlgs: Option<Vec<String>>,
    /// Its capacity, such as `1gbit`.
    capacity: Option<String>,
    /// Impairments of both directions; null takes all of them away.
    #[schema(value_type = Option<Object>)]
    impair: Option<Value>,
}

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

/// Changes a link while it runs (merge patch). A member that is null is again what the file says.
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
pub(crate) async fn patch(call: Call, Path(link): Path<String>, Patch(change): Patch) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    let request = PatchLink {
        link,
        change,
        context,
    };
    Ok(answer(call.handle.patch_link(request).await?))
}

fn answer(link: LinkView) -> Response {
    let tag = etag(link.revision).ok();
    let mut response = Json(Link::from(link)).into_response();
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
