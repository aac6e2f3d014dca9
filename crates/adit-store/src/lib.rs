//! adit-store.
