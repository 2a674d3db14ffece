//! Which module may import which: the rules of "Modules" in docs/architecture.md, held against `src/`.
//!
//! A name that a module only passes on (`pub use`) counts as the name of the module that defines it. Tests within
//! modules count like other code. Paths within the arguments of macros are not seen.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
};

use syn::{
    UseTree,
    visit::{self, Visit},
};

/// `(module, the other modules that it may import)`, for every module of the root.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("descriptors", &["telemetry"]),
    ("owner", &[]),
    ("public", &[]),
    ("scheduling", &[]),
    ("telemetry", &[]),
    ("titles", &["links", "telemetry"]),
    ("db", &["telemetry"]),
    ("limiter", &["telemetry"]),
    ("links", &["db", "owner", "public", "telemetry"]),
    ("keys", &["db", "limiter", "owner", "telemetry"]),
    (
        "http",
        &["keys", "limiter", "links", "owner", "public", "telemetry"],
    ),
    (
        "config",
        &["db", "limiter", "links", "public", "scheduling"],
    ),
    (
        "lifecycle",
        &["http", "keys", "limiter", "links", "telemetry", "titles"],
    ),
    (
        "app",
        &[
            "config",
            "db",
            "descriptors",
            "http",
            "keys",
            "lifecycle",
            "limiter",
            "links",
            "public",
            "telemetry",
            "titles",
        ],
    ),
    ("report", &["config", "telemetry"]),
    ("cli", &["commands", "config"]),
    (
        "commands",
        &[
            "app",
            "config",
            "keys",
            "lifecycle",
            "limiter",
            "owner",
            "telemetry",
        ],
    ),
];

/// `(crate of others, the only modules that may name it)`.
const ONLY_IN: &[(&str, &[&str])] = &[
    (
        "sqlx",
        &[
            "db",
            "keys::postgres",
            "keys::row",
            "keys::sqlite",
            "links::postgres",
            "links::row",
            "links::sqlite",
        ],
    ),
    ("deadpool_redis", &["limiter::redis"]),
    ("argon2", &["links::password"]),
    ("hmac", &["links::password"]),
    ("unicode_normalization", &["links::password"]),
    ("actix_http", &["http"]),
    ("actix_web", &["http", "lifecycle", "main", "public"]),
    ("askama", &["http"]),
    ("encoding_rs", &["titles::html"]),
    ("hyper", &["titles::fetch"]),
    ("hyper_util", &["titles::fetch"]),
    ("utoipa", &["http"]),
    (
        "prometheus",
        &[
            "db",
            "http",
            "keys",
            "limiter",
            "links",
            "telemetry",
            "titles",
        ],
    ),
    ("tokio_rustls", &["titles::fetch", "titles::network"]),
];

/// `(module, a module that it must not import)`, for neighbours within one of the above.
const MUST_NOT_IMPORT: &[(&str, &str)] = &[
    ("limiter::window", "limiter::redis"),
    ("limiter::quota", "limiter::redis"),
    ("limiter::policy", "limiter::redis"),
    ("limiter::client", "limiter::redis"),
];

