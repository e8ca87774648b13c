//! Every structured field of IANA's HTTP Field Name registry is read as what its specification makes it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use countersign::{Candidate, FieldType, Message, Origin, RequestHead, Target};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use FieldType::{Dictionary, Item, List};

/// The registry's fields with a structured type, its provisional ones included, and `Signature-Agent`, which is in use as a draft.
const FIELDS: [(&str, FieldType); 60] = [
    ("Accept-CH", List),
    ("Accept-Query", List),
    ("Accept-Signature", Dictionary),
    ("Activate-Storage-Access", Item),
    ("Available-Dictionary", Item),
    ("CDN-Cache-Control", Dictionary),
    ("Cache-Group-Invalidation", List),
    ("Cache-Groups", List),
    ("Cache-Status", List),
    ("Capsule-Protocol", Item),
    ("Client-Cert", Item),
    ("Client-Cert-Chain", List),
    ("Concealed-Auth-Export", Item),
    ("Content-Digest", Dictionary),
    ("Critical-CH", List),
    ("Cross-Origin-Embedder-Policy", Item),
    ("Cross-Origin-Embedder-Policy-Report-Only", Item),
    ("Cross-Origin-Opener-Policy", Item),
    ("Cross-Origin-Opener-Policy-Report-Only", Item),
    ("Deprecation", Item),
    ("Dictionary-ID", Item),
    ("Idempotency-Key", Item),
    ("Incremental", Item),
    ("Link-Template", List),
    ("No-Vary-Search", Dictionary),
    ("Observe-Browsing-Topics", Item),
    ("Origin-Agent-Cluster", Item),
    ("Permissions-Policy", Dictionary),
    ("Permissions-Policy-Report-Only", Dictionary),
    ("Priority", Dictionary),
    ("Proxy-Status", List),
    ("RateLimit", List),
    ("RateLimit-Policy", List),
    ("Reporting-Endpoints", Dictionary),
    ("Repr-Digest", Dictionary),
    ("Sec-CH-UA", List),
    ("Sec-CH-UA-Arch", Item),
    ("Sec-CH-UA-Bitness", Item),
    ("Sec-CH-UA-Form-Factors", List),
    ("Sec-CH-UA-Full-Version", Item),
    ("Sec-CH-UA-Full-Version-List", List),
    ("Sec-CH-UA-Mobile", Item),
    ("Sec-CH-UA-Model", Item),
    ("Sec-CH-UA-Platform", Item),
    ("Sec-CH-UA-Platform-Version", Item),
    ("Sec-CH-UA-WoW64", Item),
    ("Sec-Fetch-Dest", Item),
    ("Sec-Fetch-Mode", Item),
    ("Sec-Fetch-Site", Item),
    ("Sec-Fetch-Storage-Access", Item),
    ("Sec-Fetch-User", Item),
    ("Sec-Purpose", Item),
    ("Signature", Dictionary),
    ("Signature-Agent", Dictionary),
    ("Signature-Input", Dictionary),
    ("Unencoded-Digest", Dictionary),
    ("Use-As-Dictionary", Dictionary),
    ("Want-Content-Digest", Dictionary),
    ("Want-Repr-Digest", Dictionary),
    ("Want-Unencoded-Digest", Dictionary),
];

/// The line of the signature base for a field with this value under `sf`, if the field has one.
fn strict(name: &str, value: &str) -> Option<String> {
    let name: HeaderName = name.parse().unwrap();
    let (uri, origin) = (Uri::from_static("/"), "https://example.com".parse::<Origin>().unwrap());
    let mut headers = HeaderMap::new();
    headers.insert(name.clone(), HeaderValue::try_from(value).unwrap());
    let input = format!("sig=(\"{name}\";sf)");
    headers.append("signature-input", HeaderValue::try_from(input).unwrap());
    headers.append("signature", HeaderValue::from_static("sig=:AA==:"));
    let target = Target::origin_form(&uri);
    let head = RequestHead { method: &Method::GET, target, origin: &origin, headers: &headers };
    let candidate = Candidate::select(&Message::from(head), Some("sig")).ok()?;
    let base = candidate.signature_base().as_str();
    let line = base.strip_prefix(&format!("\"{name}\";sf: "))?.lines().next()?;
    Some(line.to_owned())
}

/// What each type makes of these values: a canonical form, or nothing.
fn readings(name: &str) -> [Option<String>; 3] {
    ["x;a=?1", "x,  (y  z);a=1.50", "k=1,  x=(y  z)"].map(|value| strict(name, value))
}

#[test]
fn every_registered_field_is_known_with_its_type() {
    let some = |text: &str| Some(text.to_owned());
    for (name, field_type) in FIELDS {
        if name.starts_with("Signature") && name != "Signature-Agent" {
            continue; // They hold the signature itself: the next test.
        }
        let expected = match field_type {
            Item => [some("x;a"), None, None],
            List => [some("x;a"), some("x, (y z);a=1.5"), None],
            Dictionary => [some("x;a"), None, some("k=1, x=(y z)")],
        };
        assert_eq!(readings(name), expected, "{name} is a {field_type:?}");
    }
}

#[test]
fn the_signature_fields_are_dictionaries() {
    for name in ["Signature", "Signature-Input"] {
        assert!(FIELDS.contains(&(name, Dictionary)));
        let covered = format!("\"{}\";key=\"other\"", name.to_ascii_lowercase());
        let (uri, origin) =
            (Uri::from_static("/"), "https://example.com".parse::<Origin>().unwrap());
        let mut headers = HeaderMap::new();
        let input = format!("other=(\"@method\"), sig=({covered})");
        headers.insert("signature-input", HeaderValue::try_from(input).unwrap());
        headers.insert("signature", HeaderValue::from_static("other=:AAAA:, sig=:AA==:"));
        let target = Target::origin_form(&uri);
        let head = RequestHead { method: &Method::GET, target, origin: &origin, headers: &headers };
        let candidate = Candidate::select(&Message::from(head), Some("sig")).unwrap();
        let base = candidate.signature_base().as_str();
        assert!(base.starts_with(&format!("{covered}: ")), "{base}");
    }
}

#[test]
fn other_fields_are_not_structured() {
    for name in ["Cookie", "Date", "Cache-Control", "Accept", "X-Limits", "Forwarded", "Link"] {
        assert_eq!(readings(name), [None, None, None], "{name}");
    }
}
