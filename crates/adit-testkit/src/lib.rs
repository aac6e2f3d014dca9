//! adit-testkit.
