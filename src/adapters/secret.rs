//! Where a backend's secret is found: it is never configured itself.

use std::path::Path;

use secrecy::SecretString;

/// The value of the environment variable, or else the one line of the file; empty where
/// neither is named, `None` where it is not there.
pub(super) fn find(variable: Option<&str>, file: Option<&Path>) -> Option<SecretString> {
    let text = match (variable, file) {
        (Some(name), _) => std::env::var(name).ok()?,
        (None, Some(path)) => std::fs::read_to_string(path).ok()?.trim_end_matches(['\r', '\n']).to_owned(),
        (None, None) => String::new(),
    };
    Some(SecretString::from(text))
}
