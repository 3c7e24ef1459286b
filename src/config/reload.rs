//! Takes a new configuration when its files change or the operator asks.
//!
//! Files are looked at by time and size every so often: this works on every file
//! system, through symbolic links and for the way a container platform exchanges
//! a mounted folder, where change notices do not.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot},
    time,
};
use tokio_util::sync::CancellationToken;

use super::{Change, Live, LoadError, diff};

/// How a [`Reloader`] works.
#[derive(Debug, Clone)]
pub struct ReloadOptions {
    /// Between two looks at the files; a look costs one call a file.
    pub look_every: Duration,
}

impl Default for ReloadOptions {
    fn default() -> Self {
        ReloadOptions { look_every: Duration::from_secs(5) }
    }
}

/// A configuration that was read and checked whole and may be taken.
#[derive(Debug)]
pub struct Candidate<T> {
    pub value: T,
    /// What it was read from, for the difference.
    pub tree: toml::Table,
    /// The files to look at from now on.
    pub files: Vec<PathBuf>,
}

/// What came of a reload.
#[derive(Debug)]
pub enum ReloadReport {
    Taken {
        generation: u64,
        changes: Vec<Change>,
    },
    /// The files say what they said before.
    Unchanged {
        generation: u64,
    },
    /// The old configuration stays.
    Refused {
        generation: u64,
        error: Arc<LoadError>,
    },
}

/// The reloader has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reloader has ended")]
pub struct ReloaderGone;

type Load<T> = Arc<dyn Fn() -> Result<Candidate<T>, LoadError> + Send + Sync>;
type Told = Box<dyn Fn(&ReloadReport) + Send + Sync>;

/// Asks a running [`Reloader`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct ReloadHandle(mpsc::Sender<oneshot::Sender<Arc<ReloadReport>>>);

impl ReloadHandle {
    /// Reads the files now, changed or not: what SIGHUP and the console call.
    ///
    /// # Errors
    /// When the reloader has ended.
    pub async fn reload_now(&self) -> Result<Arc<ReloadReport>, ReloaderGone> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| ReloaderGone)?;
        answered.await.map_err(|_| ReloaderGone)
    }
}

/// The service. It owns the writing side of a [`Live`].
pub struct Reloader<T> {
    options: ReloadOptions,
    live: Arc<Live<T>>,
    load: Load<T>,
    told: Told,
    asked: mpsc::Receiver<oneshot::Sender<Arc<ReloadReport>>>,
    tree: toml::Table,
    files: Vec<PathBuf>,
    seen: Vec<Option<(SystemTime, u64)>>,
}

impl<T: Send + Sync + 'static> Reloader<T> {
    /// Loads for the first time. `load` reads and checks the whole configuration
    /// (it may block); `told` hears of every reload that was not `Unchanged`.
    ///
    /// # Errors
    /// When the first configuration is not right: there is nothing to stay with.
    pub fn start(
        options: ReloadOptions,
        load: impl Fn() -> Result<Candidate<T>, LoadError> + Send + Sync + 'static,
        told: impl Fn(&ReloadReport) + Send + Sync + 'static,
    ) -> Result<(Arc<Live<T>>, Self, ReloadHandle), LoadError> {
        let first = load()?;
        let live = Arc::new(Live::new(first.value));
        let (ask, asked) = mpsc::channel(8);
        let seen = look(&first.files);
        let reloader = Reloader {
            options,
            live: Arc::clone(&live),
            load: Arc::new(load),
            told: Box::new(told),
            asked,
            tree: first.tree,
            files: first.files,
            seen,
        };
        Ok((live, reloader, ReloadHandle(ask)))
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = time::interval(self.options.look_every.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut handles_live = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                asked = self.asked.recv(), if handles_live => match asked {
                    Some(answer) => {
                        let report = Arc::new(self.reload().await);
                        // Whoever asked may have gone; the reload stands all the same.
                        let _ = answer.send(report);
                    }
                    None => handles_live = false,
                },
                _ = tick.tick() => {
                    let files = self.files.clone();
                    let now = tokio::task::spawn_blocking(move || look(&files)).await;
                    if now.is_ok_and(|now| now != self.seen) {
                        self.reload().await;
                    }
                }
            }
        }
    }

    async fn reload(&mut self) -> ReloadReport {
        // Looked at before reading: a change while reading is seen at the next look.
        let files = self.files.clone();
        let load = Arc::clone(&self.load);
        let read = tokio::task::spawn_blocking(move || (look(&files), load())).await;
        let report = match read {
            Ok((seen, loaded)) => {
                self.seen = seen;
                self.take(loaded)
            }
            Err(panicked) => {
                tracing::error!(error = %panicked, "the configuration could not be read; the old one stays");
                return ReloadReport::Unchanged { generation: self.live.generation() };
            }
        };
        self.tell(&report);
        report
    }

    fn take(&mut self, loaded: Result<Candidate<T>, LoadError>) -> ReloadReport {
        let candidate = match loaded {
            Ok(candidate) => candidate,
            Err(error) => {
                return ReloadReport::Refused { generation: self.live.generation(), error: Arc::new(error) };
            }
        };
        if candidate.files != self.files {
            self.seen = look(&candidate.files);
            self.files = candidate.files;
        }
        let old = toml::Value::Table(std::mem::take(&mut self.tree));
        let new = toml::Value::Table(candidate.tree);
        let changes = diff(&old, &new);
        if let toml::Value::Table(tree) = new {
            self.tree = tree;
        }
        if changes.is_empty() {
            return ReloadReport::Unchanged { generation: self.live.generation() };
        }
        match self.live.replace_if_valid(|_| Ok::<_, std::convert::Infallible>(candidate.value)) {
            Ok(generation) => ReloadReport::Taken { generation, changes },
            Err(never) => match never {},
        }
    }

    fn tell(&self, report: &ReloadReport) {
        match report {
            ReloadReport::Taken { generation, changes } => {
                tracing::info!(generation, changes = changes.len(), "a new configuration was taken");
                for change in changes {
                    tracing::info!(%change, "configuration changed");
                }
                (self.told)(report);
            }
            ReloadReport::Refused { generation, error } => {
                tracing::warn!(generation, %error, "a changed configuration was refused; the old one stays");
                (self.told)(report);
            }
            ReloadReport::Unchanged { generation } => {
                tracing::debug!(generation, "the configuration is unchanged");
            }
        }
    }
}

