//! adit-core.
