//! The guests that there are. Installing them is the command line's, since it is the host that changes.

use axum::Json as Answer;
use axum::extract::State;

use super::problem::Failure;
use super::{Service, types};

/// List the guests.
///
/// The programs that can serve tools, installed or not.
#[utoipa::path(get, path = "/v1/guests", tag = "guests", responses((status = 200, body = types::Page<types::Guest>)))]
pub(crate) async fn list(State(service): State<Service>) -> Result<Answer<types::Page<types::Guest>>, Failure> {
    let items = service.look(|host| Ok(host.guests().list().into_iter().map(guest).collect())).await?;
    Ok(Answer(types::Page { items, next_cursor: None }))
}

fn guest(info: sandglass_runtime::GuestInfo) -> types::Guest {
    types::Guest {
        name: info.name,
        version: info.version,
        license: info.licence,
        source: info.source,
        sha256: info.sha256,
        status: info.status.as_str().to_owned(),
        tools: info.tools,
    }
}
