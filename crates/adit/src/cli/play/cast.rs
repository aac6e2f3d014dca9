//! Reads asciicast, versions 2 and 3.
//!
//! Source: the asciicast file formats, <https://docs.asciinema.org/manual/asciicast/v2/> and v3.

use std::time::Duration;

use serde::Deserialize;

use crate::cli::connect::raw::Size;
use crate::cli::failure::Failure;

/// A recording in memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Cast {
    /// The terminal's first size.
    pub size: Size,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// What happened at a time since the beginning.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What a recording shows.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// The session wrote.
    Output(String),
    /// The window had another size.
    Resize(Size),
}

#[derive(Deserialize)]
struct Header {
    version: u8,
    width: Option<u16>,
    height: Option<u16>,
    term: Option<Term>,
}

#[derive(Deserialize)]
struct Term {
    cols: u16,
    rows: u16,
}

impl Cast {
    /// Reads a whole file; a last line that is cut off is left out, as a crash leaves one.
    ///
    /// # Errors
    /// The first line is no header, or a line in the middle is no event.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with('#')
        });
        let header = lines.next().and_then(|(_, line)| serde_json::from_str::<Header>(line).ok());
        let header = header.filter(|header| matches!(header.version, 2 | 3)).ok_or_else(|| {
            Failure::Answer("its first line is no asciicast header of version 2 or 3".to_owned())
        })?;
        let mut events = Vec::new();
        let mut clock = Duration::ZERO;
        let mut lines = lines.peekable();
        while let Some((number, line)) = lines.next() {
            let Ok((time, code, data)) =
                serde_json::from_str::<(f64, String, serde_json::Value)>(line)
            else {
                if lines.peek().is_none() {
                    break;
                }
                return Err(Failure::Answer(format!("line {} is no event", number + 1)));
            };
            let time = Duration::try_from_secs_f64(time).unwrap_or(clock);
            clock = if header.version == 3 { clock + time } else { time.max(clock) };
            let data = data.as_str().unwrap_or_default();
            events.extend(read(&code, data).map(|what| Event { at: clock, what }));
        }
        Ok(Self { size: header.size(), events })
    }

    /// Shortens every pause to at most `limit`.
    pub fn limit_pauses(&mut self, limit: Duration) {
        let (mut before, mut cut) = (Duration::ZERO, Duration::ZERO);
        for event in &mut self.events {
            cut += event.at.saturating_sub(before).saturating_sub(limit);
            before = event.at;
            event.at -= cut;
        }
    }

    /// Gives how long it lasts.
    pub fn length(&self) -> Duration {
        self.events.last().map_or(Duration::ZERO, |event| event.at)
    }
}

impl Header {
    fn size(&self) -> Size {
        match (&self.term, self.width, self.height) {
            (Some(term), ..) => Size { cols: term.cols.max(1), rows: term.rows.max(1) },
            (None, Some(cols), Some(rows)) => Size { cols: cols.max(1), rows: rows.max(1) },
            _ => Size::USUAL,
        }
    }
}

fn read(code: &str, data: &str) -> Option<What> {
    match code {
        "o" => Some(What::Output(data.to_owned())),
        "r" => {
            let (cols, rows) = data.split_once('x')?;
            let size = Size { cols: cols.parse().ok()?, rows: rows.parse().ok()? };
            (size.cols > 0 && size.rows > 0).then_some(What::Resize(size))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = r#"{"version":2,"width":100,"height":30}
[0.5,"o","a"]
[10.5,"o","b\r\n"]
[10.6,"i","secret"]
[11,"r","80x24"]
[11.5,"m","mark"]
[12,"o","c"]
"#;

    fn ms(cast: &Cast) -> Vec<u128> {
        cast.events.iter().map(|event| event.at.as_millis()).collect()
    }

    #[test]
    fn output_and_sizes_are_read_and_the_rest_is_left_out() {
        // TERM-41
        let cast = Cast::parse(V2).unwrap();
        assert_eq!(cast.size, Size { cols: 100, rows: 30 });
        assert_eq!(ms(&cast), [500, 10_500, 11_000, 12_000]);
        assert_eq!(cast.events[2].what, What::Resize(Size { cols: 80, rows: 24 }));
    }

    #[test]
    fn version_three_counts_from_the_event_before() {
        let cast = Cast::parse(
            "{\"version\":3,\"term\":{\"cols\":9,\"rows\":3}}\n[1,\"o\",\"a\"]\n[2,\"o\",\"b\"]",
        )
        .unwrap();
        assert_eq!(ms(&cast), [1000, 3000]);
        assert_eq!(cast.size.cols, 9);
    }

    #[test]
    fn a_pause_is_cut_to_the_limit() {
        // TERM-41
        let mut cast = Cast::parse(V2).unwrap();
        cast.limit_pauses(Duration::from_secs(2));
        assert_eq!(ms(&cast), [500, 2500, 3000, 4000]);
        assert_eq!(cast.length(), Duration::from_secs(4));
    }

    #[test]
    fn what_a_crash_left_is_played_and_a_broken_middle_is_not() {
        // TERM-43
        let cut = &V2[..V2.len() - 4];
        assert_eq!(Cast::parse(cut).unwrap().events.len(), 3);
        assert!(Cast::parse(&V2.replace("[11,", "[11;")).is_err());
        assert!(Cast::parse("").is_err());
        assert!(Cast::parse("{\"version\":1}").is_err());
    }
}
