//! Who calls: bearer tokens, the principals behind them, and what they may do.
//!
//! There is one token now, the admin's, in a file that only this user can read. It is compared by hash in constant time,
//! comes only in the `Authorization` header (never in a URL or a cookie, which leak), and is never logged.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::http::problem::{Failure, Kind};

/// The name of the token's file in the data directory.
pub const TOKEN_FILE: &str = "token";
const TOKEN_PREFIX: &str = "sg_";
const TOKEN_RANDOM_BYTES: usize = 32;
const TOKEN_BYTES_MAX: u64 = 4096;

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Admin,
}

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its name, as it stands in the log as the actor.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// Lets those pass that have the scope.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Failure> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Failure::new(Kind::Forbidden, "missing_scope", "this token may not do that"))
    }
}

/// The principal of the request, as the layer `middleware::authenticate` found it.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Arc<Principal>);

impl Caller {
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Failure::internal("a handler that needs a principal is behind no authentication"))
    }
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

/// The tokens that are accepted.
#[derive(Clone)]
pub struct Tokens {
    admin: blake3::Hash,
    principal: Arc<Principal>,
}

impl Tokens {
    /// Accepts one token, for the principal `admin`.
    #[must_use]
    pub fn of_admin(token: &str) -> Self {
        let principal = Principal { name: "admin".to_owned(), scopes: vec![Scope::Admin] };
        Self { admin: blake3::hash(token.as_bytes()), principal: Arc::new(principal) }
    }

    /// Finds who sent a request.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(refused("missing_token", "this needs one Authorization header with a bearer token"));
        };
        let token = bearer(value)
            .ok_or_else(|| refused("missing_token", "the Authorization header does not hold a bearer token"))?;
        // Hashes have one length and no relation to how far a guess is right, so nothing about the token shows in the time.
        let given = blake3::hash(token);
        if bool::from(given.as_bytes().ct_eq(self.admin.as_bytes())) {
            return Ok(Caller(Arc::clone(&self.principal)));
        }
        let challenge = HeaderValue::from_static("Bearer realm=\"sandglass\", error=\"invalid_token\"");
        Err(refused("wrong_token", "nobody has this token").with_header(WWW_AUTHENTICATE, challenge))
    }
}

fn refused(code: &'static str, detail: &'static str) -> Failure {
    Failure::new(Kind::Unauthenticated, code, detail)
        .hinted("send `Authorization: Bearer TOKEN` with the token in the file `token` of the data directory")
}

fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
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
    let mut random = [0; TOKEN_RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
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

    #[test]
    fn only_the_token_itself_opens() {
        let tokens = Tokens::of_admin("sg_right");
        let tried = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            tokens.authenticate(&headers).map(|caller| caller.name().to_owned()).map_err(|failure| failure.code())
        };
        assert_eq!(tried("Bearer sg_right"), Ok("admin".to_owned()));
        assert_eq!(tried("bearer  sg_right"), Ok("admin".to_owned()));
        for value in ["Bearer sg_righ", "Bearer sg_right2", "Bearer SG_RIGHT", "Bearer sg_right sg_right"] {
            assert_eq!(tried(value), Err("wrong_token"), "{value}");
        }
        for value in ["", "sg_right", "Basic c2dfcmlnaHQ=", "Bearer", "Bearer ", "Bearersg_right"] {
            assert_eq!(tried(value), Err("missing_token"), "{value}");
        }
        assert_eq!(
            tokens.authenticate(&HeaderMap::new()).map_err(|failure| failure.code()).err(),
            Some("missing_token")
        );
    }
}
