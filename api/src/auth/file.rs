//! The admin's token: in a file of the data directory that only this user can read, made at the first start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The name of the token's file in the data directory.
pub const TOKEN_FILE: &str = "token";
const TOKEN_PREFIX: &str = "sg_";
const TOKEN_RANDOM_BYTES: usize = 32;
const TOKEN_BYTES_MAX: u64 = 4096;

/// Makes the secret of a token: `sg_` and 256 random bits, as letters, digits, `-` and `_`.
pub(crate) fn new_secret() -> Result<String, getrandom::Error> {
    let mut random = [0; TOKEN_RANDOM_BYTES];
    getrandom::fill(&mut random)?;
    Ok(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

/// Why the token file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Reading, making or writing it failed.
    #[error("the token file {path} can't be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read it.
    #[error(
        "the token file {path} can be read by other users (mode {mode:04o}): run `chmod 600` on it, or delete it for a new token"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no token.
    #[error("the token file {path} holds no token (`sg_` and at least 32 letters and digits): delete it for a new one")]
    Content {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the token of a data directory, or makes one: 256 random bits, in a file for this user alone.
///
/// # Errors
/// The file can't be read or made, others can read it, or it holds something else.
pub fn open_token(data: &Path) -> Result<String, TokenError> {
    let path = data.join(TOKEN_FILE);
    let io = |source| TokenError::Io { path: path.clone(), source };
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_token(data, &path).map_err(io),
        Err(error) => Err(io(error)),
        Ok(found) if found.mode() & 0o077 != 0 => Err(TokenError::Open { path, mode: found.mode() & 0o7777 }),
        Ok(found) if !found.is_file() || found.len() > TOKEN_BYTES_MAX => Err(TokenError::Content { path }),
        Ok(_) => {
            let text = fs::read_to_string(&path).map_err(io)?;
            let token = text.trim();
            let long = token.strip_prefix(TOKEN_PREFIX).is_some_and(|random| random.len() >= TOKEN_RANDOM_BYTES);
            let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
            if long && plain { Ok(token.to_owned()) } else { Err(TokenError::Content { path }) }
        }
    }
}

fn make_token(data: &Path, path: &Path) -> io::Result<String> {
    let token = new_secret().map_err(io::Error::other)?;
    // Written beside and renamed, so that a crash leaves a whole token or none.
    let unfinished = data.join(format!(".{TOKEN_FILE}.new"));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    fs::File::open(data)?.sync_all()?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_for_this_user_alone() {
        let data = tempfile::tempdir().unwrap();
        let token = open_token(data.path()).unwrap();
        assert!(token.starts_with("sg_") && token.len() == 46);
        assert_eq!(open_token(data.path()).unwrap(), token);
        let file = data.path().join(TOKEN_FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(open_token(data.path()), Err(TokenError::Open { mode: 0o640, .. })));
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_one() {
        for content in
            ["", "\n", "sg_short", "password password password password", "sg_\u{e9}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
        {
            let data = tempfile::tempdir().unwrap();
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(data.path().join(TOKEN_FILE)).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            assert!(matches!(open_token(data.path()), Err(TokenError::Content { .. })), "{content:?}");
        }
    }
}
