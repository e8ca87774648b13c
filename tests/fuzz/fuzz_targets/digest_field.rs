//! Digests that are read are written the same, and match no other content.
#![no_main]

use countersign::{CONTENT_DIGEST, ContentDigest};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use order::in_time;

fuzz_target!(|data: (&[u8], Option<&[u8]>, &[u8])| {
    let (first, second, content) = data;
    let mut headers = HeaderMap::new();
    for line in [Some(first), second].into_iter().flatten() {
        let Ok(line) = HeaderValue::from_bytes(line) else { return };
        headers.append(CONTENT_DIGEST, line);
    }
    let read = in_time(first.len(), || ContentDigest::from_headers(&headers));
    let Ok(Some(digest)) = read else { return };
    let mut again = HeaderMap::new();
    again.insert(CONTENT_DIGEST, digest.to_header().unwrap());
    assert_eq!(ContentDigest::from_headers(&again), Ok(Some(digest)));
    let mut check = digest.check();
    check.update(content);
    let matches = check.finish().is_ok();
    let ours =
        [ContentDigest::sha256(content), ContentDigest::sha512(content)].map(|one| one.to_string());
    if matches {
        assert!(ours.iter().any(|one| digest.to_string().contains(one.as_str())));
    }
});
