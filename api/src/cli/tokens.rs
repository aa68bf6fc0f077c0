//! `sandglass tokens`: who may do what with the service.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::console::{Console, Look, Text};
use super::failure::{Failure, exit};
use super::{size, terminal};
use crate::http::types::{CreateToken, Page, Scope, Token, TokenStatus};

const EXAMPLES: &str = "\
Examples:
  sandglass tokens create agent --sandbox shop              for an agent: it sees and changes this sandbox only
  sandglass tokens create ci --scopes read --expires-in 7d  looks at everything, for a week
  SANDGLASS_TOKEN=$(sandglass tokens create me --sandbox shop) sandglass log shop
  sandglass tokens ls
  sandglass tokens revoke tok_0190...";

/// Make, list and revoke tokens. An agent is given one for its own sandbox, which can take nothing away for good.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token and print its secret. It is shown this once: the service keeps only its hash.
    Create {
        /// Who gets it; stands in the log as the actor.
        name: String,
        /// The only sandbox that it may know of [default: all].
        #[arg(long)]
        sandbox: Option<String>,
        /// What it may do: read (look), call (run calls, write files), undo (undo, redo, restore, fork, checkpoints),
        /// admin (everything).
        #[arg(long, value_name = "SCOPES", value_delimiter = ',', default_value = "read,call,undo")]
        scopes: Vec<Scope>,
        /// After how long it ends by itself, such as 30m, 12h or 7d [default: never].
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires_in: Option<u64>,
    },
    /// List the tokens, without their secrets.
    #[command(visible_alias = "list")]
    Ls,
    /// Revoke tokens: they open nothing from now on.
    Revoke {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// Reads a lifetime in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let refused = || format!("`{text}` is not a lifetime: write a whole number and s, m, h or d, as in 7d");
    let (digits, size) =
        UNITS.iter().find_map(|(unit, size)| text.strip_suffix(*unit).map(|rest| (rest, *size))).ok_or_else(refused)?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(refused());
    }
    let count: u64 = digits.parse().map_err(|_| refused())?;
    count.checked_mul(size).filter(|seconds| *seconds > 0).ok_or_else(refused)
}

impl Tokens {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        match self.action {
            Action::Create { name, sandbox, scopes, expires_in } => {
                create(console, &CreateToken { name, scopes, sandbox, expires_in_seconds: expires_in })
            }
            Action::Ls => list(console),
            Action::Revoke { ids } => revoke(console, &ids),
        }
    }
}

fn create(console: &Console, request: &CreateToken) -> Result<u8, Failure> {
    let made = console.client()?.create_token(request)?;
    if console.json {
        console.object(&made)?;
        return Ok(exit::OK);
    }
    // The secret alone on standard output, so that it can be put into a variable or a file.
    console.print(&terminal::name(&made.secret.0))?;
    let (name, id) = (terminal::name(&made.token.name), terminal::name(&made.token.id));
    console.note(&format!("that is the secret of token {name} ({id}): it is shown this once, so keep it now"));
    match request.sandbox.as_deref().map(terminal::name) {
        Some(sandbox) => console.note(&format!("it may {} in {sandbox} only", Scope::join(&made.token.scopes))),
        None => console.note(&format!("it may {} in all sandboxes", Scope::join(&made.token.scopes))),
    }
    Ok(exit::OK)
}

fn list(console: &Console) -> Result<u8, Failure> {
    let client = console.client()?;
    let tokens = client.tokens()?;
    if console.json {
        console.object(&Page { items: tokens, next_cursor: None })?;
        return Ok(exit::OK);
    }
    if tokens.is_empty() {
        console.note("there are no tokens but the one of the data directory; make one with `sandglass tokens create`");
        return Ok(exit::OK);
    }
    // People know sandboxes by name; an id that is left names one that was deleted.
    let sandboxes = client.sandboxes()?;
    let name_of = |id: &str| {
        let known = sandboxes.iter().find(|sandbox| sandbox.id == id);
        terminal::name(known.map_or(id, |sandbox| &sandbox.name))
    };
    let now = Timestamp::now();
    let rows = tokens.iter().map(|token| {
        vec![
            Text::from(terminal::name(&token.id)),
            Text::from(terminal::name(&token.name)).strong(),
            Scope::join(&token.scopes).into(),
            token.sandbox.as_deref().map_or_else(|| "(all)".to_owned(), name_of).into(),
            status(token),
            size::age(&token.created, now).into(),
            token.expires.as_deref().map_or_else(|| "never".to_owned(), day).into(),
            token.last_used.as_deref().map_or_else(|| "-".to_owned(), |time| size::age(time, now)).into(),
        ]
    });
    let head = ["ID", "NAME", "SCOPES", "SANDBOX", "STATUS", "CREATED", "EXPIRES", "LAST USED"];
    console.table(&head, &[], rows.collect())?;
    Ok(exit::OK)
}

fn status(token: &Token) -> Text {
    match token.status {
        TokenStatus::Active => Text::from("active").with(Look::Good),
        TokenStatus::Expired => Text::from("expired").faint(),
        TokenStatus::Revoked => Text::from("revoked").with(Look::Bad),
    }
}

/// Writes a time to the minute.
fn day(time: &str) -> String {
    time.parse::<Timestamp>().map_or_else(|_| terminal::name(time), |time| time.strftime("%Y-%m-%d %H:%MZ").to_string())
}

fn revoke(console: &Console, ids: &[String]) -> Result<u8, Failure> {
    let client = console.client()?;
    for id in ids {
        client.revoke_token(id)?;
        if !console.json {
            console.print(&format!("{} is revoked", terminal::name(id)))?;
        }
    }
    if console.json {
        console.object(&json!({ "revoked": ids }))?;
    }
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_strictly() {
        for (text, expected) in [("1s", 1), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in ["", "7", "d", "0d", "-1d", "+1d", "1.5h", "7w", "99999999999999999999d", "9999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
