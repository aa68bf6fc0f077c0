//! The arguments of a tool that is a program.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::run::Command;
use crate::error::Error;
use crate::tool::WORKING_DIRECTORY;

const PATH_BYTES_MAX: usize = 4096;
const ARGV_MAX: usize = 4096;
const ENV_MAX: usize = 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Arguments {
    argv: Vec<String>,
    stdin: Option<String>,
    env: BTreeMap<String, String>,
    cwd: Option<String>,
}

/// Reads the arguments of the program that is the tool `name`.
///
/// # Errors
/// They are not what a program is started with.
pub(super) fn read(name: &str, arguments: &Value, stdin: Option<&Bytes>) -> Result<Command, Error> {
    let refused = |message: String| {
        Error::invalid("invalid_arguments", format!("{name}: {message}"))
            .hinted(r#"give {"argv": ["word", ...]} without the program's name, and if needed "stdin", "env", "cwd""#)
    };
    if !arguments.is_object() {
        return Err(refused("arguments: an object is wanted".to_owned()));
    }
    let given = Arguments::deserialize(arguments).map_err(|error| refused(format!("arguments: {error}")))?;
    if given.argv.len() > ARGV_MAX {
        return Err(refused(format!("argv has more than {ARGV_MAX} words")));
    }
    if given.argv.iter().any(|word| word.contains('\0')) {
        return Err(refused("argv can't hold NUL characters".to_owned()));
    }
    let bad = |(name, value): (&String, &String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    if given.env.len() > ENV_MAX || given.env.iter().any(bad) {
        return Err(refused(format!("env holds at most {ENV_MAX} variables, names without = and no NUL characters")));
    }
    let cwd = given.cwd.unwrap_or_else(|| WORKING_DIRECTORY.to_owned());
    if !cwd.starts_with('/') || cwd.contains('\0') || cwd.len() > PATH_BYTES_MAX {
        return Err(refused("cwd is an absolute path of the sandbox".to_owned()));
    }
    if given.stdin.is_some() && stdin.is_some() {
        return Err(refused("stdin is given twice".to_owned()));
    }
    let stdin = given.stdin.map(Bytes::from).or_else(|| stdin.cloned()).unwrap_or_default();
    let argv = std::iter::once(name.to_owned()).chain(given.argv).collect();
    Ok(Command { argv, env: given.env.into_iter().collect(), cwd, stdin })
}

/// Returns the schema of such arguments.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "argv": { "type": "array", "items": { "type": "string" }, "description": "the words after the program's name" },
            "stdin": { "type": "string", "description": "all of standard input" },
            "env": { "type": "object", "additionalProperties": { "type": "string" }, "description": "variables" },
            "cwd": { "type": "string", "description": "where it starts, an absolute path; /workspace when absent" }
        },
        "required": [],
        "additionalProperties": false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_arguments_are_read_strictly() {
        let read = |arguments: Value| super::read("wc", &arguments, None);
        let command = read(json!({"argv": ["-l"], "env": {"A": "b"}})).unwrap();
        assert_eq!((command.argv, command.cwd.as_str()), (vec!["wc".to_owned(), "-l".to_owned()], "/workspace"));
        assert_eq!(read(json!({})).unwrap().argv, ["wc"]);
        for bad in
            [json!([]), json!({"args": []}), json!({"argv": ["\0"]}), json!({"cwd": "x"}), json!({"env": {"": ""}})]
        {
            assert_eq!(read(bad).unwrap_err().code(), "invalid_arguments");
        }
        let twice = super::read("wc", &json!({"stdin": "a"}), Some(&Bytes::new()));
        assert!(twice.unwrap_err().to_string().contains("twice"));
    }
}
