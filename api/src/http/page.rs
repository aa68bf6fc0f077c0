//! Pages of lists: a bounded `limit`, and cursors that clients hand back without looking in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Failure;
use super::types::Page;

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 1000;
/// The version of the cursor's bytes: a position written by one version is refused, not misread, by another.
const VERSION: u8 = 1;
/// A path of 4,096 bytes, written as hexadecimal, in base64.
const CURSOR_BYTES_MAX: usize = 12 * 1024;

/// Which page of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// At most this many items; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; the first page when absent.
    #[param(pattern = "^AQ[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// Which list a cursor belongs to: a cursor of another list is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Sandboxes = 1,
    Calls = 2,
    Operations = 3,
    Files = 4,
    Checkpoints = 5,
    History = 6,
    Tokens = 7,
}

impl PageQuery {
    pub(crate) const fn new(limit: Option<usize>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    pub(crate) fn limit(&self) -> Result<usize, Failure> {
        match self.limit.unwrap_or(LIMIT_DEFAULT) {
            limit @ 1..=LIMIT_MAX => Ok(limit),
            _ => Err(Failure::malformed("invalid_query", format!("limit is a number from 1 to {LIMIT_MAX}"))),
        }
    }

    /// Returns the position that the cursor holds.
    pub(crate) fn position(&self, list: List) -> Result<Option<String>, Failure> {
        self.cursor.as_deref().map(|cursor| decode(list, cursor)).transpose()
    }

    /// Returns the position as a number.
    pub(crate) fn number(&self, list: List) -> Result<Option<u64>, Failure> {
        self.position(list)?.map(|text| text.parse().map_err(|_| refused())).transpose()
    }
}

/// Makes a page of at most `limit` of the `found` items, of which one more than `limit` was asked for: that one says that
/// there is a next page. `position` gives the place after an item.
pub(crate) fn page<T>(mut found: Vec<T>, limit: usize, list: List, position: impl Fn(&T) -> String) -> Page<T> {
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = if more { found.last().map(|last| encode(list, &position(last))) } else { None };
    Page { items: found, next_cursor }
}

pub(crate) fn encode(list: List, position: &str) -> String {
    let mut bytes = vec![VERSION, list as u8];
    bytes.extend_from_slice(position.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(list: List, cursor: &str) -> Result<String, Failure> {
    if cursor.len() > CURSOR_BYTES_MAX {
        return Err(refused());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
    match bytes.split_at_checked(2) {
        Some((head, position)) if *head == [VERSION, list as u8] => {
            String::from_utf8(position.to_vec()).map_err(|_| refused())
        }
        _ => Err(refused()),
    }
}

pub(crate) fn refused() -> Failure {
    Failure::malformed("invalid_cursor", "this is not a cursor of this list").hinted("start again without a cursor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pages_join_to_the_whole_list() {
        let all: Vec<u64> = (0..10).collect();
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let query = PageQuery::new(Some(3), cursor);
            let start = query.number(List::Calls).unwrap().map_or(0, |last| last + 1);
            let limit = query.limit().unwrap();
            let found = all.iter().copied().skip_while(|item| *item < start).take(limit + 1).collect();
            let page = page(found, limit, List::Calls, u64::to_string);
            seen.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn what_is_no_cursor_of_this_list_is_refused() {
        let other = encode(List::Files, "7");
        for text in ["", "7", "=", "AQ", "AAAA", &other, &"A".repeat(20_000)] {
            assert!(PageQuery::new(None, Some(text.to_owned())).number(List::Calls).is_err(), "{text}");
        }
        for limit in [0, 1001, usize::MAX] {
            assert!(PageQuery::new(Some(limit), None).limit().is_err());
        }
    }

    proptest! {
        #[test]
        fn positions_survive(position in ".{0,200}") {
            let cursor = encode(List::Files, &position);
            prop_assert_eq!(decode(List::Files, &cursor).ok(), Some(position));
        }

        #[test]
        fn no_cursor_breaks_the_reader(cursor in ".{0,60}") {
            let _either = decode(List::Files, &cursor).is_ok();
        }
    }
}
