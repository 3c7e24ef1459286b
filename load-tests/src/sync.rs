//! `sync`: what it costs to make a frame of the journal durable, in the two ways there
//! are: write and `fdatasync`, or write to a file opened with `O_DSYNC`. Both write where
//! a segment lies: in files that were filled with zeros before, at growing offsets.
//!
//! The ways take turns in every round, because a shared disk drifts within seconds.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;

use crate::{
    fixture::Folder,
    headline::figures::median,
    process,
    report::{Summary, Verdict, known_keys, table},
    require::Requirement,
};

/// Compares the two ways to make a write durable.
#[derive(Debug, Args)]
pub struct Sync {
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Writes of each way and size in each round.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    writes: u32,

    /// The folder to write in; on the disk of the journal.
    #[arg(long)]
    data: Option<PathBuf>,

    /// A demand on a figure of the last line, for example 'dsync_ratio_4<=1.2'.
    #[arg(long)]
    require: Vec<Requirement>,
}

/// Frames of one tap, of a hundred, of a full batch.
const SIZES_KIB: [usize; 3] = [4, 40, 400];

const KEYS: &[&str] = &[
    "fdatasync_us_4",
    "dsync_us_4",
    "dsync_ratio_4",
    "fdatasync_us_40",
    "dsync_us_40",
    "dsync_ratio_40",
    "fdatasync_us_400",
    "dsync_us_400",
    "dsync_ratio_400",
];

/// As large as a segment.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Fdatasync,
    Dsync,
}

/// A file filled with zeros, and where the next frame goes.
struct Segment {
    file: File,
    way: Way,
    at: u64,
}

/// Microseconds of a stretch.
struct Stretch {
    median: f64,
    p99: f64,
    mean: f64,
}

impl Sync {
    /// Runs it and prints the verdict.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn run(self) -> anyhow::Result<std::process::ExitCode> {
        known_keys(&self.require, KEYS)?;
        let folder = Folder::new(self.data.as_deref())?;
        let mut ways =
            [Segment::make(folder.path(), Way::Fdatasync)?, Segment::make(folder.path(), Way::Dsync)?];
        let mut seen: Vec<Vec<[Stretch; 2]>> = SIZES_KIB.iter().map(|_| Vec::new()).collect();
        for round in 0..self.rounds {
            for (size, seen) in SIZES_KIB.iter().zip(&mut seen) {
                let frame = vec![0xa5; size * 1024];
                // Who begins changes with every round.
                if round % 2 == 1 {
                    ways.reverse();
                }
                let mut both = [ways[0].stretch(&frame, self.writes)?, ways[1].stretch(&frame, self.writes)?];
                if ways[0].way == Way::Dsync {
                    both.reverse();
                }
                if round % 2 == 1 {
                    ways.reverse();
                }
                seen.push(both);
            }
        }
        for way in ["fdatasync", "dsync"] {
            std::fs::remove_file(folder.path().join(way))?;
        }
        let mut summary = Summary::new("sync");
        let mut rows = Vec::new();
        for ((size, seen), keys) in SIZES_KIB.iter().zip(&seen).zip(KEYS.chunks_exact(3)) {
            let of = |figure: &dyn Fn(&[Stretch; 2]) -> f64| {
                median(&seen.iter().map(figure).collect::<Vec<_>>()).unwrap_or_default()
            };
            for (at, way) in ["write, fdatasync", "write with O_DSYNC"].into_iter().enumerate() {
                rows.push(vec![
                    format!("{size} KiB, {way}"),
                    format!("{:.0}", of(&|both| both[at].median)),
                    format!("{:.0}", of(&|both| both[at].mean)),
                    format!("{:.0}", of(&|both| both[at].p99)),
                ]);
            }
            summary = summary
                .measure(keys[0], of(&|both| both[0].median), 0)
                .measure(keys[1], of(&|both| both[1].median), 0)
                .measure(keys[2], of(&|both| both[1].mean / both[0].mean), 3);
        }
        println!("{}", table(&["frame", "p50 µs", "mean µs", "p99 µs"], &rows));
        println!("medians over {} rounds; load average {}", self.rounds, process::load_average());
        Ok(Verdict { summary, broken: Vec::new() }.conclude(&self.require))
    }
}

impl Segment {
    fn make(folder: &Path, way: Way) -> std::io::Result<Self> {
        let path = folder.join(if way == Way::Dsync { "dsync" } else { "fdatasync" });
        let zeros = vec![0; 1 << 20];
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        drop(file);
        let mut open = OpenOptions::new();
        open.write(true);
        if way == Way::Dsync {
            open.custom_flags(libc::O_DSYNC);
        }
        Ok(Segment { file: open.open(path)?, way, at: 0 })
    }

    fn stretch(&mut self, frame: &[u8], writes: u32) -> std::io::Result<Stretch> {
        let mut times = Vec::with_capacity(writes as usize);
        for _ in 0..writes {
            if self.at + frame.len() as u64 > FILE_BYTES {
                self.at = 0;
            }
            let began = Instant::now();
            self.file.write_all_at(frame, self.at)?;
            if self.way == Way::Fdatasync {
                self.file.sync_data()?;
            }
            times.push(began.elapsed());
            self.at += frame.len() as u64;
        }
        times.sort_unstable();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let at = |share: usize| times.get(times.len() * share / 100).copied().map_or(0.0, micros);
        let mean = micros(times.iter().sum::<Duration>()) / f64::from(writes);
        Ok(Stretch { median: at(50), p99: at(99), mean })
    }
}
