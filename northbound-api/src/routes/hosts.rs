//! Hosts.

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;

use super::Answer;
use crate::list::{self, ListParams, Page};
use crate::problem::ProblemDocument;
use crate::request::Call;
use crate::view::Host;

/// All hosts.
#[utoipa::path(
    get, path = "/v1/hosts", tag = "hosts", params(ListParams),
    responses(
        (status = 200, description = "One page.", body = Page<Host>),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(call: Call) -> Answer {
    let params = call.params(&list::PARAMS)?;
    let hosts = call.handle.hosts().into_iter().map(Host::from);
    list::page(&params, call.handle.revision(), hosts)
}

/// One host.
#[utoipa::path(
    get, path = "/v1/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    responses(
        (status = 200, description = "The host.", body = Host),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(call: Call, Path(host): Path<String>) -> Answer {
    call.params(&[])?;
    Ok(Json(Host::from(call.handle.host(&host)?)).into_response())
}
