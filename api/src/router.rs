//! The routes: one list. Which scope a route needs is in `access.rs`; what it does is in the file of its resource in `http/`.

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::problem::{Failure, Kind};
use crate::http::{
    Service, calls, checkpoints, events, files, guests, health, history, idempotency, mounts, operations, sandboxes,
    sessions, states, tokens, tools, upkeep,
};
use crate::middleware;
use crate::openapi::Document;
use crate::origin::Origins;

/// Returns the routes of the service in all its layers.
pub(crate) fn router(service: &Service, origins: Origins) -> Router {
    let once = from_fn_with_state(service.clone(), idempotency::remember);
    let routes: Router<Service> = documented(|routes| routes.route_layer(once)).into();
    let routes = routes
        // A path may end in the slash of the root directory.
        .route("/v1/sandboxes/{sandbox}/files/", axum::routing::get(files::root))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(service.clone());
    middleware::around(routes, service, origins)
}

/// Returns the routes that the OpenAPI document describes. `once` goes around those that do something and are not calls:
/// they answer a repeated `Idempotency-Key` with the answer of the first time. Calls look after theirs themselves.
pub(crate) fn documented(
    once: impl FnOnce(OpenApiRouter<Service>) -> OpenApiRouter<Service>,
) -> OpenApiRouter<Service> {
    let service = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::index))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(health::openapi))
        .routes(routes!(guests::list))
        .routes(routes!(tools::list))
        .routes(routes!(tools::get, tools::put, tools::describe, tools::remove))
        // Not among the changes below: their answers are kept, and a secret must not be.
        .routes(routes!(tokens::create, tokens::list))
        .routes(routes!(tokens::revoke));
    let changes = OpenApiRouter::default()
        .routes(routes!(sandboxes::create))
        .routes(routes!(sandboxes::fork))
        .routes(routes!(checkpoints::create))
        .routes(routes!(operations::undo))
        .routes(routes!(operations::redo))
        .routes(routes!(operations::restore))
        .routes(routes!(history::revert))
        .routes(routes!(mounts::create))
        .routes(routes!(upkeep::undelete))
        .routes(routes!(upkeep::upkeep));
    let rest = OpenApiRouter::default()
        .routes(routes!(sandboxes::list))
        .routes(routes!(sandboxes::get, sandboxes::delete))
        .routes(routes!(sandboxes::policy))
        .routes(routes!(calls::create, calls::list))
        .routes(routes!(calls::get, calls::cancel))
        .routes(routes!(calls::events))
        .routes(routes!(calls::diff))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::get, sessions::end))
        .routes(routes!(sessions::diff))
        .routes(routes!(history::history))
        .routes(routes!(checkpoints::list))
        .routes(routes!(checkpoints::delete))
        .routes(routes!(operations::list))
        .routes(routes!(operations::diff))
        .routes(routes!(events::events))
        .routes(routes!(files::root))
        .routes(routes!(files::get, files::head, files::put, files::remove))
        .routes(routes!(states::export))
        .routes(routes!(upkeep::retention, upkeep::set_retention, upkeep::clear_retention))
        .routes(routes!(mounts::list))
        .routes(routes!(mounts::delete))
        .routes(routes!(upkeep::trash))
        .routes(routes!(upkeep::store))
        .routes(routes!(upkeep::verify))
        // Not remembered: its body is never held whole, and doing it twice does what once does.
        .routes(routes!(states::import));
    service.merge(once(changes)).merge(rest)
}

async fn unknown(uri: Uri) -> Failure {
    let shown: String = uri.path().chars().take(200).collect();
    Failure::new(Kind::NotFound, "unknown_route", format!("there is nothing at {shown}"))
        .hinted("GET /openapi.json lists all routes")
}

async fn not_allowed() -> Failure {
    Failure::new(Kind::MethodNotAllowed, "method_not_allowed", "this route has other methods")
        .hinted("the Allow header of this answer lists them")
}
