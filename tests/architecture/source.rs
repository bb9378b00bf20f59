//! Reads a source file: the paths that it names outside its tests, what it imports and defines, and how long it is.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

pub(crate) type Module = Vec<String>;

pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) module: Module,
    pub(crate) lines_of_code: usize,
    pub(crate) found: Findings,
}

impl File {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let module: Module = path
            .trim_start_matches("src/")
            .trim_end_matches(".rs")
            .split('/')
            .filter(|name| !["lib", "mod"].contains(name))
            .map(str::to_owned)
            .collect();
        let mut found = Findings { module: module.clone(), ..Findings::default() };
        found.files_and_inline_modules.push(module.clone());
        found.visit_file(&syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}")));
        let mut lines = BTreeSet::new();
        lines_with_tokens(text.parse().expect("it parsed before"), &mut lines);
        lines.retain(|line| !found.test_lines.iter().any(|tests| tests.contains(line)));
        Self { path: path.to_owned(), module, lines_of_code: lines.len(), found }
    }
}

/// All lines that hold code; a comment is no token, and a doc comment is an attribute that is left out.
fn lines_with_tokens(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    let mut lines_of = |span: Span| lines.extend(span.start().line..=span.end().line);
    let mut groups = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                let inner = tokens.next_if(|next| matches!(next, TokenTree::Punct(bang) if bang.as_char() == '!'));
                let is_doc = |next: &TokenTree| {
                    matches!(next, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket
                        && group.stream().to_string().starts_with("doc ="))
                };
                if tokens.next_if(is_doc).is_none() {
                    lines_of(punct.span());
                    inner.into_iter().for_each(|bang| lines_of(bang.span()));
                }
            }
            TokenTree::Group(group) => {
                lines_of(group.span_open());
                lines_of(group.span_close());
                groups.push(group.stream());
            }
            token => lines_of(token.span()),
        }
    }
    for group in groups {
        lines_with_tokens(group, lines);
    }
}

/// What a file names, outside its tests.
#[derive(Default)]
pub(crate) struct Findings {
    /// The module that is being visited.
    module: Module,
    /// Every path, from imports, bodies and macros alike.
    pub(crate) paths: Vec<Named>,
    /// What `use` declarations bring into a module.
    pub(crate) bindings: Vec<Binding>,
    /// The items that are defined here, with their modules.
    pub(crate) items: Vec<Module>,
    /// The modules whose text is in this file.
    pub(crate) files_and_inline_modules: Vec<Module>,
    /// The modules declared here.
    pub(crate) modules: Vec<(usize, String)>,
    /// Modules of tests in files of their own.
    pub(crate) test_modules: Vec<Module>,
    /// The line of each static in a `thread_local!`.
    pub(crate) thread_locals: Vec<usize>,
    /// The line of each call of a function or method by the name `spawn`.
    pub(crate) spawns: Vec<usize>,
    test_lines: Vec<RangeInclusive<usize>>,
}

/// A path that is named in a file.
pub(crate) struct Named {
    pub(crate) line: usize,
    /// The module that names it.
    pub(crate) within: Module,
    /// With `self` and `super` resolved; others are as written.
    pub(crate) path: Module,
    pub(crate) by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// `use`, for the module alone.
    Import,
    /// `pub use`, `pub(crate) use` and the like.
    ReExport,
    /// Anything else.
    Code,
}

/// A name that a `use` declaration brings into a module: `*` for all names of the target.
pub(crate) struct Binding {
    pub(crate) within: Module,
    pub(crate) name: String,
    pub(crate) target: Module,
}

impl Findings {
    fn skip_tests(&mut self, attributes: &[syn::Attribute], span: Span) -> bool {
        let skip = attributes.iter().any(is_test_only);
        if skip {
            self.test_lines.push(span.start().line..=span.end().line);
        }
        skip
    }

    fn path(&mut self, span: Span, path: &[String], by: By) {
        // A lone `self` is a method's, and a lone `crate` is a visibility.
        if path.len() > 1 || !["self", "super", "crate"].contains(&path[0].as_str()) {
            let (line, within, path) = (span.start().line, self.module.clone(), self.absolute(path));
            self.paths.push(Named { line, within, path, by });
        }
    }

    /// The path with `self` and `super` resolved.
    fn absolute(&self, path: &[String]) -> Module {
        let mut absolute = Vec::new();
        let mut rest = path;
        if let Some("self" | "super") = path.first().map(String::as_str) {
            absolute.push("crate".to_owned());
            absolute.extend_from_slice(&self.module);
            while let Some((first, others)) =
                rest.split_first().filter(|(first, _)| ["self", "super"].contains(&first.as_str()))
            {
                if first == "super" {
                    absolute.pop();
                }
                rest = others;
            }
        }
        absolute.extend_from_slice(rest);
        absolute
    }

