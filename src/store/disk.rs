//! The disk as a trait: just what a journal of preallocated segments needs, so
//! that a test can put a lying one in its place.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    archive::{archive_of, repack},
    packed::{PackedFile, SUFFIX},
};

/// A folder of files. Names are plain file names.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Creates a file of `bytes` zeros, written out and synced: extending a file
    /// later, or writing into a hole, would make every sync dearer. Replaces what
    /// had the name. The name itself is durable after [`Disk::sync_dir`].
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Renames a file; open handles stay good.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Puts `content` in the place of a file, durably and at once: who loses power
    /// finds the one or the other, whole. Open handles keep the old one.
    fn replace(&self, name: &str, content: Arc<dyn DiskFile>) -> io::Result<()> {
        put_in_place(self, name, &*content)
    }
}

/// Writes `content` beside the file, reads it back, and lets it take the name.
fn put_in_place<D: Disk + ?Sized>(disk: &D, name: &str, content: &dyn DiskFile) -> io::Result<()> {
    let new = format!("{name}.new");
    let size = content.size()?;
    let file = disk.create(&new, size)?;
    let (mut piece, mut written) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    for write in [true, false] {
        let mut at = 0;
        while at < size {
            let length = usize::try_from(size - at).unwrap_or(usize::MAX).min(piece.len());
            content.read_at(at, &mut piece[..length])?;
            if write {
                file.write_at(at, &piece[..length])?;
            } else {
                file.read_at(at, &mut written[..length])?;
                if written[..length] != piece[..length] {
                    return Err(io::Error::other("what was written does not read back as it was"));
                }
            }
            at += length as u64;
        }
        if write {
            file.sync_data()?;
        }
    }
    disk.rename(&new, name)?;
    disk.sync_dir()
}

/// An open file.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Writes all of `bytes`, or fails having written some of them.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills `bytes`, or fails.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Makes everything written durable. After a failure nothing that was written
    /// since the last success may be believed, even when a later call succeeds.
    fn sync_data(&self) -> io::Result<()>;

    /// The file's length in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// A folder of the machine's file system, held by a lock file so that no second
/// process writes to it.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
    /// Reads through to the folder's archive.
    through: bool,
    _lock: Option<File>,
}

impl RealDisk {
    /// Makes the folder when there is none and locks it.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds the folder; else what the system
    /// says.
    pub fn lock(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("LOCK"))?;
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return Ok(RealDisk { dir: dir.to_owned(), through: true, _lock: Some(lock) }),
                Err(TryLockError::WouldBlock) => wait_for_lookers(),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Whether a process holds the folder.
    ///
    /// # Errors
    /// When it cannot be asked for, for want of a right.
    pub fn is_held(dir: &Path) -> io::Result<bool> {
        let lock = match File::open(dir.join("LOCK")) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // Let go of at once; who opens the store at this very moment tries again.
        match lock.try_lock_shared() {
            Ok(()) => lock.unlock().map(|()| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Looks into a folder without holding it: for checks of a journal that
    /// nobody writes to.
    pub fn look(dir: &Path) -> Self {
        RealDisk { dir: dir.to_owned(), through: true, _lock: None }
    }

    /// Looks into a folder and not into its archive.
    pub(super) fn live_only(dir: &Path) -> Self {
        RealDisk { dir: dir.to_owned(), through: false, _lock: None }
    }

    /// The folder's archive. It is looked up anew: segments may be moved while the
    /// store runs.
    fn archive(&self) -> io::Result<Option<PathBuf>> {
        if self.through { archive_of(&self.dir) } else { Ok(None) }
    }
}

/// Who asks whether the folder is held holds it himself for some microseconds.
const LOCK_TRIES: u32 = 5;

#[allow(clippy::disallowed_methods, reason = "a store is opened on a thread that may block")]
fn wait_for_lookers() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

impl Disk for RealDisk {
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        static ZEROS: [u8; 1 << 18] = [0; 1 << 18];
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(self.dir.join(name))?;
        let mut at = 0;
        while at < bytes {
            let piece = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(ZEROS.len());
            file.write_all_at(&ZEROS[..piece], at)?;
            at += piece as u64;
        }
        file.sync_all()?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(name);
        let writable = self._lock.is_some();
        match OpenOptions::new().read(true).write(writable).open(path) {
            Ok(file) => Ok(Arc::new(RealFile(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let archive = self.archive()?.ok_or(error)?;
                let packed = File::open(archive.join(format!("{name}{SUFFIX}")))?;
                Ok(Arc::new(PackedFile::open(packed)?))
            }
            Err(error) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for item in fs::read_dir(&self.dir)? {
            if let Ok(name) = item?.file_name().into_string() {
                names.push(name);
            }
        }
        if let Some(archive) = self.archive()? {
            for item in fs::read_dir(archive)? {
                let name = item?.file_name().into_string().unwrap_or_default();
                names.extend(name.strip_suffix(SUFFIX).map(str::to_owned));
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn replace(&self, name: &str, content: Arc<dyn DiskFile>) -> io::Result<()> {
        match self.archive()? {
            Some(archive) if !self.dir.join(name).exists() => repack(&archive, name, content),
            Some(_) | None => put_in_place(self, name, &*content),
        }
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
