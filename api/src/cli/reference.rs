//! The reference of the command line as Markdown: what `docs/cli.md` holds.

use clap::Command;

const HEAD: &str = "\
# The command line

`sandglass COMMAND`: every command but `demo`, `serve`, `guests`, `doctor`, `openapi` and `completions` is a client of the
[REST service](api.md) at `--server`. This page is what `sandglass COMMAND --help` prints; a test keeps it true.

With `--json` a command prints one JSON object on standard output (`log --follow` one a line): the service's own answer where
there is one. A failure is then one JSON object on standard error: the service's problem document, or one like it.

Names, paths, messages and file contents come from sandboxes. On a terminal, characters that would control it or make a line
read as another are shown as escapes (`\\x1b`, `\\u{202e}`); of what programs print, colours, tabs and line ends pass. Into files
and pipes, `call` and `files cat` write exactly what was printed.

The token is the one in `--token-file`, else in `SANDGLASS_TOKEN`, else in the file `token` of the data directory; that last
one is sent to this machine only.

Exit codes:

| code | meaning |
|---|---|
| 0 | done |
| 1 | `diff --exit-code` found a difference; a check of `doctor`, `guests verify` or `demo` failed |
| 2 | the command line can't be understood |
| 124 | the call ran past its wall limit |
| 125 | the command or the service failed |
| 126 | not allowed |
| 127 | there is no such sandbox, file, state, tool |
| 130 | the call was cancelled |
| 134 | the guest trapped |
| 137 | the call reached another limit |
| other | `call`: what the program exited with |
";

/// Width of the help texts in the reference.
const COLUMNS: usize = 110;

/// Returns the reference of the command line, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut command = super::command().term_width(COLUMNS);
    command.build();
    let mut out = HEAD.to_owned();
    section(&mut out, &mut command, "sandglass", 2);
    out
}

fn section(out: &mut String, command: &mut Command, path: &str, level: usize) {
    // Options that every command takes are shown once.
    let globals: Vec<_> =
        if level > 2 { command.get_arguments().filter(|argument| argument.is_global_set()).map(|argument| argument.get_id().clone()).collect() } else { Vec::new() };
    let mut shown = command.clone().term_width(COLUMNS);
    for id in globals {
        shown = shown.mut_arg(id, |argument| argument.hide(true));
    }
    let help = shown.render_long_help().to_string();
    let help: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
    out.push_str(&format!("\n{} {path}\n\n```text\n{}\n```\n", "#".repeat(level), help.join("\n")));
    for subcommand in command.get_subcommands_mut() {
        if subcommand.get_name() != "help" && !subcommand.is_hide_set() {
            let path = format!("{path} {}", subcommand.get_name());
            section(out, subcommand, &path, level + 1);
        }
    }
}
