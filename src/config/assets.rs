//! The repository's `config/` folder inside the program: a sandbox and a fresh
//! installation need no files beside the binary. Every file under it is taken,
//! whoever put it there.

use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
};

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "config/"]
struct Folder;

/// The bytes of a file by its path inside the folder (`codes/sex.toml`).
pub fn read(path: &str) -> Option<Cow<'static, [u8]>> {
    Folder::get(path).map(|file| file.data)
}

/// The text of a file by its path inside the folder; `None` also when it is not
/// UTF-8.
pub fn read_text(path: &str) -> Option<String> {
    String::from_utf8(read(path)?.into_owned()).ok()
}

/// The paths that begin with `prefix` (`codes/`, or "" for all), in order.
pub fn list(prefix: &str) -> Vec<Cow<'static, str>> {
    let mut paths: Vec<_> = Folder::iter().filter(|path| path.starts_with(prefix)).collect();
    paths.sort();
    paths
}

/// What [`write_all`] did, as paths inside the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    pub written: Vec<PathBuf>,
    /// Existed already and was left as it was: an operator's file is never
    /// overwritten.
    pub kept: Vec<PathBuf>,
}

/// Writes every file into `folder`, which is made when it does not exist.
///
/// # Errors
/// When a folder or file cannot be made; files written before stay.
pub fn write_all(folder: &Path) -> io::Result<Written> {
    let mut done = Written::default();
    for path in list("") {
        let target = folder.join(path.as_ref());
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let bytes = read(&path).unwrap_or_default();
        match fs::OpenOptions::new().write(true).create_new(true).open(&target) {
            Ok(mut file) => {
                io::Write::write_all(&mut file, &bytes)?;
                done.written.push(path.as_ref().into());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                done.kept.push(path.as_ref().into())
            }
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_built_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let mut waiting = vec![root.clone()];
        let mut files = 0;
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(folder).expect("the folder is there") {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    waiting.push(path);
                    continue;
                }
                let name = path.strip_prefix(&root).expect("below").to_str().expect("UTF-8").to_owned();
                let built_in = read(&name).unwrap_or_else(|| panic!("{name} is not built in"));
                assert_eq!(built_in, fs::read(&path).expect("readable"), "{name}");
                files += 1;
            }
        }
        assert_eq!(list("").len(), files);
        assert_eq!(list("codes/").len(), 5);
        assert!(read("../Cargo.toml").is_none());
    }

    #[test]
    fn an_operators_file_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let mine = folder.path().join("codes/sex.toml");
        fs::create_dir_all(mine.parent().expect("a parent")).expect("made");
        fs::write(&mine, "mine").expect("written");
        let done = write_all(folder.path()).expect("written");
        assert_eq!(done.kept, [PathBuf::from("codes/sex.toml")]);
        assert_eq!(done.written.len() + 1, list("").len());
        assert_eq!(fs::read_to_string(mine).expect("readable"), "mine");
        assert!(folder.path().join("codes/regions.toml").exists());
        assert_eq!(write_all(folder.path()).expect("again").written, Vec::<PathBuf>::new());
    }
}
