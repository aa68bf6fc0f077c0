//! Tokens: made with a secret that is told once, listed without it, revoked at once. For admins alone.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sandglass_runtime::Timestamp;

use super::extract::{Json, Path, Query};
use super::idempotency::IDEMPOTENCY_KEY;
use super::page::{List, PageQuery, page};
use super::problem::{Failure, Kind};
use super::{Service, types, view};
use crate::auth::{self, ADMIN, Caller, Scope, Tokens};
use crate::control::tokens::Row;
use crate::control::{Control, now_ms};

const NAME_BYTES_MAX: usize = 63;
const SCOPES_MAX: usize = 16;
const SECONDS_MAX: u64 = 315_360_000;
/// Most tokens that are kept: all of them are in memory. Those that have ended go first.
const TOKENS_MAX: usize = 100_000;

/// Make a token.
///
/// The answer has the secret, and no other answer ever has: only its hash is kept. That is why this takes no
/// `Idempotency-Key`: an answer that is kept would keep the secret. A token that got lost on the way is revoked and made again.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = types::CreateToken,
    responses((status = 201, body = types::CreatedToken)))]
pub(crate) async fn create(
    State(service): State<Service>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<types::CreateToken>,
) -> Result<Response, Failure> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(Failure::invalid("idempotency_key_unsupported", "a secret is not kept to be told again")
            .hinted("leave `Idempotency-Key` out; revoke a token whose secret did not arrive"));
    }
    let (name, scopes, lasts_ms) = checked(&body)?;
    if service.tokens.count() >= TOKENS_MAX {
        service.change_tokens(|control, tokens| control.forget_ended_tokens().map(|()| tokens.forget_ended())).await?;
    }
    if service.tokens.count() >= TOKENS_MAX {
        return Err(Failure::new(Kind::Conflict, "too_many_tokens", format!("there are {TOKENS_MAX} tokens"))
            .hinted("revoke those that nobody uses, and let new ones expire"));
    }
    let sandbox = match body.sandbox {
        None => None,
        Some(sandbox) => Some(service.look_in(sandbox, |sandbox| Ok(sandbox.id())).await?),
    };
    let secret = auth::new_secret().map_err(Failure::internal)?;
    let now = now_ms();
    let row = Row {
        id: new_id(now)?,
        name,
        hash: *blake3::hash(secret.as_bytes()).as_bytes(),
        scopes,
        sandbox,
        created_ms: now,
        expires_ms: lasts_ms.map(|lasts| now.saturating_add(lasts)),
        revoked_ms: None,
    };
    let made = service.change_tokens(move |control, tokens| control.add_token(&row).map(|()| tokens.add(row))).await?;
    let token = shown(&made);
    let scopes = Scope::join(&token.scopes);
    tracing::info!(
        token.id = token.id,
        token.name = token.name,
        scopes,
        sandbox.id = token.sandbox,
        actor = caller.name(),
        "token made"
    );
    let location = HeaderValue::try_from(format!("/v1/tokens/{}", token.id)).map_err(Failure::internal)?;
    let body = types::CreatedToken { token, secret: types::Secret(secret) };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Answer(body)).into_response())
}

