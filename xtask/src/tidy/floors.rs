//! The floors of the house: which crate may import which, and the table of it in ARCHITECTURE.md.
//!
//! The manifest of each crate states its place, in one line of `[package]`:
//! `metadata.house = { floor = 2, candle = false, must-not-know = "tensors, methods" }`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use super::finding::Finding;

/// Prefix of the crates of the machine-learning framework.
const TENSORS: &str = "candle-";
/// The document that holds the table, and the lines around it.
const DOCUMENT: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- The table is written by `cargo xtask tidy --write`. -->\n";
const END: &str = "<!-- The end of the table. -->\n";

/// The facts of a workspace crate that the rules need.
#[derive(Default)]
struct Member {
    name: String,
    manifest_path: String,
    manifest: String,
    /// Names of direct dependencies; `true` for dev-dependencies.
    dependencies: Vec<(String, bool)>,
    has_binary: bool,
    /// A crate imports crates of lower floors only. `None` where the manifest states none.
    floor: Option<u64>,
    /// `candle = false`: the crate must build and test without the framework.
    forbids_candle: bool,
    /// `dev-only = true`: a dev-dependency of any crate that the crate does not itself import.
    is_dev_only: bool,
    must_not_know: String,
}

/// Package names to the names of what they depend on, dev-dependencies left out.
type Graph = HashMap<String, Vec<String>>;

/// The workspace as its manifests describe it.
pub(super) struct House {
    members: Vec<Member>,
    graph: Graph,
}

impl House {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            // Without a platform cargo would fetch the packages of all of them.
            .other_options(["--filter-platform".to_owned(), host()?])
            .exec()
            .context("cargo metadata failed")?;
        Ok(Self { members: members(&metadata)?, graph: graph(&metadata) })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// Checks the imports of every crate, and that the lints of the workspace are inherited.
    pub(super) fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for member in &self.members {
            let mut report = |line, message: String| {
                findings.push(Finding::error(&member.manifest_path, line, message));
            };
            if member.floor.is_none() {
                report(1, "`[package]` needs a line `metadata.house = { floor = .. }`".to_owned());
            }
            if !inherits_lints(&member.manifest) {
                report(1, "`[lints] workspace = true` is missing".to_owned());
            }
            for (dependency, dev) in &member.dependencies {
                if let Some(message) = self.forbids(member, dependency, *dev) {
                    report(member.line_of(dependency), message);
                }
            }
            if member.forbids_candle
                && let Some(chain) = chain_to(&self.graph, &member.name, TENSORS)
            {
                let line = chain.get(1).map_or(1, |first| member.line_of(first));
                report(line, format!("must not need candle: {}", chain.join(" -> ")));
            }
        }
        findings
    }

    /// The reason why `member` may not depend on `dependency`.
    fn forbids(&self, member: &Member, dependency: &str, dev: bool) -> Option<String> {
        let name = &member.name;
        if dependency == "anyhow" && !dev && !member.has_binary {
            return Some(format!("`{name}` is a library: give it an error type instead of `anyhow`"));
        }
        let imported = self.members.iter().find(|other| other.name == dependency)?;
        let is_lower = imported.floor < member.floor;
        if imported.is_dev_only {
            let is_imported_by_it = imported.dependencies.iter().any(|(other, _)| other == name);
            let message = "is a dev-dependency only, and not of a crate that it imports";
            return (!dev || is_imported_by_it).then(|| format!("`{dependency}` {message}"));
        }
        (!is_lower).then(|| format!("`{name}` may not import `{dependency}`, which is on no lower floor"))
    }

    /// The table of the imports in Markdown, the highest floor first.
    fn table(&self) -> String {
        let mut table =
            "| floor | crate | imports | candle | must not know |\n| --- | --- | --- | --- | --- |\n"
                .to_owned();
        let mut members: Vec<&Member> = self.members.iter().collect();
        members.sort_by_key(|member| (std::cmp::Reverse(member.floor), &member.name));
        for member in members {
            let mut imports: Vec<&str> =
                member.dependencies.iter().filter(|(_, dev)| !dev).map(|(name, _)| name.as_str()).collect();
            imports.retain(|import| self.names().any(|name| name == *import));
            imports.sort_unstable();
            let imports =
                imports.iter().map(|name| name.trim_start_matches("fmam-")).collect::<Vec<_>>().join(", ");
            let floor = member.floor.filter(|floor| *floor > 0 && !member.is_dev_only);
            let floor = floor.map_or_else(|| "aside".to_owned(), |floor| floor.to_string());
            let candle = if chain_to(&self.graph, &member.name, TENSORS).is_some() { "yes" } else { "no" };
            let Member { name, must_not_know, .. } = member;
            let _ = writeln!(table, "| {floor} | `{name}` | {imports} | {candle} | {must_not_know} |");
        }
        table
    }

    /// Compares the table in ARCHITECTURE.md with the manifests, or with `write` replaces it.
    pub(super) fn check_table(&self, root: &Path, write: bool) -> Result<Option<Finding>> {
        let path = root.join(DOCUMENT);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
        let Some((before, (_, after))) = parts else {
            return Ok(Some(Finding::error(DOCUMENT, 1, format!("lacks the lines {BEGIN}and {END}"))));
        };
        let current = format!("{before}{BEGIN}\n{}\n{END}{after}", self.table());
        if current == text {
            return Ok(None);
        }
        if write {
            std::fs::write(&path, current).with_context(|| format!("cannot write {DOCUMENT}"))?;
            return Ok(None);
        }
        let line = before.lines().count() + 1;
        let message = "the table differs from the manifests: `cargo xtask tidy --write` writes it anew";
        Ok(Some(Finding::error(DOCUMENT, line, message)))
    }
}

