//! No circles between the files of a crate: of two files at most one uses the other, directly or
//! through others.
//!
//! A file uses another where it names a path through `crate`, `super`, `self` or a child module.
//! The reader goes by lines: a line that begins with `//` is a comment, and the tests, which stand
//! last in a file, are not read.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;

/// Uses that are not counted: the file, the one that it uses or the folder of such, and the reason.
static EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("crates/metrics/src/metric/mod.rs", "crates/metrics/src/metric/", "a table and its entries"),
    // Circles of today, to be opened; an exception goes with its circle.
    (
        "crates/datasets/src/demo/flange/defect.rs",
        "crates/datasets/src/demo/flange/mod.rs",
        "the part that a defect is drawn on is in `mod.rs`",
    ),
    (
        "crates/datasets/src/demo/perforated/defect.rs",
        "crates/datasets/src/demo/perforated/mod.rs",
        "the part that a defect is drawn on is in `mod.rs`",
    ),
    ("crates/experiment/src/error.rs", "crates/experiment/src/config.rs", "an error holds a setting"),
    ("crates/record/src/config.rs", "crates/record/src/map_layout.rs", "a setting is a layout of maps"),
    ("crates/record/src/error.rs", "crates/record/src/record.rs", "an error holds a version"),
    (
        "crates/report/src/picture/figure/mod.rs",
        "crates/report/src/picture/figure/",
        "`Figure` is in `mod.rs`",
    ),
    ("crates/synthesis/src/blend.rs", "crates/synthesis/src/synthesizer.rs", "settings are in `synthesizer`"),
    ("crates/synthesis/src/fill.rs", "crates/synthesis/src/synthesizer.rs", "settings are in `synthesizer`"),
    ("xtask/src/slurm/scheduler.rs", "xtask/src/slurm.rs", "the launcher is to leave xtask"),
];

/// A name that a module brings into scope, and the path that it stands for.
struct Import {
    name: String,
    path: Vec<String>,
    is_public: bool,
}

/// A file as a module of its crate.
struct Module<'a> {
    file: &'a str,
    imports: Vec<Import>,
    /// The paths and words of the code outside of `use`.
    words: BTreeSet<String>,
}

/// The modules of one crate by their path, which is empty for the root.
type Modules<'a> = BTreeMap<Vec<String>, Module<'a>>;

/// Checks all Rust files of the repository, each a path and its text.
pub(super) fn check(files: &[(String, String)]) -> Vec<Finding> {
    let mut crates: BTreeMap<&str, Modules<'_>> = BTreeMap::new();
    for (file, text) in files {
        if let Some((package, path)) = file.split_once("/src/")
            && let Some(path) = module_path(path)
        {
            crates.entry(package).or_default().insert(path, Module { file, ..read(text) });
        }
    }
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for modules in crates.values() {
        let mut uses = uses(modules);
        for (from, targets) in &mut uses {
            targets.retain(|to| {
                match EXCEPTIONS.iter().position(|(a, b, _)| a == from && to.starts_with(b)) {
                    Some(index) => {
                        used.insert(index);
                        false
                    }
                    None => true,
                }
            });
        }
        findings.extend(circles(&uses).iter().map(|circle| {
            Finding::error(circle[0], 1, format!("files use each other in a circle: {}", circle.join(", ")))
        }));
    }
    for (index, (from, to, _)) in EXCEPTIONS.iter().enumerate().filter(|(index, _)| !used.contains(index)) {
        let message = format!("does not use {to}: delete exception {index} in xtask/src/tidy/circles.rs");
        findings.push(Finding::note(from, 1, message));
    }
    findings
}

/// The module that a file below `src` is; `None` for a file of tests.
fn module_path(path: &str) -> Option<Vec<String>> {
    let mut parts: Vec<String> = path.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    if parts.iter().any(|part| part == "tests") {
        return None;
    }
    if matches!(parts.last()?.as_str(), "lib" | "main" | "mod") {
        parts.pop();
    }
    Some(parts)
}

/// The imports and words of a file; its name is left empty.
fn read(text: &str) -> Module<'static> {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let code: Vec<&str> = text[..end].lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
    let mut module = Module { file: "", imports: Vec::new(), words: BTreeSet::new() };
    let mut statement = String::new();
    for line in code {
        let item = line.strip_prefix("pub").map_or(line, |rest| rest.trim_start_matches(|c| c != ' ').trim());
        if !statement.is_empty() || item.starts_with("use ") {
            statement.push_str(line);
            if line.ends_with(';') {
                let is_public = statement.starts_with("pub");
                let (_, tree) = statement.trim_end_matches(';').split_once("use ").unwrap_or_default();
                expand(tree, &[], is_public, &mut module.imports);
                statement.clear();
            }
        } else if !item.starts_with("mod ") {
            let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
            module.words.extend(line.split(|c| !is_path(c)).map(str::to_owned));
        }
    }
    module
}

/// Takes the tree of a `use` apart.
fn expand(tree: &str, before: &[String], is_public: bool, imports: &mut Vec<Import>) {
    let tree = tree.trim();
    let (head, inner) = match tree.split_once('{') {
        Some((head, inner)) => (head, inner.strip_suffix('}')),
        None => (tree, None),
    };
    let (head, alias) = head.split_once(" as ").map_or((head, None), |(head, alias)| (head, Some(alias)));
    let mut path = before.to_vec();
    path.extend(head.split("::").filter(|part| !part.is_empty()).map(str::to_owned));
    if let Some(inner) = inner {
        let mut depth = 0;
        let parts = inner.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        parts.filter(|part| !part.trim().is_empty()).for_each(|part| expand(part, &path, is_public, imports));
        return;
    }
    if path.last().is_some_and(|part| part == "self") {
        path.pop();
    }
    let name = alias.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
    imports.push(Import { name, path, is_public });
}

