//! `ARCHITECTURE.md` is a list of checked statements.
//!
//! Owns: what must be true of it: paths exist, crates are named, edges and dependencies are in its tables.
//! Must not know: how files are read.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::tree::{Package, Tree};

const FILE: &str = "ARCHITECTURE.md";
const NAMED: &str = "a document that names something gone misleads";
const COMPLETE: &str = "a reader finds each crate and each dependency there, with its reason";
const EDGES: &str = "dependencies run one way; a new edge is a decision, made in the table first";

/// All findings in the architecture document.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.files.get(FILE) else {
        return vec![Finding { file: FILE.to_owned(), line: 1, rule: "it is missing".to_owned(), why: COMPLETE }];
    };
    let mut findings = paths(tree, text);
    findings.extend(edges(tree, text));
    findings.extend(dependencies(tree, text));
    findings
}

fn finding(line: usize, rule: String, why: &'static str) -> Finding {
    Finding { file: FILE.to_owned(), line, rule, why }
}

/// Each word in backticks that looks like a path of the checkout must be one.
fn paths(tree: &Tree, text: &str) -> Vec<Finding> {
    let tops: BTreeSet<&str> = tree.files.keys().filter_map(|path| path.split_once('/')).map(|(top, _)| top).collect();
    let is_path = |word: &str| word.split_once('/').is_some_and(|(top, _)| tops.contains(top)) && !word.contains(' ');
    let exists = |word: &str| {
        let folder = format!("{}/", word.trim_end_matches('/'));
        tree.files.contains_key(word) || tree.files.keys().any(|path| path.starts_with(&folder))
    };
    let gone = |(line, word): (usize, &str)| {
        let rule = format!("`{word}` is not in the checkout");
        (is_path(word) && !exists(word)).then(|| finding(line, rule, NAMED))
    };
    quoted(text).into_iter().filter_map(gone).collect()
}

/// Words in backticks with their line.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    (1..)
        .zip(text.lines())
        .flat_map(|(line, text)| text.split('`').skip(1).step_by(2).map(move |word| (line, word)))
        .collect()
}

/// Rows of the table of crates: name, layer, and what it depends on.
fn edges(tree: &Tree, text: &str) -> Vec<Finding> {
    let table = rows(text, "crate");
    let mut findings = Vec::new();
    for (name, package) in tree.crates() {
        let Some((line, cells)) = table.get(name.as_str()) else {
            findings.push(finding(1, format!("crate `{name}` is not in the table of crates"), COMPLETE));
            continue;
        };
        let allowed: BTreeSet<&str> = cells.get(1).map(|cell| words(cell)).unwrap_or_default();
        let beyond = package.ours.iter().filter(|other| !allowed.contains(other.as_str()));
        findings.extend(beyond.map(|other| finding(*line, format!("`{name}` may not depend on `{other}`"), EDGES)));
    }
    let crates: BTreeSet<&str> = tree.crates().map(|(name, _)| name.as_str()).collect();
    let gone = table.iter().filter(|(name, _)| !crates.contains(*name));
    findings.extend(gone.map(|(name, (line, _))| finding(*line, format!("there is no crate `{name}`"), NAMED)));
    findings.extend(upward(&table));
    findings
}

/// An edge must lead to a lower layer, whatever the table says.
fn upward(table: &BTreeMap<&str, (usize, Vec<&str>)>) -> Vec<Finding> {
    let layer = |name: &str| table.get(name).and_then(|(_, cells)| cells.first()?.parse::<u32>().ok());
    let mut findings = Vec::new();
    for (name, (line, cells)) in table {
        for other in cells.get(1).map(|cell| words(cell)).unwrap_or_default() {
            if layer(other) >= layer(name) {
                findings.push(finding(*line, format!("`{name}` depends on `{other}`, which is no layer below"), EDGES));
            }
        }
    }
    findings
}

