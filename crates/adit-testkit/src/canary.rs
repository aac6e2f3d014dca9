//! Remembers every secret that was handed out, and finds those that were written where they must not be.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Names of members that hold a secret, in any answer of the API.
const SECRET_MEMBERS: [&str; 11] = [
    "token",
    "ticket",
    "agentKey",
    "clientSecret",
    "access_token",
    "refresh_token",
    "step",
    "ceremony",
    "secret",
    "uri",
    "device_code",
];

/// The secrets of one gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canary(Arc<Mutex<Vec<String>>>);

impl Canary {
    /// Remembers a secret.
    pub(crate) fn remember(&self, secret: &str) {
        if !secret.is_empty() {
            self.0.lock().unwrap().push(secret.to_owned());
        }
    }

    /// Remembers the secrets of an answer.
    pub(crate) fn remember_in(&self, answer: &Value) {
        for name in SECRET_MEMBERS {
            if let Some(secret) = answer[name].as_str() {
                self.remember(secret);
            }
        }
        for code in answer["recoveryCodes"].as_array().into_iter().flatten() {
            self.remember(code.as_str().unwrap_or_default());
        }
        if let Some(code) = answer["supportCode"].as_str() {
            self.remember(code);
            self.remember(&code.replace('-', ""));
        }
        if let Some((_, code)) = answer["url"].as_str().and_then(|url| url.split_once("#code=")) {
            self.remember(code);
        }
    }

    /// Gives the secrets that a text holds, by their first characters.
    pub(crate) fn found_in(&self, text: &[u8]) -> Vec<String> {
        let secrets = self.0.lock().unwrap();
        let found = secrets.iter().filter(|secret| holds(text, secret.as_bytes()));
        found.map(|secret| secret.chars().take(8).collect()).collect()
    }

    /// Gives the files that hold a secret: of a folder, and of all folders in it.
    pub(crate) fn found_below(&self, folder: &Path) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        for path in files_below(folder) {
            let content = std::fs::read(&path).unwrap_or_default();
            let secrets = self.found_in(&content);
            found.extend(secrets.into_iter().map(|secret| (path.clone(), secret)));
        }
        found
    }
}

fn holds(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// Lists the files of a folder and of all folders in it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let entries = entries.filter_map(Result::ok);
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path()),
            Ok(kind) if kind.is_file() => vec![entry.path()],
            _ => vec![],
        })
        .collect()
}
