//! Failures on their way out: the one table from what went wrong to the status and the words of its problem.
//!
//! Handlers and layers return a [`Failure`]; the layer `middleware::identify` writes it as `application/problem+json` with
//! the id of the request. Nothing else in this crate makes an answer with a status of 400 or more.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sandglass_runtime::ErrorKind;

use super::types::{Conflict, Problem};

/// Every problem's `type` starts with this; its code follows.
pub(crate) const TYPE_PREFIX: &str = "https://sandglass.dev/problems/";
const INSTANCE_PREFIX: &str = "urn:sandglass:request:";

/// What kind of failure it is, for HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Malformed,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Slow,
    Conflict,
    Precondition,
    TooLarge,
    MediaType,
    Range,
    Invalid,
    Busy,
    Internal,
    Corrupt,
    Unavailable,
}

impl Kind {
    /// The table: status, title, and whether the same request may succeed later.
    const fn row(self) -> (StatusCode, &'static str, bool) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "The request can't be read", false),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "A token is needed", false),
            Self::Forbidden => (StatusCode::FORBIDDEN, "The request is not allowed", false),
            Self::NotFound => (StatusCode::NOT_FOUND, "There is no such thing", false),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed here", false),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "The request came too slowly", true),
            Self::Conflict => (StatusCode::CONFLICT, "The request does not fit what is there", false),
            Self::Precondition => (StatusCode::PRECONDITION_FAILED, "A condition of the request does not hold", false),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "A limit is exceeded", false),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The content type is not understood here", false),
            Self::Range => (StatusCode::RANGE_NOT_SATISFIABLE, "The range lies outside the file", false),
            Self::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "The request can't be carried out as it is", false),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "Others are being served", true),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The service is at fault", false),
            Self::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "The store is damaged", false),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "The service can't do this now", true),
        }
    }
}

impl From<ErrorKind> for Kind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::Invalid,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Precondition => Self::Precondition,
            ErrorKind::Denied => Self::Forbidden,
            ErrorKind::Limit => Self::TooLarge,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

/// Why a request was not served.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: Kind,
    code: &'static str,
    detail: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    conflicts: Option<Arc<(Vec<Conflict>, u64)>>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut headers = Vec::new();
        match kind {
            Kind::Busy | Kind::Unavailable => headers.push((RETRY_AFTER, HeaderValue::from_static("1"))),
            Kind::Unauthenticated => {
                headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sandglass\"")));
            }
            _ => {}
        }
        Self { kind, code, detail: detail.into(), hint: None, headers, conflicts: None }
    }

    pub(crate) fn malformed(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Malformed, code, detail)
    }

    pub(crate) fn invalid(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, code, detail)
    }

    /// A fault of ours. What it was goes to the log, never to the client.
    pub(crate) fn internal(what: impl std::fmt::Display) -> Self {
        tracing::error!(error = %what, "a request failed for a fault of the service");
        Self::new(Kind::Internal, "internal", "the service could not carry this out; its log says why")
    }

    #[must_use]
    pub(crate) fn hinted(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        self
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    /// Returns the problem as one request's answer has it.
    pub(crate) fn problem(&self, request_id: &str) -> Problem {
        let (status, title, retryable) = self.kind.row();
        let retryable = retryable || self.headers.iter().any(|(name, _)| *name == RETRY_AFTER);
        Problem {
            type_uri: format!("{TYPE_PREFIX}{}", self.code),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone().into_owned(),
            instance: format!("{INSTANCE_PREFIX}{request_id}"),
            code: self.code.to_owned(),
            hint: self.hint.clone().map(Cow::into_owned),
            retryable,
            conflicts: self.conflicts.as_ref().map(|conflicts| conflicts.0.clone()).unwrap_or_default(),
            conflicts_total: self.conflicts.as_ref().map(|conflicts| conflicts.1),
        }
    }

    /// Writes the whole answer; `kept` are headers that the refused answer already had, such as `Allow`.
    pub(crate) fn render(&self, request_id: &str, kept: &HeaderMap) -> Response {
        let problem = self.problem(request_id);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.kind.row().0;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(allow) = kept.get(ALLOW) {
            headers.insert(ALLOW, allow.clone());
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}

impl IntoResponse for Failure {
    /// An answer without a body yet: `middleware::identify` renders it, since only there the request's id is known.
    fn into_response(self) -> Response {
        let mut response = self.kind.row().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<sandglass_runtime::Error> for Failure {
    fn from(error: sandglass_runtime::Error) -> Self {
        Self::from(&error)
    }
}

impl From<Arc<sandglass_runtime::Error>> for Failure {
    fn from(error: Arc<sandglass_runtime::Error>) -> Self {
        Self::from(&*error)
    }
}

impl From<&sandglass_runtime::Error> for Failure {
    fn from(error: &sandglass_runtime::Error) -> Self {
        let kind = Kind::from(error.kind());
        if matches!(kind, Kind::Internal | Kind::Corrupt) {
            let source = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(error = %error, code = error.code(), source, "a request failed for a fault of the service");
        }
        let detail = match kind {
            Kind::Internal => "the service could not carry this out; its log says why".to_owned(),
            _ => error.to_string(),
        };
        let mut failure = Self::new(kind, error.code(), detail);
        failure.conflicts = error.conflicts().map(|(listed, total)| {
            let listed = listed.iter().map(|conflict| Conflict {
                path: conflict.path.clone(),
                reason: conflict.reason.to_owned(),
                text: conflict.text.to_owned(),
            });
            Arc::new((listed.collect(), total))
        });
        failure.hint = error.hint().map(|hint| Cow::Owned(hint.to_owned()));
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_runtime_has_a_status() {
        let statuses = [
            (ErrorKind::Invalid, 422),
            (ErrorKind::NotFound, 404),
            (ErrorKind::Conflict, 409),
            (ErrorKind::Precondition, 412),
            (ErrorKind::Denied, 403),
            (ErrorKind::Limit, 413),
            (ErrorKind::Busy, 429),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::Corrupt, 500),
            (ErrorKind::Internal, 500),
        ];
        for (kind, status) in statuses {
            let failure =
                Failure::from(sandglass_runtime::Error::new(kind, "some_code", "secret path").hinted("do this"));
            let problem = failure.problem("r1");
            assert_eq!(problem.status, status);
            assert_eq!(problem.type_uri, format!("{TYPE_PREFIX}some_code"));
            assert_eq!(problem.instance, "urn:sandglass:request:r1");
            assert_eq!(problem.detail.contains("secret"), kind != ErrorKind::Internal);
        }
    }

    #[test]
    fn who_shall_try_again_is_told_when() {
        let busy = Failure::new(Kind::Busy, "busy", "later").render("r", &HeaderMap::new());
        assert_eq!(busy.headers()[RETRY_AFTER], "1");
        assert_eq!(busy.headers()[CONTENT_TYPE], "application/problem+json");
        let token = Failure::new(Kind::Unauthenticated, "missing_token", "no").render("r", &HeaderMap::new());
        assert!(token.headers().contains_key(WWW_AUTHENTICATE));
    }
}
