use std::{
    fs::File,
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use crate::{
    curl::{Server, curl},
    desk::Desk,
};

/// Larger than the memory that a command gets in these tests.
const LARGE: u64 = 48 * 1024 * 1024;
const MEMORY_IN_KIB: u32 = 32 * 1024;

/// A desk with a file of zeros that takes no room.
fn desk_with_large_file() -> (Desk, String) {
    let (desk, publishable) = Desk::with_key();
    let file = File::create(desk.path("large")).unwrap();
    file.set_len(LARGE).unwrap();
    (desk, publishable)
}

/// Takes one request, and gives the length of its content; the head is given as it was sent.
fn take(listener: &TcpListener) -> (String, u64) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    if head.contains("Expect: 100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let length: u64 = length.parse().unwrap();
    let read = std::io::copy(&mut (&stream).take(length), &mut std::io::sink()).unwrap();
    assert_eq!(read, length, "the content ends early");
    let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer).unwrap();
    (head, read)
}

#[cfg(target_os = "linux")]
#[test]
fn large_content_takes_no_memory() {
    let (desk, _) = desk_with_large_file();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/up", listener.local_addr().unwrap());
    let limited = |arguments: &[&str]| {
        let mut command = desk.command("sh");
        let run = format!("ulimit -d {MEMORY_IN_KIB}; exec \"$@\"");
        command.args(["-c", &run, "sh", env!("CARGO_BIN_EXE_countersign")]).args(arguments);
        command
    };
    let folder = format!("http://{}/up/", listener.local_addr().unwrap());
    let with_query = format!("{folder}?q=1");
    let root = format!("http://{}?q=1", listener.local_addr().unwrap());
    let table: [(&[&str], &str, u64); 10] = [
        (&["-T", "large", &with_query], "PUT /up/?q=1 HTTP/1.1\r\n", LARGE),
        (&["--data-binary", "@large", &with_query], "POST /up/?q=1 HTTP/1.1\r\n", LARGE),
        (&["-F", "a=@large", &with_query], "POST /up/?q=1 HTTP/1.1\r\n", LARGE + 1),
        (&["--data-binary", "@large", &root], "POST /?q=1 HTTP/1.1\r\n", LARGE),
        (&["-T", "large"], "PUT /up HTTP/1.1\r\n", LARGE),
        (&["-T", "large", &folder], "PUT /up/large HTTP/1.1\r\n", LARGE),
        (&["--data-binary", "@large", &folder], "POST /up/ HTTP/1.1\r\n", LARGE),
        (&["--data-binary", "@large"], "POST /up HTTP/1.1\r\n", LARGE),
        (&["-X", "PATCH", "--json", "@large"], "PATCH /up HTTP/1.1\r\n", LARGE),
        (&["-F", "a=@large"], "POST /up HTTP/1.1\r\n", LARGE + 1),
    ];
    for (flags, line, least) in table {
        let fixed = ["curl", "--key", "id.key", "-sS"];
        let url = (flags.len() == 2 || flags.len() == 4).then_some(url.as_str());
        let arguments: Vec<_> = fixed.iter().chain(flags).copied().chain(url).collect();
        let mut command = limited(&arguments);
        let output = thread::scope(|scope| {
            let running = scope.spawn(move || command.output().unwrap());
            let (head, length) = take(&listener);
            assert!(head.starts_with(line), "{head}");
            assert!(head.contains("\r\nContent-Digest: sha-256=:"), "{head}");
            assert!(length >= least, "{flags:?}: {length}");
            running.join().unwrap()
        });
        assert!(output.status.success(), "{flags:?}: {output:?}");
    }
    let sign = ["sign", "--key", "id.key", "--data-binary", "@large", "--format"];
    for format in ["headers", "json", "curl"] {
        let arguments: Vec<_> =
            sign.iter().copied().chain([format, "https://example.com/up"]).collect();
        let output = limited(&arguments).output().unwrap();
        assert!(output.status.success(), "{format}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        // `head -c 50331648 /dev/zero | sha256sum`
        assert!(text.contains("FSupnbr2x93llVqEhINRlO1PwPIKDqd0Zn8UiiXLA8Q="), "{text}");
        if format == "curl" {
            assert!(text.contains(" -X POST ") && text.contains(" -T large "), "{text}");
        }
    }
    let slash = ["--data-binary", "@large", "--format", "curl", "https://example.com/up/?q=1"];
    let text = desk.run(["sign", "--key", "id.key"].iter().chain(&slash)).done();
    assert!(text.contains(" --data-binary @large "), "{text}");
}

#[test]
fn large_content_to_a_folder_overwrites_no_file() {
    let (desk, _) = Desk::with_key();
    desk.write("large", "x".repeat(2 * 1024 * 1024), 0o644);
    desk.write("content", "of somebody else", 0o644);
    let server = Server::ok();
    // Some versions of curl find no name in such a URL, and fail.
    curl(&desk, &["-O", "--data-binary", "@large", &server.url("/up/")]);
    assert_eq!(desk.read("content"), "of somebody else");
}

#[test]
fn a_file_that_changes_after_it_was_signed_is_named() {
    let (desk, _) = Desk::with_key();
    desk.write("order", "one book", 0o644);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let path = desk.path("order");
    let server = thread::spawn(move || {
        for changes in [true, false] {
            let (mut stream, _) = listener.accept().unwrap();
            // As a server does which compares the digest: it has the request, and refuses.
            stream.read_exact(&mut [0; 64]).unwrap();
            if changes {
                std::fs::write(&path, "two books").unwrap();
            }
            let answer =
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).unwrap();
            drop(stream.shutdown(std::net::Shutdown::Write));
            drop(stream.read_to_end(&mut Vec::new()));
        }
    });
    curl(&desk, &["-T", "order", &url]).failed(2, "400", "`order` changed after it was signed");
    curl(&desk, &["-T", "order", &url]).failed(2, "400", "check the method and the URL");
    server.join().unwrap();
}

