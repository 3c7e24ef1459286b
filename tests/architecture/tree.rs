//! The sources as a tree of modules: what each declares, imports and passes on.
//! Built from the disk for the real house and from strings for the self-test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use syn::{Attribute, Item, UseTree, visit::Visit};

/// Segments from the crate's root, for example `["store", "journal"]`.
pub type ModulePath = Vec<String>;

/// One file, parsed.
pub struct Source {
    /// From the top of the repository, for example `src/store/mod.rs`.
    pub path: String,
    pub module: ModulePath,
    pub ast: syn::File,
    pub text: String,
}

/// What one module makes reachable by name.
#[derive(Default)]
pub struct Names {
    /// Things that are defined here.
    pub items: BTreeSet<String>,
    /// `use`, `extern crate` and type aliases: name to the path as written. One
    /// name may stand for several (another one in each block).
    pub imports: BTreeMap<String, Vec<Vec<String>>>,
    /// Paths of `use …::*`.
    pub globs: Vec<Vec<String>>,
}

/// The crate.
#[derive(Default)]
pub struct Tree {
    pub sources: Vec<Source>,
    pub modules: BTreeMap<ModulePath, Names>,
    /// Modules that only tests compile.
    pub test_modules: BTreeSet<ModulePath>,
    /// `#[macro_export]` macros, which live at the root whoever declares them.
    pub exported_macros: BTreeMap<String, ModulePath>,
}

impl Tree {
    /// Reads every `.rs` below `src/` of the repository at `top`.
    pub fn read(top: &Path) -> io::Result<Tree> {
        let mut files = Vec::new();
        gather(top, &top.join("src"), &mut files)?;
        files.sort();
        Ok(Tree::from_sources(files.iter().map(|(path, text)| (path.as_str(), text.as_str()))))
    }

    /// Parses sources given as (path, text).
    ///
    /// # Panics
    ///
    /// When a text is not Rust: the compiler says more about that than we could.
    pub fn from_sources<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            let ast = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
            let module = module_of(path);
            tree.learn(&module, &ast.items, false);
            tree.sources.push(Source { path: path.to_owned(), module, ast, text: text.to_owned() });
        }
        tree
    }

    /// Whether only tests compile this module: it or one around it says so.
    pub fn is_test(&self, module: &[String]) -> bool {
        (0..=module.len()).any(|depth| self.test_modules.contains(&module[..depth]))
    }

    fn learn(&mut self, module: &[String], items: &[Item], in_test: bool) {
        if in_test {
            self.test_modules.insert(module.to_vec());
        }
        self.modules.entry(module.to_vec()).or_default();
        for item in items {
            match item {
                Item::Mod(inner) => {
                    let path = child(module, &inner.ident.to_string());
                    let in_test = is_test_only(&inner.attrs);
                    match &inner.content {
                        Some((_, items)) => self.learn(&path, items, in_test),
                        None if in_test => drop(self.test_modules.insert(path)),
                        None => {}
                    }
                }
                Item::Macro(one) if has_attribute(&one.attrs, "macro_export") => {
                    let name = one.ident.as_ref().map(ToString::to_string).unwrap_or_default();
                    self.exported_macros.insert(name, module.to_vec());
                }
                other => declare(self.modules.entry(module.to_vec()).or_default(), other),
            }
            let mut nested = Nested { names: Names::default() };
            nested.visit_item(item);
            let names = self.modules.entry(module.to_vec()).or_default();
            for (name, paths) in nested.names.imports {
                names.imports.entry(name).or_default().extend(paths);
            }
            names.globs.extend(nested.names.globs);
        }
    }
}

/// `use` declarations inside function bodies: taken as if they stood at the top of
/// the module, which can only find more.
struct Nested {
    names: Names,
}

impl<'ast> Visit<'ast> for Nested {
    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

    fn visit_block(&mut self, block: &'ast syn::Block) {
        for statement in &block.stmts {
            if let syn::Stmt::Item(item @ (Item::Use(_) | Item::ExternCrate(_))) = statement {
                declare(&mut self.names, item);
            }
        }
        syn::visit::visit_block(self, block);
    }
}

