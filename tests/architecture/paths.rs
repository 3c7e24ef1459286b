//! Collects every path that a file writes: in `use` trees, types, expressions,
//! patterns, attributes, and in the tokens of macro calls, which nobody has parsed.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::{Attribute, visit::Visit};

use crate::tree::{ModulePath, child, flatten, is_test_only, written};

/// A path as it stands in the source.
#[derive(Debug)]
pub struct Written {
    pub module: ModulePath,
    pub path: Vec<String>,
    pub line: usize,
    /// Stands in code that only tests compile.
    pub in_test: bool,
}

/// All paths of a file, and every `.unwrap()` and `.expect("")`.
pub fn collect(file: &syn::File, module: &[String], in_test: bool) -> (Vec<Written>, Vec<Unwrapped>) {
    let mut collector =
        Collector { module: module.to_vec(), in_test, written: Vec::new(), unwrapped: Vec::new() };
    collector.visit_file(file);
    (collector.written, collector.unwrapped)
}

/// A panic without a reason.
#[derive(Debug)]
pub struct Unwrapped {
    pub line: usize,
    pub call: &'static str,
}

struct Collector {
    module: ModulePath,
    in_test: bool,
    written: Vec<Written>,
    unwrapped: Vec<Unwrapped>,
}

impl Collector {
    fn push(&mut self, path: Vec<String>, line: usize) {
        self.written.push(Written { module: self.module.clone(), path, line, in_test: self.in_test });
    }

    fn tokens(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        self.bare_panics(&tokens);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => {
                    self.tokens(group.stream());
                    at += 1;
                }
                TokenTree::Ident(ident) if !is_member(&tokens, at) || ident == "crate" => {
                    let root = if at >= 2 && is_path_separator(&tokens, at - 2) {
                        vec![String::new()]
                    } else {
                        vec![]
                    };
                    at = self.token_path(&tokens, at, root);
                }
                _ => at += 1,
            }
        }
    }

    /// Reads `a::b::{c, d::e}` from `at` on; answers where it ends.
    fn token_path(&mut self, tokens: &[TokenTree], mut at: usize, mut path: Vec<String>) -> usize {
        let line = tokens[at].span().start().line;
        while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
            path.push(ident.to_string());
            at += 1;
            if !is_path_separator(tokens, at) {
                break;
            }
            at += 2;
            if let Some(TokenTree::Group(group)) = tokens.get(at)
                && group.delimiter() == Delimiter::Brace
            {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in
                    inner.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','))
                {
                    if !part.is_empty() {
                        self.token_path(part, 0, path.clone());
                    }
                }
                return at + 1;
            }
        }
        // A single word is a field, a local name or was checked at its `use`.
        if path.len() > 1 {
            self.push(path, line);
        }
        at
    }

    /// `.unwrap()` and `.expect("")` among the tokens of a macro call.
    fn bare_panics(&mut self, tokens: &[TokenTree]) {
        if self.in_test {
            return;
        }
        for window in tokens.windows(3) {
            let [TokenTree::Punct(dot), TokenTree::Ident(method), TokenTree::Group(arguments)] = window
            else {
                continue;
            };
            if dot.as_char() != '.' || arguments.delimiter() != Delimiter::Parenthesis {
                continue;
            }
            let arguments = arguments.stream().to_string();
            let line = method.span().start().line;
            if method == "unwrap" && arguments.is_empty() {
                self.unwrapped.push(Unwrapped { line, call: "unwrap()" });
            } else if method == "expect" && arguments == "\"\"" {
                self.unwrapped.push(Unwrapped { line, call: "expect(\"\")" });
            }
        }
    }

    /// Runs `visit` with the test mark set when the attributes say so.
    fn within(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.in_test;
        self.in_test |= is_test_only(attributes);
        visit(self);
        self.in_test = before;
    }
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    matches!(
        (tokens.get(at), tokens.get(at + 1)),
        (Some(TokenTree::Punct(first)), Some(TokenTree::Punct(second)))
            if first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':'
    )
}