/// Time and size of every file; `None` for one that cannot be looked at.
fn look(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let one = |file: &PathBuf| {
        let meta = std::fs::metadata(file).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    files.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overlay, load};
    use serde::Deserialize;
    use std::{
        fs,
        path::Path,
        sync::atomic::{AtomicBool, Ordering},
    };

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        one: u64,
        other: u64,
    }

    struct World {
        _folder: tempfile::TempDir,
        file: PathBuf,
        live: Arc<Live<Pair>>,
        handle: ReloadHandle,
        reports: mpsc::Receiver<(u64, bool)>,
        stop: CancellationToken,
        running: tokio::task::JoinHandle<()>,
    }

    fn write(file: &Path, number: u64) {
        fs::write(file, format!("one = {number}\nother = {number}\n")).expect("written");
    }

    fn world(look_every: Duration) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pair.toml");
        write(&file, 1);
        let (report, reports) = mpsc::channel(64);
        let path = file.clone();
        let read = move || {
            let loaded = load::<Pair>(&path, &Overlay::none())?;
            Ok(Candidate { value: loaded.options, tree: loaded.tree, files: vec![path.clone()] })
        };
        let told = move |told: &ReloadReport| {
            let told = match told {
                ReloadReport::Taken { generation, .. } => (*generation, true),
                ReloadReport::Refused { generation, .. } | ReloadReport::Unchanged { generation } => {
                    (*generation, false)
                }
            };
            report.try_send(told).expect("the test listens");
        };
        let (live, reloader, handle) =
            Reloader::start(ReloadOptions { look_every }, read, told).expect("right at first");
        let stop = CancellationToken::new();
        let running = tokio::spawn(reloader.run(stop.clone()));
        World { _folder: folder, file, live, handle, reports, stop, running }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_change_is_taken_under_running_readers_and_a_wrong_one_is_refused() {
        let mut world = world(Duration::from_millis(5));
        let done = Arc::new(AtomicBool::new(false));
        let reader = {
            let (live, done) = (Arc::clone(&world.live), Arc::clone(&done));
            tokio::task::spawn_blocking(move || {
                while !done.load(Ordering::Relaxed) {
                    live.with(|pair| assert_eq!(pair.one, pair.other, "a torn configuration"));
                    std::thread::yield_now();
                }
            })
        };
        write(&world.file, 22);
        // A write is seen in two steps at times: a refusal of the half file may come first.
        while world.reports.recv().await != Some((2, true)) {}
        assert_eq!(world.live.get().one, 22);
        fs::write(&world.file, "one = 3\nother = 3\nthird = 3\n").expect("written");
        while world.reports.recv().await != Some((2, false)) {}
        assert_eq!((world.live.generation(), world.live.get().one), (2, 22));
        write(&world.file, 333);
        while world.reports.recv().await != Some((3, true)) {}
        assert_eq!(world.live.get().one, 333);
        done.store(true, Ordering::Relaxed);
        reader.await.expect("the reader saw whole configurations");
        world.stop.cancel();
        world.running.await.expect("ends");
    }

    #[tokio::test]
    async fn the_operator_can_ask_and_hears_what_came_of_it() {
        let world = world(Duration::from_secs(3_600));
        let report = world.handle.reload_now().await.expect("runs");
        assert!(matches!(*report, ReloadReport::Unchanged { generation: 1 }));
        write(&world.file, 2);
        let report = world.handle.reload_now().await.expect("runs");
        let ReloadReport::Taken { generation: 2, changes } = &*report else { panic!("{report:?}") };
        let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["one: 1 → 2", "other: 1 → 2"]);
        fs::remove_file(&world.file).expect("removed");
        let report = world.handle.reload_now().await.expect("runs");
        assert!(matches!(&*report, ReloadReport::Refused { generation: 2, .. }));
        assert_eq!(world.live.get().one, 2);
        world.stop.cancel();
        world.running.await.expect("ends");
        assert_eq!(world.handle.reload_now().await.err(), Some(ReloaderGone));
    }
}
