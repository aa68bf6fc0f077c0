//! Which tools the calls of a sandbox may name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NAME_BYTES_MAX: usize = 255;
/// What stands behind a name for everything below it, and not the name itself.
const BELOW: &str = ".*";

/// What a call may name: a tool with all its functions (`files`), one function (`files.text.count`), or the functions below a
/// name (`files.text.*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolPattern(String);

impl ToolPattern {
    /// Says whether a call may name this.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        let (start, itself) = self.0.strip_suffix(BELOW).map_or((self.0.as_str(), true), |start| (start, false));
        match name.strip_prefix(start) {
            Some("") => itself,
            Some(rest) => rest.len() > 1 && rest.starts_with('.'),
            None => false,
        }
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for ToolPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let part = |part: &str| !part.is_empty() && part.bytes().all(plain);
        let name = text.strip_suffix(BELOW).unwrap_or(text);
        if text.len() > NAME_BYTES_MAX || !name.split('.').all(part) {
            return Err(format!(
                "`{}` names no tool: write a name as `GET /v1/tools` has it (`files`, `files.text.count`), or one with `.*` \
                 behind it; without `tools` all may be called",
                text.chars().take(80).collect::<String>()
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Serialize for ToolPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ToolPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for ToolPattern {
    fn schema_name() -> Cow<'static, str> {
        "ToolPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 255, "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_itself_and_what_is_below() {
        for (pattern, good, bad) in [
            ("files", &["files", "files.text.count", "files.x"][..], &["file", "filesystem", "files.", "", "text"][..]),
            ("files.text.count", &["files.text.count"], &["files", "files.text", "files.text.counts"]),
            ("files.*", &["files.x", "files.text.count"], &["files", "files.", "filesx.y"]),
            ("files.text.*", &["files.text.count"], &["files.text", "files.other.count"]),
        ] {
            let pattern: ToolPattern = pattern.parse().unwrap();
            assert!(good.iter().all(|name| pattern.allows(name)), "{pattern}");
            assert!(!bad.iter().any(|name| pattern.allows(name)), "{pattern}");
        }
    }

    #[test]
    fn what_names_no_tool_is_refused() {
        for bad in ["", "*", ".*", "a.", ".a", "a..b", "a.*.b", "a b", "a.**", "\u{e4}", &"a".repeat(256)] {
            let refused = bad.parse::<ToolPattern>().unwrap_err();
            assert!(refused.contains("names no tool"), "{refused}");
        }
    }
}