/// Checks a request, and returns the name, the scopes in their order, and the lifetime in milliseconds.
fn checked(body: &types::CreateToken) -> Result<(String, Vec<Scope>, Option<i64>), Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = body.name.len() <= NAME_BYTES_MAX && body.name.bytes().all(plain);
    if !fits || !body.name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Failure::invalid("invalid_name", "this can't be a token's name").hinted(format!(
            "use 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores, starting with a letter or digit"
        )));
    }
    if body.name == ADMIN {
        return Err(Failure::invalid(
            "invalid_name",
            "`admin` in a log is whoever has the token of the data directory",
        ));
    }
    if body.scopes.is_empty() || body.scopes.len() > SCOPES_MAX {
        return Err(Failure::invalid("invalid_scopes", "a token has at least one scope, and each once"));
    }
    let scopes: Vec<_> = Scope::ALL.into_iter().filter(|scope| body.scopes.contains(scope)).collect();
    if body.sandbox.is_some() && scopes.contains(&Scope::Admin) {
        return Err(Failure::invalid(
            "invalid_scopes",
            "a token that is bound to a sandbox can't have the scope `admin`",
        )
        .hinted("`read`, `call` and `undo` can be had for one sandbox"));
    }
    let lasts_ms = match body.expires_in_seconds {
        None => None,
        Some(seconds @ 1..=SECONDS_MAX) => {
            Some(i64::try_from(seconds).map_err(Failure::internal)?.saturating_mul(1000))
        }
        Some(_) => {
            let message = format!("expires_in_seconds is a number from 1 to {SECONDS_MAX}");
            return Err(Failure::invalid("invalid_body", message));
        }
    };
    Ok((body.name.clone(), scopes, lasts_ms))
}

/// Makes an id: ids of later tokens are greater.
fn new_id(now: i64) -> Result<String, Failure> {
    let random = getrandom::u64().map_err(Failure::internal)?;
    Ok(format!("tok_{:012x}{random:016x}", now.max(0)))
}

/// List the tokens.
///
/// By the time they were made; those that were revoked or have expired are listed for 30 days. The token of the data directory
/// is not listed.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = types::Page<types::Token>)))]
pub(crate) async fn list(
    State(service): State<Service>,
    Query(query): Query<PageQuery>,
) -> Result<Answer<types::Page<types::Token>>, Failure> {
    let limit = query.limit()?;
    let after = query.position(List::Tokens)?;
    let found = service.tokens.list(after.as_deref(), limit + 1);
    let found = found.iter().map(|token| shown(token)).collect();
    Ok(Answer(page(found, limit, List::Tokens, |token: &types::Token| token.id.clone())))
}

/// Revoke a token.
///
/// It opens nothing from the answer on, and streams that it has open end with their next event. Calls that it started go on.
/// A token that has ended stays as it is.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "Its id.")),
    responses((status = 204, description = "It opens nothing any more.")))]
pub(crate) async fn revoke(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let named = id.clone();
    let ended = service
        .change_tokens(move |control, tokens| {
            let ended = control.revoke_token(&named)?;
            if let Some(time) = ended {
                tokens.end(&named, time);
            }
            Ok(ended)
        })
        .await?;
    if ended.is_none() {
        return Err(Failure::new(Kind::NotFound, "unknown_token", "there is no token of this id")
            .hinted("list the tokens to see their ids; a secret is no id"));
    }
    tracing::info!(token.id = id, actor = caller.name(), "token revoked");
    Ok(StatusCode::NO_CONTENT)
}

impl Service {
    /// Changes tokens on disk and then in memory. In one piece of work, which goes on when the client goes away.
    async fn change_tokens<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Control, &Tokens) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let service = self.clone();
        let done = self.gate.change(move || work(&service.control, &service.tokens)).await?;
        done.map_err(Failure::internal)
    }
}

fn shown(token: &auth::Token) -> types::Token {
    let time = |milliseconds: i64| view::time(Timestamp(milliseconds.saturating_mul(1_000_000)));
    let row = &token.row;
    let revoked = token.revoked_ms();
    types::Token {
        id: row.id.clone(),
        name: row.name.clone(),
        scopes: row.scopes.clone(),
        sandbox: row.sandbox.map(|sandbox| sandbox.to_string()),
        created: time(row.created_ms),
        expires: row.expires_ms.map(time),
        revoked: revoked.map(time),
        last_used: token.last_used_ms().map(time),
        status: match revoked {
            Some(_) => types::TokenStatus::Revoked,
            None if token.is_expired() => types::TokenStatus::Expired,
            None => types::TokenStatus::Active,
        },
    }
}
