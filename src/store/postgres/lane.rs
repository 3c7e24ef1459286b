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
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    decide::{Decided, decide, sealed_subjects},
    job::Job,
    line::{Line, Trouble, pause},
    lock::{Head, Locked, NotLocked, Wanted, lock, wanted},
    options::Dial,
    sql,
    value::Value,
    write::{self, Chain, NotSealed, NotWritten, Sealed, Tools, Unused},
};
use crate::{
    crypto::Digest32,
    limits,
    model::{Clock, Millis},
    store::{StoreError, StoreObserver, effects::corrupt},
};

/// How often an idle lane looks whether its line still stands.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The head of the lane's chain.
#[derive(Debug, Clone, Copy)]
struct End {
    epoch: i64,
    sequence: u64,
    hash: Digest32,
    committed_at: Millis,
    fence: i64,
}

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
}

/// A lane at work.
pub(super) struct Working {
    lane: Lane,
    jobs: mpsc::Receiver<Job>,
    line: Option<Line>,
    end: End,
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
        Ok(Working { lane: self, jobs, line: Some(line), end })
    }
}

async fn raise_fence(line: &Line, shard: i32, name: &str) -> Result<End, Trouble> {
    let rows = line.ask(sql::RAISE_FENCE.on(shard, [Value::from(name)])).await?;
    let row = rows.first().ok_or_else(|| Trouble::Refused("the chain has no head".into()))?;
    let (sequence, hash): (i64, Vec<u8>) = (row.get(1), row.get(2));
    let wrong = |_| Trouble::Refused("the head of the chain cannot be read".into());
    Ok(End {
        epoch: row.get(0),
        sequence: u64::try_from(sequence).map_err(|_| wrong(()))?,
        hash: hash.try_into().map_err(|_| wrong(()))?,
        committed_at: row.get(3),
        fence: row.get(4),
    })
}

/// How a batch ended for the lane.
enum Ended {
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

