//! AAC003: the holder's name, and when two spellings of it are the same.

use std::{fmt, str::FromStr};

use zeroize::Zeroize;

use crate::model::BadId;

/// A name of 1 to 50 characters without control characters. `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HolderName(String);

impl HolderName {
    /// As it was written, without white space around it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether both are the same name, however a terminal wrote it: full-width
    /// letters and spaces, the several middle dots of transcribed names, capitals
    /// and runs of spaces do not tell names apart. Spaces that a form puts between
    /// the characters of a Chinese name do not either; spaces between Latin words
    /// do.
    pub fn matches(&self, other: &HolderName) -> bool {
        folded(&self.0).eq(folded(&other.0))
    }
}

impl FromStr for HolderName {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let name = text.trim();
        let fits = !name.is_empty() && name.chars().take(51).count() <= 50 && !name.chars().any(is_hidden);
        if fits {
            Ok(HolderName(name.to_owned()))
        } else {
            Err(BadId { what: "name", expected: "1 to 50 characters without control characters" })
        }
    }
}

impl Drop for HolderName {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for HolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Control characters, and those that turn or hide text on a clerk's screen.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn folded(name: &str) -> impl Iterator<Item = char> {
    let mut previous = None;
    let mut rest = name.chars().map(fold).peekable();
    std::iter::from_fn(move || {
        loop {
            let c = rest.next()?;
            let keep = c != ' ' || {
                let between = |side: Option<char>| side.is_some_and(|side| side.is_ascii_alphanumeric());
                between(previous) && between(rest.clone().find(|c| *c != ' ')) && rest.peek() != Some(&' ')
            };
            if c != ' ' {
                previous = Some(c);
            }
            if keep {
                return Some(c);
            }
        }
    })
}

/// One character without the differences that do not matter.
fn fold(c: char) -> char {
    match c {
        '•' | '・' | '･' | '‧' | '∙' | '⋅' | '●' => '·',
        // Full-width ASCII stands 0xfee0 above its plain form.
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(c as u32 - 0xfee0).map_or(c, |plain| plain.to_ascii_lowercase())
        }
        c if c.is_whitespace() => ' ',
        c => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> HolderName {
        text.parse().expect(text)
    }

    #[track_caller]
    fn check(one: &str, other: &str, same: bool) {
        assert_eq!(name(one).matches(&name(other)), same, "{one} / {other}");
        assert_eq!(name(other).matches(&name(one)), same, "{other} / {one}");
    }

    #[test]
    fn a_name_is_the_same_however_a_terminal_writes_it() {
        check("李明", "李　明", true);
        check("李明", " 李 明　", true);
        check("阿卜杜拉·买买提", "阿卜杜拉•买买提", true);
        check("阿卜杜拉·买买提", "阿卜杜拉・买买提", true);
        check("阿卜杜拉·买买提", "阿卜杜拉 · 买买提", true);
        check("JOHN SMITH", "Ｊｏｈｎ　 Smith", true);
        check("JOHN SMITH", "JOHNSMITH", false);
        check("李明", "李鸣", false);
        check("阿卜杜拉·买买提", "阿卜杜拉买买提", false);
        check("李明", "李明明", false);
    }

    #[test]
    fn what_is_no_name_is_refused_and_a_name_is_never_shown() {
        let (full, long) = ("李".repeat(50), "李".repeat(51));
        assert!(full.parse::<HolderName>().is_ok());
        for text in ["", " ", "　", long.as_str(), "李\u{0}明", "李\n明", "李\u{202e}明"] {
            assert!(text.parse::<HolderName>().is_err(), "{text:?}");
        }
        assert_eq!(format!("{:?}", name("李明")), "***");
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_nothing_panics(one in "\\PC{0,20}", other in "\\PC{0,20}") {
            if let (Ok(one), Ok(other)) = (one.parse::<HolderName>(), other.parse::<HolderName>()) {
                prop_assert!(one.matches(&one));
                prop_assert_eq!(one.matches(&other), other.matches(&one));
            }
        }
    }
}
