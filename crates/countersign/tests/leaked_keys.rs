//! A private key is found wherever it stands in text, by this crate and by the pattern that `docs/reference/protocol.md` gives to
//! secret scanners.

use countersign::PrivateKey;
use regex::Regex;

const KEY: &str = "sk_bFuYvMFyq9fgd3Bd2tzAUPDxwqKN8VZm1nnkkieQvP1z2JKmH8";

/// What stands before a key that begins there.
const BOUNDARIES: [&str; 47] = [
    "",
    " ",
    "\n",
    "\t",
    "key=",
    "--key=",
    "Bearer ",
    "acme_",
    "a/b_",
    "'",
    "https://api:",
    "鍵は",
    "é",
    // JSON, quoted once and twice.
    r#"{"key":""#,
    r#"{"log":"key:\n"#,
    r#"{"log":"key:\r\n"#,
    r#"{"log":"key:\t"#,
    r#"{"log":"key:\f"#,
    r#"{"log":"key:\b"#,
    r"key:\u0020",
    r"key:\u000A",
    r"key:\u000a",
    r#"{\"log\":\"key:\\n"#,
    r#"{\"log\":\"key:\\u0020"#,
    // URLs, escaped once, twice and three times.
    "q=key%20",
    "q=key%3D",
    "q=key%3d",
    "q=key%0A",
    "q=key%0D%0A",
    "q=key%2520",
    "q=key%252520",
    "q=key%u0020",
    "q=key+",
    "q=Bearer%09",
    // HTML and XML.
    "key=&quot;",
    "key=&#34;",
    "key=&#x22;",
    "key&nbsp;",
    // Shells and programs.
    r"$'key:\x20",
    r"$'key:\x9",
    r"$'key:\040",
    r"$'key:\12",
    r"$'key:\e[0m",
    r"$'key:\U00000020",
    r"key:\u{20}",
    "key: \u{1b}[1;32m",
    r#"{"log":"key: \u001b[32m"#,
];

/// What stands before `sk_` within a word.
const INSIDE: [&str; 19] = [
    "ta",
    "9",
    "n",
    "ma",
    "t",
    "20",
    "0A",
    "u0020",
    "x20",
    "U00000020",
    "040",
    "%2",
    "%g0",
    "%u002",
    r"\u002",
    r"\xg",
    r"\q",
    "32m",
    "[32;1",
];

#[test]
fn a_key_is_found_behind_every_boundary_and_never_within_a_word() {
    for before in BOUNDARIES {
        let text = format!("{before}{KEY}\". More.");
        assert!(PrivateKey::is_shown_in(&text), "{text}");
        assert!(PrivateKey::is_shown_in(&format!("{before}{}", &KEY[..24])), "cut short: {before}");
    }
    for before in INSIDE {
        let text = format!("see {before}{KEY}");
        assert!(!PrivateKey::is_shown_in(&text), "{text}");
    }
}

#[test]
fn the_documented_pattern_finds_the_same_keys() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/protocol.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, pattern) = page.split_once("leaked secrets looks for").unwrap();
    let pattern = Regex::new(pattern.split('`').nth(1).unwrap()).unwrap();
    for before in BOUNDARIES {
        let text = format!("{before}{KEY}\". More.");
        let found = pattern.find(&text).unwrap_or_else(|| panic!("{text}"));
        assert!(found.as_str().ends_with(KEY), "{text}");
    }
    for before in INSIDE {
        let text = format!("see {before}{KEY}");
        assert!(!pattern.is_match(&text), "{text}");
    }
    for (name, brand) in [("task_", ""), ("sk_", "9"), ("sk_", "x")] {
        let text = format!("{brand}{name}01J9ZK3Q4R5S6T7V8W9X0Y1Z2A.json");
        assert!(!pattern.is_match(&text), "{text}");
    }
}

#[test]
fn keys_in_other_forms_are_found_in_urls_and_html_too() {
    for text in [
        "key=-----BEGIN%20PRIVATE%20KEY-----%0A",
        "key=-----BEGIN+PRIVATE+KEY-----",
        "key=-----BEGIN+OPENSSH+PRIVATE+KEY-----",
        "key=%7B%22kty%22%3A%22oct%22%2C%22k%22%3A%22c2VjcmV0%22%7D",
        "key=%7B%22kty%22%3a+%22oct%22%2C%22k%22%20%3A%22c2VjcmV0%22%7D",
        "<pre>{&quot;kty&quot;:&quot;oct&quot;,&quot;k&quot;:&quot;c2VjcmV0&quot;}",
        "<pre>{&#34;kty&#34;:&#34;oct&#34;,&#34;k&#34;: &#34;c2VjcmV0&#34;}",
        r"{\u0022kty\u0022:\u0022oct\u0022,\u0022k\u0022:\u0022c2VjcmV0\u0022}",
    ] {
        assert!(PrivateKey::is_shown_in(text), "{text}");
    }
    for text in [
        "key=-----BEGIN+PUBLIC+KEY-----",
        "key=%7B%22kty%22%3A%22OKP%22%2C%22x%22%3A%22AAAA%22%7D",
        "SHOP+PRIVATE+KEY.pem",
        "k=1&d=2&kty=oct",
    ] {
        assert!(!PrivateKey::is_shown_in(text), "{text}");
    }
}