    /// Notices a line that was lost while nobody asked for anything, so that
    /// readiness tells the truth.
    async fn look_after(&mut self) -> Result<(), String> {
        if self.line.as_ref().is_some_and(|line| !line.is_closed()) {
            return Ok(());
        }
        self.lose("the line was closed");
        self.reconnect(&mut Vec::new(), Instant::now()).await
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
                    if started.elapsed() >= self.lane.patience {
                        fail_jobs(std::mem::take(&mut jobs), &StoreError::Busy);
                    }
                    tokio::time::sleep(pause(tries)).await;
                    tries += 1;
                    if let Err(reason) = self.reconnect(&mut jobs, started).await {
                        fail_jobs(jobs, &StoreError::Stopped(reason.as_str().into()));
                        return Ended::Stopped(reason);
                    }
                }
            }
            jobs.retain(|job| !job.reply.is_closed());
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

    async fn decided(&mut self, jobs: Vec<Job>, locked: Locked, started: Instant) -> Ended {
        let now = self.end.committed_at.max(self.lane.clock.now_ms());
        let sealer = match self.lane.tools.keys.ready(&sealed_subjects(&locked), false).await {
            Ok(sealer) => sealer,
            Err(trouble) => {
                tracing::warn!(%trouble, "the keys of holders cannot be read");
                fail_jobs(jobs, &StoreError::Busy);
                return self.undo().await;
            }
        };
        let (mut decided, places) = decide(jobs, locked, &*sealer, now);
        if decided.settled.is_empty() && !decided.claimed {
            // Nothing becomes true with this batch.
            let ended = self.undo().await;
            for (reply, answer) in decided.after {
                let _ = reply.send(answer);
            }
            return ended;
        }
        let unused = Unused { claims: std::mem::take(&mut decided.unused_claims), places };
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

    /// Undoes what was begun on the line; without a line there is nothing to undo.
    async fn undo(&mut self) -> Ended {
        if let Some(line) = &self.line {
            let undone = tokio::time::timeout(limits::DATABASE_ANSWER_MAX, line.roll_back()).await;
            if !matches!(undone, Ok(Ok(()))) {
                self.line = None;
            }
        }
        Ended::Well
    }

    fn lose(&mut self, why: &str) {
        if self.lane.up.swap(false, Ordering::AcqRel) {
            tracing::warn!(why, chain = self.lane.name, "the database is away");
        }
        self.line = None;
    }

    /// One try to reach the database again. `jobs` are told to come back when it
    /// has been away for too long. An error says that the lane must stop.
    async fn reconnect(&mut self, jobs: &mut Vec<Job>, since: Instant) -> Result<(), String> {
        match self.raised().await {
            Ok((line, end)) => {
                if end.sequence != self.end.sequence || end.hash != self.end.hash {
                    return Err("the chain is not where this node left it".to_owned());
                }
                self.take_up(line, end);
                Ok(())
            }
            Err(_) => {
                if since.elapsed() >= self.lane.patience {
                    fail_jobs(std::mem::take(jobs), &StoreError::Busy);
                }
                Ok(())
            }
        }
    }

    /// A new line, with the old one shut out: its transaction held the head of the
    /// chain locked, so when the fence is raised that transaction has ended.
    async fn raised(&self) -> Result<(Line, End), Trouble> {
        let raising = async {
            let line = Line::open(&self.lane.dial).await?;
            let end = raise_fence(&line, self.lane.shard, &self.lane.name).await?;
            Ok((line, end))
        };
        let raised = tokio::time::timeout(limits::DATABASE_ANSWER_MAX, raising).await;
        raised.unwrap_or_else(|_| Err(Trouble::Lost("no answer in time".to_owned())))
    }

    fn take_up(&mut self, line: Line, end: End) {
        self.line = Some(line);
        self.end = end;
        if !self.lane.up.swap(true, Ordering::AcqRel) {
            tracing::info!(chain = self.lane.name, "the database is back");
        }
    }

    /// Finds out what became of a batch whose commit was not answered. Who waits is
    /// told what is true, or after a while that it is not known yet; the lane goes
    /// on only when it knows.
    async fn inquire(&mut self, decided: Decided, sealed: Sealed, next: End) -> Ended {
        let started = Instant::now();
        let mut batch = Some((decided, sealed));
        let mut tries = 0;
        loop {
            match self.raised().await {
                Ok((line, end)) => {
                    let before = end.sequence == self.end.sequence && end.hash == self.end.hash;
                    // A batch of mere claims moves no head; whoever made them asks again
                    // and finds them or not.
                    let landed = !before && end.sequence == next.sequence && end.hash == next.hash;
                    if !landed && !before {
                        let reason = "the chain is not where this node left it";
                        if let Some((decided, _)) = batch {
                            write::fail(decided, &StoreError::Stopped(reason.into()));
                        }
                        return Ended::Stopped(reason.to_owned());
                    }
                    tracing::info!(landed, chain = self.lane.name, "the outcome of a commit was found");
                    self.take_up(line, end);
                    match batch {
                        Some((decided, sealed)) if landed => write::answer(decided, sealed),
                        Some((decided, _)) => write::fail(decided, &StoreError::Busy),
                        None => {}
                    }
                    return Ended::Well;
                }
                Err(trouble) => {
                    tracing::debug!(%trouble, tries, "the outcome of a commit is not known yet");
                    if started.elapsed() >= self.lane.patience
                        && let Some((decided, _)) = batch.take()
                    {
                        let unknown =
                            "the connection was lost in a commit; ask again under the same request id";
                        write::fail(decided, &StoreError::Stopped(unknown.into()));
                    }
                    tokio::time::sleep(pause(tries)).await;
                    tries += 1;
                }
            }
        }
    }
}

fn fail_jobs(jobs: Vec<Job>, error: &StoreError) {
    for job in jobs {
        let _ = job.reply.send(Err(error.clone()));
    }
}
