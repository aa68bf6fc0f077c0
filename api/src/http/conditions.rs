//! Conditions and ranges of RFC 9110: entity tags in `If-Match` and `If-None-Match`, and one `Range` of bytes.

use std::ops::Range;

use axum::http::header::CONTENT_RANGE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::{Failure, Kind};

/// The tags of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`: whatever is there.
    Any,
    /// One of these, without quotes.
    These(Vec<String>),
}

impl Tags {
    /// Reads a condition, if the request has it.
    pub(crate) fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Failure> {
        let refused = || Failure::malformed("invalid_condition", format!("{name} is `*` or a list of quoted tags"));
        let mut tags = Vec::new();
        let mut given = false;
        for value in headers.get_all(name) {
            given = true;
            let text = value.to_str().map_err(|_| refused())?;
            if text.trim() == "*" {
                return Ok(Some(Self::Any));
            }
            for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
                let quoted = tag.strip_prefix("W/").unwrap_or(tag);
                let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(refused)?;
                tags.push(inner.to_owned());
            }
        }
        match (given, tags.is_empty()) {
            (false, _) => Ok(None),
            (true, true) => Err(refused()),
            (true, false) => Ok(Some(Self::These(tags))),
        }
    }

    /// Whether what is there, with this tag, is among them.
    pub(crate) fn hold(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| tag == etag),
        }
    }

    /// Returns the one tag that a change can depend on.
    pub(crate) fn only(self) -> Result<String, Failure> {
        match self {
            Self::Any => Ok("*".to_owned()),
            Self::These(tags) => match <[String; 1]>::try_from(tags) {
                Ok([tag]) => Ok(tag),
                Err(_) => Err(Failure::malformed("invalid_condition", "If-Match of a change has one tag")),
            },
        }
    }
}

/// Reads one range of bytes of a file of `size` bytes. None for what is not understood or has several ranges: RFC 9110 then
/// has the whole file sent.
pub(crate) fn range(header: &HeaderValue, size: u64) -> Option<Result<Range<u64>, Failure>> {
    let (first, last) = header.to_str().ok()?.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let unsatisfiable = || {
        let failure = Failure::new(Kind::Range, "range_not_satisfiable", format!("the file has {size} bytes"));
        match HeaderValue::try_from(format!("bytes */{size}")) {
            Ok(value) => failure.with_header(CONTENT_RANGE, value),
            Err(_) => failure,
        }
    };
    let span = match (first.trim(), last.trim()) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some(if span.start < span.end { Ok(span) } else { Err(unsatisfiable()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::IF_MATCH;
    use proptest::prelude::*;

    fn spans(text: &str, size: u64) -> Option<Option<Range<u64>>> {
        range(&HeaderValue::from_str(text).unwrap(), size).map(Result::ok)
    }

    #[test]
    fn ranges_follow_the_rfc() {
        assert_eq!(spans("bytes=0-0", 10), Some(Some(0..1)));
        assert_eq!(spans("bytes=2-", 10), Some(Some(2..10)));
        assert_eq!(spans("bytes=-3", 10), Some(Some(7..10)));
        assert_eq!(spans("bytes=-30", 10), Some(Some(0..10)));
        assert_eq!(spans("bytes=5-99", 10), Some(Some(5..10)));
        assert_eq!(spans("bytes=0-18446744073709551615", 10), Some(Some(0..10)));
        for unsatisfiable in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(spans(unsatisfiable, 10), Some(None), "{unsatisfiable}");
        }
        assert_eq!(spans("bytes=0-", 0), Some(None));
        for ignored in [
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "lines=1-2",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(spans(ignored, 10), None, "{ignored}");
        }
    }

    #[test]
    fn tags_are_quoted() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, HeaderValue::from_static(value));
            Tags::of(&headers, &IF_MATCH).map_err(|failure| failure.code())
        };
        assert_eq!(Tags::of(&HeaderMap::new(), &IF_MATCH).ok(), Some(None));
        assert_eq!(of("*"), Ok(Some(Tags::Any)));
        assert_eq!(of("\"a\", W/\"b\""), Ok(Some(Tags::These(vec!["a".into(), "b".into()]))));
        for bad in ["", "a", "\"", "\"a", ","] {
            assert_eq!(of(bad), Err("invalid_condition"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_range_lies_in_the_file(text in "bytes=[0-9]{0,21}-[0-9]{0,21}", size: u64) {
            if let Some(Some(span)) = spans(&text, size) {
                prop_assert!(span.start < span.end && span.end <= size);
            }
        }
    }
}
