//! What goes over the wire about tokens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look: at sandboxes, states, files, logs, guests.
    Read,
    /// Run and cancel calls, write and remove files.
    Call,
    /// Undo, redo, restore, fork, name checkpoints.
    Undo,
    /// Everything: also create and delete sandboxes, delete checkpoints, make and revoke tokens.
    Admin,
}

impl Scope {
    /// All scopes, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Read, Self::Call, Self::Undo, Self::Admin];

    /// Returns its name, as requests and answers have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Call => "call",
            Self::Undo => "undo",
            Self::Admin => "admin",
        }
    }

    /// Returns what it allows, for people.
    #[must_use]
    pub const fn allows(self) -> &'static str {
        match self {
            Self::Read => "look at sandboxes, states, files, logs and guests",
            Self::Call => "run and cancel calls, write and remove files",
            Self::Undo => "undo, redo, restore, fork, name checkpoints",
            Self::Admin => "everything: also create and delete sandboxes, delete checkpoints, make and revoke tokens",
        }
    }

    /// Writes scopes with commas between.
    #[must_use]
    pub fn join(scopes: &[Self]) -> String {
        scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A text that names no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one of read, call, undo and admin")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

/// A new token.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "agent", "scopes": ["read", "call", "undo"], "sandbox": "shop", "expires_in_seconds": 86400}))]
pub struct CreateToken {
    /// Who has it: stands in the log as the actor. Names need not be unique; `admin` is taken.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    pub name: String,
    /// What it may do.
    #[schema(min_items = 1, max_items = 16)]
    pub scopes: Vec<Scope>,
    /// The only sandbox that it may know of, by id or name; all of them when absent. Not together with `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sandbox: Option<String>,
    /// After how long it ends by itself; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 315_360_000)]
    pub expires_in_seconds: Option<u64>,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id; no secret.
    pub id: String,
    /// Who has it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The id of the only sandbox that it may know of.
    pub sandbox: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    pub expires: Option<String>,
    /// When it was revoked.
    #[schema(format = DateTime)]
    pub revoked: Option<String>,
    /// When it was last used, to the minute, since the service started.
    #[schema(format = DateTime)]
    pub last_used: Option<String>,
    /// Whether it opens anything now.
    pub status: TokenStatus,
}

/// Whether a token opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenStatus {
    /// It does.
    Active,
    /// It has ended by itself.
    Expired,
    /// It was revoked.
    Revoked,
}

/// A token that was just made, with its secret: the only time that it is told.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// What goes into `Authorization: Bearer`. The service keeps only its hash.
    #[schema(value_type = String)]
    pub secret: Secret,
}

/// A text that must not get into any log: `Debug` does not show it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_in_one_way() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        assert_eq!(Scope::join(&Scope::ALL), "read,call,undo,admin");
        assert_eq!("".parse::<Scope>(), Err(UnknownScope));
    }

    #[test]
    fn a_secret_is_not_shown_by_accident() {
        assert_eq!(format!("{:?}", Secret("sg_x".to_owned())), "Secret(..)");
    }
}
