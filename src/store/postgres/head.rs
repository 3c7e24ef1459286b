//! The line of a lane: how it is lost, found again, and how the lane learns what
//! became of a commit that was not answered. Nothing is guessed: the head of the
//! chain says it, and it says so only when the old transaction has ended.

use std::{sync::atomic::Ordering, time::Instant};

use super::{
    decide::Decided,
    job::Job,
    lane::{Ended, Working, fail_jobs},
    line::{Line, Trouble, pause},
    sql,
    value::Value,
    write::{self, Sealed},
};
use crate::{crypto::Digest32, limits, model::Millis, store::StoreError};

/// What is told when nothing could be found out for too long.
const UNKNOWN: &str = "the connection was lost in a commit; ask again under the same request id";

/// The head of the lane's chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) epoch: i64,
    pub(super) sequence: u64,
    pub(super) hash: Digest32,
    pub(super) committed_at: Millis,
    pub(super) fence: i64,
}

/// Shuts out whoever wrote the chain before; where it stands.
pub(super) async fn raise_fence(line: &Line, shard: i32, name: &str) -> Result<End, Trouble> {
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

impl Working {
    /// Notices a line that was lost while nobody asked for anything, so that
    /// readiness tells the truth.
    pub(super) async fn look_after(&mut self) -> Result<(), String> {
        if self.line.as_ref().is_some_and(|line| !line.is_closed()) {
            return Ok(());
        }
        self.lose("the line was closed");
        self.reconnect(&mut Vec::new()).await
    }

    /// Undoes what was begun on the line; without a line there is nothing to undo.
    pub(super) async fn undo(&mut self) -> Ended {
        if let Some(line) = &self.line {
            let undone = tokio::time::timeout(limits::DATABASE_ANSWER_MAX, line.roll_back()).await;
            if !matches!(undone, Ok(Ok(()))) {
                self.line = None;
            }
        }
        Ended::Well
    }

    pub(super) fn lose(&mut self, why: &str) {
        if self.lane.up.swap(false, Ordering::AcqRel) {
            tracing::warn!(why, chain = self.lane.name, "the database is away");
        }
        self.line = None;
        self.lost_at.get_or_insert_with(Instant::now);
    }

    /// Whether the database has been away for longer than callers are to wait.
    fn is_out_of_patience(&self) -> bool {
        self.lost_at.is_some_and(|at| at.elapsed() >= self.lane.patience)
    }

    /// One try to reach the database again. `jobs` are told to come back when it
    /// has been away for too long. An error says that the lane must stop.
    pub(super) async fn reconnect(&mut self, jobs: &mut Vec<Job>) -> Result<(), String> {
        match self.raised().await {
            Ok((line, end)) => {
                if end.sequence != self.end.sequence || end.hash != self.end.hash {
                    return Err("the chain is not where this node left it".to_owned());
                }
                self.take_up(line, end);
                Ok(())
            }
            Err(_) => {
                if self.is_out_of_patience() {
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
        self.lost_at = None;
        self.lane.newest.fetch_max(end.committed_at, std::sync::atomic::Ordering::Relaxed);
        self.end = end;
        if !self.lane.up.swap(true, Ordering::AcqRel) {
            tracing::info!(chain = self.lane.name, "the database is back");
        }
    }

    /// Finds out what became of a batch whose commit was not answered. Who waits is
    /// told what is true, or after a while that it is not known yet; the lane goes
    /// on only when it knows.
    pub(super) async fn inquire(&mut self, decided: Decided, sealed: Sealed, next: End) -> Ended {
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
                    if self.is_out_of_patience() {
                        if let Some((decided, _)) = batch.take() {
                            write::fail(decided, &StoreError::Stopped(UNKNOWN.into()));
                        }
                        while let Ok(job) = self.jobs.try_recv() {
                            let _ = job.reply.send(Err(StoreError::Busy));
                        }
                    }
                    tokio::time::sleep(pause(tries)).await;
                    tries += 1;
                }
            }
        }
    }
}
