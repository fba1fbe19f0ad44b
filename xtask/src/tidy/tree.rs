//! The files of the checkout, and what cargo knows of the packages.
//!
//! Owns: reading them. Must not know: any rule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::scan;

/// All that the rules look at.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Text files by their path in the checkout.
    pub(super) files: BTreeMap<String, String>,
    /// Packages of the workspace, by the name of their folder.
    pub(super) packages: BTreeMap<String, Package>,
}

/// What one package depends on, tests left aside.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Package {
    /// Folders of our own packages.
    pub(super) ours: BTreeSet<String>,
    /// Names of others' packages.
    pub(super) others: BTreeSet<String>,
}

impl Tree {
    /// Reads the checkout: files that git knows or would add, and `cargo metadata`.
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        let listed = output(root, "git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
        let read = |path: &str| std::fs::read_to_string(root.join(path)).ok().map(|text| (path.to_owned(), text));
        let files = listed.lines().filter_map(read).collect();
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let metadata = output(root, &cargo, &["metadata", "--format-version=1", "--no-deps"])?;
        let metadata = serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
        Ok(Self { files, packages: packages(&metadata) })
    }

    /// The Rust sources of the product, the tools and the suite; targets of the suite have their own language rules.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_source = |path: &str| Path::new(path).extension().is_some_and(|extension| extension == "rs");
        let files = self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(move |(path, _)| is_source(path) && !path.starts_with("tests/targets/"))
    }

    /// Files that hold nothing but tests, or serve tests only.
    pub(super) fn is_test(&self, path: &str) -> bool {
        path.starts_with("tests/")
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || self.is_test_module(path)
    }

    /// Whether the file that declares this module says `#[cfg(test)]` above it.
    fn is_test_module(&self, path: &str) -> bool {
        let module = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap_or(path);
        let Some((folder, name)) = module.rsplit_once('/') else { return false };
        let parents = [
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
            format!("{folder}/mod.rs"),
            format!("{folder}.rs"),
        ];
        let texts = parents.iter().filter_map(|parent| self.files.get(parent));
        texts.flat_map(|text| scan::test_files(text)).any(|test| test == name)
    }

    /// The names of the crates: folders under `crates/`.
    pub(super) fn crates(&self) -> impl Iterator<Item = (&String, &Package)> {
        self.packages.iter().filter(|(name, _)| self.files.contains_key(&format!("crates/{name}/Cargo.toml")))
    }
}

fn output(root: &Path, program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).current_dir(root).output();
    let output = output.map_err(|error| format!("{program} cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{program}: {error}"))
}

fn packages(metadata: &Value) -> BTreeMap<String, Package> {
    let list = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|package| (folder(package["manifest_path"].as_str().unwrap_or("")), dependencies(package)))
        .collect()
}

/// The folder that a manifest lies in: our packages are called by it.
fn folder(manifest: &str) -> String {
    let folder = Path::new(manifest).parent().and_then(Path::file_name);
    folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn dependencies(package: &Value) -> Package {
    let mut found = Package::default();
    let list = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    for dependency in list.iter().filter(|dependency| dependency["kind"] != "dev") {
        match dependency["path"].as_str() {
            Some(path) => found.ours.insert(folder(&format!("{path}/Cargo.toml"))),
            None => found.others.insert(dependency["name"].as_str().unwrap_or_default().to_owned()),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_for_tests_are_tests() {
        let mut tree = Tree::default();
        tree.files.insert("crates/a/src/lib.rs".to_owned(), "#[cfg(test)]\nmod builder;\nmod product;\n".to_owned());
        tree.files.insert("crates/a/src/b.rs".to_owned(), "#[cfg(test)]\nmod builder;\n".to_owned());
        let tests =
            ["crates/a/src/builder.rs", "crates/a/src/b/builder/mod.rs", "crates/a/tests/x.rs", "tests/suite.rs"];
        assert!(tests.iter().all(|path| tree.is_test(path)));
        assert!(!["crates/a/src/product.rs", "crates/a/src/c/builder.rs"].iter().any(|path| tree.is_test(path)));
    }

    #[test]
    fn packages_are_called_by_their_folder_and_tests_left_aside() {
        let metadata = serde_json::json!({ "packages": [{
            "manifest_path": "/x/crates/report/Cargo.toml",
            "dependencies": [
                { "name": "leakline-model", "path": "/x/crates/model", "kind": null },
                { "name": "serde_json", "kind": null },
                { "name": "cc", "kind": "build" },
                { "name": "insta", "kind": "dev" },
            ],
        }]});
        let found = packages(&metadata);
        let report = &found["report"];
        assert_eq!(report.ours, BTreeSet::from(["model".to_owned()]));
        assert_eq!(report.others, BTreeSet::from(["cc".to_owned(), "serde_json".to_owned()]));
    }
}
