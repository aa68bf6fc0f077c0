//! Lengths of time, written as people write them: `30s`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time in whole milliseconds. Text: a whole number with `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    milliseconds: u64,
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// Returns this many seconds.
    #[must_use]
    pub const fn seconds(count: u32) -> Self {
        Self { milliseconds: count as u64 * 1_000 }
    }

    /// Returns the number of milliseconds.
    #[must_use]
    pub const fn milliseconds(self) -> u64 {
        self.milliseconds
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_millis(span.milliseconds)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, size): &&(&str, u64)| self.milliseconds != 0 && self.milliseconds.is_multiple_of(size);
        let (unit, size) = UNITS.iter().find(fits).copied().unwrap_or(("ms", 1));
        write!(out, "{}{unit}", self.milliseconds / size)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("`{text}` is not a length of time: write a whole number and ms, s, m, h or d, as in 30s");
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(refused());
        }
        let count: u64 = digits.parse().map_err(|_| refused())?;
        let unit = &text[digits.len()..];
        let size = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?.1;
        count.checked_mul(size).map(|milliseconds| Self { milliseconds }).ok_or_else(refused)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_write_parses() {
        assert_eq!("30s".parse(), Ok(Span::seconds(30)));
        assert_eq!("120s".parse::<Span>().map(|span| span.to_string()), Ok("2m".to_owned()));
        assert_eq!(Duration::from(Span::seconds(2)), Duration::from_secs(2));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "s", "30", "-1s", "1.5s", "1 s", "1w", "99999999999999999999ms", "18446744073709551615h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn spans_survive_their_text(milliseconds: u64) {
            let span = Span { milliseconds };
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
