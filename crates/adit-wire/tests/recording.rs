//! Recordings: what is written is read back, whatever happens to the file between.

#![expect(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod recording {
    mod asciicast;
    mod damage;
    mod hostile;
    mod read_back;
    mod recovery;
    mod sample;
    mod search;
    mod seeking;
    mod tombstone;
}
