//! The routes, their layers, and the document made from them.

use axum::Router;
use axum::extract::FromRef;
use axum::http::{StatusCode, Uri};
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use weft_controller::handle::Handle;

use crate::auth::{Access, authenticate};
use crate::finish::{finish, panicked};
use crate::problem::{Problem, ProblemDocument};
use crate::routes::{
    apply, diff, health, hosts, links, metrics, openapi, packets, paths, pipeline, resources,
    switches, topology, traces,
};

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) handle: Handle,
}

impl FromRef<App> for Handle {
    fn from_ref(app: &App) -> Self {
        app.handle.clone()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Weft", description = "The REST API of a Weft controller."),
    components(schemas(ProblemDocument)),
    security(("token" = []))
)]
struct Document;

fn routes() -> OpenApiRouter<App> {
    let router = OpenApiRouter::with_openapi(Document::openapi());
    resources::routes(router)
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::document))
        .routes(routes!(metrics::metrics))
        .routes(routes!(topology::topology))
        .routes(routes!(switches::list))
        .routes(routes!(switches::get))
        .routes(routes!(switches::ports))
        .routes(routes!(switches::port))
        .routes(routes!(diff::diff))
        .routes(routes!(diff::sync))
        .routes(routes!(pipeline::get, pipeline::put, pipeline::delete))
        .routes(routes!(resources::all_flows))
        .routes(routes!(apply::apply))
        .routes(routes!(links::list))
        .routes(routes!(links::get, links::patch))
        .routes(routes!(hosts::list))
        .routes(routes!(hosts::get))
        .routes(routes!(packets::send))
        .routes(routes!(packets::list))
        .routes(routes!(paths::search))
        .routes(routes!(traces::trace))
}

/// The OpenAPI document of all routes.
pub fn openapi_json() -> String {
    let (_, mut document) = routes().split_for_parts();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    if let Some(components) = &mut document.components {
        components.add_security_scheme("token", scheme);
    }
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// The API of one controller, for one kind of listener.
pub fn router(handle: Handle, access: Access) -> Router {
    let app = App { handle };
    let (router, _) = routes().split_for_parts();
    router
        .fallback(no_route)
        .with_state(app)
        .layer(middleware::from_fn_with_state(access, authenticate))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(finish))
}

async fn no_route(uri: Uri) -> Problem {
    Problem::of_status(
        StatusCode::NOT_FOUND,
        format!("there is no route {}", uri.path()),
    )
}
