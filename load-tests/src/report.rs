//! What a run prints: a table for people, then one last line
//! `name: key=value …` for scripts, and the exit status that goes with it.

use std::{borrow::Cow, process::ExitCode};

use crate::require::Requirement;

/// One figure of the last line.
#[derive(Debug, Clone, PartialEq)]
struct Figure {
    key: Cow<'static, str>,
    value: Value,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number {
        value: f64,
        decimals: usize,
    },
    /// What could not be measured, in one word.
    Word(&'static str),
}

/// The last line as it grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    name: &'static str,
    figures: Vec<Figure>,
}

impl Summary {
    /// An empty line that opens with `name:`.
    pub fn new(name: &'static str) -> Self {
        Summary { name, figures: Vec::new() }
    }

    /// Adds a count.
    pub fn count(self, key: &'static str, count: u64) -> Self {
        // Counts of a run are far below 2^53.
        #[allow(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
        self.measure(key, count as f64, 0)
    }

    /// Adds a measurement with so many decimals. A demand is held against what
    /// was measured, not against what was rounded for the eye.
    pub fn measure(mut self, key: impl Into<Cow<'static, str>>, value: f64, decimals: usize) -> Self {
        self.figures.push(Figure { key: key.into(), value: Value::Number { value, decimals } });
        self
    }

    /// Adds a word in the place of a figure that could not be measured; no demand on
    /// it holds.
    pub fn word(mut self, key: &'static str, word: &'static str) -> Self {
        self.figures.push(Figure { key: Cow::Borrowed(key), value: Value::Word(word) });
        self
    }

    /// The line.
    pub fn line(&self) -> String {
        let figures: Vec<_> = self
            .figures
            .iter()
            .map(|figure| match figure.value {
                Value::Number { value, decimals } => format!("{}={value:.decimals$}", figure.key),
                Value::Word(word) => format!("{}={word}", figure.key),
            })
            .collect();
        format!("{}: {}", self.name, figures.join(" "))
    }

    /// The demands that do not hold, each with what was found.
    pub fn unmet(&self, requirements: &[Requirement]) -> Vec<String> {
        let found = |key: &str| self.figures.iter().find(|figure| figure.key == key);
        requirements
            .iter()
            .filter_map(|requirement| match found(requirement.key()).map(|figure| &figure.value) {
                Some(Value::Number { value, .. }) if requirement.holds(*value) => None,
                Some(Value::Number { value, .. }) => {
                    Some(format!("required {requirement}, found {value:.6}"))
                }
                Some(Value::Word(word)) => Some(format!("required {requirement}, found {word}")),
                None => Some(format!("required {requirement}, which was not measured")),
            })
            .collect()
    }
}

/// A run's end: what it found, and what of its promises did not hold.
#[derive(Debug)]
pub struct Verdict {
    pub summary: Summary,
    /// Broken invariants, one sentence each.
    pub broken: Vec<String>,
}

impl Verdict {
    /// Prints what is wrong, then the last line. Success only when every
    /// invariant and every requirement holds.
    pub fn conclude(self, requirements: &[Requirement]) -> ExitCode {
        let unmet = self.summary.unmet(requirements);
        for broken in &self.broken {
            eprintln!("broken: {broken}");
        }
        for unmet in &unmet {
            eprintln!("not met: {unmet}");
        }
        println!("{}", self.summary.line());
        if self.broken.is_empty() && unmet.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Refuses a demand on a key that the command never prints, before it runs for
/// minutes.
///
/// # Errors
/// Naming the key and those there are.
pub fn known_keys(requirements: &[Requirement], keys: &[&str]) -> anyhow::Result<()> {
    match requirements.iter().find(|requirement| !keys.contains(&requirement.key())) {
        None => Ok(()),
        Some(unknown) => {
            anyhow::bail!("there is no figure `{}`; there are {}", unknown.key(), keys.join(", "))
        }
    }
}

/// Lines rows up under their heads: the first column to the left, figures to the
/// right.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .enumerate()
            .map(
                |(at, (cell, width))| {
                    if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut heads.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary::new("kill").count("kills", 50).measure("ratio", 0.4999, 2)
    }

    fn requirements(texts: &[&str]) -> Vec<Requirement> {
        texts.iter().map(|text| text.parse().expect("a requirement")).collect()
    }

    #[test]
    fn the_line_is_name_and_figures() {
        assert_eq!(summary().line(), "kill: kills=50 ratio=0.50");
    }

    #[test]
    fn a_demand_is_held_against_what_was_measured_and_not_what_is_shown() {
        assert_eq!(summary().unmet(&requirements(&["kills==50", "ratio<0.5"])), Vec::<String>::new());
        assert_eq!(summary().unmet(&requirements(&["ratio>=0.5"])), ["required ratio>=0.5, found 0.499900"]);
    }

    #[test]
    fn a_demand_on_what_was_not_measured_does_not_hold() {
        assert_eq!(summary().unmet(&requirements(&["lost==0"])).len(), 1);
        let unknown = summary().word("ledger", "unknown");
        assert_eq!(unknown.line(), "kill: kills=50 ratio=0.50 ledger=unknown");
        assert_eq!(unknown.unmet(&requirements(&["ledger==0"])), ["required ledger==0, found unknown"]);
    }

    #[test]
    fn an_unknown_key_is_refused_before_the_run() {
        assert!(known_keys(&requirements(&["kills>=1"]), &["kills"]).is_ok());
        let refused = known_keys(&requirements(&["kils>=1"]), &["kills", "ratio"]).expect_err("unknown");
        assert_eq!(refused.to_string(), "there is no figure `kils`; there are kills, ratio");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["echo".to_owned(), "1".to_owned()], vec!["unary".to_owned(), "200".to_owned()]];
        assert_eq!(table(&["who", "per s"], &rows), "who    per s\necho       1\nunary    200\n");
    }
}