fn declare(names: &mut Names, item: &Item) {
    let defined = match item {
        Item::Const(one) => &one.ident,
        Item::Enum(one) => &one.ident,
        Item::Fn(one) => &one.sig.ident,
        Item::Static(one) => &one.ident,
        Item::Struct(one) => &one.ident,
        Item::Trait(one) => &one.ident,
        Item::TraitAlias(one) => &one.ident,
        Item::Union(one) => &one.ident,
        Item::Type(one) => {
            if let syn::Type::Path(target) = &*one.ty
                && target.qself.is_none()
            {
                let path = written(&target.path);
                names.imports.entry(one.ident.to_string()).or_default().push(path);
            }
            &one.ident
        }
        Item::Use(one) => {
            let root = if one.leading_colon.is_some() { vec![String::new()] } else { Vec::new() };
            flatten(&one.tree, root, &mut |path, name| match name {
                Some(name) => names.imports.entry(name).or_default().push(path),
                None => names.globs.push(path),
            });
            return;
        }
        Item::ExternCrate(one) => {
            let name = one.rename.as_ref().map_or(&one.ident, |(_, name)| name).to_string();
            let path = vec![String::new(), one.ident.to_string()];
            names.imports.entry(name).or_default().push(path);
            return;
        }
        _ => return,
    };
    names.items.insert(defined.to_string());
}

/// The path's segments; a leading `::` becomes an empty first segment.
pub fn written(path: &syn::Path) -> Vec<String> {
    let root = path.leading_colon.map(|_| String::new());
    root.into_iter().chain(path.segments.iter().map(|segment| segment.ident.to_string())).collect()
}

/// Calls `found` with every path of a use tree and the name it gets (`None` for `*`).
pub fn flatten(tree: &UseTree, mut prefix: Vec<String>, found: &mut impl FnMut(Vec<String>, Option<String>)) {
    match tree {
        UseTree::Path(step) => {
            prefix.push(step.ident.to_string());
            flatten(&step.tree, prefix, found);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix.clone(), found);
            }
        }
        UseTree::Glob(_) => found(prefix, None),
        UseTree::Name(name) => named(prefix, &name.ident, &name.ident, found),
        UseTree::Rename(renamed) => named(prefix, &renamed.ident, &renamed.rename, found),
    }
}

fn named(
    mut path: Vec<String>,
    ident: &syn::Ident,
    name: &syn::Ident,
    found: &mut impl FnMut(Vec<String>, Option<String>),
) {
    // `use a::b::{self}` names `b` itself.
    if ident == "self" && !path.is_empty() {
        let own = path.last().cloned().unwrap_or_default();
        found(path, Some(if name == "self" { own } else { name.to_string() }));
        return;
    }
    path.push(ident.to_string());
    found(path, Some(name.to_string()));
}

/// `#[cfg(test)]`, also inside `any` and `all`, and `#[test]`.
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let last = attribute.path().segments.last().map(|segment| segment.ident.to_string());
        match last.as_deref() {
            Some("test" | "bench") => true,
            Some("cfg") => attribute.meta.require_list().is_ok_and(|list| {
                let condition = list.tokens.to_string();
                !condition.contains("not")
                    && condition.split(|c: char| !c.is_alphanumeric()).any(|w| w == "test")
            }),
            _ => false,
        }
    })
}

pub fn has_attribute(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident(name))
}

pub fn child(module: &[String], name: &str) -> ModulePath {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

/// `src/store/mod.rs` is `store`, `src/lib.rs` the root; `src/main.rs` is a crate of
/// its own that we keep as the room `main`.
fn module_of(path: &str) -> ModulePath {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut segments: ModulePath = inner.split('/').map(str::to_owned).collect();
    if segments.last().is_some_and(|last| last == "mod") || segments == ["lib"] {
        segments.pop();
    }
    segments
}

fn gather(top: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(top, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.push((name, fs::read_to_string(&path)?));
        }
    }
    Ok(())
}
