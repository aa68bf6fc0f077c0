//! `sandglass log`: what happened in a sandbox, newest first, or as it happens.

use std::collections::HashMap;
use std::io;

use clap::Args;
use jiff::Timestamp;

use super::console::{Console, Look, Text};
use super::failure::{Failure, exit};
use super::state::short;
use super::{size, terminal};
use crate::http::types::{Call, CallStatus, Operation, OperationCall, Page};

const PROGRAM_LETTERS: usize = 48;

/// Show the operations of a sandbox, newest first.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The sandbox.
    sandbox: String,
    /// How many.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Go on showing operations as they happen; with --json one object a line.
    #[arg(long, short)]
    follow: bool,
}

impl Log {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let mut operations = client.operations(&self.sandbox, self.limit)?;
        if self.follow {
            let newest = match operations.first() {
                Some(newest) => newest.seq,
                None => client.sandbox(&self.sandbox)?.seq,
            };
            operations.reverse();
            operations.iter().try_for_each(|operation| follow_line(console, operation))?;
            let mut failure = None;
            client.follow_operations(&self.sandbox, Some(newest), &mut |operation| {
                failure = follow_line(console, &operation).err();
                Ok::<_, io::Error>(failure.is_none())
            })?;
            return failure.map_or(Ok(exit::OK), Err);
        }
        if console.json {
            console.object(&Page { items: operations, next_cursor: None })?;
            return Ok(exit::OK);
        }
        let calls = client.calls(&self.sandbox, self.limit)?;
        let calls: HashMap<_, _> = calls.iter().filter_map(|call| call.seq.map(|seq| (seq, call))).collect();
        let now = Timestamp::now();
        let rows = operations.iter().map(|operation| {
            vec![
                format!("#{}", operation.seq).into(),
                Text::from(terminal::name(&operation.kind)).strong(),
                outcome(operation),
                size::age(&operation.time, now).into(),
                if operation.changed { short(&operation.after).into() } else { Text::from("unchanged").faint() },
                what(operation, calls.get(&operation.seq).copied()).into(),
            ]
        });
        console.table(&["SEQ", "KIND", "OUTCOME", "WHEN", "STATE", "WHAT"], &[0], rows.collect())?;
        Ok(exit::OK)
    }
}

fn follow_line(console: &Console, operation: &Operation) -> Result<(), Failure> {
    if console.json {
        return console.object_line(operation);
    }
    let kind = console.paint(Look::Strong, &format!("{:<8}", terminal::name(&operation.kind)));
    let (time, outcome) = (terminal::name(&operation.time), outcome(operation).painted(console));
    console.print(format!("{time}  #{:<4} {kind} {outcome}  {}", operation.seq, what(operation, None)).trim_end())
}

/// How a call ended and how long it took; nothing for other operations, which just happened.
fn outcome(operation: &Operation) -> Text {
    let Some(OperationCall { status, exit_code, wall_ms, .. }) = &operation.call else { return Text::from("") };
    let wall = size::took(std::time::Duration::from_secs_f64((wall_ms / 1e3).clamp(0.0, 1e9)));
    let word = match (status, exit_code) {
        (CallStatus::Error, Some(code)) => format!("exit {code}"),
        _ => status.as_str().to_owned(),
    };
    let look = if *status == CallStatus::Ok { Look::Good } else { Look::Bad };
    Text::from(format!("{word} {wall}")).with(look)
}

/// What an operation was about, in some words.
fn what(operation: &Operation, call: Option<&Call>) -> String {
    let detail = &operation.detail;
    let of_target = operation.target.map(|target| format!("#{target}"));
    let word = |key: &str| detail[key].as_str().map(terminal::name);
    let text = match operation.kind.as_str() {
        "call" => {
            let tool = operation.call.as_ref().map(|call| terminal::name(&call.tool)).unwrap_or_default();
            let Some(call) = call else { return tool };
            let mut text = format!("{tool}: {}", program(call));
            if operation.changed {
                text.push_str(&format!(" ({})", size::changes(&call.changes)));
            }
            return text;
        }
        "create" | "fork" => word("from"),
        "restore" => {
            let paths = detail["paths"].as_array().map_or_else(String::new, |paths| {
                format!(" for {}", size::counted(paths.len() as u64, "path", "paths"))
            });
            let target = word("checkpoint").map(|name| format!("@{name}"));
            let target = target.or_else(|| detail["seq"].as_u64().map(|seq| format!("#{seq}")));
            let target = target.or_else(|| detail["state"].as_str().map(short));
            target.map(|target| format!("to {target}{paths}"))
        }
        _ => of_target.map(|seq| format!("of {seq}")).or_else(|| word("path")).or_else(|| word("session")),
    };
    text.unwrap_or_default()
}

/// The first line of a program that does something.
fn program(call: &Call) -> String {
    let arguments = &call.arguments;
    let text =
        match (arguments["code"].as_str().or_else(|| arguments["command"].as_str()), arguments["argv"].as_array()) {
            (Some(code), _) => code.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned(),
            (None, Some(words)) => words.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(" "),
            (None, None) => String::new(),
        };
    let cut: String = text.chars().take(PROGRAM_LETTERS).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    format!("{}{more}", terminal::line(&cut).replace('\t', " "))
}
