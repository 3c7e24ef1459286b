//! A disk in memory that lies as disks do, for tests and simulation: what was
//! not covered by a completed sync is lost or torn when the power goes, a failed
//! sync forgets what it should have written, space runs out.
//!
//! `kill -9` alone keeps the page cache and proves nothing; this does.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::disk::{Disk, DiskFile};

/// What the disk does wrong, once, at the operation it is armed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The sync fails with EIO and, as ext4 does, marks what it should have
    /// written as clean: later syncs do not write it either.
    SyncFails,
    /// A write stops half way with EIO.
    ShortWrite,
    /// No space: a write or a creation fails with ENOSPC.
    Full,
    /// A sync takes this long and succeeds.
    Slow(Duration),
    /// A write lands this many bytes away from where it belongs, in the same file,
    /// and is called a success.
    Misdirected(i64),
}

/// See the head of this file. Clones are handles to the same disk.
#[derive(Debug, Clone, Default)]
pub struct LyingDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Names as the running system sees them.
    names: BTreeMap<String, usize>,
    /// Names as they would be found after a power loss.
    durable_names: BTreeMap<String, usize>,
    files: Vec<FileState>,
    syncs: u64,
    /// Faults to come: at which sync or write they strike, counted from now.
    sync_fault: Option<(u64, Fault)>,
    write_fault: Option<(u64, Fault)>,
    /// Once the power is gone every operation fails.
    dead: bool,
    /// No file can be created: the disk is full.
    full: bool,
    /// The power goes when this many more syncs were asked for; the last one
    /// does not complete.
    dies_after_syncs: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct FileState {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Written and not yet synced: offset and length.
    dirty: Vec<(usize, usize)>,
}

impl LyingDisk {
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Arms a fault for the `after`-th sync or write from now (0 is the next).
    pub fn arm(&self, after: u64, fault: Fault) {
        let mut state = self.state();
        match fault {
            Fault::SyncFails | Fault::Slow(_) => state.sync_fault = Some((after, fault)),
            Fault::ShortWrite | Fault::Full | Fault::Misdirected(_) => {
                state.write_fault = Some((after, fault))
            }
        }
    }

    /// Whether there is room for new files. Those that are there have theirs.
    pub fn has_room(&self, room: bool) {
        self.state().full = !room;
    }

    /// The power goes at the `after`-th sync from now, before it completes.
    pub fn die_at_sync(&self, after: u64) {
        self.state().dies_after_syncs = Some(after);
    }

    /// Syncs completed so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Takes the power away and gives back the disk as it is found afterwards:
    /// of every write that no completed sync covers, `seed` decides which blocks
    /// of 512 or 4,096 bytes reached the platter. This handle fails from now on.
    pub fn lose_power(&self, seed: u64) -> LyingDisk {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut state = self.state();
        state.dead = true;
        let files = state.files.iter().map(|file| after_power_loss(file, &mut rng)).collect();
        let names = state.durable_names.clone();
        let found = State { names: names.clone(), durable_names: names, files, ..State::default() };
        LyingDisk { state: Arc::new(Mutex::new(found)) }
    }

    /// Lets a test see or alter what is stored, past every sync.
    pub fn tamper<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> Option<T> {
        let mut state = self.state();
        let number = *state.names.get(name)?;
        let file = state.files.get_mut(number)?;
        let result = change(&mut file.now);
        file.durable.clone_from(&file.now);
        file.dirty.clear();
        Some(result)
    }
}

/// Each lost write leaves nothing, everything, a beginning or scattered blocks.
fn after_power_loss(file: &FileState, rng: &mut StdRng) -> FileState {
    let mut durable = file.durable.clone();
    durable.resize(file.now.len(), 0);
    for &(start, length) in &file.dirty {
        let block = if rng.random_bool(0.5) { 512 } else { 4096 };
        let mode = rng.random_range(0..4);
        let keep_until = start + rng.random_range(0..=length);
        let mut at = start;
        while at < start + length {
            let end = ((at / block + 1) * block).min(start + length);
            let kept = match mode {
                0 => false,
                1 => end <= keep_until,
                2 => rng.random_bool(0.5),
                _ => true,
            };
            if kept {
                durable[at..end].copy_from_slice(&file.now[at..end]);
            }
            at = end;
        }
    }
    FileState { now: durable.clone(), durable, dirty: Vec::new() }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(eio()) } else { Ok(()) }
    }

    fn number(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts an armed fault down; hands it out when it strikes.
    fn strike(fault: &mut Option<(u64, Fault)>) -> Option<Fault> {
        match fault {
            None => None,
            Some((0, _)) => fault.take().map(|(_, fault)| fault),
            Some((left, _)) => {
                *left -= 1;
                None
            }
        }
    }
}

impl Disk for LyingDisk {
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.alive()?;
        if state.full || matches!(state.write_fault, Some((_, Fault::Full))) {
            return Err(full());
        }
        let zeros = vec![0; usize::try_from(bytes).map_err(|_| full())?];
        let number = state.files.len();
        state.files.push(FileState { now: zeros.clone(), durable: zeros, dirty: Vec::new() });
        state.names.insert(name.to_owned(), number);
        Ok(Arc::new(LyingFile { disk: self.clone(), number }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.alive()?;
        Ok(Arc::new(LyingFile { disk: self.clone(), number: state.number(name)? }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let number = state.number(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.number(name)?;
        state.names.remove(name);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct LyingFile {
    disk: LyingDisk,
    number: usize,
}

impl DiskFile for LyingFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive()?;
        let fault = State::strike(&mut state.write_fault);
        let length = match fault {
            None | Some(Fault::Slow(_) | Fault::SyncFails | Fault::Misdirected(_)) => bytes.len(),
            Some(Fault::Full) => return Err(full()),
            Some(Fault::ShortWrite) => bytes.len() / 2,
        };
        let file = &mut state.files[self.number];
        let offset = match fault {
            Some(Fault::Misdirected(by)) => offset.checked_add_signed(by).unwrap_or(0),
            None | Some(Fault::Slow(_) | Fault::SyncFails | Fault::ShortWrite | Fault::Full) => offset,
        };
        let start = usize::try_from(offset).map_err(|_| full())?;
        if file.now.len() < start + length {
            file.now.resize(start + length, 0);
        }
        file.now[start..start + length].copy_from_slice(&bytes[..length]);
        file.dirty.push((start, length));
        if length < bytes.len() { Err(eio()) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        state.alive()?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let stored = state.files[self.number].now.get(start..start + bytes.len());
        bytes.copy_from_slice(stored.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive()?;
        if let Some(left) = state.dies_after_syncs.as_mut() {
            if *left == 0 {
                state.dead = true;
                return Err(eio());
            }
            *left -= 1;
        }
        match State::strike(&mut state.sync_fault) {
            None | Some(Fault::ShortWrite | Fault::Full | Fault::Misdirected(_)) => {}
            Some(Fault::SyncFails) => {
                state.files[self.number].dirty.clear();
                return Err(eio());
            }
            Some(Fault::Slow(wait)) => {
                drop(state);
                #[allow(clippy::disallowed_methods, reason = "a slow disk blocks whoever syncs it")]
                std::thread::sleep(wait);
                state = self.disk.state();
            }
        }
        state.syncs += 1;
        let file = &mut state.files[self.number];
        file.durable.resize(file.now.len(), 0);
        for (start, length) in std::mem::take(&mut file.dirty) {
            let end = start + length;
            file.durable[start..end].copy_from_slice(&file.now[start..end]);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive()?;
        Ok(state.files[self.number].now.len() as u64)
    }
}
