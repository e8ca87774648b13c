use crate::{
    curl::{Server, curl},
    desk::Desk,
};

/// The request line, the fields in any order, and the content: without the fields of the signature and of the transfer, and
/// with the same boundary in all forms.
fn compared(request: &str) -> (String, Vec<String>, String) {
    let boundary = request.split("boundary=").nth(1).and_then(|rest| rest.split("\r\n").next());
    let request = match boundary {
        Some(boundary) => request.replace(boundary, "BOUNDARY"),
        None => request.to_owned(),
    };
    let (head, content) = request.split_once("\r\n\r\n").unwrap();
    let (line, fields) = head.split_once("\r\n").unwrap();
    let added =
        ["signature: ", "signature-input: ", "content-digest: ", "content-length: ", "expect: "];
    let fields = fields.split("\r\n").map(|field| {
        let (name, value) = field.split_once(':').unwrap();
        format!("{}:{value}", name.to_ascii_lowercase())
    });
    let mut fields: Vec<_> =
        fields.filter(|field| !added.iter().any(|added| field.starts_with(added))).collect();
    fields.sort();
    (line.to_owned(), fields, content.to_owned())
}

#[test]
fn what_is_signed_is_what_curl_alone_sends() {
    let (desk, publishable) = Desk::with_key();
    desk.write("order.json", "{\n \"item\": \"book\"\n}\n", 0o644);
    desk.write("fields", "X-File: 1\n", 0o644);
    let server = Server::ok();
    let table: [(&[&str], &str); 27] = [
        (&[], "/v1/orders"),
        (&["-d", "a=1"], "/"),
        (&["-d", "a=1", "--data", "@order.json", "--data-raw", "@x"], "/"),
        (&["--data-binary", "@order.json"], "/"),
        (&["--data-urlencode", "a=b c", "--data-urlencode", "n@order.json"], "/"),
        (&["--json", "{\"a\":1}"], "/"),
        (&["--json", "@order.json", "-H", "Accept: text/plain"], "/"),
        (&["-F", "a=1", "-F", "f=@order.json;type=text/x"], "/"),
        (&["-F", "f=<order.json", "--form-string", "s=@x"], "/"),
        (&["-G", "-d", "a=1", "--data-urlencode", "b=c d"], "/s?x=y"),
        (&["-T", "order.json"], "/up/"),
        (&["-T", "order.json"], "/up/name"),
        (&["-u", "me:secret"], "/"),
        (&["-u", "me:"], "/"),
        (&["-H", "X-A: 1", "-H", "x-b;", "-H", "User-Agent:"], "/"),
        (&["-H", "@fields"], "/"),
        (&["-H", "Content-Type: a/b", "-d", "x"], "/"),
        (&["-A", "shop/1", "-e", "https://shop.example/", "-b", "a=b"], "/"),
        (&["-X", "PATCH", "-d", "x"], "/"),
        (&["-X", "DELETE"], "/v1/orders/1"),
        (&["-I"], "/v1/orders"),
        (&["-r", "0-4"], "/"),
        (&["--compressed"], "/"),
        (&["--url-query", "a=b c", "--url-query", "+d=%20"], "/s?x=y"),
        (&["--oauth2-bearer", "token"], "/"),
        (&["-s", "-S", "-i", "-o", "out"], "/"),
        (&["--http1.1"], "/"),
    ];
    for (flags, target) in table {
        let url = server.url(target);
        let alone = desk.command("curl").args(["-q", "-sS"]).args(flags).arg(&url).output();
        assert!(alone.unwrap().status.success(), "{flags:?}");
        let alone = server.request();
        let outcome = curl(&desk, &[flags, &[&url]].concat());
        if outcome.code != 0 {
            // Refused for a reason that names the flag.
            assert!(flags.iter().any(|flag| outcome.stderr.contains(flag)), "{outcome:?}");
            assert!(server.received_nothing(), "{flags:?}");
            continue;
        }
        let signed = server.request();
        assert_eq!(compared(&signed), compared(&alone), "{flags:?}");
        let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
        desk.run_with(verify, signed.as_bytes()).done();
    }
}

#[test]
fn a_url_with_a_flag_is_the_url_and_two_are_refused() {
    let (desk, _) = Desk::with_key();
    let server = Server::ok();
    let (url, other) = (server.url("/a"), server.url("/b"));
    curl(&desk, &["--url", &url]).done();
    assert!(server.request().starts_with("GET /a HTTP/1.1\r\n"));
    for two in [[&url, &other], [&url, &url]] {
        curl(&desk, &two.map(String::as_str)).failed(1, "URL", "");
    }
    curl(&desk, &["--url", &url, &other]).failed(1, "URL", "");
    curl(&desk, &[&url, "--next", &other]).failed(1, "--next", "");
    assert!(server.received_nothing());
}

#[test]
fn a_config_file_of_curl_changes_no_signed_request() {
    let (desk, publishable) = Desk::with_key();
    let home = desk.path("").to_str().unwrap().to_owned();
    let desk = desk.variable("HOME", &home).variable("CURL_HOME", &home);
    desk.write(".curlrc", "header = \"X-Rc: 1\"\nuser-agent = rc\n", 0o600);
    let server = Server::ok();
    let url = server.url("/");
    assert!(desk.command("curl").args(["-sS", &url]).output().unwrap().status.success());
    assert!(server.request().contains("X-Rc: 1"), "curl alone reads it");
    curl(&desk, &["-d", "x", &url]).done();
    let signed = server.request();
    assert!(!signed.contains("X-Rc") && !signed.contains("User-Agent: rc"), "{signed}");
    let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
    desk.run_with(verify, signed.as_bytes()).done();
    for flag in ["-K", "--config"] {
        curl(&desk, &[flag, ".curlrc", &url]).failed(1, flag, "");
    }
    assert!(server.received_nothing());
}
