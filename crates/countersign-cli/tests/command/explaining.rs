use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign::{
    Check, Component, Derived, KeyFile, Message, Origin, PrivateKey, RequestHead, ResponseHead,
    SignatureParams, Target, sign,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde_json::Value;

use crate::desk::Desk;

/// The names of the checks with this outcome.
fn checks<'t>(told: &'t Value, outcome: &str) -> Vec<&'t str> {
    let all = told["checks"].as_array().unwrap();
    let with = all.iter().filter(|check| check["outcome"] == outcome);
    with.map(|check| check["check"].as_str().unwrap()).collect()
}

#[test]
fn each_check_that_fails_is_told_and_the_verdict_is_that_of_verify() {
    let (desk, publishable) = Desk::with_key();
    let message = desk.signed_order("http");
    let changes: [(&str, &str, &[&str]); 14] = [
        ("", "", &[]),
        ("POST ", "TRACE ", &["method", "signature"]),
        ("/v1/orders", "/v1//orders", &["target", "signature"]),
        ("Host: api", "Host: other.example\r\nHost: api", &["origin", "signature"]),
        ("Signature: sig=:", "Signature: other=:", &["signature fields"]),
        ("tag=\"countersign\"", "tag=\"other\"", &["selected by tag", "signature"]),
        ("\"@path\" ", "", &["covers \"@path\"", "signature"]),
        (" \"content-type\"", "", &["covers \"content-type\"", "signature"]),
        (";created=1", ";created=2", &["time", "signature"]),
        (";created=", ";x=1;created=", &["form", "signature"]),
        ("keyid=\"pk_", "keyid=\"qk_", &["credentials", "key", "signature"]),
        ("\"ed25519\"", "\"hmac-sha256\"", &["algorithm", "signature"]),
        ("Content-Type: application/json", "X: y", &["form", "signature base"]),
        ("book", "boot", &["digest of the content"]),
    ];
    let key = format!("X-Api-Key: {publishable}\r\n");
    // All commands at one time: they tell how old a signature is.
    let (_, created) = message.split_once(";created=").unwrap();
    let (created, _) = created.split_once(';').unwrap();
    for (from, to, failed) in changes {
        let mut message = message.replacen(from, to, 1);
        if failed.contains(&"credentials") {
            message = message.replacen("Content-Type", &format!("{key}Content-Type"), 1);
        }
        let run = |command: &[&str]| {
            let fixed = ["--key", &publishable, "--at", created, "-"];
            desk.run_with(command.iter().chain(&fixed), message.as_bytes())
        };
        let (explained, verified) = (run(&["explain", "--json"]), run(&["verify", "--json"]));
        let told: Value = serde_json::from_str(&explained.stdout).unwrap();
        assert_eq!(checks(&told, "failed"), failed, "{from} → {to}: {explained:?}");
        let steps = told["checks"].as_array().unwrap().iter().map(|check| &check["step"]);
        let steps: Vec<u64> = steps.map(|step| step.as_u64().unwrap()).collect();
        assert!(steps.is_sorted(), "{told}");
        for check in Check::ALL {
            // Without a signature there is nothing to check behind its form.
            let checked = steps.contains(&check.number().into());
            let made = failed != ["signature fields"] || check <= Check::Form;
            assert!(checked || !made, "{check}: {told}");
        }
        assert_eq!(explained.code, verified.code);
        let verdict: Value = serde_json::from_str(&verified.stdout).unwrap();
        for (name, value) in verdict.as_object().unwrap() {
            assert_eq!(told[name], *value, "{name}");
        }
        let text = run(&["explain"]);
        let last = run(&["verify"]).stdout;
        assert!(text.stdout.ends_with(&format!("\n\n{last}")), "{text:?}");
    }
}

