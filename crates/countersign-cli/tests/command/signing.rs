use crate::desk::Desk;

#[test]
fn what_was_signed_verifies_and_what_was_changed_does_not() {
    let (desk, publishable) = Desk::with_key();
    let message = desk.signed_order("http");
    let verify =
        |message: &str| desk.run_with(["verify", "--key", &publishable, "-"], message.as_bytes());
    assert_eq!(verify(&message).done(), format!("verified: signed by {publishable}\n"));
    let changes = [
        ("POST ", "PUT ", "signature-invalid"),
        ("/v1/orders", "/v2/orders", "signature-invalid"),
        ("expand=customer", "expand=supplier", "signature-invalid"),
        ("api.example.com", "api.example.org", "signature-invalid"),
        ("application/json", "application/jsn", "signature-invalid"),
        ("\"book\"", "\"boot\"", "digest-mismatch"),
        ("Content-Digest: sha-256=:", "Content-Digest: sha-256=:AAAA", "signature-malformed"),
        ("created=1", "created=2", "signature-stale"),
        ("\"@path\" ", "", "signature-policy"),
        ("Signature: sig=:", "Signature: other=:", "signature-malformed"),
    ];
    for (from, to, code) in changes {
        let outcome = verify(&message.replacen(from, to, 1));
        assert_eq!(outcome.code, 3, "{from} → {to}: {outcome:?}");
        assert!(outcome.stdout.starts_with(&format!("not verified: {code}")), "{outcome:?}");
    }
    let other = Desk::with_key().1;
    let outcome = desk.run_with(["verify", "--key", &other, "-"], message.as_bytes());
    assert_eq!(outcome.code, 3, "another's key: {outcome:?}");
}

#[test]
fn fields_of_a_service_are_structured_as_its_users_say() {
    let (desk, publishable) = Desk::with_key();
    let url = "https://api.example.com/a";
    let own = ["--field-type", "x-limits=dictionary", "--field-type", "X-Kind=item"];
    let fields = ["-H", "X-Limits: a=1,  b=2;c", "-H", "X-Kind: 1.50"];
    let covered = ["--component", r#""x-limits";key="b""#, "--component", "x-kind;sf"];
    let fixed = ["sign", "--key", "id.key", "--format", "http"];
    let sign = |own: &[&str]| {
        desk.run(fixed.iter().chain(&fields).chain(&covered).chain(own).chain(&[url]))
    };
    sign(&[]).failed(1, "not known to be structured", "--component in --help");
    sign(&["--field-type", "x-limits=list", "--field-type", "x-kind=item"])
        .failed(1, "x-limits", "--help");
    let message = sign(&own).done();
    for command in ["verify", "explain"] {
        let verify = |own: &[&str]| {
            let fixed = [command, "--policy", "none", "--key", &publishable];
            desk.run_with(fixed.iter().chain(own).chain(&["-"]), message.as_bytes())
        };
        assert!(verify(&own).done().contains("verified: signed by"));
        let outcome = verify(&[]);
        assert_eq!(outcome.code, 3, "{outcome:?}");
        assert!(outcome.stdout.contains("not known to be structured"), "{outcome:?}");
    }
    for wrong in ["x-limits", "x-limits=map", "x limits=item"] {
        let outcome = sign(&["--field-type", wrong]);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.stderr.contains("--field-type"), "{outcome:?}");
    }
}

#[test]
fn a_signature_expires_when_it_is_told_to() {
    let (desk, publishable) = Desk::with_key();
    let sign = |expires: &str| {
        let fixed = ["sign", "--key", "id.key", "--created", "1763900000", "--format", "http"];
        desk.run(fixed.iter().chain(&["--expires", expires, "https://api.example.com/a"]))
    };
    let message = sign("1763900030").done();
    assert!(message.contains(";created=1763900000;expires=1763900030;"), "{message}");
    let at = |now: &str| {
        let verify = ["verify", "--key", &publishable, "--at", now, "-"];
        desk.run_with(verify, message.as_bytes())
    };
    at("1763900030").done();
    let late = at("1763900031");
    assert_eq!(late.code, 3);
    assert!(late.stdout.starts_with("not verified: signature-stale"), "{late:?}");
    sign("1763900000").failed(1, "--expires is not later", "a later time");
}

