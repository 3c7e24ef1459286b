//! A lane: one task that owns one connection and writes one chain. It takes what
//! waits, without lingering, and makes a batch of it.
//!
//! ```text
//! queue ─► lock (BEGIN, claims, rows) ─► decide ─► write (rows, COMMIT) ─► answers
//!             │ lost: again                            │ lost: raise the fence and look
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    decide::{Decided, decide, sealed_subjects},
    head::{End, raise_fence},
    job::Job,
    line::{Line, Trouble, pause},
    lock::{Head, Locked, NotLocked, Wanted, lock, open_tasks, wanted},
    options::Dial,
    sql,
    value::Value,
    write::{self, Chain, NotSealed, NotWritten, Rest, Tools},
};
use crate::{
    limits,
    model::Clock,
    store::{StoreError, StoreObserver, effects::corrupt},
};

/// How often an idle lane looks whether its line still stands.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which lane this is and what it works with.
pub(super) struct Lane {
    pub(super) dial: Dial,
    pub(super) shard: i32,
    pub(super) shards: u16,
    /// Name of the chain.
    pub(super) name: String,
    pub(super) region: u32,
    pub(super) key_id: String,
    pub(super) batch_max: usize,
    pub(super) patience: Duration,
    pub(super) tools: Tools,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) observer: Arc<dyn StoreObserver>,
    /// Whether the database answers this lane.
    pub(super) up: Arc<AtomicBool>,
    /// The newest instant of commitment of all lanes.
    pub(super) newest: Arc<AtomicI64>,
}

/// A lane at work.
pub(super) struct Working {
    pub(super) lane: Lane,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) line: Option<Line>,
    /// Since when there is no line.
    pub(super) lost_at: Option<Instant>,
    pub(super) end: End,
}

impl Lane {
    /// Connects, shuts out whoever wrote the chain before, and is ready to work.
    pub(super) async fn start(self, jobs: mpsc::Receiver<Job>) -> Result<Working, Trouble> {
        let line = Line::open(&self.dial).await?;
        let epoch = self.clock.now_ms().max(0);
        let begin = [
            Value::from(self.name.as_str()),
            Value::Big(epoch),
            Value::from([0; 32].as_slice()),
            Value::Big(i64::MIN),
        ];
        line.ask(sql::BEGIN_CHAIN.on(self.shard, begin)).await?;
        let end = raise_fence(&line, self.shard, &self.name).await?;
        self.up.store(true, Ordering::Release);
        self.newest.fetch_max(end.committed_at, Ordering::Relaxed);
        Ok(Working { lane: self, jobs, line: Some(line), lost_at: None, end })
    }
}

/// How a batch ended for the lane.
pub(super) enum Ended {
    Well,
    /// The lane must not go on.
    Stopped(String),
}

