//! Every byte format that Adit owns: frames, warrants, recordings, the audit chain, what is said to a sandbox.
//!
//! Nothing here does I/O or reads a clock. Read first: [`frame::Frame`], [`warrant::check`].

pub mod asciicast;
pub mod audit;
pub mod checkpoint;
pub mod digest;
pub mod frame;
pub mod job;
pub mod receipt;
pub mod recording;
pub mod sandbox;
pub mod warrant;

/// What a viewer and a gateway say to each other; see `proto/adit/terminal/v1/terminal.proto`.
pub mod terminal {
    #![expect(missing_docs, reason = "the .proto file documents the messages")]
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/adit.terminal.v1.rs"));
    }
}

/// What an agent and a gateway say to each other; see `proto/adit/agent/v1/agent.proto`.
pub mod agent {
    #![expect(missing_docs, reason = "the .proto file documents the messages")]
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/adit.agent.v1.rs"));
    }
}

/// What gateways tell each other; see `proto/adit/bus/v1/bus.proto`.
pub mod bus {
    #![expect(missing_docs, reason = "the .proto file documents the messages")]
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/adit.bus.v1.rs"));
    }
}