#[test]
fn modules_import_what_the_architecture_allows() {
    let house = House::read();
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (from, to) in &house.arrows {
        // The tour of the crate names everything, and the program uses the library.
        let is_root = |module: &Module| ["lib", "main"].contains(&module[0].as_str());
        if is_root(from) || from[0] == to[0] {
            continue;
        }
        match allowed.get(from[0].as_str()) {
            Some(others) if others.contains(&to[0].as_str()) => {}
            Some(_) => wrong.push(format!("{} imports {}", name(from), name(to))),
            None => wrong.push(format!("no rule says what {} may import", from[0])),
        }
    }
    for (from, to) in MUST_NOT_IMPORT {
        let arrows = house.arrows.iter();
        let forbidden = arrows.filter(|(f, t)| is_within(f, from) && is_within(t, to));
        wrong.extend(forbidden.map(|(from, to)| format!("{} imports {}", name(from), name(to))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_of_others_stay_where_they_belong() {
    let house = House::read();
    let mut wrong = Vec::new();
    for (dependency, modules) in ONLY_IN {
        let users = house.foreign.iter().filter(|(_, used)| used == dependency);
        let mut users = users.map(|(module, _)| module).peekable();
        assert!(users.peek().is_some(), "nothing uses {dependency}");
        let elsewhere = users.filter(|user| !modules.iter().any(|module| is_within(user, module)));
        wrong.extend(elsewhere.map(|user| format!("{} names {dependency}", name(user))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_neighbours_import_each_other() {
    let mut circles = House::read().circles();
    // One automaton, whose methods are in several files. No part of it is in the program.
    circles.retain(|circle| !circle.contains(": limiter::simulation::"));
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

/// A rule about a module that is not there would forbid nothing.
#[test]
fn every_rule_is_about_modules_that_exist() {
    let house = House::read();
    let lists = MAY_IMPORT.iter().chain(ONLY_IN);
    let rules = MAY_IMPORT.iter().map(|(module, _)| module);
    let neighbours = MUST_NOT_IMPORT.iter().flat_map(|(from, to)| [from, to]);
    let names = lists.flat_map(|(_, modules)| *modules);
    let missing: BTreeSet<_> = names
        .chain(rules)
        .chain(neighbours)
        .filter(|name| !house.files.contains_key(&path(name)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A module's path from the root: `["limiter", "redis"]`. The root of the library is `["lib"]`, that of the program
/// `["main"]`.
type Module = Vec<String>;

fn path(name: &str) -> Module {
    name.split("::").map(str::to_owned).collect()
}

fn name(module: &Module) -> String {
    module.join("::")
}

fn is_within(inner: &Module, outer: &str) -> bool {
    inner.starts_with(&path(outer))
}

/// What the modules of `src/` import.
struct House {
    files: BTreeMap<Module, File>,
    /// From a module to the one that defines what it names.
    arrows: BTreeSet<(Module, Module)>,
    /// From a module to the crates of others that it names.
    foreign: BTreeSet<(Module, String)>,
}

/// The paths of one file.
#[derive(Default)]
struct File {
    /// Every path that it names.
    paths: Vec<Vec<String>>,
    /// What its `use` lines bring into scope: the name here, and the path.
    names: BTreeMap<String, Vec<String>>,
    /// How many modules within the file stand around what is being read.
    inner_modules: usize,
}

impl House {
    fn read() -> &'static Self {
        static HOUSE: LazyLock<House> = LazyLock::new(House::measure);
        &HOUSE
    }

    fn measure() -> Self {
        let mut house = Self {
            files: BTreeMap::new(),
            arrows: BTreeSet::new(),
            foreign: BTreeSet::new(),
        };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        house.read_folder(&source, &Vec::new());
        assert!(house.files.len() > 50, "that is not all of src/");
        for (from, file) in &house.files {
            for path in &file.paths {
                match house.absolute(from, path) {
                    Some(path) => {
                        let to = house.definer(&path, 0);
                        if !to.is_empty() && to != *from {
                            house.arrows.insert((from.clone(), to));
                        }
                    }
                    None => {
                        house.foreign.insert((from.clone(), path[0].clone()));
                    }
                }
            }
        }
        house
    }

    fn read_folder(&mut self, folder: &Path, module: &Module) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mut module = module.clone();
            module.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                self.read_folder(&path, &module);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let syntax = syn::parse_file(&text).expect("src/ compiles");
                let mut file = File::default();
                file.visit_file(&syntax);
                self.files.insert(module, file);
            }
        }
    }

    /// A path of a module, written from the root of the crate; `None` if it leads into another crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let is_root = ["lib", "main"].contains(&module[0].as_str());
        let mut base = if is_root { Vec::new() } else { module.clone() };
        let mut rest = path;
        match path[0].as_str() {
            // In the program, the library goes by its name.
            "crate" | "shunt" => return Some(path[1..].to_vec()),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child => {
                base.push(child.to_owned());
                if !self.files.contains_key(&base) {
                    return None;
                }
                rest = &path[1..];
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The module that defines what a path from the root leads to.
    fn definer(&self, path: &[String], depth: usize) -> Module {
        assert!(depth < 16, "names that lead to each other: {path:?}");
        let mut module = Module::new();
        for (index, part) in path.iter().enumerate() {
            module.push(part.clone());
            if self.files.contains_key(&module) {
                continue;
            }
            module.pop();
            let here = if module.is_empty() {
                vec!["lib".to_owned()]
            } else {
                module.clone()
            };
            let Some(passed_on) = self.files.get(&here).and_then(|file| file.names.get(part))
            else {
                return module;
            };
            return match self.absolute(&here, passed_on) {
                Some(mut elsewhere) => {
                    elsewhere.extend_from_slice(&path[index + 1..]);
                    self.definer(&elsewhere, depth + 1)
                }
                // It only passes on a name of another crate.
                None => module,
            };
        }
        module
    }

    /// The arrows between modules of one folder that lead back to where they begin, over any number of steps.
    fn circles(&self) -> Vec<String> {
        let mut folders: BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
        let mut between = Vec::new();
        for (from, to) in &self.arrows {
            let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
            if let (Some(a), Some(b)) = (from.get(common), to.get(common)) {
                let folder = folders.entry(&from[..common]).or_default();
                folder.entry(a).or_default().insert(b);
                between.push((&from[..common], a, b, from, to));
            }
        }
        let leads_to = |folder: &[String], start: &str, end: &str| {
            let arrows = &folders[folder];
            let mut reached = BTreeSet::from([start]);
            let mut next = vec![start];
            while let Some(module) = next.pop() {
                let others = arrows.get(module).into_iter().flatten();
                next.extend(others.filter(|other| reached.insert(**other)));
            }
            reached.contains(end)
        };
        let on_a_circle = between
            .into_iter()
            .filter(|(folder, a, b, _, _)| leads_to(folder, b, a));
        on_a_circle
            .map(|(_, a, b, from, to)| format!("{a} → {b}: {} imports {}", name(from), name(to)))
            .collect()
    }
}

impl File {
    fn take_tree(&mut self, tree: &UseTree, mut path: Vec<String>) {
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.take_tree(&part.tree, path);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.take_tree(tree, path.clone());
                }
            }
            UseTree::Glob(_) => self.take_path(path),
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                if name != "self" {
                    path.push(name);
                }
                self.take(path.last().cloned(), path);
            }
            UseTree::Rename(rename) => {
                path.push(rename.ident.to_string());
                self.take(Some(rename.rename.to_string()), path);
            }
        }
    }

    fn take(&mut self, name: Option<String>, path: Vec<String>) {
        let is_inner = self.inner_modules > 0;
        if let Some(name) = name.filter(|_| !is_inner) {
            self.names.insert(name, path.clone());
        }
        self.take_path(path);
    }

    /// Takes a path; in a module within the file, `super` is the file.
    fn take_path(&mut self, mut path: Vec<String>) {
        for _ in 0..self.inner_modules {
            if path.first().is_some_and(|part| part == "super") {
                path.remove(0);
            }
        }
        // The rest of `super::name` is a name of the file itself, which its own `use` lines tell of.
        let leads_elsewhere =
            |first: &String| ["crate", "super", "shunt"].contains(&first.as_str());
        if self.inner_modules == 0 && !path.is_empty() || path.first().is_some_and(leads_elsewhere)
        {
            self.paths.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for File {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.take_tree(&item.tree, Vec::new());
    }

    /// A path in the code. If it begins with a name from a `use` line, that line says where it leads.
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if parts.len() > 1 && ["crate", "super", "shunt"].contains(&parts[0].as_str()) {
            self.take_path(parts);
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.inner_modules += 1;
        visit::visit_item_mod(self, item);
        self.inner_modules -= 1;
    }
}
