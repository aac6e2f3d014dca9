//! adit-link.
