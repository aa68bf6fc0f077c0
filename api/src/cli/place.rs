//! Where things lie on this machine when nothing else is said: the XDG base directories.

use std::env;
use std::path::PathBuf;

use super::failure::Failure;

/// Returns the directory of the service's data.
pub(crate) fn data() -> Result<PathBuf, Failure> {
    below("XDG_DATA_HOME", ".local/share", "sandglass", "--data DIR or SANDGLASS_DATA")
}

/// Returns the directory of the guests: they can be fetched and compiled again, so they are a cache, shared by all data
/// directories of a user.
pub(crate) fn guests() -> Result<PathBuf, Failure> {
    below("XDG_CACHE_HOME", ".cache", "sandglass/guests", "--guests DIR or SANDGLASS_GUESTS")
}

fn below(variable: &str, of_home: &str, own: &str, otherwise: &str) -> Result<PathBuf, Failure> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(of_home)));
    base.map(|base| base.join(own))
        .ok_or_else(|| Failure::new("this user has no home directory").hinted(format!("name one with {otherwise}")))
}
