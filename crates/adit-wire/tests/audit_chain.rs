//! The audit log: whoever changes it is found out.

#![expect(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod audit_chain {
    mod canonical;
    mod chain;
    mod checkpoint;
    mod escape;
    mod export;
    mod sample;
}
