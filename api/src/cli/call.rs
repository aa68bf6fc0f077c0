//! `sandglass call`: one tool call, its output as it comes, its exit code as ours.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgGroup, Args};
use sandglass_policy::Span;
use serde_json::{Map, Value, json};

use super::console::{Console, Look};
use super::failure::{Failure, exit};
use super::size;
use super::state::short;
use super::terminal::{self, Tamed};
use crate::client::{Client, Streamed};
use crate::http::types::{Call as Ended, CallStatus, CreateCall, OutputEvent};

const EXAMPLES: &str = "\
Examples:
  sandglass call shop --code 'print(6 * 7)'
  sandglass call shop --file analyse.py            a script of this machine
  sandglass call shop -- python3 tools/fix.py -v   a program in the sandbox, with its arguments
  sandglass call shop --code 'import sys; print(len(sys.stdin.read()))' --stdin - < big.txt
  sandglass call shop --tool files.text.count --arguments '{\"path\": \"/workspace/a.txt\"}'
  sandglass call shop --session notes --code 'x = 41'   then: --session notes --code 'x + 1'
  sandglass call shop --dry-run --file risky.py    what would it do?";

/// Run a tool in a sandbox. What it changes is one operation: `undo` takes it back.
///
/// Prints what the program prints, as it comes, and exits with its code. Ctrl-C cancels the call.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("program").required(true).args(["code", "file", "argv", "arguments"]))]
pub(crate) struct Call {
    /// The sandbox.
    sandbox: String,
    /// The tool.
    #[arg(long, default_value = "python")]
    tool: String,
    /// Run this code.
    #[arg(long, short, value_name = "CODE", allow_hyphen_values = true)]
    code: Option<String>,
    /// Run the code in this file of this machine; - for standard input.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Run a program of the sandbox with arguments.
    #[arg(last = true, value_name = "ARGV")]
    argv: Vec<String>,
    /// Call a tool with these arguments: a JSON object, as `sandglass tools show` describes it; @FILE reads it from a file.
    #[arg(long, short, value_name = "JSON", conflicts_with_all = ["env", "cwd"])]
    arguments: Option<String>,
    /// What the program reads: a file of this machine; - for our own standard input.
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// Set a variable of its environment. May be repeated.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Where it starts; relative paths are below /workspace.
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// End it after this time, such as 500ms, 30s, 5m; never later than its policy does.
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// Go on in this session, whose variables, imports and open files last from call to call.
    #[arg(long, short, value_name = "NAME")]
    session: Option<String>,
    /// Run on a fork that is thrown away: shows what would happen.
    #[arg(long)]
    dry_run: bool,
    /// Show output as it comes (the default).
    #[arg(long, overrides_with = "no_stream")]
    stream: bool,
    /// Show output at the end, standard output first.
    #[arg(long)]
    no_stream: bool,
    /// Give terminals all that the program prints, also sequences that control them.
    #[arg(long)]
    raw: bool,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

impl Call {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let request = self.request()?;
        let mut shown = Shown::new(console, self.raw);
        let at_once = !self.no_stream && !console.json;
        let id = Arc::new(OnceLock::new());
        cancel_on_interrupt(client.clone(), self.sandbox.clone(), Arc::clone(&id));
        let ended = client.call_streaming(&self.sandbox, &request, &mut |piece| match piece {
            Streamed::Started(call) => {
                let _known_already = id.set(call);
                Ok(())
            }
            Streamed::Output(output) if at_once => shown.output(&output),
            Streamed::Output(_) => Ok(()),
        });
        let ended = ended?;
        if console.json {
            console.object(&ended)?;
            return Ok(exit_code(&ended));
        }
        if !at_once {
            shown.stdout(&exact(&ended.stdout, ended.stdout_base64.as_deref()))?;
            shown.stderr(&exact(&ended.stderr, ended.stderr_base64.as_deref()))?;
        }
        shown.end()?;
        if let Some(result) = &ended.result {
            // A session shows values as its interpreter does.
            if let (Some(_), Some(text)) = (&ended.session, result.as_str()) {
                console.print(&terminal::lines(text))?;
            } else {
                let text = serde_json::to_string(result).map_err(|error| Failure::new(error.to_string()))?;
                console.print(&terminal::json(&text))?;
            }
        }
        self.tell(console, &ended);
        Ok(exit_code(&ended))
    }

