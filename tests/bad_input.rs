//! The table of bad inputs over raw sockets: each request is one change away from one that passes, and each refusal has
//! its status, its code and its headers, while no handler runs.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "a test that cannot go on fails"
)]

use std::sync::Arc;

use countersign::{Claim, KeyId, NonceUse, PrivateKey, Timestamp};
use countersign_store::{Credential, KeyStore, MemoryNonces, NonceStore, StoreError, Window};
use harness::{Answer, NOW, PARAMS, Raw, Service, exchange, key};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ALL: &str = r#""@method" "@authority" "@path" "@query" "content-digest" "content-type""#;

fn params() -> String {
    format!("({ALL}){PARAMS}")
}

/// A signed order whose parameters, or list, have one part replaced.
fn replaced(from: &str, to: &str) -> Raw {
    let params = params();
    assert!(params.contains(from), "{from}");
    Raw::order().signed_as(&params.replacen(from, to, 1))
}

fn uncovered(name: &str) -> Raw {
    let params = params().replace(&format!("\"{name}\""), "").replace("  ", " ");
    Raw::order().signed_as(&params.replace("( ", "(").replace(" )", ")"))
}

fn ours(number: u8) -> String {
    key(number).publishable_key().to_string()
}

/// What every refusal looks like, whatever its reason.
fn check_refusal(answer: &Answer, case: &str) {
    assert_eq!(answer.get("content-type"), Some("application/problem+json"), "{case}");
    assert_eq!(answer.get("cache-control"), Some("no-store"), "{case}");
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let code = answer.code();
    assert_eq!(problem["type"], format!("urn:countersign:problem:{code}"), "{case}");
    assert_eq!(problem["status"], answer.status, "{case}");
    assert_eq!(problem["request_id"].as_str(), answer.get("x-request-id"), "{case}");
    for member in ["title", "detail", "hint"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{case}: {member}");
    }
    let challenged = answer.get("www-authenticate").is_some();
    assert_eq!(challenged, answer.status == 401, "{case}");
    if answer.status == 401 {
        let wanted = answer.get("accept-signature").unwrap();
        assert!(wanted.starts_with(r#"sig=("@method" "@authority" "@path" "@query""#), "{case}");
    }
    assert!(answer.get("date").is_some(), "{case}");
    for secret in [key(1), key(2)] {
        assert!(!answer.body.contains(secret.expose_text().as_str()), "{case}");
    }
}

async fn refused(service: &Service, row: &str, request: &[u8], status: u16, code: &str) -> Answer {
    let before = service.handled();
    let answer = exchange(service.address, request).await;
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "row {row}: {answer:?}");
    check_refusal(&answer, row);
    assert_eq!(service.handled(), before, "row {row}: a handler ran");
    answer
}

async fn accepted(service: &Service, row: &str, request: &Raw, status: u16) -> Answer {
    let before = service.handled();
    let answer = exchange(service.address, &request.bytes()).await;
    assert_eq!(answer.status, status, "row {row}: {answer:?}");
    assert_eq!(service.handled(), before + 1, "row {row}");
    answer
}

#[tokio::test]
async fn signature_fields_that_are_absent_unpaired_or_malformed() {
    let service = Service::start().await;
    let signed = || Raw::order().signed();
    let input = |change: &dyn Fn(&str) -> String| signed().change("Signature-Input", change);
    let twice = |name: &str| {
        let value = signed().get(name);
        signed().add(name, value)
    };
    let many = |count: usize| {
        let inputs: Vec<_> = (0..count).map(|at| format!("p{at}=()")).collect();
        let signatures: Vec<_> = (0..count).map(|at| format!("p{at}=:AA==:")).collect();
        signed()
            .change("Signature-Input", |own| format!("{own}, {}", inputs.join(", ")))
            .change("Signature", |own| format!("{own}, {}", signatures.join(", ")))
    };
    let second = |tag: &str| {
        signed()
            .change("Signature-Input", |own| format!("{own}, two=(\"@method\");tag=\"{tag}\""))
            .change("Signature", |own| format!("{own}, two=:AAAA:"))
    };
    let large = "a".repeat(9 * 1024);
    let cases: Vec<(&str, Raw, u16, &str)> = vec![
        ("1", Raw::order(), 401, "signature-required"),
        ("2", signed().without("Signature-Input"), 400, "signature-malformed"),
        ("3", signed().without("Signature"), 400, "signature-malformed"),
        (
            "4",
            signed().change("Signature", |own| own.replace("sig=", "gis=")),
            400,
            "signature-malformed",
        ),
        ("7", second("countersign"), 400, "signature-malformed"),
        ("9", many(8), 400, "signature-malformed"),
        ("9, 700 labels", many(700), 431, "header-too-large"),
        ("10", signed().add("Signature", format!("x=\"{large}\"")), 431, "header-too-large"),
        ("11", input(&|own| format!("{own}, {own}")), 400, "signature-malformed"),
        ("12", twice("Signature-Input"), 400, "signature-malformed"),
        ("12, signature", twice("Signature"), 400, "signature-malformed"),
        (
            "13",
            replaced(";created=1763900000", ";created=1763900000;created=1763900000"),
            400,
            "signature-malformed",
        ),
        ("14", replaced("\"@path\"", "\"@path\" \"@path\""), 400, "signature-malformed"),
        (
            "15, zeros",
            replaced("created=1763900000", "created=0001763900000"),
            400,
            "signature-malformed",
        ),
        ("15, spaces", replaced("\"@path\"", " \"@path\""), 400, "signature-malformed"),
        (
            "15, base64",
            signed().change("Signature", |own| own.replace("==:", ":")),
            400,
            "signature-malformed",
        ),
        ("16", replaced(";alg", ";x=1;alg"), 400, "signature-malformed"),
        ("17, item", signed().set("Signature-Input", "sig=1"), 400, "signature-malformed"),
        ("17, key", input(&|own| own.replacen("sig=", "Sig=", 1)), 400, "signature-malformed"),
        ("17, comma", input(&|own| format!("{own},")), 400, "signature-malformed"),
        (
            "19",
            input(&|own| own.replacen("countersign", "counter\tsign", 1)),
            400,
            "signature-malformed",
        ),
        (
            "19, obs-text",
            signed().set("Signature-Input", b"sig=();tag=\"\xe9\""),
            400,
            "signature-malformed",
        ),
        ("29", replaced("\"@method\"", "\"@method\";req"), 400, "signature-malformed"),
        ("29, tr", replaced("\"content-type\"", "\"content-type\";tr"), 400, "signature-malformed"),
        ("31", replaced("\"@path\"", "\"@path\" \"@foo\""), 400, "signature-malformed"),
        ("32", replaced("\"@path\"", "\"@path\" \"x-absent\""), 400, "signature-malformed"),
        (
            "35",
            Raw::order().add("X-Twice", "1").add("X-Twice", "2").signed_as(&params().replacen(
                "\"@path\"",
                "\"@path\" \"x-twice\"",
                1,
            )),
            400,
            "signature-malformed",
        ),
        (
            "36",
            replaced("\"@path\"", "\"@path\" \"@signature-params\""),
            400,
            "signature-malformed",
        ),
        ("63, URL", replaced("KEYID", "https://evil.test/k"), 400, "signature-malformed"),
        ("63, path", replaced("KEYID", "../../../etc/passwd"), 400, "signature-malformed"),
        ("63, SQL", replaced("KEYID", "' OR 1=1 --"), 400, "signature-malformed"),
        ("63, glob", replaced("KEYID", "pk_********"), 400, "signature-malformed"),
        ("76, negative", replaced("created=1763900000", "created=-1"), 400, "signature-malformed"),
        (
            "76, decimal",
            replaced("created=1763900000", "created=1763900000.5"),
            400,
            "signature-malformed",
        ),
        (
            "76, date",
            replaced("created=1763900000", "created=@1763900000"),
            400,
            "signature-malformed",
        ),
        ("76, boolean", replaced("created=1763900000", "created"), 400, "signature-malformed"),
        (
            "76, string",
            replaced("created=1763900000", "created=\"1763900000\""),
            400,
            "signature-malformed",
        ),
        (
            "78",
            replaced("created=1763900000", "created=1763900000000000"),
            400,
            "signature-malformed",
        ),
        (
            "79",
            replaced("created=1763900000", "created=1763900000;expires=1763900000"),
            400,
            "signature-malformed",
        ),
        ("97", twice("Content-Digest"), 400, "signature-malformed"),
        (
            "103",
            Raw::order().set("Content-Type", b"caf\xc3\xa9").signed_as(&params()),
            400,
            "signature-malformed",
        ),
    ];
    for (row, request, status, code) in cases {
        refused(&service, row, &request.bytes(), status, code).await;
    }
    accepted(&service, "8", &second("proxy"), 201).await;
    accepted(&service, "9, eight labels", &many(7), 201).await;
}

#[tokio::test]
async fn signatures_that_do_not_meet_the_policy() {
    let service = Service::start().await;
    let plain = Raw::order().without("Content-Type").signed_as(&format!("(){PARAMS}"));
    let digested = |digest: &str| Raw::order().add("Content-Digest", digest);
    let md5 = "md5=:Sd/dVLAcvNLSq16eXua5uQ==:";
    let read_with_body = Raw::read().signed().body(b"more");
    let overridden = |name: &str| Raw::read().add("X-Api-Key", ours(1)).add(name, "DELETE");
    let cases: Vec<(&str, Raw, u16, &str)> = vec![
        ("20", plain, 401, "signature-policy"),
        ("21", uncovered("@method"), 401, "signature-policy"),
        ("22", uncovered("@authority"), 401, "signature-policy"),
        ("23", uncovered("@path"), 401, "signature-policy"),
        ("24", uncovered("@query"), 401, "signature-policy"),
        ("25", replaced("\"@query\"", "\"@query-param\";name=\"expand\""), 401, "signature-policy"),
        ("26", uncovered("content-digest"), 401, "signature-policy"),
        ("27", Raw::order().signed().without("Content-Digest"), 401, "signature-policy"),
        (
            "28, key",
            replaced("\"content-digest\"", "\"content-digest\";key=\"sha-256\""),
            401,
            "signature-policy",
        ),
        (
            "28, bs",
            replaced("\"content-digest\"", "\"content-digest\";bs"),
            401,
            "signature-policy",
        ),
        ("30", uncovered("content-type"), 401, "signature-policy"),
        (
            "33",
            Raw::order().signed().add("X-HTTP-Method-Override", "DELETE"),
            401,
            "signature-policy",
        ),
        ("34", Raw::order().signed().add("Idempotency-Key", "1"), 401, "signature-policy"),
        ("33, unsigned", overridden("X-HTTP-Method-Override"), 401, "signature-required"),
        ("33, unsigned", overridden("X-HTTP-Method"), 401, "signature-required"),
        ("33, unsigned", overridden("X-Method-Override"), 401, "signature-required"),
        ("37, created", replaced(";created=1763900000", ""), 401, "signature-policy"),
        ("37, keyid", replaced(";keyid=\"KEYID\"", ""), 401, "signature-policy"),
        ("37, nonce", replaced(";nonce=\"CQkJCQkJCQkJCQkJCQkJCQ\"", ""), 401, "signature-policy"),
        ("37, tag", replaced(";tag=\"countersign\"", ""), 401, "signature-policy"),
        ("38", replaced("\"countersign\"", "\"other\""), 401, "signature-required"),
        ("93", read_with_body, 401, "signature-policy"),
        (
            "93, unsigned",
            Raw::read().add("X-Api-Key", ours(1)).body(b"more"),
            401,
            "signature-required",
        ),
        ("95", digested(md5).signed_as(&params()), 400, "digest-unsupported"),
        ("95, unknown", digested("crc=:AAAA:").signed_as(&params()), 400, "digest-unsupported"),
    ];
    for (row, request, status, code) in cases {
        let answer = refused(&service, row, &request.bytes(), status, code).await;
        let wanted = answer.get("want-content-digest").is_some();
        assert_eq!(wanted, code == "digest-unsupported", "row {row}");
    }
    // Thirty-two components are allowed, one more is not.
    for (row, more, status) in [("18", 27, 400), ("18, at the limit", 26, 201)] {
        let mut request = Raw::order();
        let mut list = ALL.to_owned();
        for at in 0..more {
            request = request.add(&format!("X-{at}"), "1");
            list.push_str(&format!(" \"x-{at}\""));
        }
        let request = request.signed_as(&format!("({list}){PARAMS}"));
        assert_eq!(exchange(service.address, &request.bytes()).await.status, status, "row {row}");
    }
    let encoded = Raw::order().add("Content-Encoding", "identity").add("Idempotency-Key", "1");
    accepted(&service, "34, covered", &encoded.signed(), 201).await;
}

#[tokio::test]
async fn keys_that_are_unknown_revoked_or_in_the_wrong_place() {
    let service = Service::start().await;
    let order = Raw::order;
    let signed_by = |number| order().signed_by(key(number), NOW);
    let broken = |request: Raw| {
        request.change("Signature", |own| {
            let other = if own.contains("sig=:A") { "sig=:B" } else { "sig=:A" };
            format!("{other}{}", &own[6..])
        })
    };
    let hmac = |secret: &[u8]| PrivateKey::hmac_sha256([1; 16], secret).unwrap();
    let public = key(1).publishable_key();
    let confused = |alg: &str| {
        order().signed_by(hmac(public.as_bytes()), NOW).change("Signature-Input", |own| {
            let (head, _) = own.split_once(";keyid=").unwrap();
            format!("{head};keyid=\"{public}\"{alg};tag=\"countersign\"")
        })
    };
    let secret = key(1).expose_text();
    let read = |key: &str| Raw::read().add("X-Api-Key", key);
    let sized = |length: usize| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        order().signed().set("Signature", format!("sig=:{}:", STANDARD.encode(vec![7; length])))
    };
    let cases: Vec<(&str, Raw, u16, &str)> = vec![
        ("5", broken(Raw::read().signed()).add("X-Api-Key", ours(1)), 401, "signature-invalid"),
        (
            "6",
            Raw::read().target(&format!("/v1/orders?api_key={}", ours(1))).signed(),
            400,
            "ambiguous-credential",
        ),
        (
            "6, encoded",
            Raw::read().target(&format!("/v1/orders?api%5Fkey={}", ours(5))).signed(),
            400,
            "ambiguous-credential",
        ),
        ("6, another key", order().signed().add("X-Api-Key", ours(5)), 400, "ambiguous-credential"),
        ("6, two unsigned", read(&ours(1)).add("X-Api-Key", ours(5)), 400, "ambiguous-credential"),
        ("60", signed_by(9), 401, "signature-invalid"),
        ("60, revoked and wrong", broken(signed_by(2)), 401, "signature-invalid"),
        ("60, expired and wrong", broken(signed_by(3)), 401, "signature-invalid"),
        ("61", signed_by(2), 401, "key-revoked"),
        ("61, expired", signed_by(3), 401, "key-expired"),
        ("61, quarantined", signed_by(4), 401, "key-quarantined"),
        ("62", broken(order().signed()), 401, "signature-invalid"),
        ("64", replaced("alg=\"ed25519\"", "alg=\"hmac-sha256\""), 401, "signature-invalid"),
        ("64, case", replaced("alg=\"ed25519\"", "alg=\"ED25519\""), 401, "signature-invalid"),
        ("64, none", replaced("alg=\"ed25519\"", "alg=\"none\""), 401, "signature-invalid"),
        ("65", confused(";alg=\"hmac-sha256\""), 401, "signature-invalid"),
        ("65, no alg", confused(""), 401, "signature-invalid"),
        ("65, ed25519", confused(";alg=\"ed25519\""), 401, "signature-invalid"),
        ("66, 0", sized(0), 401, "signature-invalid"),
        ("66, 31", sized(31), 401, "signature-invalid"),
        ("66, 63", sized(63), 401, "signature-invalid"),
        ("66, 65", sized(65), 401, "signature-invalid"),
        ("66, 128", sized(128), 401, "signature-invalid"),
        ("69", order().add("X-Api-Key", ours(1)), 401, "signature-required"),
        ("69, private route", read(&ours(1)).target("/v1/secret"), 401, "signature-required"),
        ("69, raised route", read(&ours(1)).target("/v1/raised"), 401, "signature-required"),
        (
            "69, undeclared write",
            read(&ours(1)).target("/v1/plain").method("DELETE"),
            401,
            "signature-required",
        ),
        (
            "69, no route",
            read(&ours(1)).target("/nowhere").method("POST"),
            401,
            "signature-required",
        ),
        ("70", read(&secret), 401, "signature-required"),
        ("no key", Raw::read(), 401, "key-required"),
        ("no key, no route", Raw::read().target("/nowhere"), 401, "key-required"),
        ("unknown key", read(&ours(9)), 401, "key-unknown"),
        ("no key at all", read("pk_1"), 401, "key-unknown"),
        ("revoked key", read(&ours(2)), 401, "key-revoked"),
        ("expired key", read(&ours(3)), 401, "key-expired"),
    ];
    for (row, request, status, code) in cases {
        refused(&service, row, &request.bytes(), status, code).await;
    }
    // Where the signature does not hold, nothing tells which keys exist.
    let shape = async |request: Raw| {
        let answer = exchange(service.address, &request.bytes()).await;
        let mut problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        problem["request_id"] = serde_json::Value::Null;
        let names: Vec<_> = answer.headers.into_iter().map(|(name, _)| name).collect();
        (answer.status, names, problem)
    };
    let unknown = shape(signed_by(9)).await;
    for number in [1, 2, 3, 4] {
        assert_eq!(shape(broken(signed_by(number))).await, unknown, "key {number}");
    }
    accepted(&service, "a signed order", &order().signed(), 201).await;
    accepted(&service, "a publishable read", &read(&ours(1)), 200).await;
    accepted(&service, "a signed read", &Raw::read().signed(), 200).await;
    accepted(&service, "both, one key", &Raw::read().signed().add("X-Api-Key", ours(1)), 200).await;
    accepted(&service, "a secret", &Raw::read().target("/v1/secret").signed(), 200).await;
    accepted(&service, "raised", &Raw::read().target("/v1/raised").signed(), 200).await;
    accepted(&service, "quarantined, reading", &read(&ours(4)), 200).await;
    let hmac = PrivateKey::hmac_sha256([6; 16], &[6; 32]).unwrap();
    accepted(&service, "hmac", &order().signed_by(hmac, NOW), 201).await;
    let query = Raw::read().target(&format!("/v1/orders?api_key={}", ours(1)));
    accepted(&service, "in the query", &query, 200).await;
    let cookie = Raw::read().add("Cookie", format!("a=b; api_key={}", ours(1)));
    accepted(&service, "in a cookie", &cookie, 200).await;
}

