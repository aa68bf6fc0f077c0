//! Names of things: hashes for what is immutable, time-ordered random ids for what lives.

use std::fmt;
use std::str::FromStr;

/// Why a text is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct IdError {
    /// What was given, cut to 80 characters.
    pub text: String,
    /// What was asked for.
    pub expected: &'static str,
}

impl IdError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), expected }
    }
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// Returns the 32 bytes of the hash.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..6].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let refused = || IdError::new(text, $expected);
                if text.len() != 64 || !text.is_ascii() {
                    return Err(refused());
                }
                let mut bytes = [0; 32];
                for (index, byte) in bytes.iter_mut().enumerate() {
                    let pair = &text[2 * index..2 * index + 2];
                    if pair.bytes().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                        return Err(refused());
                    }
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

hash_id! {
    /// Names a node: BLAKE3 over its type byte and canonical bytes.
    NodeId, "a node id (64 hexadecimal digits)"
}
hash_id! {
    /// Names a state: the id of its `state` node.
    StateId, "a state id (64 hexadecimal digits)"
}
hash_id! {
    /// Names a log entry: BLAKE3 over its canonical bytes, which hold the id of the entry before it.
    EntryId, "an entry id (64 hexadecimal digits)"
}

impl From<StateId> for NodeId {
    fn from(id: StateId) -> Self {
        Self(id.0)
    }
}

impl From<NodeId> for StateId {
    fn from(id: NodeId) -> Self {
        Self(id.0)
    }
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_DIGITS: usize = 26;

macro_rules! timed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Returns an id that sorts by `unix_ms` (its low 48 bits), made unique by `random`.
            #[must_use]
            pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
                let mut bytes = [0; 16];
                bytes[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
                bytes[6..].copy_from_slice(&random);
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                let value = u128::from_be_bytes(self.0);
                out.write_str($prefix)?;
                (0..TEXT_DIGITS).rev().try_for_each(|digit| {
                    let index = (value >> (5 * digit)) & 31;
                    fmt::Write::write_char(out, char::from(ALPHABET[index as usize & 31]))
                })
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let refused = || IdError::new(text, $expected);
                let digits = text.strip_prefix($prefix).ok_or_else(refused)?;
                if digits.len() != TEXT_DIGITS {
                    return Err(refused());
                }
                let mut value = 0u128;
                for (position, digit) in digits.bytes().enumerate() {
                    let index = ALPHABET.iter().position(|&known| known == digit).ok_or_else(refused)?;
                    if position == 0 && index > 7 {
                        return Err(refused());
                    }
                    value = (value << 5) | index as u128;
                }
                Ok(Self(value.to_be_bytes()))
            }
        }
    };
}

timed_id! {
    /// Names a sandbox. Text form: `sb_` and 26 characters of Crockford base32.
    SandboxId, "sb_", "a sandbox id (sb_ and 26 characters)"
}
timed_id! {
    /// Names a call. Text form: `call_` and 26 characters of Crockford base32.
    CallId, "call_", "a call id (call_ and 26 characters)"
}

/// An inode number, unique in a sandbox for as long as it lives; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub u64);

impl Inode {
    /// The root directory of every state.
    pub const ROOT: Self = Self(1);
}

/// Nanoseconds since the Unix epoch; before 1970 it is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        let hash = NodeId(*blake3::hash(b"x").as_bytes());
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let sandbox = SandboxId::new(1_790_000_000_000, [255; 10]);
        assert_eq!(sandbox.to_string().parse(), Ok(sandbox));
        assert_eq!(sandbox.to_string().len(), 29);
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in ["", "sb_", "sb_8zzzzzzzzzzzzzzzzzzzzzzzzz", "call_00000000000000000000000000", "sb_é"] {
            assert!(text.parse::<SandboxId>().is_err(), "{text}");
        }
        for text in ["", "+f", &"A".repeat(64), &"+1".repeat(32)] {
            assert!(text.parse::<StateId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(SandboxId::new(1, [255; 10]) < SandboxId::new(2, [0; 10]));
    }
}
