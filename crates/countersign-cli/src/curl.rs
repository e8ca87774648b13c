mod answer;
mod arguments;
mod child;
mod flag;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{IsTerminal, Write, stderr, stdout},
    path::Path,
    process::Stdio,
};

use clap::Args;
use countersign::{Nonce, Signer};
use http::Method;
use tempfile::NamedTempFile;

use self::{
    answer::{Answer, Content},
    arguments::{Arguments, Planned},
    child::Ended,
};
use crate::{
    failure::{Exit, Failure},
    header_line::HeaderLine,
    key_source::{KEY_VARIABLE, PASSPHRASE_VARIABLE, PrivateKeyArgs},
    moment,
    output::{note, print},
    request::{cannot_sign, signed_fields},
    request_body::Files,
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
    after_help = "Exit codes, by the server's status: 0 below 400, unless Countersign-Refusal says that it is a refusal · 3 for 401 and 403 · 4 for 429 · 2 for every other from 400 on, \
so that 0 means that it is done.\nA failure of curl itself: 2 for the network, 1 for wrong usage or a fault on this machine. 130 or 143 when it was stopped by SIGINT or SIGTERM."
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
        let as_text = "text that begins with @ goes in with --data-raw";
        let mut files = Files::new(self.key.is_stdin(), as_text);
        let planned = arguments.request(&mut |file| files.open(file))?;
        // What is left of stdin is curl's, for flags like -w @-.
        let stdin = if files.stdin_is_free() { Stdio::inherit() } else { Stdio::null() };
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
        send(&arguments, &planned, &lines, stdin)
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

/// Files that curl reads or writes and nobody else. They are gone when this is.
struct PrivateFiles {
    config: NamedTempFile,
    headers: NamedTempFile,
    content: Option<NamedTempFile>,
    answer_head: NamedTempFile,
}

fn send(
    arguments: &Arguments,
    planned: &Planned,
    lines: &[HeaderLine],
    stdin: Stdio,
) -> Result<Exit, Failure> {
    // A file that cannot be written is told before anything is sent.
    let dump = match &arguments.dump_header {
        Some(file) if file != "-" => Some(
            File::create(file)
                .map_err(|error| cannot_dump(file, &error, "name another file with -D"))?,
        ),
        _ => None,
    };
    let dump_to_stdout = arguments.dump_header.as_deref() == Some(OsStr::new("-"));
    let (ended, files) = child::run(|| prepare(arguments, planned, lines, stdin))?;
    let status = match ended {
        Ended::ByItself(status) => status,
        Ended::Stopped(exit) => return Ok(exit),
    };
    let head = std::fs::read(files.answer_head.path()).unwrap_or_default();
    if let (Some(mut dump), Some(file)) = (dump, &arguments.dump_header) {
        let sent = "the request was sent; name another file with -D";
        dump.write_all(&head).map_err(|error| cannot_dump(file, &error, sent))?;
    } else if dump_to_stdout && arguments.saves {
        print(&head)?;
    }
    let Some(answer) = Answer::last(&head) else { return Err(answer::curl_failure(status)) };
    let content = answer.content(arguments, planned.head);
    match answer.refusal(content) {
        Some(refusal) => {
            // On one terminal what follows would stand behind the last line of the answer.
            if content == Content::Printed && stdout().is_terminal() && stderr().is_terminal() {
                note("");
            }
            Err(refusal)
        }
        None if status.success() => Ok(Exit::Done),
        None => Err(answer::curl_failure(status)),
    }
}

/// The command that sends a request as it was signed. What may be a secret goes by private files and not by argv.
fn prepare(
    arguments: &Arguments,
    planned: &Planned,
    lines: &[HeaderLine],
    stdin: Stdio,
) -> Result<(tokio::process::Command, PrivateFiles), Failure> {
    let request = &planned.request;
    let mut headers = Vec::new();
    for line in lines {
        headers.extend(line.for_curl());
        headers.push(b'\n');
    }
    let url = format!("{}{}", planned.connect_to, request.uri);
    let files = PrivateFiles {
        config: private_file(config_line("url", &url).as_bytes())?,
        headers: private_file(&headers)?,
        content: request.body.as_deref().map(private_file).transpose()?,
        answer_head: private_file(b"")?,
    };
    let mut command = child::curl(stdin);
    command.args(["-q", "--path-as-is", "--globoff"]).args(&arguments.passed);
    if arguments.dump_header.as_deref() == Some(OsStr::new("-")) && !arguments.saves {
        command.arg("--include");
    }
    match (&request.method, planned.head, &request.body) {
        (&Method::HEAD, _, _) => drop(command.arg("--head")),
        (method, true, _) => drop(command.args(["--head", "--request", method.as_str()])),
        (&Method::GET, _, None) | (&Method::POST, _, Some(_)) => {}
        (method, ..) => drop(command.args(["--request", method.as_str()])),
    }
    // Not by stdin, which another flag could read first: `-w @-`.
    if let Some(content) = &files.content {
        command.arg("--data-binary").arg(from_file(content));
    }
    command.arg("--header").arg(from_file(&files.headers));
    command.arg("--dump-header").arg(files.answer_head.path());
    command.arg("--config").arg(files.config.path());
    for secret in [KEY_VARIABLE, PASSPHRASE_VARIABLE, "COUNTERSIGN_DB"] {
        command.env_remove(secret);
    }
    Ok((command, files))
}

/// A line of a config file (curl(1), "--config").
fn config_line(name: &str, value: &str) -> String {
    format!("{name} = \"{}\"\n", value.replace('\\', r"\\").replace('"', r#"\""#))
}

fn from_file(file: &NamedTempFile) -> OsString {
    let mut from_file = OsString::from("@");
    from_file.push(file.path());
    from_file
}

fn private_file(content: &[u8]) -> Result<NamedTempFile, Failure> {
    let file = tempfile::Builder::new().prefix("countersign-").tempfile();
    let written = file.and_then(|mut file| file.write_all(content).map(|()| file));
    written.map_err(|error| {
        Failure::local(
            format!("cannot write a temporary file: {error}"),
            "set TMPDIR to a directory with room in it",
        )
    })
}

fn cannot_dump(file: &OsStr, error: &std::io::Error, hint: &str) -> Failure {
    Failure::local(format!("cannot write {}: {error}", Path::new(file).display()), hint)
}