#[tokio::test]
async fn targets_hosts_and_methods_that_can_be_read_in_two_ways() {
    let service = Service::start().await;
    let signed = |target: &str| Raw::read().signed().target(target);
    let host = |host: &str| Raw::order().signed().set("Host", host);
    let captured_on_b = Raw::order().signed().set("Host", "b.example.com");
    let long = format!("/{}", "a".repeat(9000));
    let lower = Raw::read().target("/v1/a%2db").signed().target("/v1/a%2Db");
    let longer = Raw::read().target("/p?a=1").signed().target("/p?a=1&a=2");
    let version = |version| Raw { version, ..Raw::order().signed() };
    let absolute = Raw::order().signed();
    let absolute = absolute.clone().target(&format!("https://api.example.com{}", absolute.target));
    let root = |target: &str| Raw::read().target("/").signed().target(target);
    let cases: Vec<(&str, Raw, u16, &str)> = vec![
        ("40", Raw::order().signed().add("Host", "api.example.com"), 400, "bad-request"),
        ("40, evil", Raw::order().signed().add("Host", "evil.test"), 400, "bad-request"),
        ("41", Raw::order().signed().without("Host"), 400, "bad-request"),
        ("41, absolute", absolute.clone().without("Host"), 400, "bad-request"),
        ("42, path", host("api.example.com/x"), 400, "bad-request"),
        ("42, query", host("api.example.com?x"), 400, "bad-request"),
        ("42, user", host("user@api.example.com"), 400, "bad-request"),
        ("42, empty", host(""), 400, "bad-request"),
        ("43", Raw::order().signed().target("http://evil.test/v1/orders"), 400, "bad-request"),
        ("45", host("evil.test"), 421, "misdirected"),
        ("45, dot", host("api.example.com."), 421, "misdirected"),
        (
            "45, unsigned",
            Raw::read().set("Host", "evil.test").add("X-Api-Key", ours(1)),
            421,
            "misdirected",
        ),
        ("46", captured_on_b, 401, "signature-invalid"),
        ("48", host("api.example.com:80"), 421, "misdirected"),
        ("49", host("evil.test").add("X-Forwarded-Host", "api.example.com"), 421, "misdirected"),
        ("50", version("HTTP/1.0"), 505, "bad-request"),
        ("51", signed("/v1/orders?"), 400, "bad-target"),
        ("52", longer, 401, "signature-invalid"),
        ("53", signed("/a/../b"), 400, "bad-target"),
        ("53, encoded", signed("/a/%2e%2e/b"), 400, "bad-target"),
        ("54", signed("//a"), 400, "bad-target"),
        ("54, inside", signed("/a//b"), 400, "bad-target"),
        ("55, %2F", signed("/a%2Fb"), 400, "bad-target"),
        ("55, %5C", signed("/a%5Cb"), 400, "bad-target"),
        ("55, \\", signed("/a\\b"), 400, "bad-target"),
        ("55, %00", signed("/a%00"), 400, "bad-target"),
        ("56, %zz", signed("/%zz"), 400, "bad-target"),
        ("56, %1", signed("/a%1"), 400, "bad-target"),
        ("56, not ASCII", signed("/\u{e9}"), 400, "bad-target"),
        ("57", lower, 401, "signature-invalid"),
        ("59", signed(&long), 414, "uri-too-long"),
        (
            "88, CONNECT",
            Raw::read().signed().method("CONNECT").target("api.example.com:443"),
            405,
            "method-not-allowed",
        ),
        ("88, TRACE", Raw::read().signed().method("TRACE"), 405, "method-not-allowed"),
        ("89", Raw::read().signed().method("OPTIONS").target("*"), 400, "bad-target"),
        ("89, authority", root("api.example.com"), 400, "bad-target"),
        ("89, authority", root("api.example.com:443"), 400, "bad-target"),
        ("90, case", Raw::read().signed().method("get"), 405, "method-not-allowed"),
        ("90, unknown", Raw::read().signed().method("FROB"), 405, "method-not-allowed"),
    ];
    let closed = ["bad-request", "uri-too-long", "method-not-allowed"];
    for (row, request, status, code) in cases {
        let answer = refused(&service, row, &request.bytes(), status, code).await;
        if closed.contains(&code) {
            assert_eq!(answer.get("connection"), Some("close"), "row {row}");
        }
        assert_eq!(answer.get("allow").is_some(), status == 405, "row {row}");
    }
    // What the HTTP library refuses itself, before anything of ours runs.
    for (row, line) in [
        ("39", "@method: GET"),
        ("obs-fold", "X-A: b\r\n c"),
        ("space", "X-A : b"),
        ("NUL", "X-A: \0"),
    ] {
        let mut bytes = Raw::order().signed().head_bytes();
        bytes.extend(format!("{line}\r\nContent-Length: 0\r\n\r\n").into_bytes());
        assert_eq!(exchange(service.address, &bytes).await.status, 400, "row {row}");
    }
    assert_eq!(service.handled(), 0);
    accepted(&service, "47", &host("API.EXAMPLE.com:443"), 201).await;
    accepted(&service, "43, agreeing", &absolute, 201).await;
    for prefix in ["/api", "/api/deep"] {
        let nested = Raw::order().target(&format!("{prefix}/v1/orders?a=1")).signed();
        accepted(&service, "58", &nested, 201).await;
    }
    let upgrade = Raw::order().signed().add("Connection", "upgrade").add("Upgrade", "websocket");
    accepted(&service, "91, ignored", &upgrade, 201).await;
}

