mod arguments;
mod flag;

use std::{
    ffi::{OsStr, OsString},
    io::{ErrorKind, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use clap::Args;
use countersign::{Nonce, Signer};
use http::{HeaderMap, Method, StatusCode, header};
use tempfile::NamedTempFile;

use self::arguments::{Arguments, Planned};
use crate::{
    failure::{Exit, Failure},
    header_line::HeaderLine,
    key_source::{KEY_VARIABLE, PASSPHRASE_VARIABLE, PrivateKeyArgs},
    moment,
    output::print,
    request::{cannot_sign, signed_fields},
    request_body,
};

/// Signs the request that curl's arguments ask for, and runs curl to send it
///
/// This command's own options come first. From the first argument that is not one of them, all are curl's: a later
/// --key is curl's own, the key of a TLS client certificate.
///
/// Method, URL, headers and content are read from curl's flags, and exactly these are signed and sent. curl runs with
/// -q (~/.curlrc is not read, as what it adds would go unsigned), --path-as-is and --globoff. Flags that cannot be
/// signed are refused: forms, redirects, config files, retries, several URLs, authentication by handshake, and flags
/// that are not known.
#[derive(Args, Debug)]
#[command(
    override_usage = "countersign curl --key FILE [--tag TAG] [curl's own arguments]",
    after_help = "Exit codes, by the server's status: 0 below 400 · 3 for 401 and 403 · 4 for 429 · 2 for every other from 400 on, \
so that 0 means that it is done.\nA failure of curl itself: 2 for the network, 1 for wrong usage or a fault on this machine."
)]
pub(crate) struct Curl {
    #[command(flatten)]
    key: PrivateKeyArgs,
    /// The tag that the server selects its signatures by
    #[arg(long, default_value = "countersign")]
    tag: String,
    /// curl's own arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CURL ARGUMENTS")]
    arguments: Vec<OsString>,
}

impl Curl {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let arguments = Arguments::read(self.arguments)?;
        let planned = arguments.request(&mut request_body::open)?;
        let signer = Signer::new(self.key.read()?).tag(&self.tag).map_err(|error| {
            Failure::local(error, "name the tag that the server's operator gave you")
        })?;
        let request = &planned.request;
        let headers = request.headers();
        let head = request.head(&headers);
        let nonce = random_nonce()?;
        let signed = signer.sign(&head, request.content(), moment::now(), &nonce);
        let signed = signed.map_err(|error| cannot_sign(&error))?;

        let mut lines = vec![HeaderLine::field("Host", authority_value(&planned)?)];
        lines.extend(request.lines.iter().cloned());
        let added = signed_fields(signed);
        lines.extend(added.into_iter().map(|(name, value)| HeaderLine::field(name, value)));
        send(&arguments, &planned, &lines)
    }
}

/// 16 random bytes as a nonce.
pub(crate) fn random_nonce() -> Result<Nonce, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::local(
            format!("the system gives no random bytes: {error}"),
            "try again; early in a machine's start this can take a moment",
        )
    })?;
    Ok(Nonce::from_random(bytes))
}

/// `Host` is always sent as it was signed: curl rewrites some hosts, as `0x7f.1` to `127.0.0.1`.
fn authority_value(planned: &Planned) -> Result<http::HeaderValue, Failure> {
    planned.request.origin.authority().parse().map_err(|_| {
        Failure::local("the URL's host cannot be a header", "check the host in the URL")
    })
}

fn send(arguments: &Arguments, planned: &Planned, lines: &[HeaderLine]) -> Result<Exit, Failure> {
    // Headers may hold a password or a token, so they go by a private file and not by argv.
    let mut header_file = private_file()?;
    for line in lines {
        let mut line = line.for_curl();
        line.push(b'\n');
        header_file.write_all(&line).map_err(|error| no_temporary_file(&error))?;
    }
    header_file.flush().map_err(|error| no_temporary_file(&error))?;
    let answer_head = private_file()?;

    let mut command = Command::new("curl");
    command.args(["-q", "--path-as-is", "--globoff"]).args(&arguments.passed);
    let dump_to_stdout = arguments.dump_header.as_deref() == Some(OsStr::new("-"));
    if dump_to_stdout && !arguments.saves {
        command.arg("--include");
    }
    let request = &planned.request;
    match (&request.method, planned.head, &request.body) {
        (&Method::HEAD, _, _) => drop(command.arg("--head")),
        (method, true, _) => drop(command.args(["--head", "--request", method.as_str()])),
        (&Method::GET, _, None) | (&Method::POST, _, Some(_)) => {}
        (method, ..) => drop(command.args(["--request", method.as_str()])),
    }
    if request.body.is_some() {
        command.args(["--data-binary", "@-"]);
    }
    let mut from_file = OsString::from("@");
    from_file.push(header_file.path());
    command.arg("--header").arg(from_file);
    command.arg("--dump-header").arg(answer_head.path());
    command.arg("--url").arg(format!("{}{}", planned.connect_to, request.uri));
    for secret in [KEY_VARIABLE, PASSPHRASE_VARIABLE, "COUNTERSIGN_DB"] {
        command.env_remove(secret);
    }
    let status = run(&mut command, request.body.as_deref())?;

    let answered = std::fs::read(answer_head.path()).unwrap_or_default();
    hand_over_head(arguments, &answered, dump_to_stdout)?;
    judge(status, Answer::last(&answered))
}

