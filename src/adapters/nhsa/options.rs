//! What is configured for one insurer's platform. Deployed systems differ in letters,
//! names and signatures; whatever the facts leave open is an option here.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use http::Uri;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::super::secret;
use crate::{limits, model::BreakerOptions, scenes::medical::MedicalAct};

/// How a platform is reached and what is special about it. The token itself is never
/// configured: only where it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NhsaOptions {
    /// `http://host:port/path`; all transactions share it.
    pub url: String,
    /// PEM with the roots of an `https` address.
    #[serde(default)]
    pub tls_roots: Option<PathBuf>,
    /// x-tif-paasid; empty sends no header signature.
    #[serde(default)]
    pub account: String,
    /// Name of the environment variable that holds the token.
    #[serde(default)]
    pub token_env: Option<String>,
    /// File that holds the token; one line.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Whether x-tif-timestamp is in seconds instead of milliseconds.
    #[serde(default)]
    pub header_seconds: bool,
    /// How a message's `cainfo` is made.
    #[serde(default)]
    pub signature: MessageSignature,
    /// recer_sys_code
    #[serde(default = "receiver")]
    pub receiver: String,
    /// infver
    #[serde(default = "version")]
    pub version: String,
    /// opter_type where an operator works: 1 clerk, 2 kiosk, 3 mobile.
    #[serde(default = "operator_type")]
    pub operator_type: String,
    /// opter where nobody works the terminal.
    #[serde(default = "operator")]
    pub operator: String,
    /// dev_no
    #[serde(default)]
    pub device: String,
    #[serde(default)]
    pub sign_in: SignInOptions,
    /// The platform's number of a transaction where it is another, for example
    /// `2207 = "2207A"`.
    #[serde(default)]
    pub infno: BTreeMap<String, String>,
    /// The object of `input` that a transaction's fields are in, where it is another.
    #[serde(default)]
    pub node: BTreeMap<String, String>,
    /// Other names of fields that are sent: `"2201.dept_code" = "dept_codg"`, or
    /// without a number for all transactions.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Fields that are sent besides, as texts: `"3201.exp_content" = ""`.
    #[serde(default)]
    pub extra: BTreeMap<String, String>,
    /// Other names that answers have for a field, tried in their order after its own.
    #[serde(default = "aliases")]
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Values of stmt_rslt that say that both sides agree.
    #[serde(default = "matches")]
    pub matches: Vec<String>,
    /// Values of infcode beside −2 that say that nothing was done.
    #[serde(default)]
    pub refusals: Vec<String>,
    /// Words in the err_msg of a refused 2601 that say that nothing is there. Empty
    /// takes no refusal for that.
    #[serde(default)]
    pub nothing_there: Vec<String>,
    /// Whether 5203 takes mdtrt_id without setl_id and answers the visit's last
    /// settlement.
    #[serde(default = "yes")]
    pub inquires_by_visit: bool,
    #[serde(default = "connect_timeout")]
    pub connect_timeout_ms: u64,
    /// From the request to the whole answer.
    #[serde(default = "timeout")]
    pub timeout_ms: u64,
    /// Where a transaction has another: `2304 = 15000`.
    #[serde(default)]
    pub timeouts_ms: BTreeMap<String, u64>,
    /// Messages at once, which is the bulkhead.
    #[serde(default = "in_flight")]
    pub in_flight_max: usize,
    #[serde(default)]
    pub breaker: BreakerOptions,
}

/// How `cainfo` is made: over `msgid|infno|inf_time|` and the bytes of `input` as sent,
/// hexadecimal. What a real platform signs is not published; other forms come as other
/// variants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageSignature {
    /// `signtype` SM3 and an empty `cainfo`.
    #[default]
    None,
    /// A digest.
    Sm3,
    /// The region's key `medical`.
    Sm2,
}

/// 9001.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignInOptions {
    /// Whether messages carry a sign_no.
    pub needed: bool,
    /// opter_no
    pub operator: String,
    pub mac: String,
    pub ip: String,
    /// Words in the err_msg of a refusal that say that the sign-in is over.
    pub over: Vec<String>,
}

impl Default for SignInOptions {
    fn default() -> Self {
        SignInOptions {
            needed: true,
            operator: "onecard".into(),
            mac: "00-00-00-00-00-00".into(),
            ip: "127.0.0.1".into(),
            over: vec!["签到".into()],
        }
    }
}

/// The options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadNhsaOptions {
    #[error("platform {platform}: url must be http://host:port/path or https://…, not {url:?}")]
    Url { platform: String, url: String },
    #[error("platform {platform}: in_flight_max must be 1 to {}", limits::NHSA_IN_FLIGHT_MAX)]
    InFlight { platform: String },
    #[error("platform {platform}: timeouts must be greater than 0")]
    Timeout { platform: String },
    #[error("platform {platform}: {number} under `{under}` is no transaction of the medical scene")]
    Transaction { platform: String, under: &'static str, number: String },
    #[error("platform {platform}: give token_env or token_file, one of them, with account")]
    Token { platform: String },
    #[error("platform {platform}: the token is not where the options say")]
    NoToken { platform: String },
    #[error("platform {platform}: tls_roots: {why}")]
    Roots { platform: String, why: String },
    #[error("platform {platform}: signature = \"sm2\" needs the key `medical` in the vault: {why}")]
    Key { platform: String, why: String },
}