/// Every dependency of a shipped crate has its line, and every line its dependency.
fn dependencies(tree: &Tree, text: &str) -> Vec<Finding> {
    let table = rows(text, "dependency");
    let of = |(name, package): (&String, &Package)| -> Vec<(String, String)> {
        package.others.iter().map(|other| (other.clone(), name.clone())).collect()
    };
    let used: BTreeMap<String, String> = tree.packages.iter().flat_map(of).collect();
    let lacking = used.iter().filter(|(other, _)| !table.contains_key(other.as_str()));
    let mut findings: Vec<Finding> = lacking
        .map(|(other, user)| finding(1, format!("`{other}` (used by `{user}`) has no line in the table"), COMPLETE))
        .collect();
    let gone = table.iter().filter(|(name, _)| !used.contains_key(**name));
    findings.extend(gone.map(|(name, (line, _))| finding(*line, format!("nothing depends on `{name}`"), NAMED)));
    findings
}

/// The table whose first column has this title: rows by their first word in backticks, with line and further cells.
fn rows<'a>(text: &'a str, title: &str) -> BTreeMap<&'a str, (usize, Vec<&'a str>)> {
    let head = format!("| {title} |");
    let lines = (1..).zip(text.lines()).skip_while(|(_, line)| !line.starts_with(&head));
    let table = lines.take_while(|(_, line)| line.starts_with('|'));
    table.filter_map(|(number, line)| row(line).map(|(name, cells)| (name, (number, cells)))).collect()
}

fn row(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut cells = line.trim_matches('|').split('|').map(str::trim);
    let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
    Some((name, cells.collect()))
}

/// Names in a cell, separated by commas.
fn words(cell: &str) -> BTreeSet<&str> {
    cell.split(',').map(|word| word.trim().trim_matches('`')).filter(|word| !word.is_empty() && *word != "–").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
See `crates/model/src/lib.rs` and `crates/report`.

| crate | layer | depends on | owns |
|---|---|---|---|
| `model` | 0 | – | words |
| `report` | 1 | model | views |

| dependency | saves us |
|---|---|
| `serde_json` | escapes |
";

    fn tree(document: &str) -> Tree {
        let mut tree = Tree::default();
        let paths = ["crates/model/src/lib.rs", "crates/model/Cargo.toml", "crates/report/Cargo.toml"];
        tree.files.extend(paths.map(|path| (path.to_owned(), String::new())));
        tree.files.insert(FILE.to_owned(), document.to_owned());
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        tree.packages.insert("model".to_owned(), Package::default());
        tree.packages.insert("report".to_owned(), Package { ours: set("model"), others: set("serde_json") });
        tree
    }

    /// The good document, with one text replaced, gives this one rule.
    #[track_caller]
    fn check_change(from: &str, to: &str, wanted: &str) {
        assert!(GOOD.contains(from), "{from}");
        let found: Vec<String> =
            check(&tree(&GOOD.replacen(from, to, 1))).into_iter().map(|found| found.rule).collect();
        assert_eq!(found, [wanted], "{to}");
    }

    #[test]
    fn a_true_document_is_left_alone() {
        assert_eq!(check(&tree(GOOD)), []);
    }

    #[test]
    fn what_is_gone_or_missing_is_found() {
        check_change("model/src/lib.rs", "model/src/gone.rs", "`crates/model/src/gone.rs` is not in the checkout");
        check_change("| `serde_json` | escapes |\n", "", "`serde_json` (used by `report`) has no line in the table");
        check_change("escapes |\n", "escapes |\n| `gone` | much |\n", "nothing depends on `gone`");
        check_change("words |\n", "words |\n| `gone` | 0 | – | x |\n", "there is no crate `gone`");
        check_change("| `report` | 1 | model | views |\n", "", "crate `report` is not in the table of crates");
    }

    #[test]
    fn edges_are_in_the_table_and_lead_down() {
        check_change("| 1 | model |", "| 1 | – |", "`report` may not depend on `model`");
        check_change("| `model` | 0 |", "| `model` | 1 |", "`report` depends on `model`, which is no layer below");
    }

    #[test]
    fn a_missing_document_is_found() {
        assert_eq!(check(&Tree::default()).len(), 1);
    }
}
