//! What the comments of WIT say of functions. Components don't carry them: toolchains leave them out.
//!
//! Enough of WIT is read to know which function a comment stands before; whether it is right is for the compiler to say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::failure::Failure;

/// Comments of functions, by what stands behind a tool's name: `function`, or `interface.function`.
#[derive(Debug, Default)]
pub(crate) struct Comments(BTreeMap<String, String>);

/// A piece of WIT.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    /// A line of a comment that describes what follows it.
    Says(&'a str),
    Word(&'a str),
    Sign(char),
}

impl Comments {
    /// Reads a file, or all `.wit` files of a directory.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| Failure::file(&path, &error)
        };
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(failed(path))?;
            files =
                entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed(path))?;
            files.retain(|file| file.extension().is_some_and(|extension| extension == "wit"));
            files.sort();
        }
        let mut comments = Self::default();
        for file in files {
            comments.add(&fs::read_to_string(&file).map_err(failed(&file))?);
        }
        Ok(comments)
    }

    fn add(&mut self, text: &str) {
        let tokens = tokens(text);
        // The blocks that are open: an interface's name, "" for a world or a package, nothing for a type.
        let mut blocks: Vec<Option<&str>> = Vec::new();
        let (mut said, mut named): (Vec<&str>, Option<&str>) = (Vec::new(), Some(""));
        for (at, token) in tokens.iter().enumerate() {
            let before = |back: usize| at.checked_sub(back).map(|at| tokens[at]);
            match *token {
                Token::Says(line) => said.push(line),
                Token::Word("interface") => {
                    // `interface name {`, or `export name: interface {`.
                    named = match (tokens.get(at + 1), before(1), before(2)) {
                        (Some(Token::Word(name)), ..) => Some(*name),
                        (_, Some(Token::Sign(':')), Some(Token::Word(name))) => Some(name),
                        _ => None,
                    };
                }
                Token::Word("world" | "package") => named = Some(""),
                Token::Word("record" | "variant" | "enum" | "flags" | "resource" | "use" | "include") => named = None,
                Token::Word("func") => {
                    let ((Some(Token::Sign(':')), Some(Token::Word(name)), _)
                    | (Some(Token::Word("async")), Some(Token::Sign(':')), Some(Token::Word(name)))) =
                        (before(1), before(2), before(3))
                    else {
                        continue;
                    };
                    let name = match blocks.last() {
                        Some(Some("")) => name.to_owned(),
                        Some(Some(interface)) => format!("{interface}.{name}"),
                        _ => continue,
                    };
                    if !said.is_empty() {
                        self.0.entry(name).or_insert_with(|| said.join("\n").trim().to_owned());
                    }
                }
                Token::Sign('{') => {
                    blocks.push(named.take());
                    said.clear();
                }
                Token::Sign('}') => {
                    blocks.pop();
                    said.clear();
                }
                Token::Sign(';') => said.clear(),
                Token::Word(_) | Token::Sign(_) => {}
            }
        }
    }

    /// Returns what is said of a function.
    pub(crate) fn of(&self, function: &str) -> Option<&str> {
        self.0.get(function).map(String::as_str)
    }
}

fn tokens(mut text: &str) -> Vec<Token<'_>> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '%');
    let mut tokens = Vec::new();
    while let Some(first) = text.chars().next() {
        let length = if text.starts_with("//") {
            let length = text.find('\n').unwrap_or(text.len());
            if let Some(said) = text[..length].strip_prefix("///") {
                tokens.push(Token::Says(said.strip_prefix(' ').unwrap_or(said).trim_end()));
            }
            length
        } else if text.starts_with("/*") {
            text.find("*/").map_or(text.len(), |end| end + 2)
        } else if is_word(first) {
            let length = text.find(|letter| !is_word(letter)).unwrap_or(text.len());
            tokens.push(Token::Word(text[..length].trim_start_matches('%')));
            length
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            first.len_utf8()
        };
        text = &text[length..];
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_the_names_of_calls() {
        let mut comments = Comments::default();
        comments.add(
            "package a:b@1.0.0;
            /// Of the interface, not of what is in it.
            interface text {
                use types.{thing};
                /// A type.
                record counts { /// A field.
                    lines: u64 }
                /// Counts.
                /// Twice.
                count: func(path: string) -> result<counts, string>;
                plain: func();
                // Of nobody. /* Nor this. */
                %from: func(); /* func */
                /// Waits.
                wait: async func();
                resource r { /// A method.
                    close: func(); }
                /// Last.
                last: func();
            }
            world w {
                export text;
                /// Adds.
                export add: func(a: u32);
                export maths: interface {
                    /// Halves.
                    half: func();
                }
            }",
        );
        let all: Vec<_> = comments.0.iter().map(|(name, said)| (name.as_str(), said.as_str())).collect();
        let expected = [
            ("add", "Adds."),
            ("maths.half", "Halves."),
            ("text.count", "Counts.\nTwice."),
            ("text.last", "Last."),
            ("text.wait", "Waits."),
        ];
        assert_eq!(all, expected);
        assert_eq!((comments.of("text.plain"), comments.of("count")), (None, None));
        for odd in ["", "{{{", "}}}", "func", ": func", "/* x", "/// x", "interface", "\u{e4}: func"] {
            comments.add(odd);
        }
        let refused = Comments::read(Path::new("/nowhere.wit")).unwrap_err();
        assert!(format!("{refused:?}").contains("nowhere.wit"));
    }
}
