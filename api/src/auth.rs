//! Who calls: bearer tokens, the principals behind them, and what they may do.
//!
//! The admin's token is in a file that only this user can read. All others are made by an admin and kept in `control.db`, as
//! hashes; here they are in memory, found by the hash of what a request brings. A token comes only in the `Authorization`
//! header (never in a URL or a cookie, which leak), and is never logged. Which route asks for which scope is in `access.rs`.

mod file;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use sandglass_runtime::SandboxId;
use subtle::ConstantTimeEq;

use crate::control::tokens::Row;
use crate::control::{Control, now_ms};
use crate::http::problem::{Failure, Kind};
pub use crate::http::types::Scope;
pub(crate) use file::new_secret;
pub use file::{TOKEN_FILE, TokenError, open_token};

/// The name of who has the token of the file; no other token can have it.
pub(crate) const ADMIN: &str = "admin";
/// How exact it is known when a token was last used: it is nobody's business to the second.
const LAST_USED_STEP_MS: i64 = 60_000;

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's id; two tokens of one name are two principals.
    pub id: String,
    /// Its name, as it stands in the log as the actor.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only sandbox that it may know of.
    pub sandbox: Option<SandboxId>,
}

impl Principal {
    /// Whether it may do what needs this scope.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

/// A token that was made: what is on disk of it, and when it was last used since the service started.
pub(crate) struct Token {
    pub(crate) row: Row,
    principal: Arc<Principal>,
    /// 0 while it is not revoked.
    revoked_ms: AtomicI64,
    /// 0 while it was not used.
    last_used_ms: AtomicI64,
}

impl Token {
    fn new(row: Row) -> Self {
        let principal =
            Principal { id: row.id.clone(), name: row.name.clone(), scopes: row.scopes.clone(), sandbox: row.sandbox };
        let revoked_ms = AtomicI64::new(row.revoked_ms.unwrap_or(0));
        Self { row, principal: Arc::new(principal), revoked_ms, last_used_ms: AtomicI64::new(0) }
    }

    pub(crate) fn revoked_ms(&self) -> Option<i64> {
        Some(self.revoked_ms.load(Ordering::SeqCst)).filter(|time| *time != 0)
    }

    pub(crate) fn last_used_ms(&self) -> Option<i64> {
        Some(self.last_used_ms.load(Ordering::Relaxed)).filter(|time| *time != 0)
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.row.expires_ms.is_some_and(|expires| expires <= now_ms())
    }

    fn check(&self) -> Result<(), Failure> {
        if self.revoked_ms().is_some() {
            return Err(invalid("revoked_token", "this token was revoked"));
        }
        if self.is_expired() {
            return Err(invalid("expired_token", "this token has expired"));
        }
        Ok(())
    }
}

/// The principal of the request, as the layer `middleware::authenticate` found it.
#[derive(Clone)]
pub(crate) struct Caller {
    principal: Arc<Principal>,
    /// The token, unless it is the one of the file.
    token: Option<Arc<Token>>,
}

impl Caller {
    pub(crate) fn name(&self) -> &str {
        &self.principal.name
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The only sandbox that the caller may know of.
    pub(crate) fn bound(&self) -> Option<SandboxId> {
        self.principal.sandbox
    }

    /// Whether the token can end before the service does.
    pub(crate) const fn can_end(&self) -> bool {
        self.token.is_some()
    }

    /// Refuses a token that has ended; asked again wherever a request lasts.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.token.as_ref().map_or(Ok(()), |token| token.check())
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Failure::internal("a handler that needs a principal is behind no authentication"))
    }
}

/// The tokens that are accepted. A handle: clones are the same tokens.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    admin: blake3::Hash,
    principal: Arc<Principal>,
    made: RwLock<Made>,
}

#[derive(Default)]
struct Made {
    by_hash: HashMap<[u8; 32], Arc<Token>>,
    by_id: BTreeMap<String, Arc<Token>>,
}

impl Made {
    fn add(&mut self, row: Row) -> Arc<Token> {
        let token = Arc::new(Token::new(row));
        self.by_hash.insert(token.row.hash, Arc::clone(&token));
        self.by_id.insert(token.row.id.clone(), Arc::clone(&token));
        token
    }
}