#[test]
fn trailers_are_told_by_name_with_what_becomes_of_them() {
    let (desk, publishable) = Desk::with_key();
    let message = desk.signed_order("http");
    let (head, content) = message.split_once("\r\n\r\n").unwrap();
    let head = head.replace("Content-Length: 15", "Transfer-Encoding: chunked");
    let table = [
        ("", None),
        ("A: 1\r\nB: 2\r\n", Some(("passed", "a, b: handlers do not get them"))),
        ("Signature: a=:AAAA:\r\n", Some(("failed", "do not belong in trailers"))),
    ];
    for (trailers, expected) in table {
        let message = format!("{head}\r\n\r\nf\r\n{content}\r\n0\r\n{trailers}\r\n");
        let arguments = ["explain", "--json", "--key", &publishable, "-"];
        let told = desk.run_with(arguments, message.as_bytes()).stdout;
        let told: Value = serde_json::from_str(&told).unwrap();
        let checks = told["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["check"] == "trailers");
        assert_eq!(found.is_some(), expected.is_some(), "{told}");
        if let (Some(found), Some((outcome, detail))) = (found, expected) {
            assert_eq!(found["outcome"], outcome);
            assert!(found["detail"].as_str().unwrap().contains(detail), "{found}");
        }
        assert_eq!(told["verified"], expected.is_none_or(|(outcome, _)| outcome == "passed"));
    }
}

#[test]
fn without_a_policy_the_signature_is_explained_alone() {
    let (desk, publishable) = Desk::with_key();
    let message = desk.signed_order("http").replace("\"book\"", "\"boot\"");
    let arguments = ["explain", "--policy", "none", "--json", "--key", &publishable, "-"];
    let outcome = desk.run_with(arguments, message.as_bytes());
    assert_eq!(outcome.code, 3);
    let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(checks(&told, "failed"), ["digest of the content"]);
    assert_eq!(checks(&told, "skipped"), ["time", "replay"]);
}

#[test]
fn a_wrong_alg_is_told_from_a_signature_that_does_not_hold() {
    let (desk, publishable) = Desk::with_key();
    let renamed = desk.signed_order("http").replacen("\"ed25519\"", "\"EdDSA\"", 1);
    let explain = |message: &str| {
        let arguments = ["explain", "--json", "--key", &publishable, "-"];
        let outcome = desk.run_with(arguments, message.as_bytes());
        assert_eq!(outcome.code, 3, "{outcome:?}");
        serde_json::from_str::<Value>(&outcome.stdout).unwrap()
    };
    let told = explain(&renamed);
    assert_eq!(checks(&told, "failed"), ["form", "algorithm", "signature"], "over another base");
    let key = KeyFile::parse(desk.read("id.key").as_bytes(), None).unwrap();
    let key: PrivateKey = key.into_private().unwrap();
    let signature = key.sign(told["signature_base"].as_str().unwrap().as_bytes());
    let (before, rest) = renamed.split_once("Signature: sig=:").unwrap();
    let (_, after) = rest.split_once(":\r\n").unwrap();
    let digits = STANDARD.encode(signature);
    let told = explain(&format!("{before}Signature: sig=:{digits}:\r\n{after}"));
    assert_eq!(told["code"], "signature-malformed");
    assert!(told["detail"].as_str().unwrap().contains("JOSE uses this name for ed25519"), "{told}");
    assert_eq!(checks(&told, "failed"), ["form", "algorithm"], "the signature holds");
}

#[test]
fn the_first_line_that_differs_is_named() {
    let (desk, publishable) = Desk::with_key();
    let told: Value = serde_json::from_str(&desk.signed_order("json")).unwrap();
    let fields = told["headers"].as_object().unwrap();
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap()))
        .collect();
    let base = told["signature_base"].as_str().unwrap();
    let message = format!(
        "POST /v1/orders?expand=customer HTTP/1.1\r\nHost: api.example.com\r\n\
         Content-Type: application/json\r\nContent-Length: 15\r\n{}\r\n{{\"item\":\"book\"}}",
        fields.concat()
    );
    desk.write("message", message.replace("application/json", "text/plain"), 0o644);
    desk.write("base", base, 0o644);
    let explain = |more: &[&str], stdin: &str| {
        let fixed = ["explain", "--key", &publishable, "message", "--expected"];
        desk.run_with(fixed.iter().chain(more), stdin.as_bytes())
    };
    let text = explain(&["base"], "").stdout;
    let expected = "line 6 is the first that differs: \"content-type\"\n  \
                    here:     \"content-type\": text/plain\n  \
                    expected: \"content-type\": application/json\n";
    assert!(text.contains(expected), "{text}");
    let json = explain(&["-", "--json"], base).stdout;
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["difference"]["line"], 6);
    assert_eq!(told["difference"]["component"], "\"content-type\"");
    desk.write("message", message, 0o644);
    let text = explain(&["base"], "").done();
    assert!(text.contains("\nthe bases are the same\n"), "{text}");
    explain(&["none"], "").failed(1, "cannot read none", "a signature base");
    desk.write("binary", b"\xff", 0o644);
    explain(&["binary"], "").failed(1, "not text", "a signature base");
    let twice = ["explain", "--key", &publishable, "--expected", "-", "-"];
    desk.run_with(twice, desk.read("message").as_bytes()).failed(
        1,
        "cannot both be stdin",
        "name a file",
    );
}

