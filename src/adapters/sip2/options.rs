//! What is configured for one library that speaks SIP2.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{super::secret, charset::Charset};
use crate::{limits, model::BreakerOptions};

/// How one library is reached. The password itself is never configured: only
/// where it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sip2Options {
    /// `host:port`.
    pub address: String,
    /// AO.
    #[serde(default)]
    pub institution: String,
    /// CN; empty where the site knows no login.
    #[serde(default)]
    pub user: String,
    /// Name of the environment variable that holds CO.
    #[serde(default)]
    pub password_env: Option<String>,
    /// File that holds CO; one line.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// CP and AP.
    #[serde(default)]
    pub location: String,
    /// `utf-8`, `gbk`, `gb18030`, …
    #[serde(default)]
    pub encoding: Charset,
    /// Whether messages carry sequence numbers and checksums. Leave it on: without
    /// them a garbled answer cannot be told from a good one.
    #[serde(default = "yes")]
    pub error_detection: bool,
    #[serde(default = "connect_timeout")]
    pub connect_timeout_ms: u64,
    /// From the request to the whole answer. Shorter than a terminal's deadline, so
    /// that it hears `PENDING` before it gives up.
    #[serde(default = "request_timeout")]
    pub request_timeout_ms: u64,
    /// Times a garbled message is sent or asked for again.
    #[serde(default = "resends")]
    pub resends_max: u32,
    /// Connections, which are the bulkhead too.
    #[serde(default = "pool_size")]
    pub pool_size: usize,
    /// A connection idle for longer is asked for its status.
    #[serde(default = "keep_alive")]
    pub keep_alive_s: u64,
    /// Loans of an account that are looked up one by one for title and due date.
    #[serde(default = "loans_detailed")]
    pub loans_detailed_max: usize,
    #[serde(default)]
    pub breaker: BreakerOptions,
}

/// The options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadSip2Options {
    #[error("library {library}: pool_size must be 1 to {}", limits::SIP2_CONNECTIONS_MAX)]
    PoolSize { library: String },
    #[error("library {library}: timeouts and keep_alive_s must be greater than 0")]
    Timeout { library: String },
    #[error("library {library}: give password_env or password_file, not both")]
    TwoPasswords { library: String },
    #[error("library {library}: the password is not where the options say")]
    NoPassword { library: String },
}

impl Sip2Options {
    /// Options with everything but the address left to its default.
    pub fn at(address: impl Into<String>) -> Self {
        Sip2Options {
            address: address.into(),
            institution: String::new(),
            user: String::new(),
            password_env: None,
            password_file: None,
            location: String::new(),
            encoding: Charset::default(),
            error_detection: yes(),
            connect_timeout_ms: connect_timeout(),
            request_timeout_ms: request_timeout(),
            resends_max: resends(),
            pool_size: pool_size(),
            keep_alive_s: keep_alive(),
            loans_detailed_max: loans_detailed(),
            breaker: BreakerOptions::default(),
        }
    }

    /// Checks the options and reads the password.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub(super) fn check(&self, library: &str) -> Result<SecretString, BadSip2Options> {
        let library = library.to_owned();
        if !(1..=limits::SIP2_CONNECTIONS_MAX).contains(&self.pool_size) {
            return Err(BadSip2Options::PoolSize { library });
        }
        if [self.connect_timeout_ms, self.request_timeout_ms, self.keep_alive_s].contains(&0) {
            return Err(BadSip2Options::Timeout { library });
        }
        match (&self.password_env, &self.password_file) {
            (Some(_), Some(_)) => Err(BadSip2Options::TwoPasswords { library }),
            (variable, file) => secret::find(variable.as_deref(), file.as_deref())
                .ok_or(BadSip2Options::NoPassword { library }),
        }
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(super) fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_s)
    }
}

fn yes() -> bool {
    true
}

fn connect_timeout() -> u64 {
    500
}

fn request_timeout() -> u64 {
    1_500
}

fn resends() -> u32 {
    2
}

fn pool_size() -> usize {
    limits::SIP2_CONNECTIONS_MAX
}

fn keep_alive() -> u64 {
    60
}

fn loans_detailed() -> usize {
    10
}
