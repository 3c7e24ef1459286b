//! A store of either engine, and what survives its restart.

use std::sync::Arc;

use onecard::{
    crypto::{HolderKeys, KeyName, KeyVault as _, Sm2PublicKey, SoftVault},
    model::*,
    store::*,
};
use tempfile::TempDir;

use crate::server::{self, Server};

/// Which engine, and its surroundings: they outlive the stores opened in them.
pub struct World {
    pub engine: Engine,
    pub vault: Arc<SoftVault>,
    pub clock: Arc<ManualClock>,
}

pub enum Engine {
    Embedded(TempDir),
    Postgres { url: String, shards: u16 },
}

/// An open store.
pub enum Open {
    Embedded(EmbeddedStore),
    Postgres(PostgresStore),
}

impl World {
    fn of(engine: Engine) -> Self {
        World {
            engine,
            vault: Arc::new(SoftVault::generate(&SystemRng)),
            clock: Arc::new(ManualClock::at(1_790_000_000_000)),
        }
    }

    pub fn embedded() -> Self {
        World::of(Engine::Embedded(tempfile::tempdir().expect("a folder")))
    }

    /// On a new database of the shared server.
    pub fn postgres(shards: u16) -> Self {
        let server = server::shared();
        World::at(Server::url(&[server], &server.database()), shards)
    }

    /// On a database of one's own choice.
    pub fn at(url: String, shards: u16) -> Self {
        World::of(Engine::Postgres { url, shards })
    }

    pub async fn open(&self) -> Open {
        self.node("node-1").await
    }

    /// A node of this name.
    pub async fn node(&self, name: &str) -> Open {
        self.try_node(name, |_| {}).await.expect("the store opens")
    }

    pub async fn try_node(
        &self,
        name: &str,
        change: impl FnOnce(&mut PostgresOptions),
    ) -> Result<Open, PostgresOpenError> {
        match &self.engine {
            Engine::Embedded(folder) => {
                let keys = folder.path().join("holder-keys");
                let keys = HolderKeys::open(&keys, Arc::clone(&self.vault) as _, Arc::new(SystemRng));
                let mut options = StoreOptions::in_dir(folder.path(), 110_000);
                options.segment_bytes = 256 * 1024;
                let (vault, sealer) =
                    (Arc::clone(&self.vault) as _, Arc::new(keys.expect("the keys open")) as _);
                let store = EmbeddedStore::open(options, vault, sealer, Arc::clone(&self.clock) as _);
                Ok(Open::Embedded(store.expect("the store opens")))
            }
            Engine::Postgres { url, shards } => {
                let mut options = PostgresOptions::at(url.clone().into(), 110_000, name);
                options.shards = *shards;
                change(&mut options);
                let parts = PostgresParts {
                    vault: Arc::clone(&self.vault) as _,
                    salts: HolderSalts::InDatabase,
                    clock: Arc::clone(&self.clock) as _,
                    rng: Arc::new(SystemRng),
                    observer: Arc::new(NoObserver),
                };
                PostgresStore::open(options, parts).await.map(Open::Postgres)
            }
        }
    }

    /// Holds a receipt against the region's public key and nothing else.
    #[track_caller]
    pub fn assert_receipt(&self, committed: &Committed) {
        check_receipt(&committed.receipt, None, &self.verifier()).expect("the receipt holds");
    }

    pub fn verifier(&self) -> impl Fn(&[u8], &[u8; 64]) -> bool + use<> {
        let point = self.vault.public_key(KeyName::Journal).expect("the key is there");
        let key = Sm2PublicKey::from_bytes(&point).expect("a point");
        move |message: &[u8], signature: &[u8; 64]| key.verify(message, signature).is_ok()
    }
}

impl Open {
    pub fn store(&self) -> &dyn Store {
        match self {
            Open::Embedded(store) => store,
            Open::Postgres(store) => store,
        }
    }

    pub async fn commit(&self, unit: Unit) -> Result<Committed, StoreError> {
        self.store().commit(unit).await
    }

    pub async fn close(self) {
        match self {
            Open::Embedded(store) => {
                tokio::task::spawn_blocking(move || store.close()).await.expect("no panic");
            }
            Open::Postgres(store) => store.close().await,
        }
    }

    /// Waits until an index has everything; what it does not have yet is in memory in
    /// the clear.
    pub async fn settle(&self) {
        match self {
            Open::Embedded(store) => {
                while store.index_lag() > 0 {
                    tokio::task::yield_now().await;
                }
            }
            Open::Postgres(_) => {}
        }
    }

    pub async fn prove(&self, transaction: TransactionId) -> Vec<Proof> {
        match self {
            Open::Embedded(store) => store.prove(transaction),
            Open::Postgres(store) => store.prove(transaction).await,
        }
        .expect("readable")
    }
}

/// Runs every promise on the embedded engine, on a database of one shard and on
/// one of four.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(crate::world::World::embedded()).await })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(crate::world::World::postgres(1)).await })*
        }
        mod four_shards {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(crate::world::World::postgres(4)).await })*
        }
    };
}
pub(crate) use promises;
