//! Which crate may import which, as ARCHITECTURE.md draws it, checked against `cargo metadata`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use super::Finding;

/// What each crate of the workspace may import from the workspace; imports run downward only.
static MAY_IMPORT: &[(&str, &[&str])] = &[
    ("fmam-core", &[]),
    ("fmam-ops", &[]),
    ("fmam-datasets", &["fmam-core"]),
    ("fmam-synthesis", &["fmam-core"]),
    ("fmam-metrics", &[]),
    ("fmam-models", &["fmam-core", "fmam-ops"]),
    ("fmam-losses", &["fmam-ops"]),
    ("fmam-methods", &["fmam-core", "fmam-ops", "fmam-models", "fmam-losses", "fmam-synthesis"]),
    (
        "fmam-experiment",
        &["fmam-core", "fmam-datasets", "fmam-synthesis", "fmam-metrics", "fmam-models", "fmam-methods"],
    ),
    ("fmam-report", &["fmam-core", "fmam-metrics"]),
    ("fmam-fetch", &[]),
    (
        "fmam",
        &[
            "fmam-core",
            "fmam-ops",
            "fmam-datasets",
            "fmam-synthesis",
            "fmam-metrics",
            "fmam-models",
            "fmam-losses",
            "fmam-methods",
            "fmam-experiment",
            "fmam-fetch",
            "fmam-report",
        ],
    ),
    (TESTKIT, &["fmam-core"]),
    (CROSS_CRATE_TESTS, &[]),
    ("xtask", &[]),
];

/// Generated scenes for tests: a dev-dependency of any crate but core, and nothing else.
const TESTKIT: &str = "fmam-testkit";
/// Imports any crate, as dev-dependencies only.
const CROSS_CRATE_TESTS: &str = "fmam-tests";
/// Crates that must build and test without a machine-learning framework.
const WITHOUT_TENSORS: &[&str] =
    &["fmam-core", "fmam-datasets", "fmam-synthesis", "fmam-metrics", "fmam-report", "fmam-fetch"];
/// Prefix of the framework's crates.
const TENSORS: &str = "candle-";
/// Crates whose errors only a person reads; libraries have error types instead of `anyhow`.
const FOR_PEOPLE: &[&str] = &["fmam", "xtask"];

/// What the rules need to know of a workspace crate.
struct Member {
    name: String,
    manifest_path: String,
    manifest: String,
    /// Names of direct dependencies; `true` for dev-dependencies.
    dependencies: Vec<(String, bool)>,
}

/// Package names to the names of what they depend on, dev-dependencies left out.
type Graph = HashMap<String, Vec<String>>;

/// Checks every workspace crate.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        // Without a platform cargo would fetch the packages of all of them.
        .other_options(["--filter-platform".to_owned(), host()?])
        .exec()
        .context("cargo metadata failed")?;
    let members = members(&metadata)?;
    let graph = graph(&metadata);
    let mut findings = check_imports(&members);
    findings.extend(check_tensors(&members, &graph));
    findings.extend(
        members
            .iter()
            .filter(|member| !inherits_lints(&member.manifest))
            .map(|member| Finding::error(&member.manifest_path, 1, "`[lints] workspace = true` is missing")),
    );
    Ok(findings)
}

/// The target triple of this machine.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc names no host")
}

