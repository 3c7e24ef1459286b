//! Tells the day line by line and keeps count of what did not hold.

use std::fmt::{Debug, Display};

/// A chapter's name in both languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Title {
    pub zh: &'static str,
    pub en: &'static str,
}

/// The story as far as it has been told.
#[derive(Debug, Default)]
pub(super) struct Story {
    chapters: usize,
    failed: usize,
    /// Checks of the chapter under way that did not hold.
    wrong: usize,
    checks: usize,
}

impl Story {
    pub(super) fn new() -> Self {
        Story::default()
    }

    /// Opens a chapter.
    pub(super) fn open(&mut self, title: Title) {
        self.chapters += 1;
        self.wrong = 0;
        println!("\n{}. {} · {}", self.chapters, title.zh, title.en);
    }

    /// Closes a chapter; one that could not be told to its end has failed.
    pub(super) fn close(&mut self, told: anyhow::Result<()>) {
        if let Err(error) = told {
            self.wrong += 1;
            println!("   ✗ 本章中断 the chapter broke off: {error:#}");
        }
        self.failed += usize::from(self.wrong > 0);
    }

    /// A line of the story that checks nothing.
    pub(super) fn tell(&self, zh: impl Display, en: impl Display) {
        println!("   {zh}");
        println!("   {en}");
    }

    /// A check: `found` must be `expected`.
    pub(super) fn equal<T: PartialEq<E> + Debug, E: Debug>(
        &mut self,
        what: impl Display,
        expected: E,
        found: T,
    ) {
        let holds = found == expected;
        self.judge(holds, &what);
        if !holds {
            println!("       expected {expected:?}");
            println!("       found    {found:?}");
        }
    }

    /// A check of something that cannot be said as equality; `found` is told when
    /// it does not hold.
    pub(super) fn holds(&mut self, what: impl Display, holds: bool, found: impl Debug) {
        self.judge(holds, &what);
        if !holds {
            println!("       found    {found:?}");
        }
    }

    fn judge(&mut self, holds: bool, what: &dyn Display) {
        self.checks += 1;
        self.wrong += usize::from(!holds);
        println!("   {} {what}", if holds { "✓" } else { "✗" });
    }

    /// Chapters that failed.
    pub(super) const fn failed(&self) -> usize {
        self.failed
    }

    /// The last line.
    pub(super) fn summary(&self) -> String {
        format!("\n{} checks\ntour: chapters={} failed={}", self.checks, self.chapters, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLE: Title = Title { zh: "章", en: "a chapter" };

    #[test]
    fn a_chapter_fails_by_a_wrong_check_or_by_breaking_off() {
        let mut story = Story::new();
        story.open(TITLE);
        story.equal("one is one", 1, 1);
        story.close(Ok(()));
        assert_eq!(story.failed(), 0);
        story.open(TITLE);
        story.equal("one is two", 2, 1);
        story.holds("nothing holds", false, "nothing");
        story.close(Ok(()));
        story.open(TITLE);
        story.close(Err(anyhow::anyhow!("the line is cut")));
        assert_eq!(story.summary(), "\n3 checks\ntour: chapters=3 failed=2");
    }
}