#[test]
fn a_target_in_absolute_form_says_where_a_request_goes() {
    let (desk, publishable) = Desk::with_key();
    let covered = ["@scheme", "@authority", "@target-uri"];
    let covered = covered.iter().flat_map(|one| ["--component", one]);
    let fixed = ["sign", "--key", "id.key", "--format", "http"];
    let url = ["http://b.example.com:8080/a"];
    let message = desk.run(fixed.into_iter().chain(covered).chain(url)).done();
    assert!(message.starts_with("GET /a HTTP/1.1\r\nHost: b.example.com:8080\r\n"), "{message}");
    let verify = |policy: &str, target: &str, host: &str| {
        let host = message.replacen("Host: b.example.com:8080", &format!("Host: {host}"), 1);
        let message = host.replacen("GET /a", &format!("GET {target}"), 1);
        let verify = ["verify", "--policy", policy, "--key", &publishable, "-"];
        desk.run_with(verify, message.as_bytes())
    };
    let own = "http://b.example.com:8080/a";
    verify("none", own, "b.example.com:8080").done();
    verify("none", own, "other.example").done();
    assert_eq!(verify("none", "/a", "b.example.com:8080").code, 3, "the scheme is https by itself");
    assert_eq!(verify("none", "https://b.example.com:8080/a", "b.example.com:8080").code, 3);
    verify("none", "ftp://b.example.com:8080/a", "b.example.com:8080").failed(
        1,
        "its target names no origin",
        "HTTP/1.1",
    );
    for (target, host, code) in [
        (own, "other.example", "bad-request"),
        ("ftp://b.example.com:8080/a", "b.example.com:8080", "misdirected"),
        (own, "b.example.com:8080", "signature-policy"),
    ] {
        let outcome = verify("default", target, host);
        let said = format!("not verified: {code}");
        assert!(outcome.stdout.starts_with(&said), "{target} {host}: {outcome:?}");
    }
}

#[test]
fn what_a_server_refuses_before_the_signature_is_not_verified() {
    let (desk, publishable) = Desk::with_key();
    let other = Desk::with_key().1;
    let sign = |more: &[&str], url: &str| {
        let fixed = ["sign", "--key", "id.key", "--format", "http"];
        desk.run(fixed.iter().chain(more).chain(&[url])).done()
    };
    let url = "https://api.example.com/a";
    let plain = sign(&[], url);
    let show = |name: &str, key: &str| sign(&["-H", &format!("{name}{key}")], url);
    let table = [
        (plain.clone(), ""),
        (plain.replace("HTTP/1.1", "HTTP/1.0"), "bad-request"),
        (sign(&["-X", "TRACE"], url), "method-not-allowed"),
        (sign(&[], &format!("{url}?api_key={publishable}")), "ambiguous-credential"),
        (show("X-Api-Key: ", &publishable), ""),
        (show("X-Api-Key: ", &other), "ambiguous-credential"),
        (show("Cookie: a=b; api_key=", &other), "ambiguous-credential"),
        (show("X-Api-Key: ", "pk_other"), "key-unknown"),
    ];
    for (message, code) in table {
        let verify = ["verify", "--key", &publishable, "-"];
        let outcome = desk.run_with(verify, message.as_bytes());
        let verdict = match code {
            "" => format!("verified: signed by {publishable}"),
            code => format!("not verified: {code}: "),
        };
        assert!(outcome.stdout.starts_with(&verdict), "{message}: {outcome:?}");
        assert_eq!(outcome.code, if code.is_empty() { 0 } else { 3 });
        let verify = ["verify", "--policy", "none", "--key", &publishable, "-"];
        desk.run_with(verify, message.as_bytes()).done();
    }
    let unsigned = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let verify = ["verify", "--policy", "none", "--key", &publishable, "-"];
    let outcome = desk.run_with(verify, unsigned);
    assert!(outcome.stdout.contains("the message has no signature\n"), "{outcome:?}");
}