fn members(metadata: &Metadata) -> Result<Vec<Member>> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let path = &package.manifest_path;
            let manifest = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
            let relative = path.strip_prefix(&metadata.workspace_root).unwrap_or(path);
            let is_dev = |kind| kind == DependencyKind::Development;
            Ok(Member {
                name: package.name.to_string(),
                manifest_path: relative.to_string(),
                manifest,
                dependencies: package.dependencies.iter().map(|d| (d.name.clone(), is_dev(d.kind))).collect(),
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

fn check_imports(members: &[Member]) -> Vec<Finding> {
    let ours: HashSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let mut findings = Vec::new();
    for member in members {
        let Some((_, may_import)) = MAY_IMPORT.iter().find(|(name, _)| *name == member.name) else {
            let message =
                format!("`{}` has no line in the table of xtask/src/tidy/dependencies.rs", member.name);
            findings.push(Finding::error(&member.manifest_path, 1, message));
            continue;
        };
        for (dependency, dev) in &member.dependencies {
            if let Some(message) = forbids(&member.name, may_import, dependency, *dev, &ours) {
                findings.push(Finding::error(&member.manifest_path, member.line_of(dependency), message));
            }
        }
    }
    findings
}

/// Why crate `name` may not depend on `dependency`.
fn forbids(
    name: &str,
    may_import: &[&str],
    dependency: &str,
    dev: bool,
    ours: &HashSet<&str>,
) -> Option<String> {
    if dependency == "anyhow" && !dev && !FOR_PEOPLE.contains(&name) {
        return Some(format!("`{name}` is a library: give it an error type instead of `anyhow`"));
    }
    let allowed = match dependency {
        _ if !ours.contains(dependency) => true,
        TESTKIT => dev && name != "fmam-core",
        _ => may_import.contains(&dependency) || (dev && name == CROSS_CRATE_TESTS),
    };
    (!allowed).then(|| {
        let kind = if dev { "a dev-dependency" } else { "a dependency" };
        format!("`{name}` may not have `{dependency}` as {kind}; ARCHITECTURE.md says what may import what")
    })
}

fn check_tensors(members: &[Member], graph: &Graph) -> Vec<Finding> {
    let bound = members.iter().filter(|member| WITHOUT_TENSORS.contains(&member.name.as_str()));
    bound
        .filter_map(|member| {
            let chain = chain_to(graph, &member.name, TENSORS)?;
            let line = member.line_of(chain.get(1)?);
            Some(Finding::error(
                &member.manifest_path,
                line,
                format!("must know no tensors: {}", chain.join(" -> ")),
            ))
        })
        .collect()
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

    fn member(name: &str, dependencies: &[(&str, bool)]) -> Member {
        let lines: String =
            dependencies.iter().map(|(name, _)| format!("{name}.workspace = true\n")).collect();
        Member {
            name: name.to_owned(),
            manifest_path: format!("crates/{name}/Cargo.toml"),
            manifest: format!("[lints]\nworkspace = true\n{lines}"),
            dependencies: dependencies.iter().map(|(name, dev)| ((*name).to_owned(), *dev)).collect(),
        }
    }

    /// Whether `name` may have `dependency` in a workspace of all our crates.
    fn check_allowed(name: &str, dependency: &str, dev: bool, expected: bool) {
        let mut members: Vec<Member> = MAY_IMPORT
            .iter()
            .filter(|(other, _)| *other != name)
            .map(|(other, _)| member(other, &[]))
            .collect();
        members.push(member(name, &[(dependency, dev)]));
        let findings = check_imports(&members);
        assert_eq!(findings.is_empty(), expected, "{name} -> {dependency} (dev: {dev}): {findings:#?}");
        assert!(findings.iter().all(|finding| finding.line == 3));
    }

    #[test]
    fn imports_run_downward_only() {
        check_allowed("fmam-methods", "fmam-losses", false, true);
        check_allowed("fmam-methods", "fmam-datasets", false, false);
        check_allowed("fmam-methods", "fmam-datasets", true, false);
        check_allowed("fmam-core", "fmam-metrics", false, false);
        check_allowed("fmam-report", "fmam-experiment", false, false);
        check_allowed("xtask", "fmam", false, false);
        check_allowed("fmam-core", "serde", false, true);
    }

    #[test]
    fn the_testkit_is_for_tests_only() {
        check_allowed("fmam-models", TESTKIT, true, true);
        check_allowed("fmam-models", TESTKIT, false, false);
        check_allowed("fmam-core", TESTKIT, true, false);
        check_allowed(CROSS_CRATE_TESTS, "fmam-methods", true, true);
        check_allowed(CROSS_CRATE_TESTS, "fmam-methods", false, false);
    }

    #[test]
    fn libraries_have_error_types() {
        check_allowed("fmam-models", "anyhow", false, false);
        check_allowed("fmam-models", "anyhow", true, true);
        check_allowed("fmam", "anyhow", false, true);
    }

    #[test]
    fn a_crate_without_a_rule_is_found() {
        let findings = check_imports(&[member("fmam-new", &[])]);
        assert!(matches!(&findings[..], [Finding { line: 1, .. }]), "{findings:#?}");
    }

    #[test]
    fn the_table_has_no_cycle_and_no_stray_name() {
        for (index, (name, may_import)) in MAY_IMPORT.iter().enumerate() {
            for import in *may_import {
                let position = MAY_IMPORT.iter().position(|(other, _)| other == import);
                assert!(position.is_some_and(|position| position < index), "{name} -> {import}");
            }
        }
    }

    #[test]
    fn tensors_are_found_behind_other_crates() {
        let edges = [
            ("fmam-core", "a"),
            ("a", "b"),
            ("b", "candle-core"),
            ("b", "a"),
            ("fmam-models", "candle-core"),
        ];
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry(from.to_owned()).or_default().push(to.to_owned());
        }
        let members =
            [member("fmam-core", &[("a", false)]), member("fmam-models", &[]), member("fmam-report", &[])];
        let findings = check_tensors(&members, &graph);
        assert_eq!(
            findings,
            [Finding::error(
                "crates/fmam-core/Cargo.toml",
                3,
                "must know no tensors: fmam-core -> a -> b -> candle-core"
            )]
        );
    }

    #[test]
    fn lints_must_be_inherited() {
        assert!(inherits_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(!inherits_lints("[package]\nname = \"a\"\n"));
        assert!(!inherits_lints("[lints]\n[dependencies]\nworkspace = true\n"));
        assert!(!inherits_lints("[lints.clippy]\nworkspace = true\n"));
    }

    #[test]
    fn a_workspace_on_disk_is_read() {
        let root = tempfile::tempdir().unwrap();
        let package = |folder: &str, name: &str, rest: &str| {
            let folder = root.path().join(folder);
            std::fs::create_dir_all(folder.join("src")).unwrap();
            std::fs::write(folder.join("src/lib.rs"), "").unwrap();
            let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n{rest}");
            std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        };
        // Path dependencies join the workspace unless they are excluded.
        let workspace = "[workspace]\nmembers = [\"core\", \"metrics\"]\nexclude = [\"middle\", \"candle\"]\n\
            [workspace.lints]\n";
        std::fs::write(root.path().join("Cargo.toml"), workspace).unwrap();
        package("core", "fmam-core", "[dependencies]\nmiddle.path = \"../middle\"\n");
        let dev_only = "[lints]\nworkspace = true\n[dev-dependencies]\nmiddle.path = \"../middle\"\n";
        package("metrics", "fmam-metrics", dev_only);
        package("middle", "middle", "[dependencies]\ncandle-core.path = \"../candle\"\n");
        package("candle", "candle-core", "");
        assert_eq!(
            check(root.path()).unwrap(),
            [
                Finding::error(
                    "core/Cargo.toml",
                    5,
                    "must know no tensors: fmam-core -> middle -> candle-core"
                ),
                Finding::error("core/Cargo.toml", 1, "`[lints] workspace = true` is missing"),
            ]
        );
    }

    #[test]
    fn the_repository_itself_is_read() {
        let root = crate::workspace_root().unwrap();
        let metadata =
            MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec().unwrap();
        let names: HashSet<String> =
            members(&metadata).unwrap().into_iter().map(|member| member.name).collect();
        let known: HashSet<String> = MAY_IMPORT.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names, known);
    }
}
