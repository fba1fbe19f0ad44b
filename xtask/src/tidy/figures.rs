//! Figures of the code as a whole, and the red lines that they must not cross.
//!
//! Owns: how lines are counted. Must not know: any rule for a single file.

use std::fmt;

use super::Finding;
use super::scan::{self, functions};
use super::tree::Tree;

/// Counts over all Rust files of the crates.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Lines of code, comments and tests; empty lines count nowhere.
    product: usize,
    comments: usize,
    tests: usize,
    assertions: usize,
    /// Lengths of all functions of the product, sorted.
    functions: Vec<usize>,
    /// Lengths of all files of the product without their tests, sorted.
    files: Vec<usize>,
}

/// Counts the crates; tools and the suite are not the product.
pub(super) fn of(tree: &Tree) -> Figures {
    let mut figures = Figures::default();
    for (path, text) in tree.rust() {
        if path.starts_with("tests/") && !path.starts_with("tests/targets/") {
            figures.tests += lines(text);
        } else if path.starts_with("crates/") {
            figures.add(text, tree.is_test(path));
        }
    }
    figures.functions.sort_unstable();
    figures.files.sort_unstable();
    figures
}

fn lines(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty()).count()
}

impl Figures {
    fn add(&mut self, text: &str, is_test: bool) {
        let from = if is_test { 0 } else { scan::tests_from(text).map_or(usize::MAX, |line| line - 1) };
        let product: String = text.split_inclusive('\n').take(from).collect();
        let tests: String = text.split_inclusive('\n').skip(from).collect();
        let code = scan::code(&product);
        self.product += lines(&product);
        self.tests += lines(&tests);
        self.comments += product.lines().filter(|line| line.trim_start().starts_with("//")).count();
        self.assertions += code.matches("assert!").count() + code.matches("assert_eq!").count();
        self.functions.extend(functions(&code).iter().map(|function| function.length));
        self.files.extend((!product.is_empty()).then(|| product.lines().count()));
    }

    /// What must hold of the whole. The wished figures are stricter; see the style guide.
    pub(super) fn red_lines(&self) -> Vec<Finding> {
        let checks = [
            (percent(self.comments, self.product) < 15, "fewer than 15 % comments", "comments say why"),
            (percent(self.comments, self.product) > 35, "more than 35 % comments", "code says what"),
            (percent(self.tests, self.product) < 50, "fewer test lines than half of the product", "tests are data"),
            (self.assertions * 500 < self.product, "fewer than 2 assertions in 1,000 lines", "invariants are asserted"),
            (at(&self.functions, 90) > 40, "a tenth of the functions has more than 40 lines", "functions are short"),
        ];
        let found = |(_, rule, why): (bool, &str, &'static str)| Finding {
            file: "crates".to_owned(),
            line: 1,
            rule: format!("{rule}: {self}"),
            why,
        };
        let counted = checks.into_iter().filter(|(crossed, ..)| *crossed && self.product > 0);
        counted.map(found).collect()
    }
}

fn percent(part: usize, whole: usize) -> usize {
    100 * part / whole.max(1)
}

/// The value below which so many percent of a sorted list lie.
fn at(sorted: &[usize], percent: usize) -> usize {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} product lines, {} % comments", self.product, percent(self.comments, self.product))?;
        write!(f, ", {} % test lines", percent(self.tests, self.product))?;
        write!(f, ", {:.1} assertions in 1,000 lines", self.assertions as f64 * 1000.0 / self.product.max(1) as f64)?;
        let (functions, files) = (&self.functions, &self.files);
        write!(f, "; functions median {} p90 {} max {}", at(functions, 50), at(functions, 90), at(functions, 100))?;
        write!(f, "; files median {} p90 {} max {}", at(files, 50), at(files, 90), at(files, 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(text: &str) -> Figures {
        let mut tree = Tree::default();
        tree.files.insert("crates/a/src/lib.rs".to_owned(), text.to_owned());
        of(&tree)
    }

    #[track_caller]
    fn check(text: &str, wanted: &[&str]) {
        let found: Vec<String> = figures(text).red_lines().into_iter().map(|found| found.rule).collect();
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.starts_with(wanted), "{found}");
        }
    }

    #[test]
    fn red_lines_are_found() {
        let good = "// why\nfn a() {\n    assert!(b);\n}\n#[cfg(test)]\nmod tests {\n}\n";
        check(good, &[]);
        check(&good.replace("// why\n", ""), &["fewer than 15 % comments"]);
        check(&good.replace("// why\n", "// why\n// why\n// why\n"), &["more than 35 % comments"]);
        check(&good.replace("    assert!(b);\n", "b;\n"), &["fewer than 2 assertions"]);
        check(&good[..good.find("#[cfg").unwrap_or(0)], &["fewer test lines"]);
    }

    #[test]
    fn figures_are_shown() {
        let shown = figures("// why\nfn a() {\n    b;\n}\n").to_string();
        assert!(shown.starts_with("4 product lines, 25 % comments, 0 % test lines"), "{shown}");
        assert!(shown.contains("functions median 1 p90 1 max 1"), "{shown}");
    }
}
