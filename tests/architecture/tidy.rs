//! What a careful reader would remark on every file, said by a machine instead.

use std::{fs, io, path::Path, process::Command};

use crate::{imports::Finding, tree::Tree};

/// Beyond this a file is two files.
const LINES_MAX: usize = 600;

/// Words that say work is unfinished. Written in two halves, so that this file
/// does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("db", "g!"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
];

/// Places of one machine, which mean nothing on another.
const LOCAL_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// A text file of the repository.
pub struct TextFile {
    pub path: String,
    pub text: String,
}

/// Every text file that git tracks or would track.
pub fn tracked(top: &Path) -> io::Result<Vec<TextFile>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "-c", "-o", "--exclude-standard"])
        .current_dir(top)
        .output();
    let names: Vec<String> = match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split('\0').map(str::to_owned).collect()
        }
        // An unpacked archive has no git: then only the folders we know.
        _ => walk(top)?,
    };
    let mut files = Vec::new();
    for path in names.into_iter().filter(|name| !name.is_empty()) {
        let Ok(bytes) = fs::read(top.join(&path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(TextFile { path, text });
        }
    }
    Ok(files)
}

fn walk(top: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut folders: Vec<_> = ["src", "tests", "proto", "docs", "scripts", "config", "load-tests"]
        .map(|name| top.join(name))
        .to_vec();
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned());
            }
        }
    }
    Ok(names)
}

/// Long files, unfinished work, local paths, blanks at line ends.
pub fn check(files: &[TextFile]) -> Vec<Finding> {
    files.iter().flat_map(remarks).collect()
}

fn remarks(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |line, what: String| findings.push(Finding { file: file.path.clone(), line, what });
    let is_rust = file.path.ends_with(".rs");
    let is_source = !file.path.ends_with(".lock") && !file.path.ends_with(".csv");
    for (index, line) in file.text.lines().enumerate() {
        let at = index + 1;
        if line.ends_with([' ', '\t', '\r']) && is_source {
            report(at, "blanks at the end of the line".to_owned());
        }
        if is_source && let Some(word) = UNFINISHED.iter().find(|word| has_word(line, word)) {
            report(at, format!("`{word}`: finish it, or open an issue"));
        }
        if let Some(place) = LOCAL_PATHS.iter().find(|place| names_place(line, place)) {
            report(at, format!("`{place}` is a place of one machine"));
        }
    }
    let lines = file.text.lines().count();
    if is_rust && lines > LINES_MAX {
        report(lines, format!("{lines} lines; {LINES_MAX} at most"));
    }
    if is_source && !file.text.is_empty() && !file.text.ends_with('\n') {
        report(lines, "no newline at the end".to_owned());
    }
    findings
}

/// `word` as a word of its own, so that `todos` and a masked number pass.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let ends_open = word.ends_with('!');
        !before.is_some_and(part_of_word) && (ends_open || !after.is_some_and(part_of_word))
    })
}

/// `place` as the start of an absolute path, not in the middle of a relative one or a URL.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '/'))
    })
}

/// Every source opens with `//!` (not those that only tests compile: their names
/// say what they promise), and a room says more than a line once it has code.
pub fn heads(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.sources.iter().filter(|source| !tree.is_test(&source.module)) {
        let mut report = |what: &str| {
            findings.push(Finding { file: source.path.clone(), line: 1, what: what.to_owned() });
        };
        let head: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let said: usize = head.iter().map(|line| line.trim_start_matches("//!").trim().len()).sum();
        if head.is_empty() {
            report("does not open with a `//!` paragraph");
        } else if said < 20 {
            report("the `//!` head says too little");
        }
        if head.iter().any(|line| line.contains("under construction")) && !source.ast.items.is_empty() {
            report("has code, and its head still says that it is under construction");
        }
    }
    findings
}
