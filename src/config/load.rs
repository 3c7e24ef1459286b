//! From a file to options, or to a table of all that is wrong with it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use toml::de::{DeTable, DeValue, Deserializer};

use crate::limits::CONFIG_FILE_BYTES_MAX;

use super::{
    check::{Check, Problem, Problems, Text},
    diff::is_secret,
    explain::explain,
    overlay::{BadOverlay, Overlay},
};

/// Options with what they were read from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    pub options: T,
    /// The whole file with the overlay, for [`super::diff`].
    pub tree: toml::Table,
    pub file: PathBuf,
}

impl<T> Loaded<T> {
    /// A path that the file names: relative ones start at the file's folder.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }
}

/// A configuration cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{file}: 无法读取 / cannot be read: {source}", file = .file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{file}: 文件过大 / too large: {bytes} > {CONFIG_FILE_BYTES_MAX} bytes", file = .file.display())]
    TooLarge { file: PathBuf, bytes: u64 },
    #[error("{file}: 配置有误 / the configuration is wrong\n{problems}", file = .file.display())]
    Wrong { file: PathBuf, problems: Problems },
    #[error("{file}: {source}", file = .file.display())]
    Overlay { file: PathBuf, source: BadOverlay },
}

impl LoadError {
    /// What is wrong inside the file, where it could be read.
    pub fn problems(&self) -> Option<&Problems> {
        match self {
            LoadError::Wrong { problems, .. } => Some(problems),
            LoadError::Unreadable { .. } | LoadError::TooLarge { .. } | LoadError::Overlay { .. } => None,
        }
    }
}

/// Reads a file into options and lays `overlay` over it.
///
/// # Errors
/// When it cannot be read or is not what the options are; the error names file,
/// line, field, what is wrong and what would be right.
pub fn load<T: DeserializeOwned>(file: &Path, overlay: &Overlay) -> Result<Loaded<T>, LoadError> {
    parse(file, &text_of(file)?, overlay)
}

/// Reads a file into options, lays `overlay` over it and has the options check
/// themselves.
///
/// # Errors
/// As [`load`], and when the options report a problem.
pub fn load_checked<T: DeserializeOwned + Check>(
    file: &Path,
    overlay: &Overlay,
) -> Result<Loaded<T>, LoadError> {
    parse_checked(file, &text_of(file)?, overlay)
}

/// Like [`load`] for text that is at hand; `file` is named in errors.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned>(
    file: &Path,
    text: &str,
    overlay: &Overlay,
) -> Result<Loaded<T>, LoadError> {
    read(file, text, overlay, |_: &T, _| ())
}

/// Like [`load_checked`] for text that is at hand.
///
/// # Errors
/// As [`load_checked`].
pub fn parse_checked<T: DeserializeOwned + Check>(
    file: &Path,
    text: &str,
    overlay: &Overlay,
) -> Result<Loaded<T>, LoadError> {
    read(file, text, overlay, T::check)
}

pub(super) fn text_of(file: &Path) -> Result<String, LoadError> {
    let unreadable = |source| LoadError::Unreadable { file: file.to_owned(), source };
    let bytes = fs::metadata(file).map_err(unreadable)?.len();
    if bytes > CONFIG_FILE_BYTES_MAX {
        return Err(LoadError::TooLarge { file: file.to_owned(), bytes });
    }
    fs::read_to_string(file).map_err(unreadable)
}

fn read<T: DeserializeOwned>(
    file: &Path,
    text: &str,
    overlay: &Overlay,
    check: impl FnOnce(&T, &mut Problems),
) -> Result<Loaded<T>, LoadError> {
    let wrong = |problems| LoadError::Wrong { file: file.to_owned(), problems };
    let mut root = DeTable::parse(text).map_err(|error| wrong(syntax_problem(text, &error)))?;
    overlay
        .lay_over(root.get_mut())
        .map_err(|source| LoadError::Overlay { file: file.to_owned(), source })?;
    let explain = |error| wrong(type_problem(text, overlay, error));
    let tree = toml::Table::deserialize(Deserializer::from(root.clone())).map_err(explain)?;
    let options = T::deserialize(Deserializer::from(root.clone())).map_err(explain)?;
    let mut problems = Problems::default();
    check(&options, &mut problems);
    if problems.is_empty() {
        return Ok(Loaded { options, tree, file: file.to_owned() });
    }
    for problem in problems.iter_mut() {
        place(problem, text, root.get_ref(), overlay);
    }
    Err(wrong(problems))
}

