//! What requests carry besides their path: parameters, conditions, preferences, and the body.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use weft_controller::handle::{Handle, IfMatch, WriteContext};
use weft_controller::load;
use weft_controller::object::is_name;
use weft_controller::problem::{Code, FieldError};
use weft_controller::store::Revision;

use crate::app::App;
use crate::auth::Principal;
use crate::json;
use crate::problem::Problem;

/// Most bytes of a body.
pub(crate) const MAX_BODY: usize = 8 * 1024 * 1024;

/// Longest time in which a body has to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time that `Prefer: wait` can ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) handle: Handle,
    principal: Principal,
    headers: HeaderMap,
    uri: Uri,
}

impl<S: Send + Sync> FromRequestParts<S> for Call
where
    App: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let principal = parts.extensions.get::<Principal>().cloned();
        Ok(Self {
            handle: App::from_ref(state).handle,
            principal: principal.unwrap_or_else(|| Principal {
                name: String::new(),
            }),
            headers: parts.headers.clone(),
            uri: parts.uri.clone(),
        })
    }
}

impl Call {
    /// The query's parameters, all of which have to be known.
    pub(crate) fn params(&self, known: &[&str]) -> Result<Params, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&self.uri)
            .map_err(|_| Problem::bad_request("the query is not NAME=VALUE&NAME=VALUE"))?;
        let mut params = BTreeMap::new();
        for (name, value) in pairs {
            let pointer = format!("?{name}");
            if !known.contains(&name.as_str()) {
                let detail = if known.is_empty() {
                    "this route takes no parameters".to_owned()
                } else {
                    format!("there is no parameter {name}")
                };
                return Err(Problem::parameter(
                    FieldError::new(pointer, Code::UnknownField, detail)
                        .with_allowed(&name, known.iter().copied()),
                ));
            }
            if params.insert(name, value).is_some() {
                return Err(Problem::parameter(FieldError::new(
                    pointer,
                    Code::Duplicate,
                    "the parameter stands twice",
                )));
            }
        }
        Ok(Params(params))
    }

    /// Who writes, and under which conditions.
    pub(crate) fn write_context(&self, params: &Params) -> Result<WriteContext, Problem> {
        Ok(WriteContext {
            owner: self.owner()?,
            if_match: self.if_match()?,
            only_create: self.header_is(header::IF_NONE_MATCH.as_str(), "*"),
            dry_run: params.flag("dryRun")?,
            force: params.flag("force")?,
        })
    }

    fn owner(&self) -> Result<String, Problem> {
        let Some(value) = self.headers.get("weft-manager") else {
            return Ok(self.principal.name.clone());
        };
        match value.to_str() {
            Ok(name) if is_name(name) => Ok(name.to_owned()),
            _ => Err(Problem::bad_request(
                "Weft-Manager is a name: 1 to 253 of A-Z a-z 0-9 . _ -",
            )),
        }
    }

    fn if_match(&self) -> Result<Option<IfMatch>, Problem> {
        let Some(text) = self.joined(header::IF_MATCH.as_str()) else {
            return Ok(None);
        };
        if text.trim() == "*" {
            return Ok(Some(IfMatch::Any));
        }
        if text.trim().is_empty() {
            return Err(Problem::bad_request("If-Match is empty"));
        }
        // A tag that we never gave out is no mistake: it just matches nothing (RFC 9110 §13.1.1).
        let revisions = tags(&text).filter_map(revision_of).collect();
        Ok(Some(IfMatch::OneOf(revisions)))
    }

    /// Whether the caller has this revision already (`If-None-Match`).
    pub(crate) fn has_already(&self, revision: Revision) -> bool {
        let Some(text) = self.joined(header::IF_NONE_MATCH.as_str()) else {
            return false;
        };
        let mut tags = tags(&text);
        text.trim() == "*"
            || tags.any(|tag| revision_of(tag.strip_prefix("W/").unwrap_or(tag)) == Some(revision))
    }

    /// How long the caller prefers to wait for the end (RFC 7240 §4.3).
    pub(crate) fn wait(&self) -> Option<Duration> {
        let text = self.joined("prefer")?;
        let seconds = text.split([',', ';']).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let is_wait = name.trim().eq_ignore_ascii_case("wait");
            is_wait.then(|| value.trim().trim_matches('"').parse::<u64>().ok())?
        })?;
        Some(Duration::from_secs(seconds).min(MAX_WAIT))
    }

    fn header_is(&self, name: &str, wanted: &str) -> bool {
        self.headers.get(name).is_some_and(|value| value == wanted)
    }

    /// A list header's values as one text.
    fn joined(&self, name: &str) -> Option<String> {
        let values: Vec<_> = (self.headers.get_all(name).iter())
            .filter_map(|value| value.to_str().ok())
            .collect();
        (!values.is_empty()).then(|| values.join(","))
    }
}

