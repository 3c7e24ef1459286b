//! Holds every path of the sources against the plan of the house.

use std::{collections::BTreeSet, fmt};

use crate::{
    floors::{self, InTests, LIBRARIES},
    paths::{self, Written},
    resolve::{Reached, resolve},
    tree::Tree,
};

/// Something that must not be, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub file: String,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Everything that is wrong in the tree, in the order of files and lines.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = BTreeSet::new();
    for source in &tree.sources {
        let in_test = tree.is_test(&source.module);
        let (paths, unwrapped) = paths::collect(&source.ast, &source.module, in_test);
        let mut report = |line, what| {
            findings.insert(Finding { file: source.path.clone(), line, what });
        };
        for path in &paths {
            let in_test = path.in_test || tree.is_test(&path.module);
            for what in wrong_with(tree, path, in_test) {
                report(path.line, what);
            }
        }
        for panic in unwrapped {
            report(panic.line, format!("`{}` outside tests: say why it cannot fail", panic.call));
        }
    }
    findings.extend(root_items(tree));
    findings.into_iter().collect()
}

fn wrong_with(tree: &Tree, written: &Written, in_test: bool) -> Vec<String> {
    let from = room(&written.module);
    let Reached { modules, libraries, .. } = resolve(tree, &written.module, &written.path);
    let shown = written.path.join("::");
    let mut wrong = Vec::new();
    for module in modules.iter().filter(|module| !module.is_empty()) {
        let to = room(module);
        if let Some(objection) = floors::objection(from, to) {
            wrong.push(format!("{from} -> {to} {objection} (`{shown}`)"));
        }
        if is_foreign_wire(&written.module, module) {
            wrong.push(format!("`{}` never leaves its adapter (`{shown}`)", module.join("::")));
        }
    }
    for library in libraries {
        for rule in LIBRARIES.iter().filter(|rule| rule.covers(&library)) {
            let holds = !in_test || rule.in_tests == InTests::Holds;
            if from != "lib" && holds && !rule.may_be_named_in(from) {
                wrong.push(format!("{from} names `{}`: {} (`{shown}`)", library.join("::"), rule.why));
            }
        }
    }
    wrong
}

/// Wire types of an adapter: `adapters::<name>::wire` and what is inside.
fn is_foreign_wire(from: &[String], to: &[String]) -> bool {
    let is_wire = to.len() >= 3 && to[0] == "adapters" && to[2] == "wire";
    is_wire && !from.starts_with(&to[..2])
}

/// The root belongs to no floor, so nothing may be defined there.
fn root_items(tree: &Tree) -> impl Iterator<Item = Finding> {
    let root = tree.modules.get([].as_slice()).into_iter();
    let names = root.flat_map(|names| names.items.iter().chain(names.imports.keys()));
    names.map(|name| Finding {
        file: "src/lib.rs".to_owned(),
        line: 1,
        what: format!("`{name}`: the root declares rooms and nothing else"),
    })
}

fn room(module: &[String]) -> &str {
    module.first().map_or("lib", String::as_str)
}
