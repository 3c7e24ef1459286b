//! What the kernel says about a process and this machine: CPU time, memory, load,
//! and what a sync of the disk costs beside the figures that rest on it.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// CPU time a process has used so far, user and system.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    ticks(&stat)
        .map(|ticks| Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
        .with_context(|| format!("{path} is not understood"))
}

/// CPU time that the living children of a process have used so far.
///
/// # Errors
/// When the processes cannot be listed.
pub fn cpu_time_of_children(parent: u32) -> anyhow::Result<Duration> {
    let mut all = Duration::ZERO;
    for process in fs::read_dir("/proc")? {
        // A process may be gone by now.
        let stat = fs::read_to_string(process?.path().join("stat")).unwrap_or_default();
        if let Some((found, ticks)) = parent_of(&stat).zip(ticks(&stat))
            && found == parent
        {
            all += Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND);
        }
    }
    Ok(all)
}

/// Field 4, the second after the command's name.
fn parent_of(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Linux has shown times to programs in hundredths of a second on every platform
/// we ship on, whatever the kernel's own tick is.
const TICKS_PER_SECOND: u64 = 100;

/// utime + stime, fields 14 and 15. The command's name, field 2, may hold spaces
/// and brackets, so counting begins after its last bracket.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory of a process, MiB.
///
/// # Errors
/// When there is no such process.
pub fn resident_mib(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_ascii_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} tells no VmRSS"))? / 1024)
}

/// The load average of the last minute, as the kernel prints it; `?` where it
/// does not.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().next().unwrap_or("?").to_owned()
}

/// Times of `rounds` syncs, each after writing 4 KiB into a preallocated file in
/// `folder`: the least that anything durable costs here.
///
/// # Errors
/// When the folder cannot be written.
pub fn sync_times(folder: &Path, rounds: usize) -> io::Result<Vec<Duration>> {
    const BLOCK: [u8; 4096] = [0xa5; 4096];
    const BLOCKS: usize = 256;
    let path = folder.join("sync-probe");
    let mut file = File::create(&path)?;
    for _ in 0..BLOCKS {
        file.write_all(&BLOCK)?;
    }
    file.sync_all()?;
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        if round % BLOCKS == 0 {
            file.seek(SeekFrom::Start(0))?;
        }
        let started = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    drop(file);
    fs::remove_file(path)?;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_are_found_behind_any_name() {
        let stat = "71 (a ) b) S 1 71 71 0 -1 4194560 1 2 3 4 150 25 7 8 20 0 4 0 99";
        assert_eq!(ticks(stat), Some(175));
        assert_eq!(parent_of(stat), Some(1));
        assert_eq!(ticks("71 (a"), None);
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        assert!(cpu_time(pid).is_ok());
        assert!(resident_mib(pid).expect("it lives") > 0);
        assert!(cpu_time(u32::MAX).is_err());
    }

    #[test]
    fn a_sync_takes_time_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let times = sync_times(folder.path(), 3).expect("a disk");
        assert!(times.iter().all(|time| !time.is_zero()));
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 0);
    }
}
