//! The documents name files and tests that there are.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The documents of the project, each with the folder from which its links lead.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = [root(), root().join("docs"), root().join("tests/corpus")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let documents = paths.filter(|path| path.extension().is_some_and(|end| end == "md"));
    documents.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_link_leads_to_a_file() {
    let documents = documents();
    assert!(documents.len() >= 9, "{}", documents.len());
    let mut links = 0;
    for (path, text) in documents {
        for part in text.split("](").skip(1) {
            let (target, _) = part.split_once(')').unwrap();
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") || file.contains('<') {
                continue;
            }
            let there = path.parent().unwrap().join(file);
            assert!(there.exists(), "{}: {target}", path.display());
            links += 1;
        }
    }
    assert!(links > 50, "{links}");
}

#[test]
fn every_promise_names_tests_that_there_are() {
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, table) = security.split_once("### The tests that hold it\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut names = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(2) {
        let mut file = None;
        // What stands between backticks is a file, or a test in the file before it.
        for (at, word) in row.split('`').enumerate() {
            if at % 2 == 0 {
                continue;
            }
            if word.ends_with(".rs") {
                file = Some((word, fs::read_to_string(root().join(word)).unwrap()));
            } else if let Some((name, text)) = &file
                && word.contains('_')
            {
                assert!(text.contains(&format!("fn {word}(")), "{name} has no test {word}");
                names += 1;
            }
        }
    }
    assert!(names > 80, "{names}");
}

#[test]
fn contributing_names_rooms_and_files_that_there_are() {
    let contributing = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let (_, rooms) = contributing.split_once("\n## Rooms\n").unwrap();
    let (rooms, _) = rooms.split_once("\n## Order inside a file\n").unwrap();
    let crates = ["countersign", "countersign-server", "countersign-store"];
    let src = crates.map(|name| root().join("crates").join(name).join("src"));
    let mut named = 0;
    for word in rooms.split('`').skip(1).step_by(2) {
        if !word.contains(' ') && (word.contains('/') || word.ends_with(".rs")) {
            let folders = src.iter().cloned().chain([root()]);
            assert!(folders.into_iter().any(|folder| folder.join(word).exists()), "{word}");
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}
