//! adit-http.
