//! Which files of a crate import from which, and where imports lead in a circle.
//!
//! Reads `use` declarations and the paths that begin with `crate`, `super` or `self` as text, without a compiler. A name that a module
//! re-exports leads to the file that defines it, so an import through `lib.rs` counts like one from the file itself. Modules
//! under `#[cfg(test)]` are left out.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "positions in a text that is in memory, and a depth that is bounded"
)]

mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use source::{Declared, Source};

/// A module's path from the root of its crate. The root's is empty.
type Module = Vec<String>;

/// As many re-exports behind each other are followed.
const MOST_REEXPORTS: usize = 12;

/// The files of one crate, and the names that each takes from another.
#[derive(Debug, Default)]
pub struct Imports {
    files: BTreeMap<Module, File>,
    taken: BTreeMap<Module, BTreeMap<Module, BTreeSet<String>>>,
}

/// Files of which each can be reached from each other along imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    /// Their paths below `src`, in order.
    pub files: Vec<String>,
    /// Importing file, imported file, and the names.
    pub imports: Vec<(String, String, Vec<String>)>,
}

#[derive(Debug, Default)]
struct File {
    /// Its path below `src`.
    shown: String,
    source: Source,
}

impl Imports {
    /// Reads the crate whose root, `lib.rs` or `main.rs`, is in this folder.
    ///
    /// # Errors
    ///
    /// If there is neither, or a file of a module cannot be read.
    pub fn read(src: &Path) -> io::Result<Self> {
        let mut imports = Self::default();
        let roots = ["lib.rs", "main.rs"].map(|name| src.join(name));
        let root = roots.iter().find(|root| root.exists()).ok_or_else(|| {
            io::Error::other(format!("{} has neither lib.rs nor main.rs", src.display()))
        })?;
        imports.read_file(src, root, Vec::new())?;
        for (module, file) in &imports.files {
            for (inside, path) in &file.source.paths {
                let Some(target) = imports.file_of(inside, path, 0) else { continue };
                if let Some(name) = path.last()
                    && target != *module
                    && !target.is_empty()
                {
                    let names = imports.taken.entry(module.clone()).or_default();
                    names.entry(target).or_default().insert(name.clone());
                }
            }
        }
        Ok(imports)
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The circles, the largest first. The root is in none of them: it names every module.
    pub fn circles(&self) -> Vec<Circle> {
        let reached: BTreeMap<_, _> =
            self.files.keys().map(|module| (module, self.reached_from(module))).collect();
        let mut placed = BTreeSet::new();
        let mut circles = Vec::new();
        for (module, reaches) in &reached {
            let back = |other: &&Module| reached[*other].contains(*module);
            let circle: BTreeSet<_> = reaches.iter().filter(back).collect();
            if circle.len() > 1 && placed.insert(circle.clone()) {
                circles.push(self.circle(&circle));
            }
        }
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.files.len()));
        circles
    }

    fn circle(&self, modules: &BTreeSet<&Module>) -> Circle {
        let shown = |module: &Module| self.files[module].shown.clone();
        let mut imports = Vec::new();
        for from in modules {
            for (to, names) in self.taken.get(*from).into_iter().flatten() {
                if modules.contains(to) {
                    imports.push((shown(from), shown(to), names.iter().cloned().collect()));
                }
            }
        }
        Circle { files: modules.iter().map(|module| shown(module)).collect(), imports }
    }

    fn reached_from(&self, module: &Module) -> BTreeSet<Module> {
        let mut reached = BTreeSet::new();
        let mut left = vec![module];
        while let Some(module) = left.pop() {
            for next in self.taken.get(module).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(next.clone()) {
                    left.push(next);
                }
            }
        }
        reached
    }

    fn read_file(&mut self, src: &Path, path: &Path, module: Module) -> io::Result<()> {
        let text = fs::read_to_string(path)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        let shown = path.strip_prefix(src).unwrap_or(path).display().to_string();
        let source = Source::read(&text, &module);
        let declared = source.declared.clone();
        self.files.insert(module.clone(), File { shown, source });

        let folder = path.parent().unwrap_or(src);
        // Of a file that `#[path]` names, as of these, modules are in the same folder.
        let is_named = module.last().is_some_and(|name| !path.ends_with(format!("{name}.rs")));
        let own_folder = match path.file_name().and_then(|name| name.to_str()) {
            Some("lib.rs" | "main.rs" | "mod.rs") => folder.to_owned(),
            _ if is_named => folder.to_owned(),
            _ => path.with_extension(""),
        };
        for Declared { name, inside, file } in declared {
            let below: PathBuf = inside.iter().skip(module.len()).collect();
            let path = match file {
                Some(file) => folder.join(file),
                None => {
                    let plain = own_folder.join(&below).join(format!("{name}.rs"));
                    let nested = own_folder.join(&below).join(&name).join("mod.rs");
                    if plain.exists() { plain } else { nested }
                }
            };
            let mut child = inside;
            child.push(name);
            self.read_file(src, &path, child)?;
        }
        Ok(())
    }

    /// The file to whose module a path leads, as it is written in a module.
    fn file_of(&self, inside: &Module, path: &[String], depth: usize) -> Option<Module> {
        if depth > MOST_REEXPORTS {
            return None;
        }
        let mut path = path;
        let mut here = inside.clone();
        match path.split_first()? {
            (first, rest) if first == "crate" => (here, path) = (Vec::new(), rest),
            (first, rest) if first == "self" => path = rest,
            _ => {}
        }
        while let Some((first, rest)) = path.split_first()
            && first == "super"
        {
            here.pop()?;
            path = rest;
        }
        while let Some((first, rest)) = path.split_first() {
            let mut child = here.clone();
            child.push(first.clone());
            // A module that is written out in a file can have modules with files of their own.
            let below = self.files.range(child.clone()..).next();
            if below.is_some_and(|(module, _)| module.starts_with(&child)) {
                (here, path) = (child, rest);
                continue;
            }
            if let Some(target) = self.handed_on(&here, first, depth)
                && let Some(found) = self.file_of(&here, &target, depth + 1)
            {
                return Some(found);
            }
            break;
        }
        // A module within a file is of that file.
        while !self.files.contains_key(&here) {
            here.pop()?;
        }
        Some(here)
    }

    /// The path by which a module hands a name on that it does not define.
    fn handed_on(&self, module: &Module, name: &str, depth: usize) -> Option<Vec<String>> {
        let source = &self.files.get(module)?.source;
        if let Some(target) = source.exports.get(name) {
            return (target.as_slice() != [name]).then(|| target.clone());
        }
        let has_name = |glob: &&Vec<String>| {
            let Some(of) = self.file_of(module, glob, depth + 1) else { return false };
            let defines = self.files[&of].source.defines.contains(name);
            defines || depth < MOST_REEXPORTS && self.handed_on(&of, name, depth + 1).is_some()
        };
        let mut target = source.globs.iter().find(has_name)?.clone();
        target.push(name.to_owned());
        Some(target)
    }
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (from, to, names) in &self.imports {
            writeln!(f, "    {from} -> {to}: {}", names.join(", "))?;
        }
        Ok(())
    }
}
