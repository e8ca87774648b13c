//! The order of checks, as this crate and `docs/reference/protocol.md` have it.

use countersign::Check;
use regex::Regex;

#[test]
fn the_page_numbers_the_checks_as_the_crate_does() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/protocol.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("## The order of checks").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let item = Regex::new(r"(?m)^(\d+)\. (?s:(.*?))(?:\n\d+\. |\n\n)").unwrap();
    let status = Regex::new(r"\b[45]\d\d\b").unwrap();
    let (mut items, mut at) = (Vec::new(), 0);
    while let Some(found) = item.captures_at(section, at) {
        at = found.get(2).unwrap().end();
        items.push((found[1].to_owned(), found[2].to_owned()));
    }
    let (last, checks) = items.split_last().unwrap();
    assert_eq!(last.0, (Check::ALL.len() + 1).to_string());
    assert!(last.1.starts_with("the handler"), "{last:?}");
    assert_eq!(checks.len(), Check::ALL.len());
    for (check, (number, text)) in Check::ALL.into_iter().zip(checks) {
        let title = text.split("**").nth(1).unwrap_or_default();
        assert_eq!(format!("{number}. {title}"), check.to_string());
        let mut statuses: Vec<u16> =
            status.find_iter(text).map(|found| found.as_str().parse().unwrap()).collect();
        statuses.sort_unstable();
        statuses.dedup();
        assert_eq!(statuses, check.statuses(), "{check}");
    }
}