impl NhsaOptions {
    /// Options with everything but the address left to its default.
    pub fn at(url: impl Into<String>) -> Self {
        NhsaOptions {
            url: url.into(),
            tls_roots: None,
            account: String::new(),
            token_env: None,
            token_file: None,
            header_seconds: false,
            signature: MessageSignature::default(),
            receiver: receiver(),
            version: version(),
            operator_type: operator_type(),
            operator: operator(),
            device: String::new(),
            sign_in: SignInOptions::default(),
            infno: BTreeMap::new(),
            node: BTreeMap::new(),
            rename: BTreeMap::new(),
            extra: BTreeMap::new(),
            aliases: aliases(),
            matches: matches(),
            refusals: Vec::new(),
            nothing_there: Vec::new(),
            inquires_by_visit: yes(),
            connect_timeout_ms: connect_timeout(),
            timeout_ms: timeout(),
            timeouts_ms: BTreeMap::new(),
            in_flight_max: in_flight(),
            breaker: BreakerOptions::default(),
        }
    }

    /// Checks all that needs no secret.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, platform: &str) -> Result<(), BadNhsaOptions> {
        self.uri(platform)?;
        let platform = platform.to_owned();
        if !(1..=limits::NHSA_IN_FLIGHT_MAX).contains(&self.in_flight_max) {
            return Err(BadNhsaOptions::InFlight { platform });
        }
        let times = self.timeouts_ms.values().chain([&self.timeout_ms, &self.connect_timeout_ms]);
        if times.copied().any(|time| time == 0) {
            return Err(BadNhsaOptions::Timeout { platform });
        }
        for (under, keys) in [
            ("infno", self.infno.keys().collect::<Vec<_>>()),
            ("node", self.node.keys().collect()),
            ("timeouts_ms", self.timeouts_ms.keys().collect()),
        ] {
            if let Some(number) = keys.into_iter().find(|number| !is_known(number)) {
                return Err(BadNhsaOptions::Transaction { platform, under, number: number.clone() });
            }
        }
        match (self.account.is_empty(), &self.token_env, &self.token_file) {
            (true, None, None) | (false, Some(_), None) | (false, None, Some(_)) => Ok(()),
            _ => Err(BadNhsaOptions::Token { platform }),
        }
    }

    /// Where the platform is.
    ///
    /// # Errors
    /// When it is no address of HTTP.
    pub(super) fn uri(&self, platform: &str) -> Result<Uri, BadNhsaOptions> {
        let bad = || BadNhsaOptions::Url { platform: platform.to_owned(), url: self.url.clone() };
        let uri: Uri = self.url.parse().map_err(|_| bad())?;
        let is_http = uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https"));
        if is_http { Ok(uri) } else { Err(bad()) }
    }

    /// Reads the token.
    ///
    /// # Errors
    /// When it is not where the options say.
    pub(super) fn token(&self, platform: &str) -> Result<SecretString, BadNhsaOptions> {
        secret::find(self.token_env.as_deref(), self.token_file.as_deref())
            .ok_or_else(|| BadNhsaOptions::NoToken { platform: platform.to_owned() })
    }

    /// infno as the platform has it.
    pub(super) fn infno(&self, act: MedicalAct) -> String {
        let number = act.infno().to_string();
        self.infno.get(&number).cloned().unwrap_or(number)
    }

    /// The object of `input` for a transaction's fields.
    pub(super) fn node<'a>(&'a self, act: MedicalAct, usual: &'a str) -> &'a str {
        self.node.get(&act.infno().to_string()).map_or(usual, String::as_str)
    }

    pub(super) fn timeout(&self, act: MedicalAct) -> Duration {
        let own = self.timeouts_ms.get(&act.infno().to_string());
        Duration::from_millis(own.copied().unwrap_or(self.timeout_ms))
    }

    pub(super) fn says_nothing_there(&self, message: &str) -> bool {
        self.nothing_there.iter().any(|word| message.contains(word.as_str()))
    }
}

fn is_known(number: &str) -> bool {
    number.parse().ok().and_then(MedicalAct::from_infno).is_some()
}

fn receiver() -> String {
    "onecard".to_owned()
}

fn version() -> String {
    "V1.0".to_owned()
}

fn operator_type() -> String {
    "1".to_owned()
}

fn operator() -> String {
    "onecard".to_owned()
}

/// Names that were seen in public clients beside those of the field table, misspellings
/// among them.
fn aliases() -> BTreeMap<String, Vec<String>> {
    [
        ("psn_part_amt", &["psn_pay", "psn_part_am"][..]),
        ("psn_cash_pay", &["cash_payamt", "pdn_cash_pay"]),
        ("hosp_part_amt", &["ownpay_hosp_part"]),
        ("oth_pay", &["othfund_pay"]),
    ]
    .into_iter()
    .map(|(name, others)| (name.to_owned(), others.iter().map(|&other| other.to_owned()).collect()))
    .collect()
}

fn matches() -> Vec<String> {
    vec!["0".to_owned(), "000000".to_owned()]
}

fn yes() -> bool {
    true
}

fn connect_timeout() -> u64 {
    1_000
}

fn timeout() -> u64 {
    5_000
}

fn in_flight() -> usize {
    limits::NHSA_IN_FLIGHT_MAX
}
