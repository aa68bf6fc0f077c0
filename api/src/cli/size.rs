//! Writes numbers for people: counts, sizes, times, ages.

use std::time::Duration;

use jiff::Timestamp;

use crate::http::types::Changes;

/// Writes a count with its thousands apart: `57,235`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes a count of things: `1 file`, `2 files`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Writes a size: `712 B`, `1.4 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024 of a unit is 1 of the next.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 9.995 { format!("{value:.2} {}", UNITS[unit]) } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Writes a time that something took: `0.42 ms`, `13 ms`, `1.25 s`.
pub(crate) fn took(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    match milliseconds {
        ..0.995 => format!("{milliseconds:.2} ms"),
        ..9.95 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        ..59_995.0 => format!("{:.2} s", milliseconds / 1e3),
        _ => format!("{}m {:.0}s", time.as_secs() / 60, time.as_secs_f64() % 60.0),
    }
}

/// Writes how long ago a time of the service was: `3m ago`.
pub(crate) fn age(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else { return super::terminal::name(time) };
    let seconds = now.as_second().saturating_sub(time.as_second());
    match seconds {
        ..0 => "in the future".to_owned(),
        0..2 => "now".to_owned(),
        2..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// Writes what a diff's summary says: `3 added, 1 modified, +2.0 KiB`.
pub(crate) fn changes(changes: &Changes) -> String {
    let words = [
        (changes.added, "added"),
        (changes.removed, "removed"),
        (changes.modified, "modified"),
        (changes.renamed, "renamed"),
        (changes.attributes, "only other modes or times"),
    ];
    let mut parts: Vec<_> =
        words.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{} {word}", count(*number))).collect();
    if parts.is_empty() {
        return "nothing changed".to_owned();
    }
    if changes.bytes_added > 0 {
        parts.push(format!("+{}", bytes(changes.bytes_added)));
    }
    if changes.bytes_removed > 0 {
        parts.push(format!("-{}", bytes(changes.bytes_removed)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 57_235, 1_000_000].map(count), ["0", "999", "1,000", "57,235", "1,000,000"]);
        assert_eq!(
            [0, 1023, 1024, 1_468_006, 1024 * 1024 - 1, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.00 KiB", "1.40 MiB", "1.00 MiB", "16.0 EiB"]
        );
        let took = |microseconds| took(Duration::from_micros(microseconds));
        assert_eq!([420, 1_240, 13_400, 999_400].map(took), ["0.42 ms", "1.2 ms", "13 ms", "999 ms"]);
        assert_eq!([1_250_000, 125_000_000].map(took), ["1.25 s", "2m 5s"]);
    }

    #[test]
    fn ages_are_short_and_bad_times_harmless() {
        let now: Timestamp = "2025-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(age("2025-01-01T23:57:00Z", now), "3m ago");
        assert_eq!(age("2025-01-03T00:00:00Z", now), "in the future");
        assert_eq!(age("\x1b[2J", now), "\\x1b[2J");
    }

    #[test]
    fn summaries_name_only_what_happened() {
        assert_eq!(changes(&Changes::default()), "nothing changed");
        let some = Changes { added: 3, modified: 1, bytes_added: 2048, ..Changes::default() };
        assert_eq!(changes(&some), "3 added, 1 modified, +2.00 KiB");
    }
}
