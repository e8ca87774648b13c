//! The documents name files and tests that there are.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Markdown files below a folder.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

/// The documents of the project.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["docs", "examples", "tests/corpus"] {
        pages(&root().join(folder), &mut found);
    }
    let folders = fs::read_dir(root().join("crates")).unwrap();
    let crates = folders.map(|folder| folder.unwrap().path().join("README.md"));
    let top = fs::read_dir(root()).unwrap().map(|file| file.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|end| end == "md"));
    found.extend(crates.chain(top).filter(|path| path.exists()));
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The lines of a document that are not code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The anchors that a forge and mdBook make of the headings of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(text).filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        let anchor: String = kept.map(|char| if char == ' ' { '-' } else { char }).collect();
        assert!(anchors.insert(anchor), "two headings of a document have one anchor: {line}");
    }
    anchors
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_of_it() {
    let documents = documents();
    assert!(documents.len() >= 40, "{}", documents.len());
    let (mut links, mut headings) = (0, 0);
    for (path, text) in documents {
        let prose: Vec<_> = prose(&text).collect();
        for part in prose.join("\n").split("](").skip(1) {
            let (target, _) = part.split_once(')').unwrap();
            if target.contains("://") || target.contains('<') {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there =
                if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(there.exists(), "{}: {target}", path.display());
            links += 1;
            if !anchor.is_empty() {
                let known = anchors(&fs::read_to_string(&there).unwrap());
                assert!(known.contains(anchor), "{}: {target} of {known:?}", path.display());
                headings += 1;
            }
        }
    }
    assert!(links > 100 && headings > 10, "{links}, {headings}");
}

#[test]
fn the_summary_lists_every_page_of_the_book() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut found = Vec::new();
    pages(&root().join("docs"), &mut found);
    for page in found {
        let page = page.strip_prefix(root().join("docs")).unwrap().to_str().unwrap();
        let listed = summary.matches(&format!("]({page})")).count();
        assert_eq!(listed, usize::from(page != "SUMMARY.md"), "{page}");
    }
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
