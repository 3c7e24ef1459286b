//! A PostgreSQL server for a run, and the whole check of its database afterwards.
//! The server is the one that the product's tests start.

#[path = "../../tests/postgres/server.rs"]
#[allow(dead_code, reason = "the tests use more of it than a run does")]
mod server;

use std::{fs, path::PathBuf, process::Command, sync::Arc};

use clap::ValueEnum;
use onecard::{
    crypto::Sm2PublicKey,
    store::{DatabaseReport, PostgresOptions, PostgresStore},
};

/// What keeps journal and state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    #[default]
    Embedded,
    Postgres,
}

/// The variable in which the gateway finds the database's address.
const URL_ENV: &str = "ONECARD_DATABASE_URL";

/// A database on a server of this run.
pub struct Database {
    server: Arc<server::Server>,
    name: String,
    shards: u16,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Database {
    /// Starts a server and makes a database of so many shards. The server goes with
    /// the run.
    pub fn start(shards: u16) -> Self {
        let server =
            server::Server::start("shared_buffers = 256MB\nmax_wal_size = 4GB\nmax_connections = 160\n");
        let name = server.database();
        Database { server: Arc::new(server), name, shards }
    }

    /// Another database on the same server, as a gateway would make it.
    ///
    /// # Errors
    /// When its schema cannot be made.
    pub async fn beside(&self, province: u32) -> anyhow::Result<Self> {
        let server = Arc::clone(&self.server);
        let beside = Database { name: server.database(), server, shards: self.shards };
        let mut options = PostgresOptions::at(beside.url().into(), province, "beside");
        options.shards = self.shards;
        PostgresStore::migrate(&options).await?;
        Ok(beside)
    }

    /// Where the server keeps its data.
    pub fn folder(&self) -> PathBuf {
        self.server.socket().with_file_name("data")
    }

    /// The server's first process, the parent of all others.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let file = fs::read_to_string(self.folder().join("postmaster.pid"))?;
        Ok(file.lines().next().unwrap_or_default().parse()?)
    }

    /// Its address.
    pub fn url(&self) -> String {
        server::Server::url(&[&self.server], &self.name)
    }

    /// Lets a gateway use it.
    pub fn tell(&self, gateway: &mut Command) {
        gateway
            .env(URL_ENV, self.url())
            .env("ONECARD__STORE__ENGINE", "postgres")
            .env("ONECARD__STORE__POSTGRES__URL_ENV", URL_ENV)
            .env("ONECARD__STORE__POSTGRES__SHARDS", self.shards.to_string());
    }

    /// Stops the server as a power failure would, and starts it again.
    pub fn kill(&self) {
        self.server.stop_at_once();
        self.server.run();
    }

    /// The sum of all postings, fen.
    ///
    /// # Errors
    /// When the server says something else than a number.
    pub fn ledger_sum_fen(&self) -> anyhow::Result<f64> {
        Ok(self.server.psql(&self.name, "SELECT sum_fen FROM onecard.ledger_sum").parse()?)
    }

    /// Checks everything that is in it.
    ///
    /// # Errors
    /// The first thing that does not hold, in words.
    pub async fn verify(&self, province: u32, key: &str) -> Result<DatabaseReport, String> {
        let key = Sm2PublicKey::from_hex(key).map_err(|error| error.to_string())?;
        let check = |signed: &[u8], signature: &[u8; 64]| key.verify(signed, signature).is_ok();
        let options = PostgresOptions::at(self.url().into(), province, "auditor");
        PostgresStore::verify(&options, Some(&check)).await.map_err(|broken| broken.to_string())
    }
}