/// The target triple of this machine.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

fn members(metadata: &Metadata) -> Result<Vec<Member>> {
    let packages = metadata.workspace_packages().into_iter();
    packages
        .map(|package| {
            let path = &package.manifest_path;
            let manifest = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
            let relative = path.strip_prefix(&metadata.workspace_root).unwrap_or(path);
            let is_dev = |kind| kind == DependencyKind::Development;
            let house = &package.metadata["house"];
            Ok(Member {
                name: package.name.to_string(),
                manifest_path: relative.to_string(),
                manifest,
                dependencies: package.dependencies.iter().map(|d| (d.name.clone(), is_dev(d.kind))).collect(),
                has_binary: package.targets.iter().any(cargo_metadata::Target::is_bin),
                floor: house["floor"].as_u64(),
                forbids_candle: house["candle"].as_bool() == Some(false),
                is_dev_only: house["dev-only"].as_bool() == Some(true),
                must_not_know: house["must-not-know"].as_str().unwrap_or("–").to_owned(),
            })
        })
        .collect()
}

fn graph(metadata: &Metadata) -> Graph {
    let names: HashMap<_, _> = metadata.packages.iter().map(|p| (&p.id, p.name.to_string())).collect();
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let mut graph = Graph::new();
    for node in nodes {
        let used =
            node.deps.iter().filter(|d| d.dep_kinds.iter().any(|k| k.kind != DependencyKind::Development));
        graph.entry(names[&node.id].clone()).or_default().extend(used.map(|d| names[&d.pkg].clone()));
    }
    graph
}

/// The shortest chain of dependencies from `from` to a package whose name starts with `prefix`.
fn chain_to(graph: &Graph, from: &str, prefix: &str) -> Option<Vec<String>> {
    let mut queue = VecDeque::from([from]);
    let mut parent = BTreeMap::from([(from, None)]);
    while let Some(name) = queue.pop_front() {
        if name.starts_with(prefix) {
            let mut chain: Vec<String> =
                std::iter::successors(Some(name), |name| parent[name]).map(str::to_owned).collect();
            chain.reverse();
            return Some(chain);
        }
        for next in graph.get(name).into_iter().flatten() {
            parent.entry(next).or_insert_with(|| {
                queue.push_back(next);
                Some(name)
            });
        }
    }
    None
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true")
}

