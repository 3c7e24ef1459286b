//! What an operator may set about the listener. Every default is a bound from
//! [`crate::limits`]; what is not here is not negotiable.

use std::{net::SocketAddr, time::Duration};

use crate::limits;

/// The listener and its bounds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServerOptions {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Connections at once.
    #[serde(default = "defaults::connections")]
    pub connections_max: usize,
    /// Connections of one client certificate at once.
    #[serde(default = "defaults::connections_per_certificate")]
    pub connections_per_certificate_max: usize,
    /// Streams a connection may have open at once.
    #[serde(default = "defaults::streams")]
    pub streams_per_connection_max: u32,
    /// TLS handshakes under way at once.
    #[serde(default = "defaults::handshakes")]
    pub handshakes_max: usize,
    /// From accept to the end of the handshake, milliseconds.
    #[serde(default = "defaults::handshake_ms")]
    pub handshake_timeout_ms: u64,
    /// From the handshake to the first request, milliseconds.
    #[serde(default = "defaults::first_request_ms")]
    pub first_request_timeout_ms: u64,
    /// A connection is drained at this age (±10 %), seconds.
    #[serde(default = "defaults::age_s")]
    pub connection_age_max_s: u64,
    /// How long a drain waits for the calls under way, milliseconds.
    #[serde(default = "defaults::drain_ms")]
    pub drain_timeout_ms: u64,
}

impl ServerOptions {
    /// The defaults, listening at `listen`.
    pub fn at(listen: SocketAddr) -> Self {
        ServerOptions {
            listen,
            connections_max: defaults::connections(),
            connections_per_certificate_max: defaults::connections_per_certificate(),
            streams_per_connection_max: defaults::streams(),
            handshakes_max: defaults::handshakes(),
            handshake_timeout_ms: defaults::handshake_ms(),
            first_request_timeout_ms: defaults::first_request_ms(),
            connection_age_max_s: defaults::age_s(),
            drain_timeout_ms: defaults::drain_ms(),
        }
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }

    pub(super) fn first_request_timeout(&self) -> Duration {
        Duration::from_millis(self.first_request_timeout_ms)
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    /// This connection's age limit: `chance` spreads it over ±10 %, so that
    /// connections made together do not come back together.
    pub(super) fn connection_age(&self, chance: u16) -> Duration {
        let share = 900 + u64::from(chance) * 200 / u64::from(u16::MAX);
        Duration::from_millis(self.connection_age_max_s.saturating_mul(share))
    }
}

mod defaults {
    use super::{Duration, limits};

    const fn millis(duration: Duration) -> u64 {
        duration.as_secs() * 1_000 + duration.subsec_millis() as u64
    }
    pub(super) const fn connections() -> usize {
        limits::CONNECTIONS_MAX
    }
    pub(super) const fn connections_per_certificate() -> usize {
        limits::CONNECTIONS_PER_TERMINAL_MAX
    }
    pub(super) const fn streams() -> u32 {
        limits::STREAMS_PER_CONNECTION_MAX
    }
    pub(super) const fn handshakes() -> usize {
        limits::HANDSHAKES_MAX
    }
    pub(super) const fn handshake_ms() -> u64 {
        millis(limits::HANDSHAKE_MAX)
    }
    pub(super) const fn first_request_ms() -> u64 {
        millis(limits::FIRST_REQUEST_MAX)
    }
    pub(super) const fn age_s() -> u64 {
        limits::CONNECTION_AGE_MAX.as_secs()
    }
    pub(super) const fn drain_ms() -> u64 {
        millis(limits::DRAIN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_connection_is_spread_by_a_tenth() {
        let options = ServerOptions::at("127.0.0.1:0".parse().expect("an address"));
        assert_eq!(options.connection_age(0), Duration::from_secs(3_240));
        assert_eq!(options.connection_age(u16::MAX), Duration::from_secs(3_960));
    }

    #[test]
    fn an_option_nobody_knows_is_refused() {
        assert!(toml::from_str::<ServerOptions>("listen = '127.0.0.1:0'").is_ok());
        assert!(toml::from_str::<ServerOptions>("listen = '127.0.0.1:0'\nconections-max = 1").is_err());
    }
}