/// A response that answers a request, as files, signed by the key of the desk.
fn answer(desk: &Desk) {
    let key = KeyFile::parse(desk.read("id.key").as_bytes(), None).unwrap();
    let key: PrivateKey = key.into_private().unwrap();
    let request = "GET /v1/orders?page=2 HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    desk.write("request", request, 0o644);
    desk.write("other", request.replace("page=2", "page=3"), 0o644);
    let chunked = format!("{request}2\r\nhi\r\n0\r\nX: 1\r\n\r\n");
    let chunked = chunked.replacen("\r\n", "\r\nTransfer-Encoding: chunked\r\n", 1);
    desk.write("chunked", &chunked, 0o644);
    desk.write("broken", chunked.replace("hi", "h"), 0o644);
    let (uri, origin) = (Uri::from_static("/v1/orders?page=2"), "https://api.example.com");
    let (none, origin): (_, Origin) = (HeaderMap::new(), origin.parse().unwrap());
    let head = RequestHead {
        method: &Method::GET,
        target: Target::origin_form(&uri),
        origin: &origin,
        headers: &none,
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    let response = ResponseHead { status: StatusCode::OK, headers: &headers };
    let bound: [Component<'_>; 2] =
        ["\"@method\";req", "\"@query\";req"].map(|text| text.parse().unwrap());
    let mut components = vec![Component::from(Derived::Status)];
    components.extend(bound);
    let params = SignatureParams {
        label: "sig",
        components,
        created: None,
        expires: None,
        nonce: None,
        key_id: None,
        algorithm: None,
        tag: None,
    };
    let fields = sign(&Message::from(response).with_request(head), &key, &params).unwrap();
    fields.apply(&mut headers);
    let mut text = "HTTP/1.1 200 OK\r\n".to_owned();
    for (name, value) in &headers {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let empty = text.clone() + "Content-Length: 5\r\n\r\n";
    desk.write("empty", empty, 0o644);
    desk.write("head", request.replace("GET", "HEAD"), 0o644);
    desk.write("response", text + "\r\nhello", 0o644);
}

#[test]
fn a_response_is_verified_with_the_request_that_it_answers() {
    let (desk, publishable) = Desk::with_key();
    answer(&desk);
    for command in ["verify", "explain"] {
        let run = |more: &[&str]| {
            let fixed = [command, "--policy", "none", "--key", &publishable];
            desk.run(fixed.iter().chain(more))
        };
        run(&["--request", "request", "response"]).done();
        run(&["--request", "chunked", "response"]).done();
        let table: [(&[&str], &str); 3] = [
            (&["--request", "other", "response"], "not verified: signature-invalid"),
            (&["--request", "head", "empty"], "not verified: signature-invalid"),
            (&["response"], "does not apply to this message"),
        ];
        for (arguments, said) in table {
            let outcome = run(arguments);
            assert_eq!(outcome.code, 3, "{outcome:?}");
            assert!(outcome.stdout.contains(said), "{outcome:?}");
        }
        run(&["--request", "response", "response"]).failed(1, "names a response", "the request");
        run(&["--request", "request", "request"]).failed(1, "for a response", "leave --request");
        run(&["--request", "-", "-"]).failed(1, "cannot both be stdin", "name a file");
        for stdin in ["-", "fd:0", "/dev/stdin"] {
            let key = [command, "--policy", "none", "--key", stdin, "-"];
            desk.run(key).failed(1, "the key and the message cannot both be stdin", "name a file");
            let passphrase = [command, "--key", "id.key", "--passphrase-file", "/dev/stdin", stdin];
            if stdin != "fd:0" {
                desk.run(passphrase).failed(1, "its passphrase and the message", "name a file");
            }
        }
        run(&["--request", "request", "empty"]).failed(1, "less content", "HTTP/1.1");
        run(&["--request", "head", "response"]).failed(1, "to HEAD", "HTTP/1.1");
        run(&["--request", "broken", "response"]).failed(1, "by its size", "HTTP/1.1");
        run(&["--request", "none", "response"]).failed(1, "cannot read none", "HTTP/1.1");
    }
}

/// The client's side: the request as it was sent, and the refusal of a server in explain mode.
#[test]
fn a_refusal_says_which_component_the_server_saw_otherwise() {
    let (desk, publishable) = Desk::with_key();
    let order = desk.signed_order("http");
    desk.write("order.http", &order, 0o644);
    // What the server rebuilt: a proxy had taken away a part of the path.
    let told = desk.run_with(["verify", "--json", "--key", &publishable, "-"], order.as_bytes());
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let base = told["signature_base"].as_str().unwrap().replace("/v1/orders", "/orders");
    let refusal = serde_json::json!({ "code": "signature-invalid", "signature_base": base });
    let response = format!(
        "HTTP/1.1 401 Unauthorized\r\nCountersign-Refusal: signature-invalid\r\n\r\n{refusal}"
    );
    for content in [base.clone(), refusal.to_string(), response] {
        desk.write("refusal", &content, 0o644);
        let explain = ["explain", "--key", &publishable, "--expected", "refusal", "order.http"];
        let text = desk.run(explain).done();
        let difference = "line 3 is the first that differs: \"@path\"\n  here:     \"@path\": /v1/orders\n  expected: \"@path\": /orders\n";
        assert!(text.contains(difference), "{text}");
    }
    desk.write("refusal", r#"{"code":"signature-stale"}"#, 0o644);
    let explain = ["explain", "--key", &publishable, "--expected", "refusal", "order.http"];
    desk.run(explain).failed(1, "not its reason", "`detail` and `hint`");
}
