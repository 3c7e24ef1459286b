//! What an operator says about the PostgreSQL engine, and how its servers are
//! reached.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::{
    Client, NoTls,
    config::{Config, Host, SslMode, TargetSessionAttrs},
};

use super::{line::Trouble, tls::Tls};
use crate::limits;

/// Shards at most: each is a lane with a connection of its own on every node.
const SHARDS_MAX: u16 = 64;

/// Options of the PostgreSQL engine.
#[derive(Clone)]
pub struct PostgresOptions {
    /// How to reach the servers, as libpq's: `postgresql://user@host1,host2/onecard`.
    /// Several hosts are several servers of which one takes writes. Secret.
    pub url: SecretString,
    /// PEM file with the roots of the servers' certificates; without it only
    /// sockets of this machine and `sslmode=disable` are accepted.
    pub tls_roots: Option<PathBuf>,
    /// Province of the writers' chains, 6 digits.
    pub region: u32,
    /// Name of this node; no two nodes on one database may have the same.
    pub node: String,
    /// Shards of a database that is made now; an existing one keeps its number.
    pub shards: u16,
    /// Lanes of this node in one shard. A card's units always take the same one.
    pub lanes: u16,
    /// Entries in one batch at most.
    pub batch_max: usize,
    /// Units that may wait for a lane.
    pub queue_max: usize,
    /// How long a lane tries to reach the database before it tells those who wait
    /// to come back.
    pub patience: Duration,
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("region", &self.region)
            .field("node", &self.node)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

impl PostgresOptions {
    /// The defaults for a node of the province `region`.
    pub fn at(url: SecretString, region: u32, node: impl Into<String>) -> Self {
        PostgresOptions {
            url,
            tls_roots: None,
            region,
            node: node.into(),
            shards: 1,
            lanes: limits::DATABASE_LANES,
            batch_max: limits::BATCH_ENTRIES_MAX,
            queue_max: limits::COMMIT_QUEUE_MAX,
            patience: limits::DATABASE_PATIENCE,
        }
    }

    /// What is wrong with the options, field and sentence; empty when they can be
    /// used.
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, field, says| {
            if !holds {
                problems.push((field, says));
            }
        };
        demand((110_000..=999_999).contains(&self.region), "region", "is not a 6-digit code");
        demand((1..=SHARDS_MAX).contains(&self.shards), "shards", "is not 1 to 64");
        demand((1..=limits::DATABASE_LANES_MAX).contains(&self.lanes), "lanes", "is not 1 to 16");
        demand((1..=limits::BATCH_ENTRIES_MAX).contains(&self.batch_max), "batch_max", "is not 1 to 1024");
        demand((1..=limits::COMMIT_QUEUE_MAX).contains(&self.queue_max), "queue_max", "is not 1 to 8192");
        demand(
            (1..=48).contains(&self.node.len()) && !self.node.contains('.'),
            "node",
            "is not 1 to 48 characters without a full stop",
        );
        problems
    }

    pub(super) fn dial(&self) -> Result<Dial, Undialable> {
        let mut config: Config = self.url.expose_secret().parse().map_err(|_| Undialable::Url)?;
        config
            .application_name(format!("onecard {}", self.node))
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(limits::DATABASE_CONNECT_MAX)
            .keepalives_idle(Duration::from_secs(5))
            .tcp_user_timeout(limits::DATABASE_ANSWER_MAX);
        let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let tls = match &self.tls_roots {
            Some(file) => {
                config.ssl_mode(SslMode::Require);
                Some(Tls::trusting(file).map_err(Undialable::Roots)?)
            }
            None if local || config.get_ssl_mode() == SslMode::Disable => None,
            None => return Err(Undialable::InTheClear),
        };
        Ok(Dial { config: Arc::new(config), tls })
    }
}

/// Why the servers cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum Undialable {
    #[error("the address of the database is not a postgresql:// URL")]
    Url,
    #[error("the roots of the database's certificate cannot be used: {0}")]
    Roots(#[source] std::io::Error),
    #[error(
        "the database is on another machine and no TLS roots are given; name them in tls_roots or say sslmode=disable"
    )]
    InTheClear,
}

/// How to reach the server that takes writes.
#[derive(Clone)]
pub(super) struct Dial {
    config: Arc<Config>,
    tls: Option<Tls>,
}

impl Dial {
    pub(super) async fn connect(&self) -> Result<Client, Trouble> {
        // The task of a connection ends when its client is dropped.
        match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                tokio::spawn(connection);
                Ok(client)
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }
}
