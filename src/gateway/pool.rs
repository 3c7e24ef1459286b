//! SM2 work off the reactor: a signature check is 100 µs and more, so it runs on
//! the blocking pool, as many at once as there are cores.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Refusal;

/// A bounded pool for public-key work; shared by whoever signs or verifies.
#[derive(Debug, Clone)]
pub struct CryptoPool(Arc<Semaphore>);

impl Default for CryptoPool {
    fn default() -> Self {
        CryptoPool::new()
    }
}

impl CryptoPool {
    /// As many places as there are cores.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        CryptoPool(Arc::new(Semaphore::new(cores)))
    }

    /// Runs `work` when there is a core for it. A caller that gives up while
    /// waiting costs nothing.
    ///
    /// # Errors
    /// When the work panicked or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let Ok(place) = Arc::clone(&self.0).acquire_owned().await else {
            return Err(Refusal::internal());
        };
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        })
        .await
        .map_err(|_| Refusal::internal())
    }
}
