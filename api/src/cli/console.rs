//! What a command has around it: its global options, the way to the service, and the streams it prints to.

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use super::failure::Failure;
use super::{ColorWhen, Global, place, terminal};
use crate::client::Client;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    Good,
    Bad,
    Changed,
    Strong,
    Faint,
}

impl Look {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Changed => "33",
            Self::Strong => "1",
            Self::Faint => "2",
        }
    }
}

/// The surroundings of a command.
pub(crate) struct Console {
    global: Global,
    data_is_a_flag: bool,
    /// Whether output is one JSON object.
    pub(crate) json: bool,
    /// Whether nothing is printed that was not asked for.
    pub(crate) quiet: bool,
    /// Whether standard output is a terminal, where nothing raw may go.
    pub(crate) stdout_terminal: bool,
    /// Whether a person watches standard error.
    pub(crate) stderr_terminal: bool,
    /// Whether standard output is coloured.
    pub(crate) stdout_colours: bool,
    /// Whether standard error is coloured.
    pub(crate) stderr_colours: bool,
}

impl Console {
    pub(crate) fn new(global: Global, data_is_a_flag: bool) -> Self {
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|value| value == "dumb");
        let (stdout_terminal, stderr_terminal) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let colours = |is_terminal| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => is_terminal && !plain,
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            stdout_terminal,
            stderr_terminal,
            stdout_colours: colours(stdout_terminal),
            stderr_colours: colours(stderr_terminal),
            global,
            data_is_a_flag,
        }
    }

    /// Returns the data directory.
    pub(crate) fn data(&self) -> Result<PathBuf, Failure> {
        self.global.data.clone().map_or_else(place::data, Ok)
    }

    /// Returns the data directory if it was named in the command itself, not by the environment.
    pub(crate) fn data_flag(&self) -> Option<PathBuf> {
        self.global.data.clone().filter(|_| self.data_is_a_flag)
    }

    /// Returns the directory of the guests.
    pub(crate) fn guests(&self) -> Result<PathBuf, Failure> {
        self.global.guests.clone().map_or_else(place::guests, Ok)
    }

    /// Returns the address of the service.
    pub(crate) fn server(&self) -> &str {
        &self.global.server
    }

    /// Returns a client of the service.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(&self.global.server, self.token()?)?)
    }

    /// Finds the token: the file that was named, the environment, the data directory.
    fn token(&self) -> Result<Option<String>, Failure> {
        let trimmed = |text: String| text.trim().to_owned();
        if let Some(path) = &self.global.token_file {
            return fs::read_to_string(path)
                .map(|text| Some(trimmed(text)))
                .map_err(|error| Failure::file(path, &error));
        }
        if let Some(token) = env::var("SANDGLASS_TOKEN").ok().filter(|token| !token.is_empty()) {
            return Ok(Some(trimmed(token)));
        }
        // The token of this machine's service is for this machine's service.
        if !is_loopback(&self.global.server) {
            return Ok(None);
        }
        let path = self.data()?.join(crate::auth::TOKEN_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(trimmed(text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::file(&path, &error)),
        }
    }

    /// Prints a text and a line feed on standard output.
    #[expect(clippy::unused_self, reason = "printing is something that a console does")]
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()?;
        Ok(())
    }

    /// Prints an object as JSON: laid out for people, in one line for programs.
    pub(crate) fn object(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text =
            if self.stdout_terminal { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        let text = text.map_err(|error| Failure::new(format!("the output can't be written as JSON: {error}")))?;
        self.print(&if self.stdout_terminal { terminal::json(&text) } else { text })
    }

    /// Prints an object as one line of JSON: for lists without an end.
    pub(crate) fn object_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value);
        let text = text.map_err(|error| Failure::new(format!("the output can't be written as JSON: {error}")))?;
        self.print(&if self.stdout_terminal { terminal::json(&text) } else { text })
    }

    /// Tells a person something that was not asked for, on standard error.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            // Nobody is left to be told that standard error can't be written.
            let _unheard = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Says why the command failed, on standard error.
    pub(crate) fn failed(&self, failure: &Failure) {
        if matches!(failure, Failure::BrokenPipe) {
            return;
        }
        let text = if self.json {
            terminal::json(&failure.json().to_string())
        } else {
            let text = failure.text();
            let rest = text.strip_prefix("error").unwrap_or(&text);
            format!("{}{rest}", self.paint_note(Look::Bad, "error"))
        };
        let _unheard = writeln!(io::stderr().lock(), "{text}");
    }

    /// Gives a text its look on standard output.
    pub(crate) fn paint(&self, look: Look, text: &str) -> String {
        painted(self.stdout_colours, look, text)
    }

    /// Gives a text its look on standard error.
    pub(crate) fn paint_note(&self, look: Look, text: &str) -> String {
        painted(self.stderr_colours, look, text)
    }

    /// Prints rows under a head; `right` are the columns of numbers. Cells must be harmless already.
    pub(crate) fn table(&self, head: &[&str], right: &[usize], rows: Vec<Vec<Text>>) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if self.stdout_colours {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        table.set_header(head.iter().map(|name| Text::from(*name).faint().cell()));
        table.add_rows(rows.into_iter().map(|row| row.into_iter().map(Text::cell)));
        for (index, column) in table.column_iter_mut().enumerate() {
            let last = index + 1 == head.len();
            column.set_padding((0, if last { 0 } else { 2 }));
            if right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let text: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        self.print(&text.join("\n"))
    }

    /// Asks a person to agree; without a terminal on both sides nobody is asked and the answer is yes.
    pub(crate) fn agreed(&self, question: &str) -> Result<bool, Failure> {
        if !self.stderr_terminal || !io::stdin().is_terminal() {
            return Ok(true);
        }
        write!(io::stderr().lock(), "{question} [y/N] ")?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// A cell of a table.
pub(crate) struct Text {
    text: String,
    look: Option<Look>,
}

impl Text {
    /// Gives it a look.
    pub(crate) fn with(self, look: Look) -> Self {
        Self { look: Some(look), ..self }
    }

    /// Makes it stand out.
    pub(crate) fn strong(self) -> Self {
        self.with(Look::Strong)
    }

    /// Makes it step back.
    pub(crate) fn faint(self) -> Self {
        self.with(Look::Faint)
    }

    /// Returns it as it looks on standard output.
    pub(crate) fn painted(&self, console: &Console) -> String {
        self.look.map_or_else(|| self.text.clone(), |look| console.paint(look, &self.text))
    }

    fn cell(self) -> Cell {
        let cell = Cell::new(self.text);
        match self.look {
            None => cell,
            Some(Look::Good) => cell.fg(Color::DarkGreen),
            Some(Look::Bad) => cell.fg(Color::DarkRed),
            Some(Look::Changed) => cell.fg(Color::DarkYellow),
            Some(Look::Strong) => cell.add_attribute(Attribute::Bold),
            Some(Look::Faint) => cell.add_attribute(Attribute::Dim),
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { text, look: None }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

fn painted(colours: bool, look: Look, text: &str) -> String {
    if colours { format!("\x1b[{}m{text}\x1b[0m", look.code()) } else { text.to_owned() }
}

fn is_loopback(server: &str) -> bool {
    let authority = server.strip_prefix("http://").unwrap_or(server).trim_end_matches('/');
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn the_token_of_this_machine_stays_on_it() {
        for here in ["http://127.0.0.1:7777", "http://localhost/", "http://[::1]:1", "http://127.9.9.9"] {
            assert!(is_loopback(here), "{here}");
        }
        for there in
            ["http://10.0.0.1", "http://127.0.0.1.example", "http://localhost.example:1", "http://[::2]", "http://"]
        {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