#[test]
fn what_cannot_be_printed_in_a_form_is_refused() {
    let (desk, _) = Desk::with_key();
    desk.write("nul", b"a\0b", 0o644);
    let sign = |more: &[&str], stdin: &[u8]| {
        let fixed = ["sign", "--key", "id.key", "https://example.com/"];
        desk.run_with(fixed.iter().chain(more), stdin)
    };
    let wrong = ["-H", "Content-Digest: sha-256=:AAAA:", "-d", "x"];
    let component = ["--component", "content-digest"];
    let table: [(&[&str], &str, &str); 5] = [
        (&["--tag", ""], "--tag is empty", "operator"),
        (&wrong, "not the content's", "leave the Content-Digest header out"),
        (
            &["--format", "http", "-H", "Transfer-Encoding: chunked", "-d", "x"],
            "Transfer-Encoding",
            "leave out",
        ),
        (&["--format", "curl", "-X", "HEAD", "-d", "x"], "HEAD request with content", "leave out"),
        (&["--format", "curl", "--data-binary", "@-"], "not text", "--format http"),
    ];
    for (arguments, error, hint) in table {
        sign(arguments, b"a\0b").failed(1, error, hint);
    }
    let chosen: Vec<_> = wrong.iter().chain(&component).copied().collect();
    sign(&chosen, b"").failed(1, "not the content's", "leave the Content-Digest header out");
    let right = ["-H", "Content-Digest: sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:"];
    let chosen: Vec<_> = right.iter().chain(&["-d", "x"]).chain(&component).copied().collect();
    sign(&chosen, b"").done();

    let from_file = sign(&["--format", "curl", "--data-binary", "@nul"], b"").done();
    assert!(from_file.contains("--data-binary @nul"), "{from_file}");
    let piped = sign(&["--format", "curl", "--data-binary", "@/dev/stdin"], b"text").done();
    assert!(piped.contains("--data-raw text"), "{piped}");
    for (method, said) in [("POST", true), ("PUT", true), ("PATCH", true), ("DELETE", false)] {
        let message = sign(&["--format", "http", "-X", method], b"").done();
        assert_eq!(message.contains("\r\nContent-Length: 0\r\n"), said, "{message}");
    }
}

#[test]
fn a_verdict_as_json_holds_what_was_signed() {
    let (desk, publishable) = Desk::with_key();
    desk.write("message", desk.signed_order("http"), 0o644);
    let text = desk.run(["verify", "--key", "id.key.pub", "--json", "message"]).done();
    let verdict: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(verdict["verified"], true);
    assert_eq!(verdict["keyid"], publishable);
    assert_eq!(verdict["label"], "sig");
    assert!(verdict["signature_base"].as_str().unwrap().starts_with("\"@method\": POST\n"));
    let text = desk.run(["verify", "--key", "id.key.pub", "--json", "--at", "1", "message"]);
    assert_eq!(text.code, 3);
    let verdict: serde_json::Value = serde_json::from_str(&text.stdout).unwrap();
    assert_eq!(
        (&verdict["verified"], &verdict["code"]),
        (&false.into(), &"signature-stale".into())
    );
}

#[test]
fn what_cannot_be_read_is_not_merely_unverified() {
    let (desk, publishable) = Desk::with_key();
    let verify = |message: &[u8]| desk.run_with(["verify", "--key", &publishable, "-"], message);
    verify(b"").failed(1, "it is empty", "HTTP/1.1");
    verify(b"hello").failed(1, "cannot be read", "HTTP/1.1");
    verify(b"GET / HTTP/1.1\r\n\r\n").failed(1, "names no host", "HTTP/1.1");
    desk.run(["verify", "--key", &publishable, "none"]).failed(1, "cannot read none", "stdin");
    let response = b"HTTP/1.1 200 OK\r\n\r\n";
    verify(response).failed(1, "this is a response", "--policy none");
    let typo = format!("{publishable}1");
    desk.run(["verify", "--key", &typo, "none"]).failed(1, "not a publishable key", "to its end");
}

#[test]
fn chosen_components_are_covered_in_their_order() {
    let (desk, _) = Desk::with_key();
    let sign = |more: &[&str]| {
        let fixed = ["sign", "--key", "id.key", "--created", "1763900000", "--nonce"];
        let fixed = fixed.iter().chain(&["CQkJCQkJCQkJCQkJCQkJCQ"]);
        desk.run(fixed.chain(more).chain(&["https://example.com/a?page=2"]))
    };
    let chosen =
        ["--component", "@path", "--component", "\"@query-param\";name=\"page\"", "--json"];
    let text = sign(&chosen).done();
    let signed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let base = signed["signature_base"].as_str().unwrap();
    assert!(base.starts_with("\"@path\": /a\n\"@query-param\";name=\"page\": 2\n"), "{base}");
    assert_eq!(text, sign(&chosen).done(), "the same twice");
    sign(&["--component", "x-absent"]).failed(1, "x-absent", "headers");
    sign(&["--component", "@nothing"]).failed(1, "@nothing", "a component is like");
    sign(&["--component", "@path", "--component", "@path"]).failed(1, "twice", "once");
    sign(&["--label", "No Label"]).failed(1, "label", "lower-case");
}

