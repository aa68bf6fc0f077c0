//! Reads server-sent events, as the HTML standard's section 9.2 writes them.

use std::io::{self, BufRead, Read};

/// Longest line: the result of a call holds all that it printed, escaped.
const LINE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// What kind of event it is; empty for a plain message.
    pub name: String,
    /// Its id: what `Last-Event-ID` resumes after.
    pub id: Option<String>,
    /// Its data, lines joined by line feeds.
    pub data: String,
}

/// Reads events from a body.
pub struct Events<R> {
    body: R,
}

impl<R: BufRead> Events<R> {
    /// Reads from the start of a body.
    pub const fn new(body: R) -> Self {
        Self { body }
    }

    /// Returns the next event, or nothing at the end of the body. An event that the body's end cuts off is dropped.
    ///
    /// # Errors
    /// The body can't be read, or a line is endless.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        let mut event = Event::default();
        let mut data: Option<String> = None;
        while let Some(line) = self.line()? {
            if line.is_empty() {
                if let Some(data) = data.take() {
                    event.data = data;
                    return Ok(Some(event));
                }
                event = Event::default();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "id" if !value.contains('\0') => event.id = Some(value.to_owned()),
                "data" => match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => data = Some(value.to_owned()),
                },
                // Comments (heartbeats) have an empty field name; `retry` and what is unknown is passed over.
                _ => {}
            }
        }
        Ok(None)
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        self.body.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            let endless = bytes.len() as u64 >= LINE_BYTES_MAX;
            return if endless { Err(io::Error::other("an event is endless")) } else { Ok(None) };
        }
        let _carriage_return = bytes.pop_if(|last| *last == b'\r');
        String::from_utf8(bytes).map(Some).map_err(|_| io::Error::other("an event is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<Event> {
        let mut events = Events::new(text.as_bytes());
        std::iter::from_fn(|| events.next_event().unwrap()).collect()
    }

    fn event(name: &str, id: Option<&str>, data: &str) -> Event {
        Event { name: name.to_owned(), id: id.map(str::to_owned), data: data.to_owned() }
    }

    #[test]
    fn fields_comments_and_line_ends_are_understood() {
        let text = ": heartbeat\n\nevent: output\nid: 1\ndata: {\"a\"\ndata: :1}\n\nevent:x\r\ndata:y\r\n\r\ndata\n\n";
        assert_eq!(
            read(text),
            [event("output", Some("1"), "{\"a\"\n:1}"), event("x", None, "y"), event("", None, "")]
        );
    }

    #[test]
    fn a_cut_event_is_no_event() {
        assert_eq!(read("data: a\n\ndata: b\n"), [event("", None, "a")]);
        assert_eq!(read("event: lonely\n\ndata: c\n\n"), [event("", None, "c")]);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(name in "[a-z]{1,8}", id in 0u64.., data in "[^\r\n]{0,80}(\n[^\r\n]{0,20}){0,3}") {
            let lines: String = data.split('\n').map(|line| format!("data: {line}\n")).collect();
            let text = format!("event: {name}\nid: {id}\n{lines}\n");
            prop_assert_eq!(read(&text), [event(&name, Some(&id.to_string()), &data)]);
        }

        #[test]
        fn nothing_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut events = Events::new(&bytes[..]);
            while let Ok(Some(_)) = events.next_event() {}
        }
    }
}
