//! The rules for other scanners of secrets are read by their formats, and find the keys that `countersign scan` finds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::{fs, path::Path};

use countersign::PrivateKey;
use regex::Regex;
use yaml_rust2::YamlLoader;

fn rule(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/secret-scanning");
    fs::read_to_string(folder.join(file)).unwrap()
}

/// Both scanners are written in Go, where `\b` knows ASCII alone.
fn expression(text: &str) -> Regex {
    Regex::new(&text.replace(r"\b", r"(?-u:\b)")).unwrap()
}

/// The expression of gitleaks and the group with the key in it.
fn gitleaks() -> (Regex, usize) {
    let config: toml::Table = rule("gitleaks.toml").parse().unwrap();
    let [rule] = config["rules"].as_array().unwrap().as_slice() else { panic!("{config:?}") };
    for field in ["id", "description"] {
        assert!(rule[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    assert_eq!(rule["keywords"].as_array().unwrap(), &["sk_".into()]);
    assert!(rule["entropy"].as_float().is_some_and(|entropy| entropy < 4.0));
    let group = rule["secretGroup"].as_integer().unwrap();
    (expression(rule["regex"].as_str().unwrap()), usize::try_from(group).unwrap())
}

/// The expression of TruffleHog, which takes the first group.
fn trufflehog() -> (Regex, usize) {
    let config = YamlLoader::load_from_str(&rule("trufflehog.yaml")).unwrap();
    let [detector] = config[0]["detectors"].as_vec().unwrap().as_slice() else { panic!() };
    assert!(detector["name"].as_str().is_some_and(|name| !name.is_empty()));
    assert_eq!(detector["keywords"][0].as_str(), Some("sk_"));
    let expressions = detector["regex"].as_hash().unwrap();
    assert_eq!(expressions.len(), 1);
    (expression(detector["regex"]["key"].as_str().unwrap()), 1)
}

/// Keys of both algorithms and of all lengths.
fn keys() -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut keys = Vec::new();
    for length in 0..=64 {
        let mut bytes = [0; 64];
        random.fill(&mut bytes);
        if length % 8 == 0 {
            bytes.fill(if length % 16 == 0 { 0 } else { 0xff });
        }
        let (seed, id) = (bytes.first_chunk().unwrap(), *bytes.last_chunk().unwrap());
        keys.push(PrivateKey::ed25519(seed).expose_text().to_string());
        if let Ok(key) = PrivateKey::hmac_sha256(id, &bytes[..length]) {
            keys.push(key.expose_text().to_string());
        }
    }
    assert_eq!(keys.len(), 65 + 33);
    keys
}

#[test]
fn the_rules_for_other_scanners_find_every_key() {
    for (expression, group) in [gitleaks(), trufflehog()] {
        for key in keys() {
            for (before, behind) in [
                ("", ""),
                (" ", "\n"),
                ("KEY=\"", "\""),
                ("acme_", " "),
                ("key:\\n", "\\n"),
                ("q=%20", "%20"),
                ("a/b_", "_"),
                ("é", "é"),
                ("'", "';"),
            ] {
                let text = format!("1\n{before}{key}{behind}");
                let found = expression.captures(&text).unwrap_or_else(|| panic!("{text}"));
                assert_eq!(&found[group], key, "{text}");
            }
            let two = format!("{key} {key}");
            assert_eq!(expression.find_iter(&two).count(), 2, "{two}");
        }
    }
}

#[test]
fn the_rules_for_other_scanners_leave_near_misses_out() {
    let key = PrivateKey::ed25519(&[7; 32]).expose_text();
    let publishable = PrivateKey::ed25519(&[7; 32]).publishable_key().to_string();
    for (expression, _) in [gitleaks(), trufflehog()] {
        for text in [
            &publishable,
            &key[..key.len() - 1],
            &format!("{}2", *key),
            &key.replace("sk_", "SK_"),
            &key.replace("sk_", "sk-"),
            &key.replace("sk_a", "sk_c"),
            &key.replace("sk_a6", "sk_a0"),
            &format!("ta{}", *key),
            "sk_live_51H8a9b0c1d2e3f4g5h6i7j8k9m1n2o3p4q5r6s7t8u9v1w2x3y4",
            "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
            "sk_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A",
            "task_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A.json",
            &format!("sk_{}", "a".repeat(64)),
            &format!("sk_{}", "2".repeat(117)),
            &format!("sk_{}", "0123456789abcdef".repeat(4)),
        ] {
            assert!(!expression.is_match(text), "{text}");
        }
    }
}
