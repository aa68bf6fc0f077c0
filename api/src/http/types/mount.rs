//! Mounts, as they go over the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to mount where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"sandbox": "shop", "directory": "/mnt/shop"}))]
pub struct CreateMount {
    /// The sandbox whose head to mount, by id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sandbox: Option<String>,
    /// The state to mount, read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub state: Option<String>,
    /// An empty directory of the service's machine, by absolute path.
    pub directory: String,
    /// Whether other users of that machine may look, too.
    #[serde(default)]
    pub allow_others: bool,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mount {
    /// Its number.
    pub id: u64,
    /// Where it is.
    pub directory: String,
    /// The sandbox whose head it shows.
    pub sandbox: Option<String>,
    /// The state that it shows.
    pub state: Option<String>,
    /// Whether it can be written to.
    pub writable: bool,
}
