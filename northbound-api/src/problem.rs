//! Answers that say what went wrong: `application/problem+json` (RFC 9457).

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use weft_controller::handle::HandleError;
use weft_controller::problem::{Code, FieldError};
use weft_controller::store::{MAX_VALUE_SIZE, StoreError};

/// Media type of problem documents.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Where a problem's `type` begins.
const TYPES: &str = "https://weft.dev/problems/";

/// What went wrong. The trace id and the body are written by the outermost layer.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Facts>);

#[derive(Clone, Debug)]
struct Facts {
    status: StatusCode,
    /// The last segment of `type`.
    kind: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    headers: HeaderMap,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Facts {
            status,
            kind,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// 400: the request cannot be understood.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request cannot be understood",
            detail,
        )
    }

    /// 400: a query parameter is wrong.
    pub(crate) fn parameter(error: FieldError) -> Self {
        let mut problem = Self::bad_request(error.to_string());
        problem.0.errors.push(error);
        problem
    }

    /// 422: the content does not fit.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.to_string(),
            many => format!("{} mistakes", many.len()),
        };
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "The content is not valid",
            detail,
        );
        problem.0.errors = errors;
        problem
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such thing",
            detail,
        )
    }

    /// What a status that some layer below chose means.
    pub(crate) fn of_status(status: StatusCode, detail: impl Into<String>) -> Self {
        let (kind, title) = match status {
            StatusCode::NOT_FOUND => ("not-found", "There is no such thing"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method-not-allowed", "This method is not possible here")
            }
            StatusCode::UNAUTHORIZED => ("unauthorized", "A token is wanted"),
            StatusCode::REQUEST_TIMEOUT => ("timeout", "The request did not arrive in time"),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "The body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (
                "unsupported-media-type",
                "The body's media type is not possible here",
            ),
            status if status.is_client_error() => {
                ("bad-request", "The request cannot be understood")
            }
            _ => ("internal", "Something broke inside the controller"),
        };
        Self::new(status, kind, title, detail)
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The document.
    pub(crate) fn document(&self, trace_id: &str) -> ProblemDocument {
        ProblemDocument {
            r#type: format!("{TYPES}{}", self.0.kind),
            title: self.0.title,
            status: self.0.status.as_u16(),
            detail: if self.0.detail.is_empty() {
                self.0.title.to_owned()
            } else {
                self.0.detail.clone()
            },
            errors: self.0.errors.iter().cloned().map(Mistake).collect(),
            trace_id: trace_id.to_owned(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let headers = std::mem::take(&mut self.0.headers);
        let mut response = self.0.status.into_response();
        response.headers_mut().extend(headers);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<HandleError> for Problem {
    fn from(error: HandleError) -> Self {
        let detail = error.to_string();
        match error {
            HandleError::NotFound { .. } => Self::not_found(detail),
            HandleError::Invalid { errors } => Self::invalid(errors),
            HandleError::PreconditionFailed { current } => {
                let problem = Self::new(
                    StatusCode::PRECONDITION_FAILED,
                    "precondition-failed",
                    "The object is not at the revision that the request wants",
                    current.map_or_else(
                        || "it does not exist".to_owned(),
                        |revision| format!("it is at {revision}"),
                    ),
                );
                match current.and_then(|revision| crate::request::etag(revision).ok()) {
                    Some(etag) => problem.with_header(header::ETAG, etag),
                    None => problem,
                }
            }
            HandleError::OwnedByOther { .. } => Self::new(
                StatusCode::CONFLICT,
                "owned-by-other",
                "Somebody else owns the object",
                format!("{detail}; force=true takes it over"),
            ),
            HandleError::Conflict { with, .. } => Self::new(
                StatusCode::CONFLICT,
                "conflict",
                "The object contradicts another one",
                format!("{detail} ({with})"),
            ),
            HandleError::SwitchUnavailable { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "switch-unavailable",
                "The switch does not answer",
                detail,
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1")),
            HandleError::Store(StoreError::TooLarge { size, .. }) => {
                let detail = format!("the object has {size} bytes, at most {MAX_VALUE_SIZE} fit");
                Self::invalid(vec![FieldError::new("", Code::OutOfRange, detail)])
            }
            HandleError::Store(source) => {
                tracing::error!(error = %source, "store failed");
                unavailable(detail)
            }
            HandleError::Stopped => unavailable(detail),
        }
    }
}

fn unavailable(detail: String) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The controller cannot do this now",
        detail,
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// A problem document.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument {
    /// Which kind of problem: a URI that stays the same.
    r#type: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: String,
    /// Each mistake in the request's content.
    errors: Vec<Mistake>,
    /// Finds the request in the log; the trace id of a `traceparent` header, where one was sent.
    trace_id: String,
}

/// One mistake in a request's content.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Mistake(FieldError);

impl ToSchema for Mistake {}

impl PartialSchema for Mistake {
    fn schema() -> RefOr<Schema> {
        let text = |doc: &str| {
            ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::String))
                .description(Some(doc))
                .build()
        };
        let codes = Code::ALL.iter().map(|code| serde_json::json!(code));
        ObjectBuilder::new()
            .description(Some("One mistake in a request's content."))
            .property("pointer", text("Where: a JSON pointer into the body (RFC 6901), or `?name` for a query parameter."))
            .required("pointer")
            .property(
                "code",
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::String))
                    .description(Some("Which rule was broken."))
                    .enum_values(Some(codes)),
            )
            .required("code")
            .property("detail", text("The same in one sentence."))
            .required("detail")
            .property("didYouMean", text("What was probably meant."))
            .property(
                "allowed",
                ArrayBuilder::new()
                    .items(text("A value that would be right."))
                    .description(Some("Everything that would be right here.")),
            )
            .into()
    }
}
