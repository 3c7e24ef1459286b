//! Where configuration files come from: a folder, or the built-in copy.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{Check, LoadError, Loaded, Overlay, assets, load, parse_checked};

/// A tree of configuration files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Folder(PathBuf),
    /// The copy the program was built with.
    Embedded,
}

impl Source {
    /// The text of a file by its path inside the tree.
    ///
    /// # Errors
    /// When it is not there, too large, not UTF-8, or the path leads out of the
    /// tree.
    pub fn text(&self, path: &str) -> Result<String, LoadError> {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let missing = |kind| LoadError::Unreadable { file: path.into(), source: io::Error::from(kind) };
        if !inside {
            return Err(missing(io::ErrorKind::InvalidInput));
        }
        match self {
            Source::Folder(folder) => load::text_of(&folder.join(path)),
            Source::Embedded => assets::read_text(path).ok_or_else(|| missing(io::ErrorKind::NotFound)),
        }
    }

    /// Reads and checks a file of the tree.
    ///
    /// # Errors
    /// As [`super::load_checked`].
    pub fn load<T: DeserializeOwned + Check>(
        &self,
        path: &str,
        overlay: &Overlay,
    ) -> Result<Loaded<T>, LoadError> {
        let text = self.text(path)?;
        let file = match self {
            Source::Folder(folder) => folder.join(path),
            Source::Embedded => PathBuf::from(path),
        };
        parse_checked(&file, &text, overlay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_the_built_in_copy_are_read_alike_and_not_left() {
        let folder = Source::Folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("config"));
        for source in [folder, Source::Embedded] {
            assert!(source.text("codes/sex.toml").is_ok());
            assert!(source.text("codes/none.toml").is_err());
            for path in ["../Cargo.toml", "/etc/hostname", "codes/../../Cargo.toml"] {
                assert!(source.text(path).is_err(), "{path}");
            }
        }
    }
}