/// A field or method (`.name`, but not the end of a range) or a macro's variable.
fn is_member(tokens: &[TokenTree], at: usize) -> bool {
    let mark = |back: usize| match at.checked_sub(back).map(|at| &tokens[at]) {
        Some(TokenTree::Punct(mark)) => Some(mark.as_char()),
        _ => None,
    };
    mark(1) == Some('$') || (mark(1) == Some('.') && mark(2) != Some('.'))
}

/// `crate::a::b` in a string, as serde and others take it.
fn as_path(text: &str) -> Option<Vec<String>> {
    let segments: Vec<String> = text.split("::").map(str::to_owned).collect();
    let is_name =
        |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (segments.len() > 1 && segments.iter().all(is_name)).then_some(segments)
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = attributes_of(item);
        self.within(attributes, |this| syn::visit::visit_item(this, item));
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let inner = child(&self.module, &item.ident.to_string());
        let outer = std::mem::replace(&mut self.module, inner);
        syn::visit::visit_item_mod(self, item);
        self.module = outer;
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        match item {
            syn::ImplItem::Fn(one) => self.within(&one.attrs, |this| syn::visit::visit_impl_item(this, item)),
            _ => syn::visit::visit_impl_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let line = item.use_token.span.start().line;
        let root = if item.leading_colon.is_some() { vec![String::new()] } else { Vec::new() };
        let mut lines = NameLines::default();
        lines.visit_use_tree(&item.tree);
        let mut lines = lines.0.into_iter();
        flatten(&item.tree, root, &mut |path, _| self.push(path, lines.next().unwrap_or(line)));
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.push(vec![String::new(), item.ident.to_string()], item.ident.span().start().line);
    }

    // `pub(in path)` names a module above by its nature.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
        self.push(written(path), line);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        self.visit_path(attribute.path());
        let tokens = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.clone(),
            syn::Meta::Path(_) | syn::Meta::NameValue(_) => TokenStream::new(),
        };
        for token in tokens.clone() {
            let line = token.span().start().line;
            if let TokenTree::Literal(literal) = token
                && let Some(path) = as_path(literal.to_string().trim_matches('"'))
            {
                self.push(path, line);
            }
        }
        self.tokens(tokens);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let line = call.method.span().start().line;
        if !self.in_test && call.method == "unwrap" && call.args.is_empty() {
            self.unwrapped.push(Unwrapped { line, call: "unwrap()" });
        }
        if !self.in_test && call.method == "expect" && call.args.first().is_some_and(is_empty_text) {
            self.unwrapped.push(Unwrapped { line, call: "expect(\"\")" });
        }
        syn::visit::visit_expr_method_call(self, call);
    }
}

/// The lines of the leaves of a use tree, in the order of `flatten`.
#[derive(Default)]
struct NameLines(Vec<usize>);

impl<'ast> Visit<'ast> for NameLines {
    fn visit_use_name(&mut self, name: &'ast syn::UseName) {
        self.0.push(name.ident.span().start().line);
    }

    fn visit_use_rename(&mut self, name: &'ast syn::UseRename) {
        self.0.push(name.ident.span().start().line);
    }

    fn visit_use_glob(&mut self, glob: &'ast syn::UseGlob) {
        self.0.push(glob.star_token.spans[0].start().line);
    }
}

fn is_empty_text(argument: &syn::Expr) -> bool {
    matches!(argument, syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) if text.value().is_empty())
}

fn attributes_of(item: &syn::Item) -> &[Attribute] {
    use syn::Item;
    match item {
        Item::Const(one) => &one.attrs,
        Item::Enum(one) => &one.attrs,
        Item::Fn(one) => &one.attrs,
        Item::Impl(one) => &one.attrs,
        Item::Macro(one) => &one.attrs,
        Item::Mod(one) => &one.attrs,
        Item::Static(one) => &one.attrs,
        Item::Struct(one) => &one.attrs,
        Item::Trait(one) => &one.attrs,
        Item::Type(one) => &one.attrs,
        Item::Use(one) => &one.attrs,
        _ => &[],
    }
}
