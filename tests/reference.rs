//! The reference and the pages for troubleshooting have a place for each code, metric, field, setting, variable and warning of the
//! program, and for no other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use countersign::Code;
use countersign_service::{ConfigSource, ServiceCode};
use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    let path = root().join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Rust files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

/// The sources of the published crates, each without its tests and the documentation of its items.
fn sources() -> Vec<(PathBuf, String)> {
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let folders = crates.map(|entry| entry.unwrap().path().join("src"));
    let published = folders.filter(|folder| !folder.ends_with("countersign-bench/src"));
    let files = published.flat_map(|folder| files(&folder));
    let sources: Vec<_> = files
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
            let code = text[..end].lines().filter(|line| {
                let line = line.trim_start();
                !line.starts_with("///") && !line.starts_with("//!")
            });
            (path, code.flat_map(|line| [line, "\n"]).collect())
        })
        .collect();
    assert!(sources.len() > 300, "{}", sources.len());
    sources
}

/// What the first group of a pattern finds in the sources.
fn found(pattern: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    let sources = sources();
    let found = sources.iter().flat_map(|(_, text)| pattern.captures_iter(text));
    found.map(|captures| captures[1].to_owned()).collect()
}

/// The cells of the rows of all tables of a page, without their headings.
fn rows(page: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in page.lines() {
        let is_row = line.starts_with("| ");
        let is_rule = line.starts_with("| ---");
        if is_row && in_table && !is_rule {
            let line = line.replace("\\|", "\u{0}");
            let cells = line.trim_matches('|').split('|');
            rows.push(cells.map(|cell| cell.trim().replace('\u{0}', "|")).collect());
        }
        in_table = is_row && (in_table || is_rule);
    }
    rows
}

/// The words between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Compares what the program has with what a page lists.
fn assert_same(what: &str, of_program: &BTreeSet<String>, of_page: &BTreeSet<String>) {
    let missing: Vec<_> = of_program.difference(of_page).collect();
    let stale: Vec<_> = of_page.difference(of_program).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "{what}: missing {missing:#?}, stale {stale:#?}"
    );
}

/// The codes of the problems of `countersign serve`.
fn codes_of_service() -> BTreeSet<String> {
    ServiceCode::ALL.iter().map(ToString::to_string).collect()
}

#[test]
fn each_code_is_in_the_reference_with_its_status_and_title() {
    let mut listed = BTreeMap::new();
    for row in rows(&page("reference/codes.md")) {
        listed.insert(quoted(&row[0])[0].to_owned(), (row[1].clone(), row[2].clone()));
    }
    let of_verifier = Code::all().iter().map(|code| (code.as_str(), code.status(), code.title()));
    let of_service = ServiceCode::ALL.iter();
    let of_service = of_service.map(|code| (code.as_str(), code.status(), code.title()));
    for (code, status, title) in of_verifier.chain(of_service) {
        let expected = (status.as_u16().to_string(), title.to_owned());
        assert_eq!(listed.remove(code), Some(expected), "{code}");
    }
    assert!(listed.is_empty(), "{listed:?}");
}

#[test]
fn each_code_has_its_place_in_troubleshooting() {
    let page = page("troubleshoot/codes.md");
    let headings = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let mut codes = codes_of_service();
    codes.extend(Code::all().iter().map(ToString::to_string));
    assert_same("codes", &codes, &headings.map(str::to_owned).collect());
}

#[test]
fn each_code_is_explained_by_the_protocol() {
    let page = page("reference/protocol.md");
    let (_, refusals) = page.split_once("\n## Refusals\n").unwrap();
    let (refusals, _) = refusals.split_once("\n## ").unwrap();
    let rows = rows(refusals);
    let named = rows.iter().flat_map(|row| quoted(&row[0])).map(str::to_owned).collect();
    assert_same("codes", &Code::all().iter().map(ToString::to_string).collect(), &named);
}

