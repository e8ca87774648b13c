//! A target that passes has one reading.
#![no_main]

use countersign::Target;
use http::{Uri, Version};
use libfuzzer_sys::fuzz_target;
use order::in_time;

fuzz_target!(|data: &[u8]| {
    let Ok(uri) = Uri::try_from(data) else { return };
    let target = Target::new(&uri, Version::HTTP_11);
    if in_time(data.len(), || target.check()).is_err() {
        return;
    }
    let path = target.path();
    assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!path.contains("//") && !path.contains('\\'));
    let lower = path.to_ascii_lowercase();
    for code in ["%2e", "%2f", "%5c", "%00"] {
        assert!(!lower.contains(code), "{path}");
    }
    assert!(path.split('/').all(|segment| !matches!(segment, "." | "..")));
    for text in [path, target.query().unwrap_or("x")] {
        assert!(!text.is_empty());
        for (at, _) in text.match_indices('%') {
            assert!(text.as_bytes()[at + 1..at + 3].iter().all(u8::is_ascii_hexdigit));
        }
    }
    // As another server reads it.
    let again: Uri =
        format!("{path}{}", target.query().map(|query| format!("?{query}")).unwrap_or_default())
            .parse()
            .unwrap();
    let again = Target::origin_form(&again);
    assert_eq!((again.path(), again.query()), (path, target.query()));
});
