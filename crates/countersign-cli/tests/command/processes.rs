//! What other users of the machine see of a `countersign curl` that runs, and what is left of it.

#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::desk::Desk;

/// A server that takes connections, and answers when it is told to.
struct Held(TcpListener);

impl Held {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// The connection of a curl that has sent its request's head.
    fn accept(&self) -> TcpStream {
        let (mut connection, _) = self.0.accept().unwrap();
        connection.read_exact(&mut [0; 16]).unwrap();
        connection
    }
}

fn answer(mut connection: TcpStream) {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    connection.write_all(answer).unwrap();
    // Until curl has read it.
    drop(connection.shutdown(std::net::Shutdown::Write));
    drop(connection.read_to_end(&mut Vec::new()));
}

/// The processes that this one has started.
fn children(parent: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // "pid (name) state parent …"; the name can have spaces.
        let parent_of = stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2));
        if parent_of == Some(&parent.to_string()) {
            children.push(process);
        }
    }
    children
}

/// The one curl that a `countersign curl` has started.
fn curl_of(child: &Child) -> u32 {
    let children = children(child.id());
    let &[curl] = children.as_slice() else { panic!("not one child: {children:?}") };
    curl
}

fn command_line(process: u32) -> String {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap();
    String::from_utf8(line).unwrap().replace('\0', " ")
}

/// The files that a process has open.
fn open_files(process: u32) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn countersign(desk: &Desk, arguments: &[&str]) -> Child {
    let mut command = desk.command(env!("CARGO_BIN_EXE_countersign"));
    command.args(["curl", "--key", "id.key", "-sS"]).args(arguments);
    spawn(command)
}

/// A desk whose temporary files go into its folder `tmp`.
fn desk_with_tmp() -> Desk {
    let (desk, _) = Desk::with_key();
    fs::create_dir(desk.path("tmp")).unwrap();
    let tmp = desk.path("tmp").display().to_string();
    desk.variable("TMPDIR", &tmp)
}

fn temporary_files(desk: &Desk) -> usize {
    fs::read_dir(desk.path("tmp")).unwrap().count()
}

#[test]
fn no_argument_of_curl_is_in_the_list_of_processes() {
    let desk = desk_with_tmp();
    desk.write("content", "secret in a file", 0o600);
    let server = Held::start();
    desk.write("large", vec![0; 2 * 1024 * 1024], 0o600);
    let url = format!("http://{}/secret-path/?secret=query", server.address());
    let proxy = format!("http://proxy:secret@{}", server.address());
    let table: [&[&str]; 15] = [
        &["--data-binary", "@large"],
        &["-T", "large"],
        &["-u", "me:secret"],
        &["--oauth2-bearer", "secret"],
        &["-H", "Authorization: Token secret"],
        &["-H", "Cookie: a=secret"],
        &["-b", "a=secret"],
        &["-A", "secret", "-e", "https://example.com/secret"],
        &["-x", &proxy],
        &["-x", "http://SERVER", "-U", "me:secret"],
        &["-x", "http://SERVER", "--proxy-header", "X: secret", "-p"],
        &["-d", "secret", "--data-urlencode", "a=secret"],
        &["--json", "{\"a\":\"secret\"}"],
        &["-F", "a=secret", "-F", "b=@content"],
        &["--data-binary", "@content", "--pass", "secret", "--tlspassword", "secret"],
    ];
    for flags in table {
        let flags: Vec<_> =
            flags.iter().map(|flag| flag.replace("SERVER", &server.address())).collect();
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut child = countersign(&desk, &[&flags[..], &[url.as_str()]].concat());
        let connection = server.accept();
        let curl = curl_of(&child);
        for process in [child.id(), curl] {
            let line = command_line(process);
            assert!(line.contains("curl"), "{line}");
            assert!(!line.contains("secret"), "{flags:?}: {line}");
        }
        let own = command_line(child.id());
        assert!(own.ends_with("curl --key id.key "), "{own}");
        assert_eq!(temporary_files(&desk), 0, "{flags:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        drop(connection);
    }
}

#[test]
fn flags_have_the_same_effect_out_of_the_list_of_processes() {
    let (desk, publishable) = Desk::with_key();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // What curl itself sends of these flags is what it sends when they come out of a file.
    let table: [&[&str]; 10] = [
        &["-A", "a \"quoted\" \\ name\t#1"],
        &["-A", ""],
        &["-A", "", "-A", "later"],
        &["-A", "earlier", "-A", ""],
        &["-e", "https://example.com/?a=\"b\""],
        &["-b", "a=b; c=\"d\""],
        &["-b", "a=é"],
        &["--compressed", "-r", "0-1"],
        &["--no-keepalive", "-N", "-#", "-0"],
        &["-o", "answer", "-w", "%{http_code}\n\"quoted\" \\\\ {}"],
    ];
    for flags in table {
        let run = |program: &str, fixed: &[&str]| {
            let mut command = desk.command(program);
            command.args(fixed).args(flags).arg(&url);
            let child = spawn(command);
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                connection.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            answer(connection);
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{flags:?}: {output:?}");
            (String::from_utf8(request).unwrap(), output.stdout)
        };
        let (plain, plain_output) = run("curl", &["-q", "-s"]);
        let program = env!("CARGO_BIN_EXE_countersign");
        let (signed, output) = run(program, &["curl", "--key", "id.key", "-s"]);
        assert_eq!(output, plain_output, "{flags:?}");
        let mut lines: Vec<_> =
            signed.lines().filter(|line| !line.starts_with("Signature")).collect();
        let mut expected: Vec<_> = plain.lines().collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected, "{flags:?}");
        if !flags.contains(&"-0") {
            let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
            desk.run_with(verify, signed.as_bytes()).done();
        }
    }
}

