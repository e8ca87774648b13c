//! The files and rules for operators in the book: the unit of systemd, the image, the alerts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use countersign_service::{ConfigSource, Overrides};
use regex::Regex;
use yaml_rust2::{Yaml, YamlLoader};

/// Where the unit expects the command.
const INSTALLED: &str = "/usr/local/bin/countersign";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// The unit, in a folder of its own, with a program that there is in the place of the command.
fn unit() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("countersign.service");
    let unit = text("packaging/systemd/countersign.service");
    assert_eq!(unit.matches(INSTALLED).count(), 2);
    fs::write(&file, unit.replace(INSTALLED, "/bin/true")).unwrap();
    (folder, file)
}

/// What a subcommand of `systemd-analyze` says about the unit.
fn analyzed(arguments: &[&str]) -> (bool, String) {
    let (_folder, file) = unit();
    let output = Command::new("systemd-analyze").args(arguments).arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn systemd_accepts_the_unit_and_finds_it_confined() {
    assert_eq!(analyzed(&["verify"]), (true, String::new()));
    // The exposure of a service: 0 to 10, here at most 2.0.
    let (confined, said) = analyzed(&["security", "--offline=true", "--threshold=20"]);
    // Versions before 250 do not know the option.
    assert!(confined || said.contains("unrecognized option"), "{said}");
}

#[test]
fn the_unit_and_the_image_run_what_the_command_has() {
    let commands = text("docs/reference/command.md");
    let unit = text("packaging/systemd/countersign.service");
    for (setting, subcommand) in [("ExecStart", "serve"), ("ExecReload", "serve reload")] {
        let line =
            format!("{setting}={INSTALLED} {subcommand} --config /etc/countersign/serve.toml\n");
        assert!(unit.contains(&line), "{line}");
        assert!(commands.contains(&format!("`countersign {subcommand}`")), "{subcommand}");
    }
    let image = text("Containerfile");
    for variable in Regex::new(r"COUNTERSIGN_\w+").unwrap().find_iter(&image) {
        let variable = format!("`{}`", variable.as_str());
        assert!(text("docs/reference/configuration.md").contains(&variable), "{variable}");
    }
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let version = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(image.contains(&format!("FROM rust:{version}-")), "{version}");
}

/// The Markdown files below a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_configuration_of_a_service_in_the_book_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut configurations = 0;
    for page in pages(&root().join("docs")) {
        let text = fs::read_to_string(&page).unwrap();
        let text: String = text.lines().map(|line| format!("{}\n", line.trim())).collect();
        let blocks = text.split("\n```toml\n").skip(1);
        for block in blocks.map(|rest| rest.split("\n```").next().unwrap()) {
            let marks = ["origins = ", "[[routes]]", "[upstream]"];
            if !marks.iter().any(|mark| block.contains(mark)) {
                continue;
            }
            let file = folder.path().join("serve.toml");
            fs::write(&file, block).unwrap();
            let overrides = Overrides {
                origins: vec!["https://api.example.com".parse().unwrap()],
                upstreams: vec!["http://127.0.0.1:3000".parse().unwrap()],
                ..Overrides::default()
            };
            let loaded = ConfigSource { file: Some(file), overrides }.load();
            assert!(loaded.is_ok(), "{}: {loaded:?}", page.display());
            configurations += 1;
        }
    }
    assert!(configurations >= 5, "{configurations}");
}

/// The rules of the alerts in the page about them.
fn rules() -> Vec<Yaml> {
    let page = text("docs/operate/monitor.md");
    let blocks = page.split("\n```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let documents = blocks.flat_map(|block| YamlLoader::load_from_str(block).unwrap());
    let groups = documents.flat_map(|document| document["groups"].as_vec().cloned());
    groups.flatten().flat_map(|group| group["rules"].as_vec().unwrap().clone()).collect()
}

#[test]
fn alerts_name_metrics_codes_and_labels_that_there_are() {
    let rules = rules();
    assert!(rules.len() > 10, "{}", rules.len());
    let (metrics, codes) = (text("docs/reference/metrics.md"), text("docs/reference/codes.md"));
    let metric = Regex::new(r"\b(countersign_\w+)(\{[^}]*\})?").unwrap();
    let label = Regex::new(r#"(\w+)=~?"([^"]*)""#).unwrap();
    for rule in &rules {
        let alert = rule["alert"].as_str().unwrap();
        let expression = rule["expr"].as_str().unwrap();
        for found in metric.captures_iter(expression) {
            let row = metrics.lines().find(|line| line.starts_with(&format!("| `{}`", &found[1])));
            let row = row.unwrap_or_else(|| panic!("{alert}: {} is no metric", &found[1]));
            let labels = found.get(2).map_or("", |labels| labels.as_str());
            for label in label.captures_iter(labels) {
                assert!(row.contains(&format!("`{}`", &label[1])), "{alert}: {}", &label[1]);
                for value in label[2].split('|') {
                    let quoted = format!("`{value}`");
                    assert!(row.contains(&quoted) || codes.contains(&quoted), "{alert}: {value}");
                }
            }
        }
        assert!(rule["annotations"]["summary"].as_str().is_some(), "{alert}");
    }
}

#[test]
fn each_alert_that_says_what_to_do_is_one() {
    let names = rules().into_iter().map(|rule| rule["alert"].as_str().unwrap().to_owned());
    let names: BTreeSet<_> = names.collect();
    let page = text("docs/operate/monitor.md");
    let (_, told) = page.split_once("\n## What to do\n").unwrap();
    let named = Regex::new("`(Countersign[A-Z]\\w+)`").unwrap();
    let mut all = 0;
    for name in named.captures_iter(told) {
        assert!(names.contains(&name[1]), "{}", &name[1]);
        all += 1;
    }
    assert!(all > 7, "{all}");
}
