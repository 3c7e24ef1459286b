//! Checking options and saying all that is wrong with them, not the first.

use std::fmt;

use crate::limits::CONFIG_PROBLEMS_MAX;

/// A sentence in two languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub zh: String,
    pub en: String,
}

impl Text {
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Text { zh: zh.into(), en: en.into() }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// In the file, from 1; `None` where the value is not in the file.
    pub line: Option<usize>,
    /// Keys joined by dots: `transit.fares[3].price`. Empty for the whole file.
    pub path: String,
    pub wrong: Text,
    /// What would be right.
    pub right: Text,
}

/// Options that can say what is wrong with them beyond their types.
pub trait Check {
    /// Reports every problem; the order is that of the fields.
    fn check(&self, problems: &mut Problems);
}

/// Everything that is wrong, at most [`CONFIG_PROBLEMS_MAX`]; the rest is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<Problem>,
    untold: usize,
    prefix: String,
}

impl Problems {
    /// What is wrong with `options`, without their file.
    pub fn of(options: &impl Check) -> Self {
        let mut problems = Problems::default();
        options.check(&mut problems);
        problems
    }

    /// Reports a problem of the field `path`, relative to where this is.
    pub fn report(&mut self, path: &str, wrong: Text, right: Text) {
        let path = joined(&self.prefix, path);
        self.push(Problem { line: None, path, wrong, right });
    }

    /// Reports a problem unless `holds`.
    pub fn require(&mut self, holds: bool, path: &str, wrong: Text, right: Text) {
        if !holds {
            self.report(path, wrong, right);
        }
    }

    /// Checks a part under its own key: `problems.within("transit", |p| …)`, or
    /// `within("fares[3]", …)`.
    pub fn within(&mut self, key: &str, check: impl FnOnce(&mut Problems)) {
        let outer = self.prefix.clone();
        self.prefix = joined(&outer, key);
        check(self);
        self.prefix = outer;
    }

    pub(super) fn push(&mut self, problem: Problem) {
        if self.found.len() < CONFIG_PROBLEMS_MAX {
            self.found.push(problem);
        } else {
            self.untold += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many there are, told or not.
    pub fn count(&self) -> usize {
        self.found.len() + self.untold
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.found.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Problem> {
        self.found.iter_mut()
    }
}

fn joined(prefix: &str, path: &str) -> String {
    match (prefix.is_empty(), path.is_empty()) {
        (true, _) => path.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}.{path}"),
    }
}

/// A lined-up table, two lines a problem: Chinese, then English.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![
            ["行 line", "项 field", "问题 what is wrong", "应为 what would be right"].map(str::to_owned),
        ];
        for problem in &self.found {
            let line = problem.line.map_or_else(|| "-".to_owned(), |line| line.to_string());
            rows.push([line, problem.path.clone(), problem.wrong.zh.clone(), problem.right.zh.clone()]);
            rows.push([String::new(), String::new(), problem.wrong.en.clone(), problem.right.en.clone()]);
        }
        let widths: [usize; 3] =
            std::array::from_fn(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0));
        for row in &rows {
            let mut line = String::new();
            for (cell, wide) in row.iter().zip(widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(wide - width(cell) + 2));
            }
            line.push_str(&row[3]);
            writeln!(f, "{}", line.trim_end())?;
        }
        if self.untold > 0 {
            writeln!(f, "另有 {0} 处 / and {0} more", self.untold)?;
        }
        Ok(())
    }
}

/// Columns on a terminal: Chinese characters and full-width forms take two.
fn width(text: &str) -> usize {
    let is_wide = |c: char| {
        matches!(
            u32::from(c),
            0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60
        )
    };
    text.chars().map(|c| 1 + usize::from(is_wide(c))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fares {
        cap: i64,
        prices: Vec<i64>,
    }

    impl Check for Fares {
        fn check(&self, problems: &mut Problems) {
            let right = || Text::new("正数", "a positive number");
            problems.require(
                self.cap > 0,
                "cap",
                Text::new("封顶价不是正数", "the cap is not positive"),
                right(),
            );
            for (at, price) in self.prices.iter().enumerate() {
                problems.within(&format!("prices[{at}]"), |problems| {
                    problems.require(*price > 0, "fen", Text::new("票价不是正数", "not positive"), right());
                });
            }
        }
    }

    #[test]
    fn all_problems_are_told_with_their_paths_in_a_lined_up_table() {
        let problems = Problems::of(&Fares { cap: 0, prices: vec![3, -1] });
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["cap", "prices[1].fen"]);
        let table = problems.to_string();
        let starts: Vec<usize> = table
            .lines()
            .zip(["应为", "正数", "a positive", "正数", "a positive"])
            .map(|(line, right)| width(&line[..line.rfind(right).unwrap_or_else(|| panic!("{table}"))]))
            .collect();
        assert_eq!(starts, [starts[0]; 5], "{table}");
    }

    #[test]
    fn options_that_are_right_have_no_problem() {
        assert!(Problems::of(&Fares { cap: 1, prices: vec![1] }).is_empty());
    }

    #[test]
    fn problems_are_bounded_and_the_rest_is_counted() {
        let problems = Problems::of(&Fares { cap: 1, prices: vec![0; CONFIG_PROBLEMS_MAX + 7] });
        assert_eq!(
            (problems.iter().count(), problems.count()),
            (CONFIG_PROBLEMS_MAX, CONFIG_PROBLEMS_MAX + 7)
        );
        assert!(problems.to_string().ends_with("and 7 more\n"));
    }
}
