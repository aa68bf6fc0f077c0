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
    let mut lines = Vec::new();
    let sandbox = terminal::name(way.sandbox);
    let head = if way.stays {
        lines.push(format!("export SANDGLASS_SERVER={}", way.server.url()));
        lines.push(format!("export SANDGLASS_TOKEN=$(cat {})", quoted(&way.server.token_file())));
        "Try next, in another terminal (Ctrl-C ends the service"
    } else {
        let data = if way.place.is_kept() { format!(" --data {}", quoted(way.place.data())) } else { String::new() };
        let token = if way.place.is_kept() {
            quoted(&way.server.token_file())
        } else {
            "\"${XDG_DATA_HOME:-$HOME/.local/share}/sandglass/token\"".to_owned()
        };
        lines.push(format!("{program} serve{data}        # in another terminal"));
        lines.push("export SANDGLASS_SERVER=http://127.0.0.1:7777".to_owned());
        lines.push(format!("export SANDGLASS_TOKEN=$(cat {token})"));
        "Try next (this demo's service ends now"
    };
    let fate = if way.place.is_kept() { "its data stays):" } else { "its data is removed):" };
    let curl = r#"curl -sS -H "Authorization: Bearer $SANDGLASS_TOKEN" -H 'Content-Type: application/json'"#;
    let at = "\"$SANDGLASS_SERVER/v1/sandboxes";
    if !way.stays && !way.place.is_kept() {
        lines.push(format!("{curl} -d '{{\"name\": \"{sandbox}\"}}' {at}\""));
    }
    let code = r#"{"tool": "python", "arguments": {"code": "open(\"hello.txt\", \"w\").write(\"hello\"); print(6 * 7)"}}"#;
    lines.push(format!("{curl} -d '{code}' {at}/{sandbox}/calls\""));
    lines.push(format!("{curl} {at}/{sandbox}/diff\""));
    lines.push(format!("{curl} -d '{{}}' {at}/{sandbox}/undo\""));
    lines.push(format!("{curl} {at}/{sandbox}/operations\""));
    lines.push(format!("{program} log {sandbox}"));
    console.print(&format!("\n{}", console.paint(Look::Strong, &format!("{head}; {fate}"))))?;
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