/// Each file with the files that it uses.
fn uses<'a>(modules: &Modules<'a>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut uses = BTreeMap::new();
    for (at, module) in modules {
        let targets: &mut BTreeSet<&str> = uses.entry(module.file).or_default();
        // A name that is only re-exported is not used.
        let imports = module.imports.iter().filter(|import| {
            !import.is_public || module.words.iter().any(|word| word.split("::").next() == Some(&import.name))
        });
        let paths = module.words.iter().map(|word| word.split("::").map(str::to_owned).collect());
        for path in imports.map(|import| import.path.clone()).chain(paths.filter(|p: &Vec<_>| p.len() > 1)) {
            if let Some(file) = absolute(&path, at, modules).and_then(|path| resolve(&path, at, modules, 8)) {
                targets.insert(file);
            }
        }
        targets.remove(module.file);
    }
    uses
}

/// `path` from the root of the crate, as the module `at` writes it; `None` outside of the crate.
fn absolute(path: &[String], at: &[String], modules: &Modules<'_>) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let child = [at, std::slice::from_ref(first)].concat();
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([at, rest].concat()),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            Some([at.get(..at.len().checked_sub(ups)?)?, &path[ups..]].concat())
        }
        _ => modules.contains_key(&child).then(|| [&child, rest].concat()),
    }
}

/// The file that defines what `path` names for the module `from`, behind at most `steps` imports.
fn resolve<'a>(path: &[String], from: &[String], modules: &Modules<'a>, steps: usize) -> Option<&'a str> {
    let (at, module) = (0..=path.len()).rev().find_map(|n| modules.get_key_value(&path[..n]))?;
    let is_seen = |import: &&Import| import.is_public || from.starts_with(at);
    let name = path.get(at.len());
    let import =
        name.and_then(|name| module.imports.iter().filter(is_seen).find(|import| import.name == *name));
    match import.and_then(|import| absolute(&import.path, at, modules)) {
        Some(path) if steps > 0 => resolve(&path, from, modules, steps - 1),
        _ => Some(module.file),
    }
}

/// The groups of files of which each uses each, through others or directly.
fn circles<'a>(uses: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<Vec<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = uses
        .keys()
        .map(|&from| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
            while let Some(file) = open.pop() {
                open.extend(uses[file].iter().copied().filter(|next| seen.insert(*next)));
            }
            (from, seen)
        })
        .collect();
    let group = |from: &&'a str| -> Vec<&'a str> {
        reached[from].iter().copied().filter(|to| reached[to].contains(from)).collect()
    };
    uses.keys().map(group).filter(|group| !group.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a crate `crates/a` with these files.
    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| (format!("crates/a/src/{path}"), (*text).to_owned())).collect();
        check(&files)
            .iter()
            .filter(|finding| finding.message.starts_with("files use"))
            .map(|finding| {
                finding.message.replace("files use each other in a circle: ", "").replace("crates/a/src/", "")
            })
            .collect()
    }

    #[test]
    fn two_files_that_use_each_other_are_found() {
        let down = ("a.rs", "use crate::b::{C, d::E};\n");
        assert_eq!(circles_of(&[down, ("b.rs", "fn f() { crate::a::g() }\n")]), ["a.rs, b.rs"]);
        assert_eq!(circles_of(&[down, ("b.rs", "// crate::a::g()\n")]), [""; 0]);
        let tests = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use crate::a::G;\n}\n";
        assert_eq!(circles_of(&[down, ("b.rs", tests)]), [""; 0]);
    }

    #[test]
    fn a_name_leads_to_the_file_that_defines_it() {
        let root =
            ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub(crate) use b::{\n    B,\n    b as c,\n};\n");
        assert_eq!(circles_of(&[root, ("a.rs", "use crate::B;"), ("b.rs", "use crate::A;")]), ["a.rs, b.rs"]);
        assert_eq!(circles_of(&[root, ("a.rs", "use crate::c;"), ("b.rs", "use super::A;")]), ["a.rs, b.rs"]);
        assert_eq!(circles_of(&[root, ("a.rs", "use crate::B;"), ("b.rs", "")]), [""; 0]);
    }

    #[test]
    fn a_folder_and_its_files_may_form_a_circle() {
        let child = ("a/b.rs", "use super::Shared;\n");
        let parent = "mod b;\nuse b::B;\npub struct Shared;\n";
        assert_eq!(circles_of(&[("a/mod.rs", parent), child]), ["a/b.rs, a/mod.rs"]);
        // Handing a name on is no use, using it is.
        let hands_on = "mod b;\npub use b::B;\npub struct Shared;\n";
        assert_eq!(circles_of(&[("a/mod.rs", hands_on), child]), [""; 0]);
        let uses = format!("{hands_on}fn f(b: B) {{}}\n");
        assert_eq!(circles_of(&[("a/mod.rs", uses.as_str()), child]), ["a/b.rs, a/mod.rs"]);
        let calls = "mod b;\npub struct Shared;\nfn f() {\n    b::g();\n}\n";
        assert_eq!(circles_of(&[("a/mod.rs", calls), child]), ["a/b.rs, a/mod.rs"]);
    }

    #[test]
    fn a_long_circle_is_one_finding() {
        let files = [
            ("a.rs", "use crate::b::X;"),
            ("b.rs", "use crate::c::X;"),
            ("c.rs", "use crate::a::X;"),
            ("d.rs", "use crate::a::X;"),
        ];
        assert_eq!(circles_of(&files), ["a.rs, b.rs, c.rs"]);
    }
}
