//! What the arguments of a tool mean.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::guest::{Invocation, Program};

/// The working directory of calls that name none.
pub(crate) const WORKING_DIRECTORY: &str = "/workspace";
const PATH_BYTES_MAX: usize = 4096;
const ARGV_MAX: usize = 4096;
const ENV_MAX: usize = 1024;

/// What the arguments of every tool have besides what to run.
struct Surroundings {
    stdin: Option<String>,
    env: BTreeMap<String, String>,
    cwd: Option<String>,
}

/// The arguments of `python` and `javascript`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Interpreter {
    code: Option<String>,
    argv: Option<Vec<String>>,
    stdin: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
}

/// The arguments of `shell`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shell {
    command: Option<String>,
    argv: Option<Vec<String>>,
    stdin: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
}

/// Returns what a call of `tool` with these arguments runs.
///
/// # Errors
/// There is no such tool, or the arguments are not its.
pub(crate) fn invocation(tool: &str, arguments: &Value, stdin: Option<&Bytes>) -> Result<Invocation, Error> {
    match tool {
        "python" => python(arguments, stdin),
        "javascript" => javascript(arguments, stdin),
        "shell" => shell(arguments, stdin),
        _ => {
            let shown: String = tool.chars().take(80).collect();
            let error = Error::not_found("unknown_tool", format!("there is no tool `{shown}`"));
            Err(error
                .hinted("the tools are: python, shell, javascript, and what was uploaded; `GET /v1/tools` lists them"))
        }
    }
}

fn python(arguments: &Value, stdin: Option<&Bytes>) -> Result<Invocation, Error> {
    const SHAPE: &str =
        r#"give {"code": "..."} or {"argv": ["python3", "file.py", ...]}, and if needed "stdin", "env", "cwd""#;
    let refused = |message: String| Error::invalid("invalid_arguments", message).hinted(SHAPE);
    let python =
        Interpreter::deserialize(arguments).map_err(|error| refused(format!("arguments of python: {error}")))?;
    let program = match (python.code, python.argv) {
        (Some(code), None) => Program::Code(code),
        (None, Some(argv)) => Program::Argv(argv),
        _ => return Err(refused("arguments of python: either code or argv".to_owned())),
    };
    let surroundings = Surroundings { stdin: python.stdin, env: python.env, cwd: python.cwd };
    checked(program, surroundings, stdin, &refused)
}

fn javascript(arguments: &Value, stdin: Option<&Bytes>) -> Result<Invocation, Error> {
    const SHAPE: &str =
        r#"give {"code": "..."} or {"argv": ["node", "file.js", ...]}, and if needed "stdin", "env", "cwd""#;
    let refused = |message: String| Error::invalid("invalid_arguments", message).hinted(SHAPE);
    let given =
        Interpreter::deserialize(arguments).map_err(|error| refused(format!("arguments of javascript: {error}")))?;
    let program = match (given.code, given.argv) {
        // Code with `import` or a top-level `await` is a module, without having to say so.
        (Some(code), None) => Program::Code(code),
        (None, Some(argv)) => Program::Argv(argv),
        _ => return Err(refused("arguments of javascript: either code or argv".to_owned())),
    };
    let surroundings = Surroundings { stdin: given.stdin, env: given.env, cwd: given.cwd };
    checked(program, surroundings, stdin, &refused)
}

fn shell(arguments: &Value, stdin: Option<&Bytes>) -> Result<Invocation, Error> {
    const SHAPE: &str =
        r#"give {"command": "..."} or {"argv": ["bash", "file.sh", ...]}, and if needed "stdin", "env", "cwd""#;
    let refused = |message: String| Error::invalid("invalid_arguments", message).hinted(SHAPE);
    let shell = Shell::deserialize(arguments).map_err(|error| refused(format!("arguments of shell: {error}")))?;
    let program = match (shell.command, shell.argv) {
        (Some(command), None) => Program::Code(command),
        (None, Some(argv)) => Program::Argv(argv),
        _ => return Err(refused("arguments of shell: either command or argv".to_owned())),
    };
    let surroundings = Surroundings { stdin: shell.stdin, env: shell.env, cwd: shell.cwd };
    checked(program, surroundings, stdin, &refused)
}

/// Checks what all tools have in common.
fn checked(
    program: Program,
    surroundings: Surroundings,
    stdin: Option<&Bytes>,
    refused: &dyn Fn(String) -> Error,
) -> Result<Invocation, Error> {
    let words = match &program {
        Program::Code(code) => std::slice::from_ref(code),
        Program::Names { .. } => &[],
        Program::Argv(argv) if argv.is_empty() => return Err(refused("argv is empty".to_owned())),
        Program::Argv(argv) if argv.len() > ARGV_MAX => {
            return Err(refused(format!("argv has more than {ARGV_MAX} words")));
        }
        Program::Argv(argv) => argv,
    };
    if words.iter().any(|word| word.contains('\0')) {
        return Err(refused("code, command and argv can't hold NUL characters".to_owned()));
    }
    let Surroundings { stdin: given, env, cwd } = surroundings;
    let bad_variable =
        |(name, value): (&String, &String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    if env.len() > ENV_MAX || env.iter().any(bad_variable) {
        return Err(refused(format!("env holds at most {ENV_MAX} variables, names without = and no NUL characters")));
    }
    let cwd = cwd.unwrap_or_else(|| WORKING_DIRECTORY.to_owned());
    if !cwd.starts_with('/') || cwd.contains('\0') || cwd.len() > PATH_BYTES_MAX {
        return Err(refused("cwd is an absolute path of the sandbox".to_owned()));
    }
    if given.is_some() && stdin.is_some() {
        return Err(refused("stdin is given twice".to_owned()));
    }
    let stdin = given.map(Bytes::from).or_else(|| stdin.cloned()).unwrap_or_default();
    Ok(Invocation { program, env: env.into_iter().collect(), cwd, stdin })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_script_and_a_program_are_understood() {
        let script = invocation("python", &json!({"code": "print(1)"}), None).unwrap();
        assert!(matches!(script.program, Program::Code(code) if code == "print(1)"));
        assert_eq!(script.cwd, "/workspace");
        let program = json!({"argv": ["python3", "x.py"], "stdin": "in", "env": {"A": "b"}, "cwd": "/tmp"});
        let program = invocation("python", &program, None).unwrap();
        assert_eq!((program.stdin, program.env.len(), program.cwd.as_str()), ("in".into(), 1, "/tmp"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, word) in [
            (json!({}), "either code or argv"),
            (json!({"code": "1", "argv": ["python3"]}), "either code or argv"),
            (json!({"argv": []}), "empty"),
            (json!({"code": 1}), "string"),
            (json!({"cod": "1"}), "unknown field `cod`"),
            (json!({"code": "1", "cwd": "x"}), "absolute"),
            (json!({"code": "1", "env": {"A=B": ""}}), "without ="),
            (json!({"code": "a\0b"}), "NUL"),
            (json!("1"), "invalid type"),
        ] {
            let error = invocation("python", &arguments, None).err().unwrap();
            assert!(error.to_string().contains(word), "{arguments}: {error}");
        }
        let error = invocation("ruby", &json!({}), None).err().unwrap();
        assert_eq!(error.code(), "unknown_tool");
    }
}
