use crate::{
    curl::{Server, curl},
    desk::Desk,
};

/// A request's content and `Content-Type`, with its boundaries called by their place.
fn form(request: &str) -> String {
    let (head, content) = request.split_once("\r\n\r\n").unwrap();
    let kind = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-type:"));
    let mut text = format!("{}\r\n\r\n{content}", kind.unwrap());
    for number in 0.. {
        let Some((_, rest)) = text.split_once("boundary=-") else { break };
        let boundary: String = rest.chars().take_while(|&c| c != '\r' && c != '\n').collect();
        text = text.replace(&format!("-{boundary}"), &format!("<{number}>"));
    }
    text
}

#[test]
fn a_form_is_what_curl_makes_of_it_and_is_signed() {
    let (desk, publishable) = Desk::with_key();
    desk.write("note.txt", "some text\r\n", 0o644);
    desk.write("page.html", "<p>", 0o644);
    desk.write("photo", b"\xff\xd8 no text", 0o644);
    desk.write("A.JPEG", "no image", 0o644);
    desk.write("a \"b\"", "quoted", 0o644);
    desk.write("empty", "", 0o644);
    let server = Server::ok();
    let url = server.url("/v1/form");
    let table: [&[&str]; 30] = [
        &["-F", "a=b"],
        &["-F", "a=b", "-F", "c=d e&f"],
        &["-F", "a="],
        &["-F", "a= b "],
        &["-F", "a=\"b;c\\\"d\\\\e\""],
        &["-F", "a=\"b"],
        &["-F", "a=b;type=text/html"],
        &["-F", "a=b;type=text/plain;charset=utf-8"],
        &["-F", "a=b;TYPE=text/plain; charset=\"utf-8\"; x=y"],
        &["-F", "a=b;filename=c.txt"],
        &["-F", "a=b;filename=c.txt;type=text/x-c"],
        &["-F", "a=b;type=text/x-c;filename=\"c;d.pdf\""],
        &["-F", "a=b;"],
        &["-F", "a\"b\\c=d"],
        &["-F", "a\r\nb=d"],
        &["--form-escape", "-F", "a\"b\\c=@a \"b\""],
        &["-F", "a=@note.txt"],
        &["-F", "a=@./page.html"],
        &["-F", "a=@A.JPEG"],
        &["-F", "a=@empty"],
        &["-F", "a=@\"a \\\"b\\\"\""],
        &["-F", "a=@note.txt;type=application/x-note"],
        &["-F", "a=@note.txt;filename=other.pdf"],
        &["-F", "a=@note.txt; filename=\"o\\\"ther\" ; type=text/plain"],
        &["-F", "a=@note.txt,page.html"],
        &["-F", "a=@note.txt;type=text/x-a,page.html;filename=b", "-F", "c=d"],
        &["-F", "a=<note.txt"],
        &["-F", "a=<page.html"],
        &["-F", "a=<page.html;type=text/plain"],
        &["--form-string", "a=@b;type=c/d", "--form-string", "e=<f"],
    ];
    for flags in table {
        let output = desk.command("curl").args(["-q", "-sS"]).args(flags).arg(&url).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{flags:?}: {output:?}");
        let expected = server.request();
        let outcome = curl(&desk, &[flags, &[&url]].concat());
        assert_eq!(outcome.done(), "ok\n", "{flags:?}");
        let request = server.request();
        assert!(request.starts_with("POST /v1/form HTTP/1.1\r\n"), "{request}");
        assert_eq!(form(&request), form(&expected), "{flags:?}");
        let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
        desk.run_with(verify, request.as_bytes()).done();
    }
}

#[test]
fn a_form_takes_a_file_of_bytes_and_stdin() {
    let (desk, _) = Desk::with_key();
    let server = Server::ok();
    let url = server.url("/");
    desk.write("photo", "photo", 0o644);
    let fixed = ["curl", "--key", "id.key", "-sS", "-X", "PUT", "-F", "a=@-", "-F", "b=@photo"];
    desk.run_with(fixed.iter().chain(&[url.as_str()]), b"from stdin").done();
    let request = server.request();
    assert!(request.starts_with("PUT / HTTP/1.1\r\n"), "{request}");
    let expected = "name=\"a\"; filename=\"-\"\r\n\r\nfrom stdin\r\n";
    assert!(request.contains(expected), "{request}");
    let expected =
        "name=\"b\"; filename=\"photo\"\r\nContent-Type: application/octet-stream\r\n\r\nphoto\r\n";
    assert!(request.contains(expected), "{request}");
}

#[test]
fn a_form_that_cannot_be_made_as_curl_makes_it_is_refused_with_the_flag() {
    let (desk, _) = Desk::with_key();
    desk.write("file", "x", 0o644);
    let server = Server::ok();
    let url = server.url("/");
    let table: [(&[&str], &str, &str); 14] = [
        (&["-F", "no field"], "the value of -F is not a field", "NAME=@FILE"),
        (&["-F", "=x"], "-F cannot be signed with a field without a name", "NAME=VALUE"),
        (&["--form", "a=(;type=multipart/mixed"], "--form cannot be signed", "--form-string"),
        (&["-F", "a=@file;encoder=base64"], "with `encoder=`", "--data-binary @FILE"),
        (&["-F", "a=b;headers=\"X: y\""], "with `headers=`", "--data-binary @FILE"),
        (&["-F", "a=b;c"], "a `;` in the value", "--form-string"),
        (&["-F", "a=b;type=nonsense"], "not a media type", "type=text/plain"),
        (&["-F", "a=b;type=a/b\r\nX: y"], "not a media type", "type=text/plain"),
        (&["-F", "a=<file;filename=b"], "`filename=`", "NAME=@FILE"),
        (&["-F", "a=@none"], "cannot read `none`", "exists"),
        (&["-F", "a=b", "-d", "c"], "ask for different requests", "one of them"),
        (&["-F", "a=b", "-G"], "ask for different requests", "one of them"),
        (&["-F", "a=b", "-H", "Content-Type: text/plain"], "multipart/form-data", "leave out"),
        (
            &["-F", "a=b", "-H", "Content-Type: multipart/form-data; boundary=x"],
            "with a boundary that is made for it",
            "leave out",
        ),
    ];
    for (flags, error, hint) in table {
        curl(&desk, &[flags, &[&url]].concat()).failed(1, error, hint);
    }
    assert!(server.received_nothing());
}
