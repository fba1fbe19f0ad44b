//! The rules that no compiler checks. Each finding says file, line, rule, and why the rule exists.
//!
//! Owns: the list of rules and how findings are printed. Must not know: cargo's other tasks.

mod code;
mod documents;
mod figures;
mod scan;
mod tree;

use std::fmt;
use std::path::Path;

use self::tree::Tree;

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    /// From 1.
    line: usize,
    rule: String,
    why: &'static str,
}

/// Checks the checkout; prints the figures, and returns the findings as text.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let tree = Tree::read(root)?;
    let findings = check(&tree);
    println!("{}", figures::of(&tree));
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Err(format!("{}\n{} findings", lines.join("\n"), lines.len()))
}

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        tree.rust().flat_map(|(path, text)| code::check(path, text, tree.is_test(path))).collect();
    findings.extend(documents::check(tree));
    findings.extend(figures::of(tree).red_lines());
    findings.sort();
    findings
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} ({})", self.file, self.line, self.rule, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tidy is an ordinary test, so that `cargo test` alone finds what it finds.
    #[test]
    fn the_checkout_is_tidy() {
        let tree = Tree::read(&crate::root()).expect("the checkout can be read");
        let findings: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn a_finding_reads_like_a_compiler_message() {
        let finding = Finding { file: "a.rs".into(), line: 3, rule: "no `x`".into(), why: "y" };
        assert_eq!(finding.to_string(), "a.rs:3: no `x` (y)");
    }
}
