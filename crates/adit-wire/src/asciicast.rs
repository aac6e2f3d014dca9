//! Writes asciicast v2, which every terminal player reads, from a recording's items.
//!
//! One line of JSON is the header, each line after it an event `[seconds, code, data]`. Output that is not UTF-8 becomes U+FFFD; a character that was cut
//! between two items is joined and told at the second.
//!
//! Source: asciinema's asciicast v2 (codes `o`, `i`, `r`, `m`).

use std::fmt::Write as _;

use crate::audit::escape::push_json;
use crate::recording::{Header, Item, What};

/// Writes one asciicast; each call appends whole lines.
#[derive(Debug, Default)]
pub struct Cast {
    output: Joiner,
    stderr: Joiner,
    input: Joiner,
    typist: String,
    last_ms: u64,
}

impl Cast {
    /// Starts a cast; appends the header line.
    pub fn begin(header: &Header, out: &mut String) -> Self {
        let (cols, rows, at) = (header.cols, header.rows, header.started_at.seconds());
        let _ = write!(
            out,
            "{{\"version\":2,\"width\":{cols},\"height\":{rows},\"timestamp\":{at},\"title\":"
        );
        push_json(&format!("{} on {}", header.principal, header.machine), out);
        out.push_str(",\"env\":{\"TERM\":\"xterm-256color\"}}\n");
        Self::default()
    }

    /// Appends the lines that an item gives, if any.
    pub fn write(&mut self, item: &Item, out: &mut String) {
        self.last_ms = item.at_ms;
        match &item.what {
            What::Output(bytes) => event(item.at_ms, 'o', &self.output.push(bytes), out),
            What::Stderr(bytes) => event(item.at_ms, 'o', &self.stderr.push(bytes), out),
            What::Input { who, bytes } => {
                if *who != self.typist {
                    event(item.at_ms, 'i', &self.input.finish(), out);
                    self.typist.clone_from(who);
                }
                event(item.at_ms, 'i', &self.input.push(bytes), out);
            }
            What::Resize { cols, rows } => event(item.at_ms, 'r', &format!("{cols}x{rows}"), out),
            What::Mark(text) => event(item.at_ms, 'm', text, out),
            What::Gap { bytes, reason } => {
                // What a gap cuts is never completed.
                event(item.at_ms, 'o', &(self.output.finish() + &self.stderr.finish()), out);
                event(item.at_ms, 'm', &format!("{bytes} bytes are missing: {reason}"), out);
            }
            What::Echo { .. } => {}
        }
    }

    /// Appends a mark where the recording is broken.
    pub fn broken(&mut self, out: &mut String) {
        event(self.last_ms, 'o', &(self.output.finish() + &self.stderr.finish()), out);
        event(self.last_ms, 'm', "the recording is broken here", out);
    }

    /// Ends the cast: what was cut at the end becomes U+FFFD.
    pub fn finish(mut self, out: &mut String) {
        event(self.last_ms, 'o', &(self.output.finish() + &self.stderr.finish()), out);
        event(self.last_ms, 'i', &self.input.finish(), out);
    }
}

fn event(at_ms: u64, code: char, data: &str, out: &mut String) {
    if data.is_empty() {
        return;
    }
    let _ = write!(out, "[{}.{:03},\"{code}\",", at_ms / 1000, at_ms % 1000);
    push_json(data, out);
    out.push_str("]\n");
}

/// Turns bytes into text, keeping a character that is not whole yet for the next bytes.
#[derive(Debug, Default)]
pub struct Joiner {
    kept: Vec<u8>,
}

impl Joiner {
    /// Takes bytes, gives the text that they complete. All of it together is what [`String::from_utf8_lossy`] makes of all bytes.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = bytes;
        if !self.kept.is_empty() {
            joined = [std::mem::take(&mut self.kept).as_slice(), bytes].concat();
            rest = &joined;
        }
        let mut text = String::with_capacity(rest.len());
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    let Some(length) = error.error_len() else {
                        self.kept = invalid.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &invalid[length..];
                }
            }
        }
    }

    /// Gives U+FFFD for a character that is not whole, and forgets it.
    pub fn finish(&mut self) -> String {
        let kept = std::mem::take(&mut self.kept);
        String::from_utf8_lossy(&kept).into_owned()
    }
}