    fn request(&self) -> Result<CreateCall, Failure> {
        let is_input = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if is_input(&self.file) && is_input(&self.stdin) {
            return Err(Failure::new("the code and its input can't both be standard input").exiting(2));
        }
        let mut arguments = match &self.arguments {
            Some(given) => given_arguments(given)?,
            None => Map::new(),
        };
        let text = if self.tool == "shell" { "command" } else { "code" };
        match (&self.code, &self.file) {
            _ if self.arguments.is_some() => None,
            (Some(code), _) => arguments.insert(text.to_owned(), json!(code)),
            (None, Some(file)) => arguments.insert(text.to_owned(), json!(text_of(file)?)),
            (None, None) => arguments.insert("argv".to_owned(), json!(self.argv)),
        };
        if !self.env.is_empty() {
            let env = self.env.iter().map(|(name, value)| (name.clone(), json!(value)));
            arguments.insert("env".to_owned(), Value::Object(env.collect()));
        }
        if let Some(cwd) = &self.cwd {
            arguments.insert("cwd".to_owned(), json!(super::files::absolute(cwd)));
        }
        let stdin = self.stdin.as_ref().map(text_of).transpose()?;
        Ok(CreateCall {
            tool: self.tool.clone(),
            arguments: Value::Object(arguments),
            session: self.session.clone(),
            timeout_ms: self.timeout.map(Span::milliseconds),
            stdin,
            dry_run: self.dry_run,
        })
    }

    /// Says how it ended, to a person; and to everybody, when it did not end by itself.
    fn tell(&self, console: &Console, ended: &Ended) {
        for (name, cut) in [("standard output", ended.stdout_truncated), ("standard error", ended.stderr_truncated)] {
            if cut {
                console.note(&format!("note: {name} was cut"));
            }
        }
        let well = matches!(ended.status, CallStatus::Ok | CallStatus::Error);
        if !well {
            let why =
                ended.message.as_deref().map_or_else(String::new, |message| format!(": {}", terminal::lines(message)));
            console.note(&format!(
                "{}{why}; the state is the one before",
                console.paint_note(Look::Bad, ended.status.as_str())
            ));
        } else if console.stderr_terminal {
            let look = if ended.status == CallStatus::Ok { Look::Good } else { Look::Bad };
            let status = match ended.exit_code {
                Some(code) if code != 0 => format!("exit {code}"),
                _ => ended.status.as_str().to_owned(),
            };
            let changes = size::changes(&ended.changes);
            let wall = std::time::Duration::from_secs_f64((ended.usage.wall_ms / 1e3).clamp(0.0, 1e9));
            let then = if ended.dry_run {
                "a dry run: nothing was kept".to_owned()
            } else if ended.before == ended.after {
                String::new()
            } else {
                format!(
                    "state {}; take it back with `sandglass undo {}`",
                    short(&ended.after),
                    terminal::name(&self.sandbox)
                )
            };
            let parts = [size::took(wall), changes, then];
            let rest = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
            console.note(&format!("{} {}", console.paint_note(look, &status), console.paint_note(Look::Faint, &rest)));
        }
    }
}

/// Returns what the program exits with for a call that ended this way.
pub(crate) fn exit_code(call: &Ended) -> u8 {
    match call.status {
        CallStatus::Ok => exit::OK,
        // As the system does, the low byte; but what failed must not look well.
        CallStatus::Error => {
            match call.exit_code.map(|code| code.rem_euclid(256)).and_then(|code| u8::try_from(code).ok()) {
                None | Some(0) => exit::DIFFERENT,
                Some(code) => code,
            }
        }
        CallStatus::Timeout => exit::TIMEOUT,
        CallStatus::Limit => exit::LIMIT,
        CallStatus::Trapped => exit::TRAPPED,
        CallStatus::Denied | CallStatus::Held => exit::DENIED,
        CallStatus::Cancelled => exit::CANCELLED,
    }
}

/// Reads the arguments of a tool, from the command line or a file.
fn given_arguments(given: &str) -> Result<Map<String, Value>, Failure> {
    let text = match given.strip_prefix('@') {
        Some(path) => text_of(&PathBuf::from(path))?,
        None => given.to_owned(),
    };
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("--arguments is no JSON object: {error}")).exiting(2))
}