/// Query parameters.
#[derive(Debug, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// A parameter's text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that is `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(Problem::parameter(
                FieldError::new(
                    format!("?{name}"),
                    Code::WrongFormat,
                    "true or false is wanted",
                )
                .with_allowed(other, ["true", "false"]),
            )),
        }
    }
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Document(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, &["application/json"]).await
    }
}

/// A merge patch.
#[derive(Debug)]
pub(crate) struct Patch(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for Patch {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kinds = ["application/merge-patch+json", "application/json"];
        let Document(value) = read(request, &kinds).await?;
        Ok(Self(value))
    }
}

impl Document {
    /// The body as the type that it has to be.
    pub(crate) fn parse<T: DeserializeOwned>(self) -> Result<T, Problem> {
        load::from_json(self.0).map_err(Problem::invalid)
    }

    /// Takes members out that an answer has and a request need not repeat. Those in `fixed` have to be what they are.
    pub(crate) fn without(
        mut self,
        read_only: &[&str],
        fixed: &[(&str, &str)],
    ) -> Result<Self, Problem> {
        let Value::Object(members) = &mut self.0 else {
            return Ok(self);
        };
        let mut errors = Vec::new();
        for (name, wanted) in fixed {
            if let Some(given) = members.remove(*name)
                && given != *wanted
            {
                errors.push(
                    FieldError::new(
                        format!("/{name}"),
                        Code::Conflict,
                        format!("the path says {wanted}"),
                    )
                    .with_suggestion(*wanted),
                );
            }
        }
        for name in read_only {
            members.remove(*name);
        }
        if errors.is_empty() {
            Ok(self)
        } else {
            Err(Problem::invalid(errors))
        }
    }
}

async fn read(request: Request, kinds: &[&'static str]) -> Result<Document, Problem> {
    let bytes = content(request, kinds).await?;
    json::parse(&bytes)
        .map(Document)
        .map_err(Problem::bad_request)
}

/// The body as it was sent, in one of these media types.
pub(crate) async fn content(
    request: Request,
    kinds: &[&'static str],
) -> Result<bytes::Bytes, Problem> {
    if let Some(given) = request.headers().get(header::CONTENT_TYPE) {
        let essence = given.to_str().unwrap_or_default();
        let essence = essence.split(';').next().unwrap_or_default().trim();
        if !kinds.iter().any(|kind| kind.eq_ignore_ascii_case(essence)) {
            let detail = format!("send Content-Type: {}", kinds.join(" or "));
            let problem = Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
            let accept = HeaderValue::from_static(kinds[0]);
            return Err(if kinds.len() > 1 {
                problem.with_header(header::HeaderName::from_static("accept-patch"), accept)
            } else {
                problem.with_header(header::ACCEPT, accept)
            });
        }
    }
    let too_large = || {
        let detail = format!("a body has at most {MAX_BODY} bytes");
        Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY))
        .await
        .map_err(|_| {
            Problem::of_status(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            )
        })?
        .map_err(|error| {
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(cause) = source {
                if cause.is::<http_body_util::LengthLimitError>() {
                    return too_large();
                }
                source = cause.source();
            }
            Problem::bad_request("the body ended early")
        })
}

/// A revision as an entity tag.
pub(crate) fn etag(revision: Revision) -> Result<HeaderValue, header::InvalidHeaderValue> {
    HeaderValue::from_str(&format!("\"{revision}\""))
}

/// The members of an entity tag list.
fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

fn revision_of(tag: &str) -> Option<Revision> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}
