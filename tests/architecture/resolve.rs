//! Follows a path as it is written to where it ends: through aliases, groups,
//! globs and re-exports, into modules of the crate or out to a library.

use std::collections::BTreeSet;

use crate::tree::{ModulePath, Tree, child};

/// Longer paths only come from aliases that name each other, which no compiler takes.
const SEGMENTS_MAX: usize = 32;

/// Everything a path leads through.
#[derive(Default, Debug)]
pub struct Reached {
    /// Modules of the crate that define, pass on or contain what is named.
    pub modules: BTreeSet<ModulePath>,
    /// Those of them that the path names as a module, for `use path::*`.
    ends: BTreeSet<ModulePath>,
    /// Paths into libraries, from the library's root.
    pub libraries: BTreeSet<Vec<String>>,
}

/// Follows `path` as written in `module`.
pub fn resolve(tree: &Tree, module: &[String], path: &[String]) -> Reached {
    let mut walk = Walk { tree, seen: BTreeSet::new(), reached: Reached::default() };
    walk.from(module, path);
    walk.reached
}

struct Walk<'a> {
    tree: &'a Tree,
    /// Guards against globs that name each other.
    seen: BTreeSet<(ModulePath, Vec<String>)>,
    reached: Reached,
}

impl Walk<'_> {
    /// Finds the first segment, seen from `module`; true when it was found in the crate.
    fn from(&mut self, module: &[String], path: &[String]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        match first.as_str() {
            "crate" | "$crate" => self.down(root_of(module), rest),
            "onecard" => self.down(&[], rest),
            "" if rest.first().is_some_and(|name| name == "onecard") => self.down(&[], &rest[1..]),
            "" => self.library(rest),
            "self" => self.down(module, rest),
            "super" => {
                // What a super that leaves the crate means, the compiler refuses.
                let parent = &module[..module.len().saturating_sub(1)];
                match rest.first().map(String::as_str) {
                    Some("super") => self.from(parent, rest),
                    _ => self.down(parent, rest),
                }
            }
            "Self" => false,
            _ => self.named_here(module, path) || self.library(path),
        }
    }

    /// A plain name: in this module, or from the outside.
    fn named_here(&mut self, module: &[String], path: &[String]) -> bool {
        if path.len() > SEGMENTS_MAX || !self.seen.insert((module.to_vec(), path.to_vec())) {
            return false;
        }
        let (name, rest) = (&path[0], &path[1..]);
        let inner = child(module, name);
        let mut found = false;
        if self.tree.modules.contains_key(&inner) {
            found |= self.down(&inner, rest);
        }
        let Some(names) = self.tree.modules.get(module) else { return found };
        if names.items.contains(name) {
            self.reached.modules.insert(module.to_vec());
            found = true;
        }
        for target in names.imports.get(name).into_iter().flatten() {
            // `use tonic;` names itself, and in `use time::time` the first is the library.
            if target.first() == Some(name) {
                let whole: Vec<String> = target.iter().chain(rest).cloned().collect();
                found |= self.tree.modules.contains_key(&inner) || self.library(&whole);
                continue;
            }
            let whole: Vec<String> = target.iter().chain(rest).cloned().collect();
            self.from(module, &whole);
            found = true;
        }
        if found {
            return true;
        }
        names.globs.iter().any(|glob| self.through_glob(module, glob, path))
    }

    /// `use glob::*`: the name may come from there.
    fn through_glob(&mut self, module: &[String], glob: &[String], path: &[String]) -> bool {
        // A glob is not sought through itself.
        if !self.seen.insert((module.to_vec(), child(glob, "*"))) {
            return false;
        }
        let mut walk = Walk { tree: self.tree, seen: self.seen.clone(), reached: Reached::default() };
        walk.from(module, glob);
        let targets = walk.reached.ends;
        targets.iter().filter(|target| *target != module).any(|target| self.named_here(target, path))
    }

    /// From a module downwards along the segments.
    fn down(&mut self, module: &[String], path: &[String]) -> bool {
        self.reached.modules.insert(module.to_vec());
        let Some((name, rest)) = path.split_first() else {
            self.reached.ends.insert(module.to_vec());
            return true;
        };
        if name == "self" || name == "super" {
            return self.from(module, path);
        }
        if module.is_empty()
            && let Some(home) = self.tree.exported_macros.get(name)
        {
            self.reached.modules.insert(home.clone());
            return true;
        }
        let inner = child(module, name);
        if self.tree.modules.contains_key(&inner) {
            return self.down(&inner, rest);
        }
        let found = self.named_here(module, path);
        if !found && module.is_empty() {
            // A room that no source of ours declares is judged by its name.
            self.reached.modules.insert(inner);
        }
        // Unknown names come from a macro or from generated code: they belong to
        // the module they are sought in, which stands in `reached` already.
        true
    }

    fn library(&mut self, path: &[String]) -> bool {
        if !path.is_empty() {
            self.reached.libraries.insert(path.to_vec());
        }
        false
    }
}

fn root_of(module: &[String]) -> &[String] {
    if module.first().is_some_and(|room| room == "main") { &module[..1] } else { &[] }
}