/// Reads a text of this machine, or standard input.
fn text_of(path: &PathBuf) -> Result<String, Failure> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    text.map_err(|error| Failure::file(path, &error))
}

fn exact(text: &str, base64: Option<&str>) -> Vec<u8> {
    base64.and_then(|base64| STANDARD.decode(base64).ok()).unwrap_or_else(|| text.as_bytes().to_vec())
}

/// The two streams of a call on their way to ours.
struct Shown {
    stdout: Option<Tamed>,
    stderr: Option<Tamed>,
}

impl Shown {
    fn new(console: &Console, raw: bool) -> Self {
        let tamed = |is_terminal: bool, colours: bool| (is_terminal && !raw).then(|| Tamed::new(colours));
        Self {
            stdout: tamed(console.stdout_terminal, console.stdout_colours),
            stderr: tamed(console.stderr_terminal, console.stderr_colours),
        }
    }

    fn output(&mut self, output: &OutputEvent) -> io::Result<()> {
        let bytes = exact(output.text.as_deref().unwrap_or_default(), output.base64.as_deref());
        if output.stream == "stderr" { self.stderr(&bytes) } else { self.stdout(&bytes) }
    }

    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        write(&mut io::stdout().lock(), self.stdout.as_mut(), bytes)
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        write(&mut io::stderr().lock(), self.stderr.as_mut(), bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        let end = |tamed: &mut Option<Tamed>| tamed.as_mut().map(Tamed::end).unwrap_or_default();
        io::stdout().lock().write_all(end(&mut self.stdout).as_bytes())?;
        io::stdout().lock().flush()?;
        io::stderr().lock().write_all(end(&mut self.stderr).as_bytes())
    }
}

fn write(out: &mut dyn Write, tamed: Option<&mut Tamed>, bytes: &[u8]) -> io::Result<()> {
    match tamed {
        Some(tamed) => out.write_all(tamed.pass(bytes).as_bytes())?,
        None => out.write_all(bytes)?,
    }
    out.flush()
}

/// Cancels the call at the first Ctrl-C and ends this program at the second, or at the first if there is no call yet.
fn cancel_on_interrupt(client: Client, sandbox: String, call: Arc<OnceLock<String>>) {
    let wait = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        for _ in 0..2 {
            if runtime.block_on(tokio::signal::ctrl_c()).is_err() {
                return;
            }
            match call.get() {
                // Its end comes with the stream; a call that has just ended can't be cancelled any more.
                Some(id) => drop(client.cancel_call(&sandbox, id)),
                None => break,
            }
        }
        std::process::exit(i32::from(exit::CANCELLED));
    };
    // Without the thread Ctrl-C ends this program, as it does anyway.
    drop(std::thread::Builder::new().name("interrupt".to_owned()).spawn(wait));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_programs_own_or_the_shells() {
        let code = |status: &str, exit_code: Option<i32>| {
            let call = json!({
                "id": "", "seq": 1, "sandbox": "", "tool": "", "arguments": {}, "status": status, "exit_code": exit_code,
                "stdout": "", "stdout_truncated": false, "stderr": "", "stderr_truncated": false, "result": null,
                "before": "", "after": "", "changes": { "added": 0, "removed": 0, "modified": 0, "renamed": 0,
                "attributes": 0, "bytes_added": 0, "bytes_removed": 0 }, "effects": [], "undo": "full", "dry_run": false,
                "usage": { "wall_ms": 0.0, "fuel": 0, "memory_peak_bytes": 0, "output_bytes": 0 }, "time": "",
                "actor": "", "guest": null
            });
            super::exit_code(&serde_json::from_value(call).unwrap())
        };
        assert_eq!(
            [code("ok", Some(0)), code("error", Some(3)), code("error", Some(-1)), code("error", Some(256))],
            [0, 3, 255, 1]
        );
        assert_eq!([code("timeout", Some(124)), code("limit", None), code("trapped", None)], [124, 137, 134]);
        assert_eq!([code("denied", None), code("held", None), code("cancelled", None)], [126, 126, 130]);
    }
}