#[tokio::test]
async fn a_signature_is_good_for_its_time_and_for_one_request() {
    let service = Service::start().await;
    let at = |offset: i64| {
        let created = NOW.unix().checked_add_signed(offset).unwrap();
        Raw::order().signed_by(key(1), Timestamp::from_unix(created))
    };
    let expiring = |expires: &str| {
        replaced("created=1763900000", &format!("created=1763900000;expires={expires}"))
    };
    let far = replaced("created=1763900000", "created=999999999999999");
    for (row, request) in [("72", at(11)), ("74", at(-71)), ("77", far)] {
        let answer = refused(&service, row, &request.bytes(), 401, "signature-stale").await;
        assert_eq!(answer.get("date"), Some("Sun, 23 Nov 2025 12:13:20 GMT"), "row {row}");
    }
    accepted(&service, "73", &at(10), 201).await;
    accepted(&service, "74, at the edge", &at(-70), 201).await;
    let once = expiring("2763900000");
    accepted(&service, "81", &once, 201).await;
    service.clock.set(61);
    refused(&service, "82, later", &once.bytes(), 401, "signature-replayed").await;
    service.clock.set(71);
    refused(&service, "81, later", &once.bytes(), 401, "signature-stale").await;
    service.clock.set(0);
    let short = expiring("1763900005").change("Signature-Input", |own| own.to_owned());
    service.clock.set(6);
    refused(&service, "80", &short.bytes(), 401, "signature-stale").await;
    service.clock.set(0);
    let request = at(0);
    accepted(&service, "82", &request, 201).await;
    refused(&service, "82", &request.bytes(), 401, "signature-replayed").await;
    let read = Raw::read().signed();
    accepted(&service, "a signed read", &read, 200).await;
    refused(&service, "82, read", &read.bytes(), 401, "signature-replayed").await;
}

