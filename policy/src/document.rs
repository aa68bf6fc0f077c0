//! The policy document: one model for `policy.toml` and for the same shape as JSON.
//!
//! Unknown fields and keys given twice are refused: a rule that is misspelt must not silently allow or forbid nothing.

use std::collections::BTreeMap;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::PolicyError;
use crate::size::ByteSize;
use crate::span::Span;
use crate::tools::ToolPattern;

/// What a sandbox may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The version of this format: 1.
    pub version: u64,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tools that a call may name; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ToolPattern>>,
    /// How much one call may use, and the sandbox may hold.
    #[serde(default)]
    pub limits: Limits,
    /// Host directories in the sandbox, by absolute path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fs: BTreeMap<String, MountRule>,
}

/// How much one call may use, and the sandbox may hold. Reaching a limit ends the call and leaves the state before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory of the guest.
    pub memory: ByteSize,
    /// Computing time, metered in instructions: the same program always spends the same.
    pub cpu: Span,
    /// Time on the clock, from the start of the guest.
    pub wall: Span,
    /// Sum of the sizes of all files of the sandbox.
    pub disk: ByteSize,
    /// Standard output and standard error together.
    pub output: ByteSize,
    /// Files, directories and links of the sandbox.
    pub files: u64,
    /// Files open at once.
    pub open_files: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mebibytes(512),
            cpu: Span::seconds(30),
            wall: Span::seconds(120),
            disk: ByteSize::mebibytes(2048),
            output: ByteSize::mebibytes(4),
            files: 500_000,
            open_files: 256,
        }
    }
}

/// One host directory in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountRule {
    /// What may be done there.
    pub mode: Access,
    /// The directory of the host.
    pub host: String,
}

/// What may be done in a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read only: a copy taken when the sandbox is created, that no guest can change.
    Ro,
}

const NAME_BYTES_MAX: usize = 100;
const MOUNTS_MAX: usize = 64;
const TOOLS_MAX: usize = 1024;

impl Default for Policy {
    /// Files of the sandbox itself and the default limits; nothing of the host.
    fn default() -> Self {
        Self { version: 1, name: None, tools: None, limits: Limits::default(), fs: BTreeMap::new() }
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    /// Reads a `policy.toml` and checks it.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text).map_err(|error| PolicyError::Syntax(error.to_string()))?;
        policy.check()?;
        Ok(policy)
    }
}

impl Policy {
    /// Checks what the types can't say; to be called on a policy that came as JSON.
    ///
    /// # Errors
    /// The first thing that is wrong, by key.
    pub fn check(&self) -> Result<(), PolicyError> {
        if self.version != 1 {
            return Err(PolicyError::Version { found: self.version });
        }
        if self.name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return Err(PolicyError::Syntax(format!("name is longer than {NAME_BYTES_MAX} bytes")));
        }
        if self.tools.as_ref().is_some_and(|tools| tools.len() > TOOLS_MAX) {
            return Err(PolicyError::Syntax(format!("tools has more than {TOOLS_MAX} names")));
        }
        self.limits.check()?;
        if self.fs.len() > MOUNTS_MAX {
            return Err(PolicyError::Syntax(format!("fs has more than {MOUNTS_MAX} mounts")));
        }
        self.fs.keys().try_for_each(|path| check_mount(path, self.fs.keys()))
    }

    /// Says whether a call may name this tool or function.
    #[must_use]
    pub fn allows_tool(&self, name: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.iter().any(|tool| tool.allows(name)))
    }

    /// Returns the document as TOML, with every limit spelt out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a policy holds only strings, numbers and tables")
    }

    /// Returns the JSON Schema of a policy document.
    #[must_use]
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Self)
    }
}

impl Limits {
    fn check(&self) -> Result<(), PolicyError> {
        const SPAN_LEAST: &str = "1ms";
        let sizes = [
            ("memory", self.memory, ByteSize::mebibytes(1), ByteSize::mebibytes(4096)),
            ("disk", self.disk, ByteSize(0), ByteSize(1 << 50)),
            ("output", self.output, ByteSize(0), ByteSize::mebibytes(64)),
        ];
        for (key, value, least, most) in sizes {
            if value < least || value > most {
                let (value, least, most) = (value.to_string(), least.to_string(), most.to_string());
                return Err(PolicyError::Limit { key, value, least, most });
            }
        }
        for (key, value, most_seconds) in [("cpu", self.cpu, 86_400), ("wall", self.wall, 86_400)] {
            let most = Span::seconds(most_seconds);
            if value.milliseconds() == 0 || value > most {
                let (value, most) = (value.to_string(), most.to_string());
                return Err(PolicyError::Limit { key, value, least: SPAN_LEAST.to_owned(), most });
            }
        }
        for (key, value, least, most) in
            [("files", self.files, 1, 100_000_000), ("open_files", u64::from(self.open_files), 8, 65_536)]
        {
            if value < least || value > most {
                let (value, least, most) = (value.to_string(), least.to_string(), most.to_string());
                return Err(PolicyError::Limit { key, value, least, most });
            }
        }
        Ok(())
    }
}