#[test]
fn content_arrives_whole_from_files_pipes_and_stdin() {
    let (desk, publishable) = Desk::with_key();
    let large = "0123456789abcdef".repeat(128 * 1024);
    desk.write("large", &large, 0o644);
    desk.write("empty", "", 0o644);
    let server = Server::ok();
    let url = server.url("/up");
    let table: [(&[&str], &str, &str); 9] = [
        (&["-T", "large"], "PUT", &large),
        (&["-T", "/dev/stdin"], "PUT", "from stdin"),
        (&["--data-binary", "@large"], "POST", &large),
        (&["--data-binary", "@-"], "POST", "from stdin"),
        (&["-d", "@large", "-d", "b"], "POST", &format!("{large}&b")),
        (&["-X", "DELETE", "-d", "x"], "DELETE", "x"),
        (&["-X", "GET", "-d", "x"], "GET", "x"),
        (&["-T", "empty"], "PUT", ""),
        (&["-d", ""], "POST", ""),
    ];
    for (flags, method, content) in table {
        let fixed = ["curl", "--key", "id.key", "-sS"];
        let arguments: Vec<_> = fixed.iter().chain(flags).copied().chain([url.as_str()]).collect();
        assert_eq!(desk.run_with(arguments, b"from stdin").done(), "ok\n", "{flags:?}");
        let request = server.request();
        let (head, sent) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("{method} /up HTTP/1.1\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", content.len())), "{head}");
        // Small content is not held back until the server says that it wants it.
        assert_eq!(head.contains("\r\nExpect: "), content.len() > 1024 * 1024, "{head}");
        assert!(!head.contains("Transfer-Encoding"), "{head}");
        assert!(sent == content, "{flags:?}: {} bytes", sent.len());
        let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
        desk.run_with(verify, request.as_bytes()).done();
    }
}
