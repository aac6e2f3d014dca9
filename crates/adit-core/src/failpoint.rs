//! Where a test lets a part of a session panic. In a build without debug assertions, a release, there is nothing here.
//!
//! `ADIT_FAILPOINT` names the part; it fails at bytes that contain [`WORD`].

/// What the bytes hold at which the part panics.
pub const WORD: &[u8] = b"fail-here";

/// Panics where a test asked for it.
#[cfg(debug_assertions)]
pub fn pass(part: &str, bytes: &[u8]) {
    static PART: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("ADIT_FAILPOINT").ok());
    if PART.as_deref() == Some(part) && bytes.windows(WORD.len()).any(|window| window == WORD) {
        panic!("{part} fails, as a test asked");
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub const fn pass(_: &str, _: &[u8]) {}