impl Tokens {
    /// Accepts the token of the file, for the principal `admin`, and those that were made.
    pub(crate) fn open(admin: &str, control: &Control) -> rusqlite::Result<Self> {
        let tokens = Self::of_admin(admin);
        let rows = control.tokens()?;
        let mut made = tokens.0.made.write().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            made.add(row);
        }
        drop(made);
        Ok(tokens)
    }

    fn of_admin(token: &str) -> Self {
        let principal =
            Principal { id: ADMIN.to_owned(), name: ADMIN.to_owned(), scopes: vec![Scope::Admin], sandbox: None };
        let admin = blake3::hash(token.as_bytes());
        Self(Arc::new(Inner { admin, principal: Arc::new(principal), made: RwLock::default() }))
    }

    /// Accepts a token that is on disk now.
    pub(crate) fn add(&self, row: Row) -> Arc<Token> {
        self.0.made.write().unwrap_or_else(PoisonError::into_inner).add(row)
    }

    /// Refuses a token from now on, whose revocation is on disk.
    pub(crate) fn end(&self, id: &str, revoked_ms: i64) {
        if let Some(token) = self.get(id) {
            token.revoked_ms.store(revoked_ms, Ordering::SeqCst);
        }
    }

    /// Forgets the tokens that have ended.
    pub(crate) fn forget_ended(&self) {
        let mut made = self.0.made.write().unwrap_or_else(PoisonError::into_inner);
        made.by_hash.retain(|_, token| token.check().is_ok());
        made.by_id.retain(|_, token| token.check().is_ok());
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Token>> {
        self.0.made.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).map(Arc::clone)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.made.read().unwrap_or_else(PoisonError::into_inner).by_id.len()
    }

    /// Returns tokens by id, after one.
    pub(crate) fn list(&self, after: Option<&str>, limit: usize) -> Vec<Arc<Token>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let made = self.0.made.read().unwrap_or_else(PoisonError::into_inner);
        made.by_id.range::<str, _>((from, Bound::Unbounded)).take(limit).map(|(_, token)| Arc::clone(token)).collect()
    }

    /// Finds who sent a request.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(refused("missing_token", "this needs one Authorization header with a bearer token"));
        };
        let token = bearer(value)
            .ok_or_else(|| refused("missing_token", "the Authorization header does not hold a bearer token"))?;
        // Hashes have one length and no relation to how far a guess is right, so nothing about a token shows in the time.
        let given = blake3::hash(token);
        if bool::from(given.as_bytes().ct_eq(self.0.admin.as_bytes())) {
            return Ok(Caller { principal: Arc::clone(&self.0.principal), token: None });
        }
        let made = self.0.made.read().unwrap_or_else(PoisonError::into_inner);
        let token = made.by_hash.get(given.as_bytes()).map(Arc::clone);
        drop(made);
        let Some(token) = token else { return Err(invalid("wrong_token", "nobody has this token")) };
        token.check()?;
        let now = now_ms();
        token.last_used_ms.store(now - now.rem_euclid(LAST_USED_STEP_MS), Ordering::Relaxed);
        Ok(Caller { principal: Arc::clone(&token.principal), token: Some(token) })
    }
}

fn refused(code: &'static str, detail: &'static str) -> Failure {
    Failure::new(Kind::Unauthenticated, code, detail)
        .hinted("send `Authorization: Bearer TOKEN` with the token in the file `token` of the data directory, or one that was made for you")
}

fn invalid(code: &'static str, detail: &'static str) -> Failure {
    let challenge = HeaderValue::from_static("Bearer realm=\"sandglass\", error=\"invalid_token\"");
    refused(code, detail).with_header(WWW_AUTHENTICATE, challenge)
}

fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(tokens: &Tokens, value: &str) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        tokens.authenticate(&headers).map(|caller| caller.name().to_owned()).map_err(|failure| failure.code())
    }

    #[test]
    fn only_the_token_itself_opens() {
        let tokens = Tokens::of_admin("sg_right");
        let tried = |value: &str| tried(&tokens, value);
        assert_eq!(tried("Bearer sg_right"), Ok("admin".to_owned()));
        assert_eq!(tried("bearer  sg_right"), Ok("admin".to_owned()));
        for value in ["Bearer sg_righ", "Bearer sg_right2", "Bearer SG_RIGHT", "Bearer sg_right sg_right"] {
            assert_eq!(tried(value), Err("wrong_token"), "{value}");
        }
        for value in ["", "sg_right", "Basic c2dfcmlnaHQ=", "Bearer", "Bearer ", "Bearersg_right"] {
            assert_eq!(tried(value), Err("missing_token"), "{value}");
        }
        let none = tokens.authenticate(&HeaderMap::new()).map(drop).map_err(|failure| failure.code());
        assert_eq!(none, Err("missing_token"));
    }

    #[test]
    fn made_tokens_open_until_they_end() {
        let tokens = Tokens::of_admin("sg_admin");
        let row = |id: &str, secret: &str, expires_ms| Row {
            id: id.to_owned(),
            name: "agent".to_owned(),
            hash: *blake3::hash(secret.as_bytes()).as_bytes(),
            scopes: vec![Scope::Read],
            sandbox: None,
            created_ms: 1,
            expires_ms,
            revoked_ms: None,
        };
        tokens.add(row("tok_1", "sg_one", Some(now_ms() + 60_000)));
        tokens.add(row("tok_2", "sg_two", Some(now_ms() - 1)));
        assert_eq!(tried(&tokens, "Bearer sg_one"), Ok("agent".to_owned()));
        assert!(tokens.get("tok_1").unwrap().last_used_ms().is_some_and(|time| time % LAST_USED_STEP_MS == 0));
        assert_eq!(tried(&tokens, "Bearer sg_two"), Err("expired_token"));
        tokens.end("tok_1", now_ms());
        assert_eq!(tried(&tokens, "Bearer sg_one"), Err("revoked_token"));
        assert_eq!(tokens.list(None, 10).len(), 2);
        assert_eq!(tokens.list(Some("tok_1"), 10).len(), 1);
        tokens.forget_ended();
        assert_eq!(tokens.count(), 0);
        assert_eq!(tried(&tokens, "Bearer sg_one"), Err("wrong_token"));
        assert_eq!(tried(&tokens, "Bearer sg_admin"), Ok("admin".to_owned()));
    }

    #[test]
    fn admin_has_every_scope_and_no_other_has_another() {
        for held in Scope::ALL {
            let principal = Principal { id: String::new(), name: String::new(), scopes: vec![held], sandbox: None };
            for scope in Scope::ALL {
                assert_eq!(principal.has(scope), held == scope || held == Scope::Admin, "{held:?} {scope:?}");
            }
        }
    }
}
