//! What to try next: lines that work when they are pasted.

use std::env;
use std::path::Path;

use super::place::Place;
use crate::cli::console::{Console, Look};
use crate::cli::failure::Failure;
use crate::cli::terminal;
use crate::server::Server;

/// How it goes on.
pub(super) struct Way<'a> {
    /// Whether the demo's own service stays.
    pub(super) stays: bool,
    pub(super) server: &'a Server,
    pub(super) place: &'a Place,
    pub(super) sandbox: &'a str,
}

pub(super) fn say(console: &Console, way: &Way<'_>) -> Result<(), Failure> {
    let program = program();
    let sandbox = terminal::name(way.sandbox);
    let kept = way.place.is_kept();
    let token_file = quoted(&way.server.token_file());
    let mut lines = Vec::new();
    let mut serve = None;
    if way.stays {
        lines.push(format!("export SANDGLASS_SERVER={}", way.server.url()));
        lines.push(format!("export SANDGLASS_TOKEN=$(cat {token_file})"));
    } else {
        let data = if kept { format!(" --data {}", quoted(way.place.data())) } else { String::new() };
        let own_file = "\"${XDG_DATA_HOME:-$HOME/.local/share}/sandglass/token\"".to_owned();
        serve = Some(format!("{program} serve{data}"));
        lines.push("export SANDGLASS_SERVER=http://127.0.0.1:7777".to_owned());
        lines.push(format!("export SANDGLASS_TOKEN=$(cat {})", if kept { token_file } else { own_file }));
    }
    lines.push(
        r#"ask() { curl -sS -H "Authorization: Bearer $SANDGLASS_TOKEN" -H 'Content-Type: application/json' "$@"; echo; }"#
            .to_owned(),
    );
    let at = "\"$SANDGLASS_SERVER/v1/sandboxes";
    if !way.stays && !kept {
        lines.push(format!("ask -d '{{\"name\": \"{sandbox}\"}}' {at}\""));
    }
    let code =
        r#"{"tool": "python", "arguments": {"code": "open(\"hello.txt\", \"w\").write(\"hello\"); print(6 * 7)"}}"#;
    lines.push(format!("ask -d '{code}' {at}/{sandbox}/calls\""));
    lines.push(format!("ask {at}/{sandbox}/diff\""));
    lines.push(format!("ask -d '{{}}' {at}/{sandbox}/undo\""));
    lines.push(format!("{program} log {sandbox}"));
    let head = match (way.stays, kept) {
        (true, true) => "Try next, in another terminal. Ctrl-C here ends the service; its data stays.",
        (true, false) => "Try next, in another terminal. Ctrl-C here ends the service and removes its data.",
        (false, true) => "Try next. This demo's service ends now; its data stays.",
        (false, false) => "Try next. This demo's service ends now and its data is removed; these lines start afresh.",
    };
    console.print(&format!("\n{}", console.paint(Look::Strong, head)))?;
    if let Some(serve) = serve {
        console.print(&format!("{}\n  {serve}", console.paint(Look::Faint, "In one terminal:")))?;
        console.print(&console.paint(Look::Faint, "In another:"))?;
    }
    lines.iter().try_for_each(|line| console.print(&format!("  {line}")))
}

/// Returns the name under which this program was started.
fn program() -> String {
    env::args_os().next().map_or_else(|| "sandglass".to_owned(), |given| quoted(Path::new(&given)))
}

/// Writes a path as one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte));
    if plain && !text.is_empty() { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b_c.d")), "/tmp/a-b_c.d");
        assert_eq!(quoted(Path::new("/tmp/it's $HOME")), "'/tmp/it'\\''s $HOME'");
    }
}
