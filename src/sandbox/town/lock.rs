//! One town a folder: who writes into a data folder, or runs gateways out of it,
//! holds its lock.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A data folder that is ours. The system lets go of it when the last clone is
/// dropped or the process ends, in whatever way; the file stays and means nothing.
#[derive(Debug, Clone)]
pub struct FolderLock {
    folder: PathBuf,
    _held: Arc<File>,
}

/// The data folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderLockError {
    #[error(
        "`{folder}` 中的沙箱正在运行（进程 {process}），未作任何改动；请先停止它，或用 --data 换一个目录 / the town in this folder is running (process {process}), nothing was touched; stop it, or give another folder with --data"
    )]
    Running { folder: PathBuf, process: String },
    #[error("`{path}` 无法使用 / cannot be used: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl FolderLock {
    /// Takes the folder, making it when it is missing. Call it before anything in
    /// the folder is written.
    ///
    /// # Errors
    /// When another process holds it, or it cannot be written.
    pub fn take(data: &Path) -> Result<Self, FolderLockError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderLockError::Io { path, source }
        };
        fs::create_dir_all(data).map_err(failed(data))?;
        let folder = data.canonicalize().map_err(failed(data))?;
        let path = folder.join("LOCK");
        // Not truncated before it is ours: it names the process that holds it.
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let mut file = opened.map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                return Err(FolderLockError::Running { folder, process });
            }
            Err(TryLockError::Error(source)) => return Err(failed(&path)(source)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed(&path))?;
        Ok(FolderLock { folder, _held: Arc::new(file) })
    }

    /// The folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_towns_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = FolderLock::take(folder.path()).expect("free");
        let refused = FolderLock::take(folder.path()).expect_err("it is held").to_string();
        for words in ["正在运行", "is running", &std::process::id().to_string()] {
            assert!(refused.contains(words), "{words}: {refused}");
        }
        let clone = first.clone();
        drop(first);
        FolderLock::take(folder.path()).expect_err("a clone holds it");
        drop(clone);
        FolderLock::take(folder.path()).expect("free again");
    }
}