/// Paths that a mount would break: the system's own, and the root.
const RESERVED: [&str; 4] = ["/dev", "/usr", "/tmp", "/workspace"];

fn check_mount<'a>(path: &str, all: impl Iterator<Item = &'a String>) -> Result<(), PolicyError> {
    let refused = |reason: &str| Err(PolicyError::Mount { path: path.to_owned(), reason: reason.to_owned() });
    let Some(relative) = path.strip_prefix('/') else { return refused("a mount's path starts with a slash") };
    if relative.split('/').any(|name| matches!(name, "" | "." | "..") || name.len() > 255 || name.contains('\0')) {
        return refused("a mount's path has no empty, `.` or `..` part and no trailing slash");
    }
    let below = |outer: &str| path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if RESERVED.contains(&path) || below("/dev") || below("/usr") {
        return refused("this path is the system's own");
    }
    let inside = |other: &String| other != path && below(other);
    if all.into_iter().any(inside) {
        return refused("it lies inside another mount");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_policy_gives_the_defaults() {
        assert_eq!("version = 1".parse(), Ok(Policy::default()));
    }

    #[test]
    fn a_policy_says_the_same_in_toml_and_json() {
        let policy: Policy = r#"
            version = 1
            name = "rental-dev"
            limits = { memory = "512MiB", cpu = "30s", wall = "120s", disk = "2GiB", output = "4MiB" }
            [fs]
            "/data" = { mode = "ro", host = "./fixtures" }
        "#
        .parse()
        .unwrap();
        assert_eq!(policy.to_toml().parse(), Ok(policy.clone()));
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
        assert_eq!(policy.grants().mounts[0].path, "/data");
    }

    #[test]
    fn tools_are_all_or_those_that_are_named() {
        let allows =
            |text: &str, name: &str| format!("version = 1\n{text}").parse::<Policy>().unwrap().allows_tool(name);
        assert!(allows("", "python") && allows("", "files.text.count"));
        let some = "tools = [\"python\", \"files.*\"]";
        assert!(allows(some, "python") && allows(some, "files.text.count") && !allows(some, "shell"));
        assert!(!allows("tools = []", "python"));
        let policy: Policy = format!("version = 1\n{some}\n[limits]\ncpu = \"1s\"").parse().unwrap();
        assert_eq!(policy.to_toml().parse(), Ok(policy));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |text: &str| text.parse::<Policy>().unwrap_err().to_string();
        assert!(refused("version = 2").contains("version 2"));
        assert!(refused("version = 1\nlimit = {}").contains("unknown field `limit`"));
        assert!(refused("version = 1\nversion = 1").contains("duplicate key"));
        assert!(refused("version = 1\nlimits = { memory = \"1KiB\" }").contains("limits.memory is 1KiB"));
        assert!(refused("version = 1\nlimits = { cpu = \"0s\" }").contains("limits.cpu"));
        assert!(refused("version = 1\ntools = [\"*\"]").contains("`*` names no tool"));
        assert!(refused("version = 1\n[[net]]\nid = \"x\"").contains("unknown field `net`"));
        for path in ["data", "/", "/data/", "/a/../b", "/usr", "/usr/lib", "/workspace"] {
            let text = format!("version = 1\n[fs]\n\"{path}\" = {{ mode = \"ro\", host = \".\" }}");
            assert!(refused(&text).contains("fs."), "{path}");
        }
        let nested =
            "version = 1\n[fs]\n\"/a\" = { mode = \"ro\", host = \".\" }\n\"/a/b\" = { mode = \"ro\", host = \".\" }";
        assert!(refused(nested).contains("inside another mount"));
        assert!(refused("version = 1\n[fs]\n\"/a\" = { mode = \"rw\", host = \".\" }").contains("unknown variant"));
    }

    #[test]
    fn the_schema_knows_every_field() {
        let schema = serde_json::to_string(&Policy::schema()).unwrap();
        for field in ["tools", "memory", "cpu", "wall", "disk", "output", "files", "open_files", "mode", "host"] {
            assert!(schema.contains(&format!("\"{field}\"")), "{field}");
        }
    }
}