/// The level and the message of each warning and each error that the program logs.
fn warnings() -> BTreeSet<(String, String)> {
    let macros = Regex::new(r"\btracing::(warn|error)!\(").unwrap();
    let literal = Regex::new(r#""((?:[^"\\]|\\[\s\S])*)"(?:,\s*(\w+)\))?"#).unwrap();
    let values = Regex::new(r"\{[^}]*\}").unwrap();
    let line_ends = Regex::new(r"\\\n\s*").unwrap();
    let sources = sources();
    let mut warnings = BTreeSet::new();
    for (path, text) in &sources {
        for found in macros.captures_iter(text) {
            let behind = &text[found.get(0).unwrap().end()..];
            let message = literal.captures(behind).unwrap();
            let mut text = message[1].to_owned();
            if text == "{}" {
                // The message is a constant of another file.
                let named = message.get(2).unwrap_or_else(|| panic!("{}", path.display()));
                let constant =
                    format!(r#"const {}: &str =\s*"((?:[^"\\]|\\[\s\S])*)""#, named.as_str());
                let constant = Regex::new(&constant).unwrap();
                let found = sources.iter().find_map(|(_, text)| constant.captures(text));
                text = found.unwrap()[1].to_owned();
            }
            let text = line_ends.replace_all(&text, "");
            let text = values.replace_all(&text, "…").replace("\\\"", "\"");
            warnings.insert((found[1].to_uppercase(), text));
        }
    }
    assert!(warnings.len() > 45, "{}", warnings.len());
    warnings
}

#[test]
fn each_warning_and_error_of_the_log_has_its_place_in_troubleshooting() {
    let page = page("troubleshoot/warnings.md");
    let headings = page.lines().filter_map(|line| line.strip_prefix("### ")?.split_once(' '));
    let headings: Vec<_> = headings.collect();
    let warnings = warnings();
    let begins = |(level, text): &(String, String), (told, heading): &(&str, &str)| {
        level == told && text.starts_with(heading)
    };
    for warning in &warnings {
        let has_place = headings.iter().any(|heading| begins(warning, heading));
        assert!(has_place, "docs/troubleshoot/warnings.md has no ### {} {}", warning.0, warning.1);
    }
    for heading in &headings {
        let is_logged = warnings.iter().any(|warning| begins(warning, heading));
        assert!(is_logged, "nothing logs {heading:?}");
    }
}

#[test]
fn each_metric_is_in_the_reference_with_its_labels() {
    let page = page("reference/metrics.md");
    let listed: BTreeMap<String, String> = rows(&page)
        .into_iter()
        .filter(|row| row[0].starts_with("`countersign_"))
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone()))
        .collect();
    let mut metrics = found(r#"(?:counter|gauge|histogram)!\(\s*"(countersign_\w+)""#);
    metrics.extend(found(r#"Key::from_parts\("(countersign_\w+)""#));
    metrics.extend(found(r#"\(\s*"(countersign_\w+_total)",\s*""#));
    assert_same("metrics", &metrics, &listed.keys().cloned().collect());
    let mut described = found(r#"describe_\w+!\(\s*"(countersign_\w+)""#);
    described.extend(found(r#"\(\s*"(countersign_\w+_total)",\s*""#));
    assert_same("described metrics", &metrics, &described);
    let with_labels =
        Regex::new(r#"(?:counter|gauge|histogram)!\(\s*"(countersign_\w+)",([^;]*?)\)\s*[.;]?\s"#)
            .unwrap();
    let label = Regex::new(r#""(\w+)" =>"#).unwrap();
    let mut labels = 0;
    for (_, text) in sources() {
        for found in with_labels.captures_iter(&text) {
            for name in label.captures_iter(&found[2]) {
                let told = &listed[&found[1]];
                assert!(told.contains(&format!("`{}`", &name[1])), "{}: {}", &found[1], &name[1]);
                labels += 1;
            }
        }
    }
    assert!(labels > 8, "{labels}");
}

#[test]
fn each_variable_of_the_environment_is_in_the_reference() {
    let variable = Regex::new(r#""(COUNTERSIGN_[A-Z_]+)""#).unwrap();
    let tests =
        ["tests", "tests/fuzz", "crates/countersign-store/src"].map(|folder| root().join(folder));
    let in_folders = tests.iter().flat_map(|folder| files(folder));
    let texts = in_folders.map(|path| fs::read_to_string(path).unwrap());
    let mut variables: BTreeSet<_> = texts
        .flat_map(|text| {
            let found = variable.captures_iter(&text).map(|found| found[1].to_owned());
            found.collect::<Vec<_>>()
        })
        .collect();
    variables.extend(found(variable.as_str()));
    // Those by which tests speak to processes that they start, and one that is never set.
    variables
        .retain(|name| !name.starts_with("COUNTERSIGN_TEST_") && name != "COUNTERSIGN_NOT_SET");
    let listed = rows(&page("reference/configuration.md")).into_iter();
    let listed = listed.filter(|row| row[0].starts_with("`COUNTERSIGN_"));
    assert_same(
        "variables",
        &variables,
        &listed.map(|row| row[0].trim_matches('`').to_owned()).collect(),
    );
}

#[test]
fn each_setting_of_a_service_is_in_the_reference() {
    let file = root().join("crates/countersign-service/src/config/file.rs");
    let text = fs::read_to_string(file).unwrap();
    let structs = Regex::new(r"struct (\w+) \{\n([^}]*)\n\}").unwrap();
    let field = Regex::new(r"pub\(super\) (\w+): ([^\n]+),").unwrap();
    let fields: BTreeMap<&str, Vec<(&str, &str)>> = structs
        .captures_iter(&text)
        .map(|found| {
            let (_, [name, fields]) = found.extract();
            let fields = field.captures_iter(fields).map(|found| found.extract().1);
            (name, fields.map(|[name, kind]| (name, kind)).collect())
        })
        .collect();
    let mut settings = BTreeSet::new();
    for (name, kind) in &fields["File"] {
        let section = fields.iter().find(|(section, _)| kind.contains(**section));
        match section {
            Some((_, inner)) => {
                settings.extend(inner.iter().map(|(inner, _)| format!("{name}.{inner}")))
            }
            None => drop(settings.insert((*name).to_owned())),
        }
    }
    assert!(settings.len() > 40, "{settings:?}");
    let page = page("reference/configuration.md");
    let (_, of_service) = page.split_once("\n## Settings of `countersign serve`\n").unwrap();
    let (of_service, _) = of_service.split_once("\n## ").unwrap();
    let listed = rows(of_service).into_iter().map(|row| row[0].trim_matches('`').to_owned());
    assert_same("settings", &settings, &listed.collect());
}

#[test]
fn the_example_of_a_configuration_can_be_used() {
    let page = page("reference/configuration.md");
    let (_, example) = page.split_once("\n```toml\n").unwrap();
    let (example, _) = example.split_once("\n```\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("serve.toml");
    fs::write(&file, example).unwrap();
    let source = ConfigSource { file: Some(file), ..ConfigSource::default() };
    assert_eq!(source.load().unwrap().routes().len(), 2);
}

#[test]
fn each_header_field_of_the_program_is_in_the_reference() {
    let page = page("reference/fields.md").to_ascii_lowercase();
    let fields = found(r#"HeaderName::from_static\("([a-z0-9-]+)"\)"#);
    assert!(fields.len() > 35, "{fields:?}");
    for field in fields {
        assert!(page.contains(&format!("`{field}`")), "docs/reference/fields.md lacks {field}");
    }
    let sources: String = sources().into_iter().map(|(_, text)| text).collect();
    for row in rows(&page) {
        for field in quoted(&row[0]) {
            let constant = field.to_ascii_uppercase().replace('-', "_");
            let is_read = sources.to_ascii_lowercase().contains(&format!("\"{field}\""))
                || Regex::new(&format!(r"\b{constant}\b")).unwrap().is_match(&sources);
            assert!(is_read, "nothing in the program sends, reads or sets {field}");
        }
    }
}

#[test]
fn each_default_names_a_setter_or_a_setting_that_there_is() {
    let sources: String = sources().into_iter().map(|(_, text)| text).collect();
    let path = Regex::new(r"`[A-Z]\w+::(\w+)`").unwrap();
    let page = page("reference/defaults.md");
    let mut named = 0;
    for found in path.captures_iter(&page) {
        let function = Regex::new(&format!(r"\bfn {}\b", &found[1])).unwrap();
        assert!(function.is_match(&sources), "there is no {}", &found[0]);
        named += 1;
    }
    assert!(named > 15, "{named}");
}

#[test]
fn each_page_that_the_program_names_is_in_the_book() {
    let named = Regex::new(r"\bdocs/[\w/.-]+\.\w+").unwrap();
    let mut pages = 0;
    let folders = ["crates", "examples", "tests"].map(|folder| root().join(folder));
    for path in folders.iter().flat_map(|folder| files(folder)) {
        if path.ends_with("tests/reference.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for page in named.find_iter(&text) {
            let file = root().join(page.as_str());
            assert!(file.exists(), "{} names {}", path.display(), page.as_str());
            pages += 1;
        }
    }
    assert!(pages > 5, "{pages}");
}

#[test]
fn no_message_names_a_file_of_the_source() {
    let literal = Regex::new(r#""(?:[^"\\]|\\[\s\S])*""#).unwrap();
    let file = Regex::new(r"\w/\w+\.rs\b|\b\w+\.rs`").unwrap();
    for (path, text) in sources() {
        if path.ends_with("countersign-cli/src/hints.rs") {
            continue;
        }
        for text in literal.find_iter(&text).filter(|text| text.as_str().contains(' ')) {
            assert!(!file.is_match(text.as_str()), "{}: {}", path.display(), text.as_str());
        }
    }
}
