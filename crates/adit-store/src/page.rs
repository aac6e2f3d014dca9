//! Lists in pages, with cursors that say where the next page begins.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::StoreError;

/// The longest page: keeps an answer under 1 MiB with the widest rows.
pub const MAX_PAGE: u32 = 200;

/// Which page of a list is wanted.
#[derive(Clone, Debug)]
pub struct Paging {
    /// Where it begins; absent: at the list's beginning.
    pub cursor: Option<Cursor>,
    /// The most items, brought into 1 to [`MAX_PAGE`].
    pub limit: u32,
}

impl Paging {
    /// Asks for a list's beginning.
    pub fn first(limit: u32) -> Self {
        Self { cursor: None, limit }
    }

    /// Gives the limit in its bounds, one more so that a next page shows itself.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit.clamp(1, MAX_PAGE)) + 1
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins, if there is more.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page of one row more than was asked for at most.
    pub(crate) fn of(mut rows: Vec<T>, paging: &Paging, cursor: impl Fn(&T) -> Cursor) -> Self {
        let most = paging.limit.clamp(1, MAX_PAGE) as usize;
        let more = rows.len() > most;
        rows.truncate(most);
        let next = if more { rows.last().map(cursor) } else { None };
        Self { items: rows, next }
    }
}

/// A place in a list; opaque to whoever carries it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor(String);

/// Lists that have cursors of their own; one list's cursor means nothing to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    Principals = b'p' as isize,
    Grants = b'g' as isize,
    Credentials = b'c' as isize,
    Machines = b'm' as isize,
    Sessions = b's' as isize,
    Recordings = b'r' as isize,
    Events = b'e' as isize,
    Services = b'v' as isize,
    Families = b'f' as isize,
    Teams = b't' as isize,
    Requests = b'q' as isize,
    Certificates = b'x' as isize,
    EnrolmentTokens = b'n' as isize,
    Support = b'h' as isize,
    Jobs = b'j' as isize,
    Alerts = b'a' as isize,
}

/// What a cursor holds: the sort key of the last item shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) first: i64,
    pub(crate) second: i64,
    pub(crate) id: Uuid,
}

impl Cursor {
    pub(crate) fn new(list: List, place: Place) -> Self {
        let Place { first, second, id } = place;
        Self(format!("{}{first:016x}{second:016x}{}", list as u8 as char, id.simple()))
    }

    /// Reads the place, if the cursor is of this list.
    pub(crate) fn place(&self, list: List) -> Result<Place, StoreError> {
        self.read(list).ok_or(StoreError::BadCursor)
    }

    fn read(&self, list: List) -> Option<Place> {
        let rest = self.0.strip_prefix(list as u8 as char)?;
        let number = |at: usize| {
            let digits = rest.get(at..at + 16)?;
            let plain = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten().map(u64::cast_signed)
        };
        let id = Uuid::try_parse(rest.get(32..64)?).ok()?;
        (rest.len() == 64).then_some(Place { first: number(0)?, second: number(16)?, id })
    }
}

/// A place before everything, for a list that goes up.
pub(crate) const LOWEST: Place = Place { first: i64::MIN, second: i64::MIN, id: Uuid::nil() };

/// A place after everything, for a list that goes down.
pub(crate) const HIGHEST: Place = Place { first: i64::MAX, second: i64::MAX, id: Uuid::max() };

impl Paging {
    pub(crate) fn place(&self, list: List, otherwise: Place) -> Result<Place, StoreError> {
        self.cursor.as_ref().map_or(Ok(otherwise), |cursor| cursor.place(list))
    }
}

/// A text that cannot be a cursor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;
    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (text.len() == 65 && plain).then(|| Self(text.to_owned())).ok_or(NotACursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_in_its_own_list_only() {
        let place = Place { first: -5, second: 7, id: Uuid::from_u128(9) };
        let cursor: Cursor = Cursor::new(List::Events, place).to_string().parse().unwrap();
        assert_eq!(cursor.place(List::Events).unwrap(), place);
        assert!(matches!(cursor.place(List::Sessions), Err(StoreError::BadCursor)));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let good = Cursor::new(List::Events, HIGHEST).to_string();
        for bad in ["", "e", &good[1..], &format!("{good}0"), &good.replace('f', "F"), "é"] {
            assert_eq!(bad.parse::<Cursor>(), Err(NotACursor), "{bad}");
        }
        let odd: Cursor = good.replace('f', "z").parse().unwrap();
        assert!(matches!(odd.place(List::Events), Err(StoreError::BadCursor)));
    }
}
