//! Things that one call at a time has in hand: cards, readers, items.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Semaphore;

/// First in, first out; whoever finds it empty waits, on the clock of its call.
#[derive(Debug)]
pub struct Pool<T> {
    idle: Mutex<VecDeque<T>>,
    count: Semaphore,
}

impl<T> Pool<T> {
    /// A pool with these in it.
    pub fn of(all: Vec<T>) -> Self {
        Pool { count: Semaphore::new(all.len()), idle: Mutex::new(all.into()) }
    }

    /// The one that has been idle longest.
    pub async fn take(&self) -> T {
        self.count.acquire().await.expect("a pool is never closed").forget();
        self.lock().pop_front().expect("as many permits as things")
    }

    /// The same, when there is one at once.
    pub fn try_take(&self) -> Option<T> {
        self.count.try_acquire().ok()?.forget();
        self.lock().pop_front()
    }

    /// Puts one back, or a new one in.
    pub fn give(&self, one: T) {
        self.lock().push_back(one);
        self.count.add_permits(1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<T>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn what_was_idle_longest_comes_first_and_an_empty_pool_makes_wait() {
        let pool = Arc::new(Pool::of(vec![1, 2]));
        assert_eq!(pool.take().await, 1);
        pool.give(1);
        assert_eq!((pool.take().await, pool.take().await, pool.try_take()), (2, 1, None));
        let waiting = {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.take().await })
        };
        pool.give(7);
        let given = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("woken");
        assert_eq!(given.expect("no panic"), 7);
    }
}