fn run(command: &mut Command, body: Option<&[u8]>) -> Result<ExitStatus, Failure> {
    command.stdin(if body.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::local(
            "curl is not installed, or not in PATH",
            "install curl, or use `countersign sign --format http`",
        ),
        _ => Failure::local(format!("cannot run curl: {error}"), "check the curl that is in PATH"),
    })?;
    if let (Some(mut stdin), Some(body)) = (child.stdin.take(), body) {
        // curl reads all of it before it does anything else; where it does not, it says why.
        drop(stdin.write_all(body));
    }
    child.wait().map_err(|error| {
        Failure::local(format!("cannot wait for curl: {error}"), "run the command again")
    })
}

fn private_file() -> Result<NamedTempFile, Failure> {
    tempfile::Builder::new()
        .prefix("countersign-")
        .tempfile()
        .map_err(|error| no_temporary_file(&error))
}

fn no_temporary_file(error: &std::io::Error) -> Failure {
    Failure::local(
        format!("cannot write a temporary file: {error}"),
        "set TMPDIR to a directory with room in it",
    )
}

/// Writes the answer's head where the user's own `-D` wants it.
fn hand_over_head(arguments: &Arguments, head: &[u8], dump_to_stdout: bool) -> Result<(), Failure> {
    match &arguments.dump_header {
        None => Ok(()),
        Some(_) if dump_to_stdout && arguments.saves => print(head),
        Some(_) if dump_to_stdout => Ok(()),
        Some(file) => std::fs::write(file, head).map_err(|error| {
            Failure::local(
                format!("cannot write {}: {error}", Path::new(file).display()),
                "the request was sent; name another file with -D",
            )
        }),
    }
}

/// The head of the answer that counts: after those of proxies, and after `100 Continue`.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
}

impl Answer {
    fn last(heads: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(heads);
        let mut answer: Option<Self> = None;
        for line in text.lines() {
            let status = line.strip_prefix("HTTP/").and_then(|line| line.split(' ').nth(1));
            if let Some(Ok(status)) = status.map(str::parse) {
                answer = Some(Self { status, headers: HeaderMap::new() });
            } else if let Some(answer) = &mut answer
                && let Ok(HeaderLine::Field { name, value }) = HeaderLine::parse(line)
                && let Ok(name) = name.parse::<http::HeaderName>()
            {
                answer.headers.append(name, value);
            }
        }
        answer.filter(|answer| !answer.status.is_informational())
    }
}

fn judge(curl: ExitStatus, answer: Option<Answer>) -> Result<Exit, Failure> {
    match answer {
        Some(answer) if answer.status.as_u16() >= 400 => Err(refusal(&answer)),
        Some(_) if curl.success() => Ok(Exit::Done),
        _ => Err(curl_failure(curl)),
    }
}

fn refusal(answer: &Answer) -> Failure {
    let status = answer.status;
    let problem = answer.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().to_ascii_lowercase().starts_with(b"application/problem+json")
    });
    let (exit, hint) = match status.as_u16() {
        401 if problem => (
            Exit::Refused,
            "`code` and `detail` in the answer say why; is the key registered there, and this clock right?".to_owned(),
        ),
        401 => (Exit::Refused, "is the key registered there, and this machine's clock right?".to_owned()),
        403 => (Exit::Refused, "this key may not do that; ask the service's operator".to_owned()),
        429 => {
            let after = answer.headers.get(header::RETRY_AFTER);
            let after = after.and_then(|value| value.to_str().ok());
            let hint = match after {
                Some(seconds) if seconds.bytes().all(|byte| byte.is_ascii_digit()) => {
                    format!("run it again in {seconds} s")
                }
                Some(date) => format!("run it again after {date}"),
                None => "run it again later".to_owned(),
            };
            (Exit::Limited, hint)
        }
        500.. => (Exit::Server, "run it again later; every run signs anew".to_owned()),
        _ => (Exit::Server, "the answer says what is wrong with the request".to_owned()),
    };
    Failure::new(exit, format!("the server answered {status}"), hint)
}

/// curl(1), "EXIT CODES".
fn curl_failure(status: ExitStatus) -> Failure {
    let Some(code) = status.code() else {
        return Failure::local("curl was ended by a signal", "run the command again");
    };
    let exit = match code {
        1..=4 | 23 | 26 | 27 | 37 | 41 | 43 | 45 | 48 | 53 | 54 | 58 | 59 | 66 | 77 | 82 => {
            Exit::Local
        }
        _ => Exit::Server,
    };
    Failure::new(
        exit,
        format!("curl failed with its exit code {code}"),
        "curl's own message says why (with -s only together with -S); `man curl` lists the codes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_that_counts_is_the_last_one() {
        let status = |heads: &str| Answer::last(heads.as_bytes()).map(|a| a.status.as_u16());
        let table = [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/2 404 \r\nserver: x\r\n\r\n", Some(404)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\r\n", Some(201)),
            ("HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 403 F\r\n\r\n", Some(403)),
            ("HTTP/1.1 100 Continue\r\n\r\n", None),
            ("", None),
            ("garbage", None),
        ];
        for (heads, expected) in table {
            assert_eq!(status(heads), expected, "{heads}");
        }
    }

    #[test]
    fn every_status_has_its_exit_code() {
        let table = [
            (400, Exit::Server),
            (401, Exit::Refused),
            (403, Exit::Refused),
            (404, Exit::Server),
            (409, Exit::Server),
            (429, Exit::Limited),
            (500, Exit::Server),
            (503, Exit::Server),
        ];
        for (status, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, headers: HeaderMap::new() };
            assert_eq!(refusal(&answer).exit, expected, "{status}");
        }
    }
}