#[test]
fn an_hmac_secret_signs_and_verifies_as_well() {
    let desk = Desk::new();
    let publishable = desk.run(["keygen", "--alg", "hmac-sha256", "--out", "id.key"]).done();
    let message = desk.signed_order("http");
    desk.run_with(["verify", "--key", "id.key", "-"], message.as_bytes()).done();
    desk.run_with(["verify", "--key", publishable.trim(), "-"], message.as_bytes()).failed(
        1,
        "cannot verify with pk_",
        "the file of the HMAC secret",
    );
}

#[test]
fn what_is_not_verified_is_told_with_what_to_do() {
    let (desk, publishable) = Desk::with_key();
    let message = desk.signed_order("http");
    let digest = message.split("sha-256=:").nth(1).unwrap().split(":\r\n").next().unwrap();
    let digest = format!("sha-256=:{digest}:");
    let nonce = message.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let keyid = format!("keyid=\"{publishable}\"");
    let table = [
        (
            digest.as_str(),
            "4ddc693c",
            "signature-malformed",
            "as RFC 9530 has it, like sha-256=:BASE64:",
        ),
        (&digest, "SHA-256=TdxpPOOXedI=", "signature-malformed", "the older form of the Digest"),
        ("\"ed25519\"", "\"EdDSA\"", "signature-malformed", "as RFC 9421 does: ed25519"),
        (nonce, &"a".repeat(65), "signature-malformed", "a nonce of 16 to 64 characters"),
        (
            &keyid,
            "keyid=\"shop key\"",
            "signature-malformed",
            "its publishable key (pk_…) or its JWK",
        ),
        (&keyid, "keyid=\"shop-key-1\"", "signature-invalid", "that servers look a key up by"),
        (";tag=", ";session=\"7\";tag=", "signature-malformed", "leave the parameter out"),
        ("\"@path\" ", "", "signature-policy", "--policy none"),
        ("tag=\"countersign\"", "tag=\"shop\"", "signature-required", "with --tag"),
        ("created=1", "created=2", "signature-stale", "with --at"),
        ("POST ", "PUT ", "signature-invalid", "`countersign explain`"),
        ("POST ", "TRACE ", "method-not-allowed", "POST, PUT"),
        ("HTTP/1.1", "HTTP/1.0", "bad-request", "HTTP/1.1"),
        ("book", "boot", "digest-mismatch", "send the bytes from which"),
        ("Content-Length: 15", "X: y", "digest-mismatch", "Content-Length"),
        ("Content-Length", "X-Api-Key: pk_other\r\nContent-Length", "key-unknown", "it carries"),
    ];
    for (from, to, code, hint) in table {
        let message = message.replacen(from, to, 1);
        for command in ["verify", "explain"] {
            let outcome = desk.run_with([command, "--key", &publishable, "-"], message.as_bytes());
            assert_eq!(outcome.code, 3, "{from} → {to}: {outcome:?}");
            let verdict = outcome.stdout.lines().last().unwrap();
            assert!(verdict.starts_with(&format!("not verified: {code}: ")), "{outcome:?}");
            assert!(outcome.stderr.starts_with("hint: "), "{outcome:?}");
            assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
            assert!(outcome.stderr.contains(hint), "{from} → {to}: {outcome:?}");
            assert!(!outcome.stderr.contains("Accept-Signature"), "{outcome:?}");
        }
    }
}

#[test]
fn offline_prints_the_request_as_it_would_be_sent() {
    let (desk, publishable) = Desk::with_key();
    let fixed = [
        "sign",
        "--key",
        "id.key",
        "--nonce",
        "MDEyMzQ1Njc4OWFiY2RlZg",
        "--created",
        "1763900000",
        "-d",
        "a=1",
    ];
    let run = |more: &[&str]| desk.run(fixed.iter().chain(more)).done();
    let url = "https://api.example.com/v1/orders?x=1";
    let offline = run(&["--offline", url]);
    assert!(offline.starts_with("POST /v1/orders?x=1 HTTP/1.1\r\nHost: api.example.com\r\n"));
    assert!(offline.ends_with("\r\nContent-Length: 3\r\n\r\na=1"), "{offline}");
    assert_eq!(offline, run(&["--format", "http", url]));
    let verify = ["verify", "--key", &publishable, "--at", "1763900000", "-"];
    desk.run_with(verify, offline.as_bytes()).done();
    let both = ["--offline", "--json", url];
    desk.run(fixed.iter().chain(&both)).failed(1, "--offline", "sign --help");
}
