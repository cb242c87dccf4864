//! A Rust file as `tidy` sees it: its functions, its texts, and which of it is for tests only.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A function, its signature and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From the line of its name to the one of its last brace.
    pub(crate) lines: usize,
    pub(crate) is_test: bool,
}

/// A string in the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) line: usize,
    pub(crate) is_test: bool,
    /// Whether it is the value of a constant.
    pub(crate) is_constant: bool,
}

/// A module that is in another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outer {
    /// Its name, after those of the modules around it in this file: `api/types`.
    pub(crate) name: String,
    pub(crate) is_test: bool,
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Whether it begins with `//!`.
    pub(crate) has_docs: bool,
    pub(crate) functions: Vec<Function>,
    pub(crate) texts: Vec<Text>,
    pub(crate) outer: Vec<Outer>,
    /// Marks of the kind `#[ignore]`, with their lines.
    pub(crate) marks: Vec<(String, usize)>,
    inside_test: bool,
    inside_constant: bool,
    inside_modules: Vec<String>,
}

impl Source {
    /// Reads a file.
    pub(crate) fn parse(text: &str) -> syn::Result<Self> {
        let file = syn::parse_file(text)?;
        let mut source = Self { has_docs: file.attrs.iter().any(is_doc), ..Self::default() };
        source.inside_test = file.attrs.iter().any(is_for_tests);
        source.visit_file(&file);
        Ok(source)
    }

    /// Visits what is inside something that may be for tests only.
    fn within(&mut self, attributes: &[syn::Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.inside_test;
        self.inside_test = before || attributes.iter().any(is_for_tests);
        visit(self);
        self.inside_test = before;
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.span().start().line;
        let lines = block.span().end().line.saturating_sub(line).saturating_add(1);
        let name = signature.ident.to_string();
        self.functions.push(Function { name, line, lines, is_test: self.inside_test });
    }

    fn text(&mut self, value: String, line: usize) {
        self.texts.push(Text { value, line, is_test: self.inside_test, is_constant: self.inside_constant });
    }

    /// The arguments of a macro are not syntax yet.
    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.text(text.value(), line);
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.within(&item.attrs, |source| {
            source.inside_modules.push(item.ident.to_string());
            if item.content.is_none() {
                let name = source.inside_modules.join("/");
                source.outer.push(Outer { name, is_test: source.inside_test });
            }
            visit::visit_item_mod(source, item);
            source.inside_modules.pop();
        });
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within(&item.attrs, |source| {
            source.function(&item.sig, &item.block);
            visit::visit_item_fn(source, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(&item.attrs, |source| {
            source.function(&item.sig, &item.block);
            visit::visit_impl_item_fn(source, item);
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.within(&item.attrs, |source| visit::visit_item_impl(source, item));
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.within(&item.attrs, |source| {
            source.inside_constant = true;
            visit::visit_item_const(source, item);
            source.inside_constant = false;
        });
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.within(&item.attrs, |source| visit::visit_item_static(source, item));
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.text(literal.value(), literal.span().start().line);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let name = item.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        self.marks.push((format!("{name}!"), item.span().start().line));
        self.tokens(item.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // Documentation is an attribute whose text is no text of the code.
        if let Some(name) = attribute.path().get_ident().filter(|name| *name != "doc") {
            self.marks.push((name.to_string(), attribute.span().start().line));
        }
    }
}

fn is_doc(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("doc")
}

/// `#[cfg(test)]`, `#[cfg(any(test, …))]`, `#[test]`, `#[tokio::test]`.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let path = attribute.path();
    if path.segments.last().is_some_and(|segment| segment.ident == "test") {
        return true;
    }
    let tokens = attribute.meta.require_list().map(|list| list.tokens.clone());
    path.is_ident("cfg") && tokens.is_ok_and(|tokens| has_word(tokens, "test"))
}

fn has_word(tokens: TokenStream, word: &str) -> bool {
    let mut negated = false;
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => {
            negated = ident == "not";
            ident == word
        }
        TokenTree::Group(group) => !negated && has_word(group.stream(), word),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = r#"//! About.
mod plain;
#[cfg(test)]
mod tests;

/// Not a text.
pub const NS: &str = "urn:a";

fn short() {
    write!(out, "in a macro {}", vec!["deep"]);
}

impl Thing {
    #[expect(dead_code, reason = "shown")]
    fn
    long() {
        let x = "urn:b";
    }
}

#[cfg(all(test, unix))]
mod inner {
    #[test]
    #[ignore]
    fn case() { let y = "urn:c"; }
}

#[cfg(not(test))]
mod outer { const Z: &str = "urn:d"; }

#[tokio::test]
async fn story() { let y = "urn:e"; }
"#;

    #[test]
    fn texts_are_found_with_their_lines_and_purpose() {
        let source = Source::parse(FILE).unwrap();
        assert!(source.has_docs);
        let texts: Vec<_> = source.texts.iter().map(|t| (t.value.as_str(), t.line, t.is_test)).collect();
        let constants: Vec<_> = source.texts.iter().filter(|t| t.is_constant).map(|t| t.line).collect();
        assert_eq!(constants, [7, 29]);
        let want = [
            ("urn:a", 7, false),
            ("in a macro {}", 10, false),
            ("deep", 10, false),
            ("urn:b", 17, false),
            ("urn:c", 25, true),
            ("urn:d", 29, false),
            ("urn:e", 32, true),
        ];
        assert_eq!(texts, want);
    }

    #[test]
    fn functions_are_measured() {
        let source = Source::parse(FILE).unwrap();
        let functions: Vec<_> =
            source.functions.iter().map(|f| (f.name.as_str(), f.line, f.lines, f.is_test)).collect();
        let want =
            [("short", 9, 3, false), ("long", 15, 4, false), ("case", 25, 1, true), ("story", 32, 1, true)];
        assert_eq!(functions, want);
    }

    #[test]
    fn modules_in_other_files_and_marks_are_found() {
        let source = Source::parse(FILE).unwrap();
        let outer: Vec<_> = source.outer.iter().map(|o| (o.name.as_str(), o.is_test)).collect();
        assert_eq!(outer, [("plain", false), ("tests", true)]);
        assert!(source.marks.contains(&("ignore".to_owned(), 24)));
        assert!(source.marks.contains(&("write!".to_owned(), 10)));
    }

    #[test]
    fn a_file_for_tests_says_so_itself() {
        let source = Source::parse("#![cfg(test)]\nconst A: &str = \"a\";").unwrap();
        assert!(!source.has_docs);
        assert!(source.texts.iter().all(|text| text.is_test));
        assert!(Source::parse("fn {").is_err());
    }
}
