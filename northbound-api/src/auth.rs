//! Who calls: a bearer token on TCP, the socket's file permissions elsewhere.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::problem::Problem;

/// What a listener asks of its callers.
#[derive(Clone)]
pub enum Access {
    /// Nothing: whoever could open the connection is the administrator.
    Open,
    /// `Authorization: Bearer` with this token, for everything but health.
    Token(String),
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// Whoever makes a request.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) name: String,
}

/// The one principal so far.
const ADMINISTRATOR: &str = "admin";

/// Lets requests through that may pass.
pub(crate) async fn authenticate(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_public = request.uri().path().starts_with("/v1/health/");
    if !is_public
        && let Access::Token(token) = &access
        && let Err(reason) = check(token, request.headers())
    {
        let challenge = HeaderValue::from_static("Bearer realm=\"weft\"");
        return Problem::of_status(StatusCode::UNAUTHORIZED, reason)
            .with_header(header::WWW_AUTHENTICATE, challenge)
            .into_response();
    }
    request.extensions_mut().insert(Principal {
        name: ADMINISTRATOR.to_owned(),
    });
    next.run(request).await
}

fn check(token: &str, headers: &HeaderMap) -> Result<(), &'static str> {
    let Some(header) = headers.get(header::AUTHORIZATION) else {
        return Err("send the token as Authorization: Bearer TOKEN");
    };
    let given = header.as_bytes();
    let is_bearer = given
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    let given = given.get(7..).unwrap_or_default().trim_ascii();
    if is_bearer && bool::from(given.ct_eq(token.as_bytes())) {
        Ok(())
    } else {
        Err("the token is not valid here")
    }
}
