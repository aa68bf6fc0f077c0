//! Whether the service lives and serves, its counts, and where everything is. Health never waits for work.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Service;
use super::problem::Failure;
use super::types::{Health, Index};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What this is.
///
/// Names the service and says where its parts are.
#[utoipa::path(get, path = "/", tag = "service", security(()), responses((status = 200, body = Index)))]
pub(crate) async fn index() -> Json<Index> {
    let links = [
        ("documentation", "/openapi.json"),
        ("sandboxes", "/v1/sandboxes"),
        ("guests", "/v1/guests"),
        ("health", "/healthz"),
        ("ready", "/readyz"),
        ("metrics", "/metrics"),
    ];
    let links: BTreeMap<_, _> = links.into_iter().map(|(name, link)| (name.to_owned(), link.to_owned())).collect();
    Json(Index { name: "sandglass".to_owned(), version: VERSION.to_owned(), links })
}

/// Whether the process lives.
///
/// Answers as long as requests are served at all.
#[utoipa::path(get, path = "/healthz", tag = "service", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: VERSION.to_owned() })
}

/// Whether calls can be served.
///
/// 503 while the service stops, or when its store can't be written any more.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn readyz(State(service): State<Service>) -> Result<Json<Health>, Failure> {
    service.host.ready()?;
    Ok(Json(Health { status: "ready".to_owned(), version: VERSION.to_owned() }))
}

/// Counts for Prometheus.
///
/// In the OpenMetrics text format. Names of sandboxes do not appear.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(State(service): State<Service>) -> Result<Response, Failure> {
    let text = service.metrics.text().map_err(Failure::internal)?;
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}

/// The OpenAPI document of this service.
#[utoipa::path(get, path = "/openapi.json", tag = "service", security(()), responses((status = 200, body = Object)))]
pub(crate) async fn openapi() -> Response {
    let text = crate::openapi::document_text();
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}
