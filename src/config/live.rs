//! A configuration that is exchanged while it is read.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;

/// A value with the generation in which it was taken, from 1.
#[derive(Debug)]
pub struct Taken<T> {
    pub generation: u64,
    pub value: T,
}

impl<T> Deref for Taken<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Readers take what is current without waiting; writers take turns. A call that
/// must see one configuration throughout takes it once and keeps it.
#[derive(Debug)]
pub struct Live<T> {
    current: ArcSwap<Taken<T>>,
    turn: Mutex<()>,
}

impl<T> Live<T> {
    pub fn new(value: T) -> Self {
        Live { current: ArcSwap::from_pointee(Taken { generation: 1, value }), turn: Mutex::new(()) }
    }

    /// What is current. Holding it keeps it alive and stops nobody.
    pub fn get(&self) -> Arc<Taken<T>> {
        self.current.load_full()
    }

    /// Looks at what is current without counting a reference; for hot paths, not
    /// to be kept across an await.
    pub fn with<R>(&self, look: impl FnOnce(&Taken<T>) -> R) -> R {
        look(&self.current.load())
    }

    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }

    /// Takes what `load` makes of the current value and gives its generation; when
    /// `load` fails, what was current stays.
    ///
    /// # Errors
    /// What `load` failed with.
    pub fn replace_if_valid<E>(&self, load: impl FnOnce(&T) -> Result<T, E>) -> Result<u64, E> {
        // The lock guards no data, so one that a panic left behind is good.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        let value = load(&current.value)?;
        let generation = current.generation + 1;
        self.current.store(Arc::new(Taken { generation, value }));
        Ok(generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    #[test]
    fn a_refused_value_leaves_the_old_one_in_place() {
        let live = Live::new(7);
        assert_eq!(live.replace_if_valid(|_| Err("no")), Err("no"));
        assert_eq!((live.generation(), live.get().value), (1, 7));
        assert_eq!(live.replace_if_valid(|old| Ok::<_, ()>(old + 1)), Ok(2));
        assert_eq!(live.with(|taken| (taken.generation, **taken)), (2, 8));
    }

    #[test]
    fn readers_see_whole_values_in_order_while_writers_take_turns() {
        let live = Live::new((0u64, 0u64));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let readers = [(); 2].map(|()| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let taken = live.get();
                        assert_eq!(taken.value.0, taken.value.1, "a torn value");
                        assert_eq!(taken.generation, taken.value.0 + 1);
                        assert!(taken.generation >= last, "time went backwards");
                        last = taken.generation;
                    }
                })
            });
            let writers = [(); 2].map(|()| {
                scope.spawn(|| {
                    for _ in 0..500 {
                        live.replace_if_valid(|old| Ok::<_, ()>((old.0 + 1, old.1 + 1)))
                            .expect("never fails");
                    }
                })
            });
            for writer in writers {
                writer.join().expect("no panic");
            }
            stop.store(true, Ordering::Relaxed);
            for reader in readers {
                reader.join().expect("no panic");
            }
        });
        assert_eq!((live.generation(), live.get().value), (1_001, (1_000, 1_000)));
    }
}