impl Member {
    /// The line of the manifest that names `dependency`; 1 where none does.
    fn line_of(&self, dependency: &str) -> usize {
        let names_it =
            |line: &str| line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
        self.manifest.lines().position(names_it).map_or(1, |index| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace on disk: each package with its `metadata.house` and the rest of its manifest.
    fn findings(packages: &[(&str, &str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (name, house, rest) in packages {
            let folder = root.path().join(name);
            std::fs::create_dir_all(folder.join("src")).unwrap();
            std::fs::write(folder.join("src/lib.rs"), "").unwrap();
            let package = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n{house}\n");
            std::fs::write(folder.join("Cargo.toml"), format!("{package}{rest}")).unwrap();
        }
        let workspace = "[workspace]\nmembers = [\"*\"]\nexclude = [\"other\", \"candle-core\", \"anyhow\"]\n\
            [workspace.lints]\n";
        std::fs::write(root.path().join("Cargo.toml"), workspace).unwrap();
        House::read(root.path()).unwrap().check().iter().map(ToString::to_string).collect()
    }

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn house(floor: u64) -> String {
        format!("metadata.house = {{ floor = {floor} }}")
    }

    fn on(name: &str) -> String {
        format!("{LINTS}[dependencies]\n{name} = {{ path = \"../{name}\" }}\n")
    }

    #[test]
    fn imports_run_downward_only() {
        let (lower, upper) = (house(1), house(2));
        assert_eq!(findings(&[("a", &upper, &on("b")), ("b", &lower, LINTS)]), [""; 0]);
        let message = "`a` may not import `b`, which is on no lower floor";
        let expected = [format!("a/Cargo.toml:8: {message}")];
        assert_eq!(findings(&[("a", &upper, &on("b")), ("b", &upper, LINTS)]), expected);
        let dev = on("b").replace("dependencies", "dev-dependencies");
        assert_eq!(findings(&[("a", &lower, &dev), ("b", &upper, LINTS)]), expected);
    }

    #[test]
    fn a_dev_only_crate_serves_tests_alone() {
        let (low, kit) = (house(1), "metadata.house = { floor = 2, dev-only = true }");
        let dev = on("kit").replace("dependencies", "dev-dependencies");
        let message = "`kit` is a dev-dependency only, and not of a crate that it imports";
        assert_eq!(findings(&[("a", &low, &dev), ("kit", kit, LINTS)]), [""; 0]);
        let expected = [format!("a/Cargo.toml:8: {message}")];
        assert_eq!(findings(&[("a", &low, &on("kit")), ("kit", kit, LINTS)]), expected);
        assert_eq!(findings(&[("a", &low, &dev), ("kit", kit, &on("a"))]), expected);
    }

    #[test]
    fn candle_is_found_behind_other_crates() {
        let without = "metadata.house = { floor = 1, candle = false }";
        let (other, candle) = (on("candle-core").replace(LINTS, ""), "");
        let packages =
            [("a", without, on("other")), ("other", "", other), ("candle-core", "", candle.to_owned())];
        let packages = packages.each_ref().map(|(name, house, rest)| (*name, *house, rest.as_str()));
        assert_eq!(findings(&packages), ["a/Cargo.toml:8: must not need candle: a -> other -> candle-core"]);
    }

    #[test]
    fn a_library_has_its_own_errors_and_the_common_lints() {
        let on = on("anyhow");
        let message = "`a` is a library: give it an error type instead of `anyhow`";
        assert_eq!(
            findings(&[("a", &house(1), &on), ("anyhow", "", "")]),
            [format!("a/Cargo.toml:8: {message}")]
        );
        let missing = ["a/Cargo.toml:1: `[lints] workspace = true` is missing"];
        assert_eq!(findings(&[("a", &house(1), "[lints.clippy]\n")]), missing);
        assert_eq!(
            findings(&[("a", "", LINTS)]),
            ["a/Cargo.toml:1: `[package]` needs a line `metadata.house = { floor = .. }`"]
        );
    }

    #[test]
    fn the_table_is_compared_and_written() {
        let root = tempfile::tempdir().unwrap();
        let member = |name: &str, floor, imports: &[&str]| Member {
            name: name.to_owned(),
            floor: Some(floor),
            must_not_know: "–".to_owned(),
            dependencies: imports.iter().map(|import| ((*import).to_owned(), false)).collect(),
            ..Member::default()
        };
        let house = House {
            members: vec![member("fmam-a", 1, &["serde"]), member("fmam-b", 2, &["serde", "fmam-a"])],
            graph: Graph::from([("fmam-b".to_owned(), vec!["candle-nn".to_owned()])]),
        };
        let path = root.path().join(DOCUMENT);
        std::fs::write(&path, format!("# A\n{BEGIN}{END}tail\n")).unwrap();
        let finding = house.check_table(root.path(), false).unwrap().unwrap();
        assert_eq!((finding.path.as_str(), finding.line), (DOCUMENT, 2));
        assert_eq!(house.check_table(root.path(), true).unwrap(), None);
        assert_eq!(house.check_table(root.path(), false).unwrap(), None);
        let text = std::fs::read_to_string(path).unwrap();
        let rows = "| 2 | `fmam-b` | a | yes | – |\n| 1 | `fmam-a` |  | no | – |\n";
        assert!(text.contains(rows) && text.ends_with("tail\n"), "{text}");
    }
}