impl Working {
    /// Works until nobody can send any more and everything sent is done.
    pub(super) async fn run(mut self) {
        let mut jobs = Vec::new();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                taken = self.jobs.recv_many(&mut jobs, self.lane.batch_max) => {
                    if taken == 0 {
                        return;
                    }
                }
                _ = looks.tick() => {
                    if let Err(reason) = self.look_after().await {
                        self.stop(&reason).await;
                        return;
                    }
                    continue;
                }
            }
            self.lane.observer.pending(self.jobs.len());
            // Nobody waits any more and nothing was done: leave it undone.
            jobs.retain(|job: &Job| !job.reply.is_closed());
            if let Ended::Stopped(reason) = self.batch(std::mem::take(&mut jobs)).await {
                self.stop(&reason).await;
                return;
            }
        }
    }

    async fn stop(&mut self, reason: &str) {
        tracing::error!(reason, chain = self.lane.name, "a lane has stopped; restart the node");
        self.lane.observer.stopped(reason);
        self.lane.up.store(false, Ordering::Release);
        self.jobs.close();
        while let Some(job) = self.jobs.recv().await {
            let _ = job.reply.send(Err(StoreError::Stopped(reason.into())));
        }
    }

    async fn batch(&mut self, mut jobs: Vec<Job>) -> Ended {
        let started = Instant::now();
        let mut tries = 0;
        let locked = loop {
            if jobs.is_empty() {
                return Ended::Well;
            }
            let wanted = wanted(&jobs, self.lane.shard, self.lane.shards);
            match self.locked(&wanted).await {
                Ok(locked) => break locked,
                Err(NotLocked::Fenced) => {
                    // Before anybody is told: who asks next must not be sent here.
                    self.lane.up.store(false, Ordering::Release);
                    fail_jobs(jobs, &StoreError::Stopped("another process writes the chain".into()));
                    return Ended::Stopped("another process writes the chain of this node".to_owned());
                }
                Err(NotLocked::Data(error)) => {
                    fail_jobs(jobs, &error);
                    return self.undo().await;
                }
                Err(NotLocked::Trouble(Trouble::Refused(why))) => {
                    tracing::error!(why, "the database refused a batch");
                    fail_jobs(jobs, &corrupt(why));
                    return self.undo().await;
                }
                Err(NotLocked::Trouble(Trouble::Again(why))) => {
                    tries += 1;
                    tracing::info!(why, tries, "a batch is tried again");
                    if tries >= limits::BATCH_TRIES_MAX {
                        fail_jobs(jobs, &StoreError::Busy);
                        return self.undo().await;
                    }
                    self.undo().await;
                }
                Err(NotLocked::Trouble(Trouble::Lost(why))) => {
                    self.lose(&why);
                    tokio::time::sleep(pause(tries)).await;
                    tries += 1;
                    if let Err(reason) = self.reconnect(&mut jobs).await {
                        fail_jobs(jobs, &StoreError::Stopped(reason.as_str().into()));
                        return Ended::Stopped(reason);
                    }
                }
            }
        };
        self.decided(jobs, locked, started).await
    }

    /// Locks what the jobs name; a line that is silent for too long is lost.
    async fn locked(&self, wanted: &BTreeMap<i32, Wanted>) -> Result<Locked, NotLocked> {
        let Some(line) = self.line.as_ref().filter(|line| !line.is_closed()) else {
            return Err(Trouble::Lost("not connected".to_owned()).into());
        };
        let head = Head {
            shard: self.lane.shard,
            chain: &self.lane.name,
            sequence: self.end.sequence,
            fence: self.end.fence,
        };
        let locking = lock(line, &head, wanted, self.lane.clock.now_ms());
        match tokio::time::timeout(limits::DATABASE_ANSWER_MAX, locking).await {
            Ok(locked) => locked,
            Err(_) => Err(Trouble::Lost("no answer in time".to_owned()).into()),
        }
    }

    /// Takes back what rests on tasks that are closed. With an error nothing of the
    /// batch was done and all of it may be asked again.
    async fn heed_tasks(&mut self, decided: &mut Decided) -> Result<(), Ended> {
        if decided.needs.is_empty() {
            return Ok(());
        }
        let asking = async {
            let line = self.line.as_ref().ok_or_else(|| Trouble::Lost("not connected".to_owned()))?;
            open_tasks(line, decided.needs.keys(), self.lane.shards).await
        };
        let open = tokio::time::timeout(limits::DATABASE_ANSWER_MAX, asking).await;
        match open.unwrap_or_else(|_| Err(Trouble::Lost("no answer in time".to_owned()))) {
            Ok(open) => match decided.heed_tasks(&open) {
                Ok(()) => Ok(()),
                Err(built_on) => {
                    tracing::info!(%built_on, "a batch is given up for a closed task");
                    Err(self.undo().await)
                }
            },
            Err(Trouble::Lost(why)) => {
                self.lose(&why);
                Err(Ended::Well)
            }
            Err(trouble) => {
                tracing::warn!(%trouble, "the tasks of a batch cannot be read");
                Err(self.undo().await)
            }
        }
    }

    async fn decided(&mut self, jobs: Vec<Job>, locked: Locked, started: Instant) -> Ended {
        // Not before what another lane has acknowledged, wherever the clock stands.
        let newest = self.lane.newest.load(Ordering::Relaxed);
        let now = self.end.committed_at.max(newest).max(self.lane.clock.now_ms());
        let sealer = match self.lane.tools.keys.ready(&sealed_subjects(&locked), false).await {
            Ok(sealer) => sealer,
            Err(trouble) => {
                tracing::warn!(%trouble, "the keys of holders cannot be read");
                fail_jobs(jobs, &StoreError::Busy);
                return self.undo().await;
            }
        };
        let (mut decided, places) = decide(jobs, locked, &*sealer, now);
        if let Err(ended) = self.heed_tasks(&mut decided).await {
            write::fail(decided, &StoreError::Busy);
            return ended;
        }
        if decided.settled.is_empty() && !decided.claimed {
            // Nothing becomes true with this batch.
            let ended = self.undo().await;
            for (reply, answer) in decided.after {
                let _ = reply.send(answer);
            }
            return ended;
        }
        let unused = Rest {
            claims: std::mem::take(&mut decided.unused_claims),
            later: std::mem::take(&mut decided.later_claims),
            places,
        };
        let name = self.lane.name.clone();
        let key_id = self.lane.key_id.clone();
        let chain = Chain {
            shard: self.lane.shard,
            name: &name,
            region: self.lane.region,
            key_id: &key_id,
            epoch: self.end.epoch,
            sequence: self.end.sequence + 1,
            previous: self.end.hash,
            committed_at: now,
            shards: self.lane.shards,
        };
        let sealed = match write::seal(&mut decided, &chain, &self.lane.tools).await {
            Ok(sealed) => sealed,
            Err(NotSealed::Trouble(trouble)) => {
                tracing::warn!(%trouble, "the keys of holders cannot be read");
                write::fail(decided, &StoreError::Busy);
                return self.undo().await;
            }
            Err(NotSealed::Data(error)) => {
                write::fail(decided, &error);
                return self.undo().await;
            }
        };
        let entries = sealed.made.len();
        let next = match entries {
            0 => self.end,
            _ => End { sequence: chain.sequence, hash: sealed.hash, committed_at: now, ..self.end },
        };
        let written = match &self.line {
            Some(line) => {
                let writing = write::write(line, &chain, &sealed, &unused, &self.lane.tools);
                match tokio::time::timeout(limits::DATABASE_ANSWER_MAX, writing).await {
                    Ok(written) => written,
                    Err(_) => Err(Trouble::Lost("no answer in time".to_owned()).into()),
                }
            }
            None => Err(Trouble::Lost("not connected".to_owned()).into()),
        };
        let (bytes, took) = (sealed.bytes(), started.elapsed());
        match written {
            Ok(()) => {
                self.lane.newest.fetch_max(next.committed_at, Ordering::Relaxed);
                self.end = next;
                if entries > 0 {
                    self.lane.observer.batch_committed(entries, bytes, took);
                }
                write::answer(decided, sealed);
                Ended::Well
            }
            Err(NotWritten::Trouble(Trouble::Lost(why))) => {
                self.lose(&why);
                self.inquire(decided, sealed, next).await
            }
            Err(NotWritten::Trouble(trouble)) => {
                tracing::error!(%trouble, "the database undid a batch");
                write::fail(decided, &StoreError::Busy);
                self.undo().await
            }
            Err(NotWritten::Unsigned) => {
                write::fail(decided, &StoreError::Stopped("the batch could not be signed".into()));
                self.undo().await;
                Ended::Stopped("a batch could not be signed".to_owned())
            }
        }
    }
}

/// Tells everyone the same.
pub(super) fn fail_jobs(jobs: Vec<Job>, error: &StoreError) {
    for job in jobs {
        let _ = job.reply.send(Err(error.clone()));
    }
}
