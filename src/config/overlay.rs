//! Values from the environment that stand before those of a file:
//! `ONECARD__SECTION__KEY=value`.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A variable that cannot be laid over the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: `{at}` is no table in the file, so nothing can be set below it")]
pub struct BadOverlay {
    pub variable: String,
    pub at: String,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    variable: String,
    path: Vec<String>,
    value: String,
}

/// Values by path. Values are not shown in `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Overlay(Vec<Entry>);

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|entry| &entry.variable)).finish()
    }
}

impl Overlay {
    /// Nothing is laid over.
    pub fn none() -> Self {
        Overlay::default()
    }

    /// The process's variables that begin with `ONECARD__`.
    pub fn from_env() -> Self {
        Self::from_vars(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Those of `variables` that begin with `ONECARD__`. Two underscores part
    /// sections; letters become small.
    pub fn from_vars(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut entries: Vec<Entry> = variables
            .into_iter()
            .filter_map(|(variable, value)| {
                let path: Vec<String> =
                    variable.strip_prefix("ONECARD__")?.split("__").map(str::to_ascii_lowercase).collect();
                let whole = path.iter().all(|key| !key.is_empty());
                whole.then_some(Entry { variable, path, value })
            })
            .collect();
        entries.sort_by(|one, other| one.variable.cmp(&other.variable));
        Overlay(entries)
    }

    /// The variable that gave the value at `path` (keys joined by dots).
    pub(super) fn variable_of(&self, path: &str) -> Option<&str> {
        let same = |entry: &&Entry| folded(&entry.path.join(".")) == folded(path);
        self.0.iter().find(same).map(|entry| entry.variable.as_str())
    }

    /// Lays the values over `root`. A key is found whether the file writes it with
    /// `-` or `_`. Where the file has a string, the value is taken as text;
    /// elsewhere it is read as TOML (`8`, `true`, `[1, 2]`) and taken as text when
    /// it is none.
    pub(super) fn lay_over<'i>(&'i self, root: &mut DeTable<'i>) -> Result<(), BadOverlay> {
        for entry in &self.0 {
            let mut table = &mut *root;
            let (last, sections) = entry.path.split_last().expect("a path has one key at least");
            for section in sections {
                let key = written(table, section);
                if table.get(key.as_str()).is_none() {
                    table.insert(unplaced(key.clone().into()), unplaced(DeValue::Table(DeTable::new())));
                }
                let bad = || BadOverlay { variable: entry.variable.clone(), at: section.clone() };
                table = match table.get_mut(key.as_str()).map(Spanned::get_mut) {
                    Some(DeValue::Table(inner)) => inner,
                    _ => return Err(bad()),
                };
            }
            let key = written(table, last);
            let is_text = table.get(key.as_str()).is_some_and(|old| old.get_ref().is_str());
            let text = || unplaced(DeValue::String(entry.value.as_str().into()));
            let value =
                if is_text { text() } else { DeValue::parse(&entry.value).unwrap_or_else(|_| text()) };
            table.insert(unplaced(key.into()), unplaced(value.into_inner()));
        }
        Ok(())
    }
}

/// The key as the file writes it, else with underscores.
fn written(table: &DeTable<'_>, key: &str) -> String {
    let same = table.keys().map(|known| known.get_ref()).find(|known| folded(known) == folded(key));
    same.map_or_else(|| key.to_owned(), |known| known.clone().into_owned())
}

fn folded(key: &str) -> String {
    key.to_ascii_lowercase().replace('-', "_")
}

fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
