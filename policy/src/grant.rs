//! What a call is given: limits and mounts. Whatever is not here does not exist for the guest.

use crate::document::{Access, Limits, Policy};

/// One host directory in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedMount {
    /// Where the guest sees it: absolute, without `.`, `..` or a trailing slash.
    pub path: String,
    /// The directory of the host, as the policy names it.
    pub host: String,
    /// What may be done there.
    pub access: Access,
}

/// What one policy gives a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// How much a call may use.
    pub limits: Limits,
    /// Host directories, by path.
    pub mounts: Vec<GrantedMount>,
}

impl Policy {
    /// Returns what a call gets under this policy.
    #[must_use]
    pub fn grants(&self) -> Grants {
        let mounts = self.fs.iter().map(|(path, rule)| GrantedMount {
            path: path.clone(),
            host: rule.host.clone(),
            access: rule.mode,
        });
        Grants { limits: self.limits, mounts: mounts.collect() }
    }
}
