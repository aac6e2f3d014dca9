//! What a Rust file holds: its functions with their lines, and which lines are tests.

use std::ops::RangeInclusive;

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::File;

/// Folders and files that hold nothing but tests.
const TEST_PLACES: &[&str] = &["tests/", "crates/adit-testkit/", "bench/", "fuzz/"];

/// The functions of a file and the lines of its tests.
pub struct Source {
    pub functions: Vec<Function>,
    tests: Vec<RangeInclusive<usize>>,
}

/// A function with a body.
pub struct Function {
    pub name: String,
    /// From `fn` to the closing brace, both counted.
    pub lines: RangeInclusive<usize>,
}

impl Source {
    /// Reads a Rust file.
    ///
    /// # Errors
    /// The file is not Rust.
    pub fn parse(file: &File) -> Result<Self> {
        let syntax =
            syn::parse_file(&file.text).with_context(|| format!("reading {}", file.path))?;
        let mut source = Self { functions: Vec::new(), tests: Vec::new() };
        if is_test_file(&file.path) {
            source.tests.push(1..=usize::MAX);
        }
        source.visit_file(&syntax);
        Ok(source)
    }

    /// Tells whether a line belongs to a test.
    pub fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|lines| lines.contains(&line))
    }

    fn add(
        &mut self,
        signature: &syn::Signature,
        attributes: &[syn::Attribute],
        whole: &impl Spanned,
    ) {
        let lines = signature.span().start().line..=whole.span().end().line;
        if attributes.iter().any(marks_test) {
            self.tests.push(lines.clone());
        }
        self.functions.push(Function { name: signature.ident.to_string(), lines });
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.attrs, item);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.attrs, item);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add(&item.sig, &item.attrs, item);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.attrs.iter().any(marks_test) {
            self.tests.push(item.span().start().line..=item.span().end().line);
        }
        visit::visit_item_mod(self, item);
    }
}

/// Tells whether a file holds nothing but tests, by its place.
pub fn is_test_file(path: &str) -> bool {
    TEST_PLACES.iter().any(|place| path.starts_with(place))
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.ends_with("/tests.rs")
        || path.contains(".test.")
}

/// `#[test]`, `#[tokio::test]` and their like, and `#[cfg(test)]`.
fn marks_test(attribute: &syn::Attribute) -> bool {
    let is =
        |name: &str| attribute.path().segments.last().is_some_and(|segment| segment.ident == name);
    is("test")
        || (is("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|condition| condition.is_ident("test")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
/// Is documented.
pub fn one() {
    two();
}

impl A {
    fn two() {}
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn three() {}
}
";

    fn source(path: &str) -> Source {
        Source::parse(&File { path: path.to_owned(), text: TEXT.to_owned() }).expect("it is Rust")
    }

    #[test]
    fn a_function_is_counted_without_its_comment() {
        let source = source("crates/a/src/a.rs");
        let found: Vec<_> =
            source.functions.iter().map(|one| (one.name.as_str(), one.lines.clone())).collect();
        assert_eq!(found, [("one", 2..=4), ("two", 7..=7), ("three", 13..=13)]);
    }

    #[test]
    fn the_lines_of_a_test_module_are_tests_and_no_others() {
        let source = source("crates/a/src/a.rs");
        assert!(source.is_test(13));
        assert!(!source.is_test(3));
    }

    #[test]
    fn everything_in_the_folder_of_tests_is_a_test() {
        assert!(source("tests/session/resume.rs").is_test(3));
    }
}