#[tokio::test]
async fn a_bad_signature_spends_no_nonce() {
    let service = Service::start().await;
    let request = Raw::order().signed();
    let forged = request.clone().set("Signature", format!("sig=:{}:", "A".repeat(86) + "=="));
    for _ in 0..5 {
        refused(&service, "46 of the catalogue", &forged.bytes(), 401, "signature-invalid").await;
    }
    accepted(&service, "the honest request", &request, 201).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_copies_at_once_one_is_handled() {
    let service = Service::start().await;
    for _ in 0..5 {
        let before = service.handled();
        let bytes: Arc<[u8]> = Raw::order().signed().bytes().into();
        let copies: Vec<_> = (0..64)
            .map(|_| {
                let (bytes, address) = (Arc::clone(&bytes), service.address);
                tokio::spawn(async move { exchange(address, &bytes).await })
            })
            .collect();
        let mut created = 0;
        for copy in copies {
            let answer = copy.await.unwrap();
            match answer.status {
                201 => created += 1,
                _ => assert_eq!(answer.code(), "signature-replayed"),
            }
        }
        assert_eq!((created, service.handled() - before), (1, 1), "row 83");
    }
}

#[tokio::test]
async fn content_that_is_not_what_was_signed() {
    let service = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.content_limit(1000).content_timeout(std::time::Duration::from_millis(200))
    })
    .await;
    let signed = || Raw::order().signed();
    let sha512 = countersign::ContentDigest::sha512(b"other");
    let both = |digest: &str| {
        let own = countersign::ContentDigest::sha256(&Raw::order().body);
        Raw::order().add("Content-Digest", format!("{own}, {digest}")).signed_as(&params())
    };
    let cases: Vec<(&str, Raw, u16, &str)> = vec![
        ("94, changed", signed().body(br#"{"item":"bool"}"#), 400, "digest-mismatch"),
        ("94, appended", signed().body(br#"{"item":"book"} "#), 400, "digest-mismatch"),
        ("94, cut", signed().body(br#"{"item":"book"#), 400, "digest-mismatch"),
        ("96", both(&sha512.to_string()), 400, "digest-mismatch"),
        ("98", Raw::order().body(&[b'a'; 1001]).signed(), 413, "content-too-large"),
    ];
    for (row, request, status, code) in cases {
        let answer = refused(&service, row, &request.bytes(), status, code).await;
        assert_eq!(answer.get("connection"), Some("close"), "row {row}");
    }
    let chunked = |body: &[u8], end: &str| {
        let mut bytes = signed().body(body).add("Transfer-Encoding", "chunked").head_bytes();
        bytes.extend(format!("\r\n{:x}\r\n", body.len()).into_bytes());
        bytes.extend(body);
        bytes.extend(b"\r\n");
        bytes.extend(end.as_bytes());
        bytes
    };
    let body = Raw::order().body;
    let before = service.handled();
    let whole = exchange(service.address, &chunked(&body, "0\r\n\r\n")).await;
    assert_eq!((whole.status, service.handled()), (201, before + 1), "{whole:?}");
    let large = chunked(&[b'a'; 1001], "0\r\n\r\n");
    refused(&service, "98, chunked", &large, 413, "content-too-large").await;
    let silent = &signed().bytes();
    let silent = &silent[..silent.len() - 1];
    refused(&service, "99", silent, 408, "request-timeout").await;
    refused(&service, "100", &chunked(&body, "zz\r\n"), 400, "bad-request").await;
    for name in ["Signature", "Signature-Input", "Content-Digest"] {
        let trailer = chunked(&body, &format!("0\r\n{name}: x=1\r\n\r\n"));
        refused(&service, "101", &trailer, 400, "bad-request").await;
    }
    let harmless = exchange(service.address, &chunked(&body, "0\r\nX-Other: 1\r\n\r\n")).await;
    assert_eq!(harmless.status, 201);
}

#[tokio::test]
async fn whoever_is_refused_while_sending_can_go_on_and_read_why() {
    let service = Service::start().await;
    let forged = Raw::order().body(&[b'a'; 48 << 10]).signed_by(key(9), NOW).bytes();
    let (first, rest) = forged.split_at(8 << 10);
    let mut stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
    stream.write_all(first).await.unwrap();
    let mut answer = vec![0];
    stream.read_exact(&mut answer).await.unwrap();
    // It is refused, and the connection about to be closed: were it reset now, the answer could be lost.
    for piece in rest.chunks(4 << 10) {
        stream.write_all(piece).await.unwrap();
    }
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && answer.contains("signature-invalid"),
        "{answer}"
    );
    assert_eq!(service.handled(), 0);
}

#[tokio::test]
async fn a_request_behind_a_refused_one_is_not_executed() {
    let service = Service::start().await;
    let smuggled = Raw::order().signed().bytes();
    let mut bytes = Raw::order().body(&smuggled).bytes();
    bytes.extend(&smuggled);
    let answer = refused(&service, "60 of the catalogue", &bytes, 401, "signature-required").await;
    assert_eq!(answer.get("connection"), Some("close"));
    assert_eq!(service.handled(), 0);
}

struct Broken;

impl KeyStore for Broken {
    async fn find(&self, _: &KeyId, _: Timestamp) -> Result<Option<Arc<Credential>>, StoreError> {
        Err(StoreError::new("the test says no"))
    }
}

impl NonceStore for Broken {
    async fn claim(&self, _: &NonceUse, _: Timestamp) -> Result<Claim, StoreError> {
        Err(StoreError::new("the test says no"))
    }
}

#[tokio::test]
async fn a_store_that_cannot_answer_lets_nothing_through() {
    let deaf = Service::start_with(Service::keys(), Broken, |verifier| verifier).await;
    let order = Raw::order().signed().bytes();
    let answer = refused(&deaf, "106", &order, 503, "replay-store-unavailable").await;
    assert!(answer.get("retry-after").is_some());
    let read = Raw::read().add("X-Api-Key", ours(1));
    accepted(&deaf, "107", &read, 200).await;
    let blind = Service::start_with(Broken, Service::nonces(), |verifier| verifier).await;
    refused(&blind, "108", &order, 503, "registry-unavailable").await;
    refused(&blind, "108, read", &read.bytes(), 503, "registry-unavailable").await;
    let cold = MemoryNonces::volatile(Window::default(), NOW).unwrap();
    let cold = Service::start_with(Service::keys(), cold, |verifier| verifier).await;
    let answer = refused(&cold, "75", &order, 401, "signature-stale").await;
    assert_eq!(answer.get("retry-after"), Some("11"));
    let small = Service::nonces().share(2);
    let small = Service::start_with(Service::keys(), small, |verifier| verifier).await;
    for _ in 0..2 {
        accepted(&small, "105", &Raw::order().signed(), 201).await;
    }
    let third = Raw::order().signed().bytes();
    let answer = refused(&small, "105", &third, 429, "rate-limited").await;
    assert!(answer.get("retry-after").is_some());
    accepted(&small, "105, another", &Raw::order().signed_by(key(5), NOW), 201).await;
}

#[tokio::test]
async fn an_open_path_is_open_and_nothing_beside_it() {
    let service = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.insecure_open_path("/health")
    })
    .await;
    let health = |method: &str| Raw::read().target("/health").method(method);
    assert_eq!(exchange(service.address, &health("GET").bytes()).await.status, 200);
    assert_eq!(exchange(service.address, &health("POST").body(b"x").bytes()).await.status, 200);
    let beside = ["/health/", "/Health", "/api/health", "/healthy"];
    for target in beside {
        let request = Raw::read().target(target).bytes();
        refused(&service, target, &request, 401, "key-required").await;
    }
    let foreign = health("GET").add("X-Api-Key", "of another service").add("Cookie", "api_key=1");
    assert_eq!(exchange(service.address, &foreign.bytes()).await.status, 200);
    let bad = health("GET").signed_by(key(9), NOW).bytes();
    refused(&service, "a bad signature", &bad, 401, "signature-invalid").await;
}

#[tokio::test]
async fn the_limit_on_content_is_the_verifiers_own() {
    let service = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.content_limit(4 << 20)
    })
    .await;
    let order = |length: usize| {
        Raw::order().body(format!("\"{}\"", "a".repeat(length - 2)).as_bytes()).signed()
    };
    accepted(&service, "98, at the limit", &order(4 << 20), 201).await;
    // It is refused for what it announces, long before it is sent.
    let begun = &order((4 << 20) + 1).bytes()[..4096];
    refused(&service, "98", begun, 413, "content-too-large").await;
}

#[tokio::test]
async fn answers_to_callers_are_kept_out_of_caches() {
    let service = Service::start().await;
    let signed = accepted(&service, "signed", &Raw::order().signed(), 201).await;
    assert_eq!(signed.get("cache-control"), Some("no-store"));
    let read = Raw::read().add("X-Api-Key", ours(1));
    let read = accepted(&service, "publishable", &read, 200).await;
    assert_eq!(read.get("cache-control"), Some("no-store"));
}