    fn use_tree(&mut self, prefix: &[String], tree: &syn::UseTree, by: By) {
        let with = |name: String| prefix.iter().cloned().chain([name]).collect::<Module>();
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&with(path.ident.to_string()), &path.tree, by),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.use_tree(prefix, tree, by)),
            syn::UseTree::Glob(star) => {
                self.bind("*", prefix);
                self.path(star.span(), &with("*".to_owned()), by);
            }
            syn::UseTree::Name(syn::UseName { ident, .. }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                let path =
                    if ident == "self" && !prefix.is_empty() { prefix.to_vec() } else { with(ident.to_string()) };
                let name = match tree {
                    syn::UseTree::Rename(rename) => rename.rename.to_string(),
                    _ => path.last().cloned().unwrap_or_default(),
                };
                self.bind(&name, &path);
                self.path(ident.span(), &path, by);
            }
        }
    }

    fn bind(&mut self, name: &str, target: &[String]) {
        let (within, target) = (self.module.clone(), self.absolute(target));
        self.bindings.push(Binding { within, name: name.to_owned(), target });
    }

    /// The paths in a macro's body, which is no syntax tree yet.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<proc_macro2::Ident> = Vec::new();
        let mut colons = 0;
        // The semicolon ends the last path.
        for token in tokens.into_iter().chain(";".parse::<TokenStream>().expect("a token")) {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) if colons == 2 && !path.is_empty() => path.push(ident),
                token => {
                    if let Some(first) = path.first() {
                        let names: Module = path.iter().map(ToString::to_string).collect();
                        self.path(first.span(), &names, By::Code);
                    }
                    path.clear();
                    match token {
                        TokenTree::Ident(ident) => path.push(ident),
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        _ => {}
                    }
                }
            }
            colons = 0;
        }
    }
}

impl<'ast> Visit<'ast> for Findings {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::Item;
        let attributes = match item {
            Item::Const(syn::ItemConst { attrs, .. })
            | Item::Enum(syn::ItemEnum { attrs, .. })
            | Item::Fn(syn::ItemFn { attrs, .. })
            | Item::Impl(syn::ItemImpl { attrs, .. })
            | Item::Macro(syn::ItemMacro { attrs, .. })
            | Item::Mod(syn::ItemMod { attrs, .. })
            | Item::Static(syn::ItemStatic { attrs, .. })
            | Item::Struct(syn::ItemStruct { attrs, .. })
            | Item::Trait(syn::ItemTrait { attrs, .. })
            | Item::Type(syn::ItemType { attrs, .. })
            | Item::Use(syn::ItemUse { attrs, .. }) => &attrs[..],
            _ => &[],
        };
        if !self.skip_tests(attributes, item.span()) {
            if let Some(name) = item_name(item) {
                self.items.push(self.module.iter().cloned().chain([name.to_string()]).collect());
            }
            visit::visit_item(self, item);
        } else if let Item::Mod(syn::ItemMod { ident, content: None, .. }) = item {
            self.test_modules.push(self.module.iter().cloned().chain([ident.to_string()]).collect());
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !self.skip_tests(&function.attrs, function.span()) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.modules.push((module.ident.span().start().line, module.ident.to_string()));
        self.module.push(module.ident.to_string());
        if module.content.is_some() {
            self.files_and_inline_modules.push(self.module.clone());
        }
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let by = if matches!(item.vis, syn::Visibility::Inherited) { By::Import } else { By::ReExport };
        self.use_tree(&[], &item.tree, by);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "spawn" {
            self.spawns.push(call.method.span().start().line);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Module = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.last().is_some_and(|name| name == "spawn") {
            self.spawns.push(path.span().start().line);
        }
        self.path(path.span(), &names, By::Code);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        if call.path.segments.last().is_some_and(|name| name.ident == "thread_local") {
            let statics = call.tokens.clone().into_iter().filter_map(|token| match token {
                TokenTree::Ident(ident) if ident == "static" => Some(ident.span().start().line),
                _ => None,
            });
            self.thread_locals.extend(statics);
        }
        self.tokens(call.tokens.clone());
    }
}

/// Whether what carries this attribute is compiled for tests alone.
fn is_test_only(attribute: &syn::Attribute) -> bool {
    fn implies_test(condition: &syn::Meta) -> bool {
        let all = |list: &syn::MetaList| {
            list.parse_args_with(Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated).unwrap_or_default()
        };
        match condition {
            syn::Meta::Path(path) => path.is_ident("test"),
            syn::Meta::List(list) if list.path.is_ident("all") => all(list).iter().any(implies_test),
            syn::Meta::List(list) if list.path.is_ident("any") => all(list).iter().all(implies_test),
            _ => false,
        }
    }
    attribute.path().is_ident("cfg") && attribute.parse_args().is_ok_and(|condition| implies_test(&condition))
}

fn item_name(item: &syn::Item) -> Option<&syn::Ident> {
    use syn::Item;
    match item {
        Item::Const(syn::ItemConst { ident, .. })
        | Item::Enum(syn::ItemEnum { ident, .. })
        | Item::Static(syn::ItemStatic { ident, .. })
        | Item::Struct(syn::ItemStruct { ident, .. })
        | Item::Trait(syn::ItemTrait { ident, .. })
        | Item::Type(syn::ItemType { ident, .. }) => Some(ident),
        Item::Fn(function) => Some(&function.sig.ident),
        Item::Macro(rules) => rules.ident.as_ref(),
        _ => None,
    }
}