fn syntax_problem(text: &str, error: &toml::de::Error) -> Problems {
    let message = error.message();
    one(Problem {
        line: error.span().map(|span| line_of(text, span.start)),
        path: String::new(),
        wrong: Text::new(format!("TOML 语法错误：{message}"), format!("not TOML: {message}")),
        right: Text::new("每行一个 `项 = 值`", "one `field = value` a line"),
    })
}

fn type_problem(text: &str, overlay: &Overlay, mut error: toml::de::Error) -> Problems {
    // The error keeps its keys to itself and writes them only when it has no
    // text to point into.
    error.set_input(None);
    let shown = error.to_string();
    let at =
        shown.trim_end().rsplit('\n').next().and_then(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    let mut path = at.unwrap_or_default().to_owned();
    let secret = path.split('.').any(is_secret);
    let explained = explain(error.message(), secret);
    if let Some(field) = &explained.field {
        path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
    }
    let line = error.span().filter(|span| *span != (0..0)).map(|span| line_of(text, span.start));
    let mut problem = Problem { line, path, wrong: explained.wrong, right: explained.right };
    name_variable(&mut problem, overlay);
    one(problem)
}

fn one(problem: Problem) -> Problems {
    let mut problems = Problems::default();
    problems.push(problem);
    problems
}

/// Finds the line of a problem that the options reported.
fn place(problem: &mut Problem, text: &str, root: &DeTable<'_>, overlay: &Overlay) {
    name_variable(problem, overlay);
    let mut line = None;
    let mut here: Option<&DeValue<'_>> = None;
    for step in steps(&problem.path) {
        let next = match (here, step) {
            (None, Step::Key(key)) => root.get(key),
            (Some(value), Step::Key(key)) => value.get(key),
            (Some(value), Step::Index(at)) => value.get(at),
            (None, Step::Index(_)) => None,
        };
        let Some(next) = next else { break };
        if next.span() == (0..0) {
            line = None;
            break;
        }
        line = Some(line_of(text, next.span().start));
        here = Some(next.get_ref());
    }
    problem.line = line;
}

/// A value from the environment has no line; its variable is named instead.
fn name_variable(problem: &mut Problem, overlay: &Overlay) {
    if let Some(variable) = overlay.variable_of(&problem.path) {
        problem.line = None;
        problem.wrong.zh.push_str(&format!("（来自环境变量 {variable}）"));
        problem.wrong.en.push_str(&format!(" (from the variable {variable})"));
    }
}

enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// `transit.fares[3].price` step by step.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '[']).filter(|step| !step.is_empty()).map(|step| {
        match step.strip_suffix(']').and_then(|index| index.parse().ok()) {
            Some(index) => Step::Index(index),
            None => Step::Key(step),
        }
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

impl<T> fmt::Display for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Options {
        name: String,
        net: Net,
        #[serde(default)]
        fares: Vec<Fare>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Net {
        port: u16,
        #[serde(default)]
        drain_ms: u64,
        #[serde(default)]
        passphrase: Option<u32>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Fare {
        fen: i64,
    }

    impl Check for Options {
        fn check(&self, problems: &mut Problems) {
            let text = || Text::new("x", "x");
            problems.require(self.net.port >= 1024, "net.port", text(), text());
            for (at, fare) in self.fares.iter().enumerate() {
                problems.within(&format!("fares[{at}]"), |p| p.require(fare.fen > 0, "fen", text(), text()));
            }
        }
    }

    const GOOD: &str = "name = \"a\"\n\n[net]\nport = 8443\n";

    fn vars(variables: &[(&str, &str)]) -> Overlay {
        Overlay::from_vars(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn read(text: &str, overlay: &Overlay) -> Result<Loaded<Options>, LoadError> {
        parse_checked(Path::new("conf/region.toml"), text, overlay)
    }

    #[track_caller]
    fn check(text: &str, expect: &[(Option<usize>, &str)]) {
        let error = read(text, &Overlay::none()).expect_err(text);
        let found: Vec<_> =
            error.problems().expect("inside the file").iter().map(|p| (p.line, p.path.as_str())).collect();
        assert_eq!(found, expect, "{error}");
        assert!(error.to_string().starts_with("conf/region.toml: "));
    }

    #[test]
    fn a_wrong_file_is_told_by_line_and_field() {
        check("name = \n", &[(Some(1), "")]);
        check(&format!("{GOOD}prot = 1\n"), &[(Some(5), "net.prot")]);
        check("name = \"a\"\n\n[net]\nport = \"x\"\n", &[(Some(4), "net.port")]);
        check("name = \"a\"\n\n[net]\n", &[(Some(3), "net.port")]);
        check("[net]\nport = 99999\n", &[(Some(2), "net.port")]);
        check(
            "name = \"a\"\n[net]\nport = 80\n[[fares]]\nfen = 1\n[[fares]]\nfen = 0\n",
            &[(Some(3), "net.port"), (Some(7), "fares[1].fen")],
        );
    }

    #[test]
    fn a_secret_value_is_in_no_error() {
        let error =
            read(&format!("{GOOD}passphrase = \"hunter2\"\n"), &Overlay::none()).expect_err("wrong type");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn the_environment_stands_before_the_file_and_keeps_types() {
        let overlay = vars(&[
            ("ONECARD__NET__PORT", "9000"),
            ("ONECARD__NET__DRAIN_MS", "5"),
            ("ONECARD__NAME", "12"),
            ("OTHER__NAME", "b"),
        ]);
        let loaded = read(&format!("{GOOD}drain-ms = 1\n"), &overlay).expect("right");
        assert_eq!((loaded.options.net.port, loaded.options.net.drain_ms), (9000, 5));
        assert_eq!(loaded.options.name, "12");
        assert_eq!(loaded.tree["net"]["port"].as_integer(), Some(9000));
        assert_eq!(loaded.resolve(Path::new("a.pem")), Path::new("conf/a.pem"));
        assert_eq!(loaded.resolve(Path::new("/etc/a.pem")), Path::new("/etc/a.pem"));
    }

    #[test]
    fn a_wrong_variable_is_named_and_a_lost_one_refused() {
        for value in ["x", "80"] {
            let error = read(GOOD, &vars(&[("ONECARD__NET__PORT", value)])).expect_err("wrong");
            assert!(error.to_string().contains("ONECARD__NET__PORT"), "{error}");
            assert_eq!(error.problems().expect("inside").iter().next().and_then(|p| p.line), None);
        }
        let error = read(GOOD, &vars(&[("ONECARD__NAME__FIRST", "x")])).expect_err("no table");
        assert!(matches!(error, LoadError::Overlay { .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_or_too_large_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.toml");
        assert!(matches!(load::<Options>(&file, &Overlay::none()), Err(LoadError::Unreadable { .. })));
        fs::File::create(&file).and_then(|f| f.set_len(CONFIG_FILE_BYTES_MAX + 1)).expect("made");
        assert!(matches!(load::<Options>(&file, &Overlay::none()), Err(LoadError::TooLarge { .. })));
        fs::write(&file, GOOD).expect("written");
        assert!(load_checked::<Options>(&file, &Overlay::none()).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,80}", lines in "([a-z.\\[\\]]{1,8} ?= ?[0-9\"a-z]{0,4}\n){0,5}") {
            let _ = read(&text, &Overlay::none());
            let _ = read(&lines, &vars(&[("ONECARD__A__B", &text)]));
        }
    }
}
