//! Makes what comes from sandboxes harmless on a terminal.
//!
//! Names, messages and file contents are chosen by guests. A terminal obeys control sequences in them (it retitles windows,
//! fills clipboards, types answers), and bidirectional or invisible characters make a line read as another one.

/// Whether a character does something to a terminal or to how the line around it reads.
fn is_hazard(letter: char) -> bool {
    letter.is_control() || is_deceptive(letter)
}

/// Invisible characters, and those that reorder text (Unicode's Bidi_Control and Default_Ignorable, as far as they deceive).
const fn is_deceptive(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn push_escaped(out: &mut String, letter: char) {
    match letter {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ if letter.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
        _ => out.push_str(&format!("\\u{{{:x}}}", u32::from(letter))),
    }
}

/// Writes a name or a message in one line, so that two different ones never look the same: backslashes are doubled.
#[must_use]
pub(crate) fn name(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            _ if is_hazard(letter) => push_escaped(&mut out, letter),
            _ => out.push(letter),
        }
    }
    out
}

/// Writes a line of a text: as [`name`], but tabs and backslashes stay, since code is full of them.
#[must_use]
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\t' && is_hazard(letter) { push_escaped(&mut out, letter) } else { out.push(letter) }
    }
    out
}

/// Writes a text of several lines: as [`line()`], with its line feeds.
#[must_use]
pub(crate) fn lines(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Escapes what is left in a JSON text that a terminal could obey: such characters are only ever inside of its strings.
#[must_use]
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && is_hazard(letter) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(letter);
        }
    }
    out
}

/// Longest colour sequence that is let through.
const COLOUR_BYTES_MAX: usize = 64;

/// Lets a program's output through to a terminal, in any pieces: text, line ends, tabs and colours pass, every other control
/// character is shown instead of obeyed.
#[derive(Debug, Default)]
pub(crate) struct Tamed {
    /// The start of a character whose rest has not come.
    partial: Vec<u8>,
    state: Sequence,
    colours: bool,
    coloured: bool,
}

#[derive(Debug, Default)]
enum Sequence {
    #[default]
    None,
    Escape,
    /// The parameters so far of a control sequence.
    Control(String),
}

impl Tamed {
    /// `colours`: whether colour sequences pass; they are left out otherwise.
    pub(crate) fn new(colours: bool) -> Self {
        Self { colours, ..Self::default() }
    }