#[test]
fn whoever_stops_it_stops_curl_and_leaves_nothing_behind() {
    let desk = desk_with_tmp();
    let server = Held::start();
    let url = format!("http://{}/", server.address());
    for (signal, code) in [("HUP", 129), ("INT", 130), ("QUIT", 131), ("TERM", 143)] {
        let child = countersign(&desk, &["-u", "me:secret", "-d", "x", &url]);
        let mut connection = server.accept();
        assert_eq!(temporary_files(&desk), 0);
        kill(signal, child.id());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!((output.stdout, output.stderr), (vec![], vec![]));
        // curl is gone as well: the connection ends.
        connection.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(temporary_files(&desk), 0);
    }
    let child = countersign(&desk, &["-u", "me:secret", "-d", "x", &url]);
    let _connection = server.accept();
    kill("KILL", curl_of(&child));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("curl was ended by a signal"));
    assert_eq!(temporary_files(&desk), 0);

    let mut child = countersign(&desk, &["-u", "me:secret", "-d", "x", &url]);
    let _connection = server.accept();
    let curl = curl_of(&child);
    kill("KILL", child.id());
    child.wait().unwrap();
    assert_eq!(temporary_files(&desk), 0);
    kill("KILL", curl);
}

#[test]
fn a_signal_that_was_ignored_before_stays_ignored() {
    let (desk, _) = Desk::with_key();
    let server = Held::start();
    let program = env!("CARGO_BIN_EXE_countersign");
    for signal in ["HUP", "INT", "QUIT"] {
        let mut command = desk.command("sh");
        let run = format!("trap '' {signal}; exec {program} curl --key id.key -sS \"$@\"");
        command.args(["-c", &run, "sh", &format!("http://{}/", server.address())]);
        let child = spawn(command);
        let connection = server.accept();
        kill(signal, child.id());
        answer(connection);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{signal}: {output:?}");
    }
}

#[test]
fn curl_does_not_get_the_descriptor_of_the_key() {
    let (desk, _) = Desk::with_key();
    desk.write("other", "a file for curl", 0o600);
    let server = Held::start();
    let program = env!("CARGO_BIN_EXE_countersign");
    for named in ["fd:7", "/dev/fd/7", "/proc/self/fd/7"] {
        let mut command = desk.command("sh");
        let run = format!("exec 7<id.key 8<other; exec {program} curl --key {named} -sS \"$@\"");
        command.args(["-c", &run, "sh", "-d", "x", &format!("http://{}/", server.address())]);
        let mut child = spawn(command);
        let connection = server.accept();
        let open = open_files(curl_of(&child));
        let is_open = |name: &str| open.iter().any(|file| file.ends_with(name));
        assert!(!is_open("id.key"), "{named}: {open:?}");
        // Others are for curl: `--cacert /dev/fd/8`.
        assert!(is_open("other"), "{named}: {open:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        drop(connection);
    }
}

#[test]
fn arguments_that_cannot_be_read_again_are_not_taken_for_none() {
    let (desk, _) = Desk::with_key();
    let desk = desk.variable("COUNTERSIGN_CURL_ARGUMENTS", "99");
    desk.run(["curl", "--key", "id.key"]).failed(
        1,
        "cannot read curl's arguments",
        "unset COUNTERSIGN_CURL_ARGUMENTS",
    );
}

fn kill(signal: &str, process: u32) {
    let status = Command::new("kill").args(["-s", signal, &process.to_string()]).status();
    assert!(status.unwrap().success());
}
