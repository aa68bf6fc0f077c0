//! From a policy's mounts to those that a guest sees.

use sandglass_policy::{Access, Policy};

use crate::vfs::Mount;

/// Returns the read-only parts of a sandbox's own tree.
pub(crate) fn read_only(policy: &Policy) -> Vec<Mount> {
    let grants = policy.grants();
    let mounts = grants.mounts.into_iter().map(|mount| match mount.access {
        Access::Ro => Mount::ReadOnly { at: mount.path.into_bytes() },
    });
    mounts.collect()
}