    /// Returns what of a piece can be shown now.
    pub(crate) fn pass(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(piece);
        let mut out = String::with_capacity(bytes.len());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (good, bad, after) = match std::str::from_utf8(rest) {
                Ok(text) => (text, &[][..], &[][..]),
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    let good = std::str::from_utf8(good).unwrap_or_default();
                    match error.error_len() {
                        Some(length) => (good, &bad[..length], &bad[length..]),
                        None => {
                            self.partial = bad.to_vec();
                            (good, &[][..], &[][..])
                        }
                    }
                }
            };
            good.chars().for_each(|letter| self.step(letter, &mut out));
            if !bad.is_empty() {
                self.step(char::REPLACEMENT_CHARACTER, &mut out);
            }
            rest = after;
        }
        out
    }

    /// Returns what is left to be shown at the end: what was cut off, and the way back to the terminal's own colours.
    pub(crate) fn end(&mut self) -> String {
        let mut out = String::new();
        if !std::mem::take(&mut self.partial).is_empty() {
            self.step(char::REPLACEMENT_CHARACTER, &mut out);
        }
        self.give_up(&mut out);
        if std::mem::take(&mut self.coloured) {
            out.push_str("\x1b[0m");
        }
        out
    }

    fn step(&mut self, letter: char, out: &mut String) {
        match std::mem::take(&mut self.state) {
            Sequence::Escape if letter == '[' => self.state = Sequence::Control(String::new()),
            Sequence::Control(mut parameters)
                if matches!(letter, '0'..='9' | ';' | ':') && parameters.len() < COLOUR_BYTES_MAX =>
            {
                parameters.push(letter);
                self.state = Sequence::Control(parameters);
            }
            Sequence::Control(parameters) if letter == 'm' => {
                if self.colours {
                    out.push_str(&format!("\x1b[{parameters}m"));
                    self.coloured = true;
                }
            }
            Sequence::None => self.plain(letter, out),
            unfinished => {
                self.state = unfinished;
                self.give_up(out);
                self.plain(letter, out);
            }
        }
    }

    fn plain(&mut self, letter: char, out: &mut String) {
        match letter {
            '\x1b' => self.state = Sequence::Escape,
            '\n' | '\r' | '\t' => out.push(letter),
            // Reordering deceives about whole lines; other invisible characters are part of ordinary texts.
            _ if letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                push_escaped(out, letter);
            }
            _ => out.push(letter),
        }
    }

    /// Shows the sequence that turned out not to be a colour.
    fn give_up(&mut self, out: &mut String) {
        match std::mem::take(&mut self.state) {
            Sequence::None => {}
            Sequence::Escape => out.push_str("\\x1b"),
            Sequence::Control(parameters) => {
                out.push_str("\\x1b[");
                out.push_str(&parameters);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tamed(text: &[u8]) -> String {
        let mut tamed = Tamed::new(true);
        let mut out = tamed.pass(text);
        out.push_str(&tamed.end());
        out
    }

    #[test]
    fn names_show_what_they_are() {
        assert_eq!(name("a\\n\nb"), "a\\\\n\\nb");
        assert_eq!(name("invoice\u{202e}fdp.exe"), "invoice\\u{202e}fdp.exe");
        assert_eq!(name("\x1b]0;x\x07\u{9b}1A\u{200b}"), "\\x1b]0;x\\x07\\u{9b}1A\\u{200b}");
        assert_eq!(name("naïve 名前 🙂"), "naïve 名前 🙂");
        assert_eq!(line("\tre\\d+\r"), "\tre\\d+\\r");
        assert_eq!(json("\"\u{9b}\u{202e}\u{e0041}\""), "\"\\u009b\\u202e\\udb40\\udc41\"");
    }

    #[test]
    fn colours_pass_and_nothing_else_does() {
        assert_eq!(tamed(b"\x1b[1;31mred\x1b[0m\n"), "\x1b[1;31mred\x1b[0m\n\x1b[0m");
        assert_eq!(tamed(b"\x1b]52;c;AAAA\x07"), "\\x1b]52;c;AAAA\\x07");
        assert_eq!(tamed(b"\x1b[6n\x1b[2J\x1b[?25l"), "\\x1b[6n\\x1b[2J\\x1b[?25l");
        assert_eq!(tamed(b"\x1bPq\x1b\\ \xc2\x9b1m"), "\\x1bPq\\x1b\\ \\u{9b}1m");
        assert_eq!(tamed(b"caf\xc3\xa9 \xff 50%\r100%\t\n"), "café \u{fffd} 50%\r100%\t\n");
        assert_eq!(Tamed::new(false).pass(b"\x1b[31mred"), "red");
        assert_eq!(tamed(b"cut \x1b[1"), "cut \\x1b[1");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0x1b), Just(b'['), Just(b'm'), Just(0xc2)], 0..60), cut in 0usize..60) {
            let cut = cut.min(bytes.len());
            let mut pieces = Tamed::new(true);
            let mut out = pieces.pass(&bytes[..cut]);
            out.push_str(&pieces.pass(&bytes[cut..]));
            out.push_str(&pieces.end());
            prop_assert_eq!(out, tamed(&bytes));
        }

        #[test]
        fn nothing_but_colours_controls_the_terminal(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0x1b), Just(b'[')], 0..80)) {
            let out = tamed(&bytes);
            let mut rest = out.as_str();
            while let Some(at) = rest.find(|letter: char| letter.is_control() && !"\n\r\t".contains(letter)) {
                rest = &rest[at..];
                prop_assert!(rest.starts_with("\x1b["));
                let end = rest[2..].find(|letter: char| !matches!(letter, '0'..='9' | ';' | ':')).unwrap() + 2;
                prop_assert_eq!(&rest[end..=end], "m");
                rest = &rest[end + 1..];
            }
        }
    }
}
