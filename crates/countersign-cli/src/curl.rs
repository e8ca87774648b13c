mod argument_list;
mod arguments;
pub(crate) mod child;
mod flag;
mod form;
mod private_file;
pub(crate) mod probe;
mod response;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IsTerminal, Write, stderr, stdout},
    path::Path,
    process::Stdio,
};

use clap::Args;
use countersign::{Scheme, SignError, Signer};
use http::Method;

use self::{
    arguments::{Arguments, CurlFlag, NamedKey, PlannedRequest},
    child::Ended,
    private_file::PrivateFile,
    response::{Response, ResponseBody},
};
use crate::{
    environment::KEY_VARIABLE,
    failure::{Exit, Failure},
    input::Files,
    key_source::PrivateKeyArgs,
    moment,
    output::{note, print},
    random,
    request::{
        CURL_FLAGS,
        body::{Body, WHILE_WRITTEN, cannot_keep},
        cannot_sign,
        coverage::chosen_coverage,
        header_line::HeaderLine,
        signed_fields,
    },
};

/// Signs the request of curl's arguments, and runs curl to send it
///
/// Put this command's own options first. From the first other argument on, all arguments are curl's. A --key among
/// curl's arguments signs too, unless --cert is there as well: then it is curl's own, the key of the TLS client
/// certificate.
///
/// Method, URL, header fields and content come from curl's flags, and are signed and sent exactly so. curl runs with -q
/// (header fields from ~/.curlrc would go unsigned), --path-as-is and --globoff. Refused are redirects, config files,
/// retries, several URLs, authentication by handshake, and unknown flags, since a signature cannot cover them.
#[derive(Args, Debug)]
#[command(
    override_usage = "countersign curl --key FILE [--tag TAG] [--component ID] [curl's own arguments]",
    after_help = "Exit codes, by the server's status: 0 below 400 without a Countersign-Refusal field · 3 for 401 and 403 · 4 for 429 · 2 for every other status from 400 on.\nA failure of curl itself: 2 for the network, 1 for wrong usage or a fault on this machine. 129, 130, 131 or 143 when it was stopped by SIGHUP, SIGINT, SIGQUIT or SIGTERM."
)]
pub(crate) struct Curl {
    #[command(flatten)]
    key: PrivateKeyArgs,
    /// The tag by which the server selects the signature
    #[arg(long, default_value = "countersign")]
    tag: String,
    /// A component to cover in addition, like @scheme or x-tenant
    #[arg(long = "component", value_name = "ID")]
    components: Vec<String>,
    /// curl's own arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CURL ARGUMENTS")]
    arguments: Vec<OsString>,
}

impl Curl {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut arguments = Arguments::read(argument_list::conceal(self.arguments)?)?;
        let more = chosen_coverage(&self.components)?;
        let key = match arguments.take_keys()? {
            NamedKey::Signing(key) => self.key.named_later(key)?,
            NamedKey::OfCertificate if !self.key.is_given() => {
                return Err(Failure::local(
                    "no key that signs is given: the --key beside --cert is curl's own",
                    format!(
                        "give the key that signs before curl's own arguments, as in `countersign curl --key FILE …`, or set {KEY_VARIABLE}"
                    ),
                ));
            }
            NamedKey::OfCertificate | NamedKey::None => self.key,
        };
        // Read before any other file is opened: the number of a descriptor that the caller did not open must not match
        // one of these files.
        let private_key = key.read();
        let as_text = "text that begins with @ goes in with --data-raw";
        let mut files = Files::new(key.is_stdin(), as_text);
        let planned = arguments.request(&mut |file| files.open(file))?;
        let private_key = private_key?;
        // curl gets the rest of stdin, for flags like -w @-.
        let stdin = if files.stdin_is_free() { Stdio::inherit() } else { Stdio::null() };
        let signer = Signer::new(private_key).tag(&self.tag).map_err(|error| {
            Failure::local(error, "name the tag that the server's operator gave you")
        })?;
        let request = &planned.request;
        let headers = request.headers();
        let head = request.head(&headers);
        let nonce = random::nonce()?;
        let content = request.digest(&headers)?;
        let now = moment::now();
        let signed = signer.sign_digested_covering(&more, &head, content.as_ref(), now, &nonce);
        let signed = signed.map_err(|error| match error {
            SignError::Base(_) if !more.is_empty() => cannot_sign(&error)
                .with_hint("name with --component only what the request has; -H adds a header"),
            error => cannot_sign(&error),
        })?;

        let mut lines = vec![HeaderLine::field("Host", authority_value(&planned)?)];
        lines.extend(request.lines.iter().cloned());
        let added = signed_fields(signed);
        lines.extend(added.into_iter().map(|(name, value)| HeaderLine::field(name, value)));
        let secrets: Vec<i32> = key.descriptors().collect();
        send(&arguments, &planned, &lines, (stdin, &secrets))
    }
}

/// Whether curl has a flag with this long name.
#[cfg(test)]
pub(crate) fn knows_flag(name: &str) -> bool {
    flag::by_long_name(name).is_some()
}

/// Returns the signed value of `Host`. It is always sent, since curl rewrites some hosts, such as `0x7f.1` to
/// `127.0.0.1`.
fn authority_value(planned: &PlannedRequest) -> Result<http::HeaderValue, Failure> {
    planned.request.origin.authority().parse().map_err(|_| {
        Failure::local("the URL's host cannot be a header", "check the host in the URL")
    })
}

/// Files that only this command and curl can open.
struct PrivateFiles {
    config: PrivateFile,
    headers: PrivateFile,
    content: Option<PrivateFile>,
    response_head: PrivateFile,
}

fn send(
    arguments: &Arguments,
    planned: &PlannedRequest,
    lines: &[HeaderLine],
    inherited: (Stdio, &[i32]),
) -> Result<Exit, Failure> {
    // Created before the request is sent: if the file cannot be written, no request is sent.
    let dump = match &arguments.dump_header {
        Some(file) if file != "-" => Some(
            File::create(file)
                .map_err(|error| cannot_dump(file, &error, "name another file with -D"))?,
        ),
        _ => None,
    };
    let dump_to_stdout = arguments.dump_header.as_deref() == Some(OsStr::new("-"));
    let (ended, files) = child::run(|| prepare(arguments, planned, lines, inherited))?;
    let status = match ended {
        Ended::ByItself(status) => status,
        Ended::Stopped(exit) => return Ok(exit),
    };
    let head = files.response_head.content().unwrap_or_default();
    if let (Some(mut dump), Some(file)) = (dump, &arguments.dump_header) {
        let sent = "the request was sent; name another file with -D";
        dump.write_all(&head).map_err(|error| cannot_dump(file, &error, sent))?;
    } else if dump_to_stdout && arguments.saves {
        print(&head)?;
    }
    let Some(response) = Response::last(&head) else { return Err(response::curl_failure(status)) };
    let content = response.content(arguments, planned.head);
    match response.refusal(content) {
        Some(refusal) => {
            // On a terminal, the error would otherwise continue the last line of the response.
            if content == ResponseBody::Printed && stdout().is_terminal() && stderr().is_terminal()
            {
                note("");
            }
            let changed = planned.request.body.as_ref().and_then(Body::changed);
            Err(match changed {
                Some(file) => refusal
                    .with_hint(format!("`{file}` changed after it was signed; {WHILE_WRITTEN}")),
                None => refusal,
            })
        }
        None if status.success() => Ok(Exit::Done),
        None => Err(response::curl_failure(status)),
    }
}

/// Returns the curl command that sends the request as signed. Other users see the names of its switches, but no values.
fn prepare(
    arguments: &Arguments,
    planned: &PlannedRequest,
    lines: &[HeaderLine],
    (stdin, secrets): (Stdio, &[i32]),
) -> Result<(tokio::process::Command, PrivateFiles), Failure> {
    let request = &planned.request;
    let mut headers = Vec::new();
    for line in lines {
        headers.extend(line.for_curl());
        headers.push(b'\n');
    }
    let transfer = Transfer::of(arguments, planned);
    let mut url = format!("{}{}", planned.connect_to, request.uri);
    let target = (transfer == Transfer::UploadToTarget).then(|| request.uri.to_string());
    if target.is_some() {
        // `--request-target` sends the signed target in place of this URL's.
        url = format!("{}{}content", planned.connect_to, request.uri.path());
        if let Some(query) = request.uri.query() {
            url.push('?');
            url.push_str(query);
        }
    }
    let (config, empty_first, empty_last) = config(&arguments.for_curl, &url, target.as_deref());
    let files = private_files(&config, &headers, request.body.as_ref());
    let files = files.map_err(|error| cannot_keep(&error))?;
    let mut command = child::curl(stdin, secrets.iter().copied());
    command.args(CURL_FLAGS).args(empty_first);
    if arguments.dump_header.as_deref() == Some(OsStr::new("-")) && !arguments.saves {
        command.arg("--include");
    }
    match (&request.method, planned.head, &request.body) {
        (&Method::HEAD, _, _) => drop(command.arg("--head")),
        (method, true, _) => drop(command.args(["--head", "--request", method.as_str()])),
        (&Method::GET, _, None) => {}
        (&Method::POST, _, Some(_)) if transfer == Transfer::Data => {}
        (&Method::PUT, _, Some(_)) if transfer != Transfer::Data => {}
        (method, ..) => drop(command.args(["--request", method.as_str()])),
    }
    // Content does not go through stdin, since another flag, such as `-w @-`, could read that first.
    if let Some(content) = &files.content {
        match transfer {
            Transfer::Data => command.arg("--data-binary").arg(from_file(content)),
            _ => command.arg("--upload-file").arg(content.path()),
        };
    }
    command.arg("--header").arg(from_file(&files.headers));
    command.arg("--dump-header").arg(files.response_head.path());
    command.arg("--config").arg(files.config.path());
    command.args(empty_last);
    Ok((command, files))
}

/// How curl gets the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    /// By `--data-binary`: curl reads all of the content into memory.
    Data,
    /// By `--upload-file`: curl reads the content while it sends.
    Upload,
    /// Like `Upload`, with the target in its own flag. curl would add the file's name to a path that ends in a slash; a
    /// few versions about 7.88 do so even before a query.
    UploadToTarget,
}

impl Transfer {
    /// Above this, curl asks for `100 Continue` before data; before uploads it asks at any size.
    const MOST_DATA: u64 = 1024 * 1024;

    fn of(arguments: &Arguments, planned: &PlannedRequest) -> Self {
        let (uri, length) = (&planned.request.uri, planned.request.body.as_ref().map(Body::length));
        if length.is_none_or(|length| length <= Self::MOST_DATA) {
            return Self::Data;
        }
        if !uri.path().ends_with('/') {
            return Self::Upload;
        }
        // curl takes the name of a saved file from the URL, which `UploadToTarget` changes.
        if arguments.for_curl.iter().any(|flag| flag.name == "remote-name") {
            return Self::Data;
        }
        // A proxy for plain http receives the URL in place of the target.
        let proxies = ["http_proxy", "all_proxy", "ALL_PROXY"];
        let by_variable = proxies.into_iter().any(|name| std::env::var_os(name).is_some());
        let by_flag = arguments.for_curl.iter().any(|flag| flag.name.contains("proxy"));
        match planned.connect_to.scheme() {
            Scheme::Http if by_variable || by_flag => Self::Data,
            _ => Self::UploadToTarget,
        }
    }
}

fn private_files(config: &[u8], headers: &[u8], body: Option<&Body>) -> io::Result<PrivateFiles> {
    let content = body.map(|body| match body.file() {
        Some(file) => PrivateFile::lend(file),
        None => PrivateFile::new(body.in_memory()),
    });
    Ok(PrivateFiles {
        config: PrivateFile::new(config)?,
        headers: PrivateFile::new(headers)?,
        content: content.transpose()?,
        response_head: PrivateFile::new(b"")?,
    })
}

/// Returns the config file, and the flags with an empty value, which a config file cannot hold: first the flags that a
/// later flag of the same name overrides, then the others.
fn config(
    flags: &[CurlFlag],
    url: &str,
    target: Option<&str>,
) -> (Vec<u8>, Vec<OsString>, Vec<OsString>) {
    let mut config = Vec::new();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for (at, CurlFlag { name, value }) in flags.iter().enumerate() {
        match value {
            Some(value) if value.is_empty() => {
                let mut later = flags.iter().skip(at.saturating_add(1));
                let overridden = later.any(|flag| flag.name == *name);
                let arguments = if overridden { &mut first } else { &mut last };
                arguments.extend([OsString::from(format!("--{name}")), OsString::new()]);
            }
            value => config.extend(config_line(name, value.as_deref())),
        }
    }
    if let Some(target) = target {
        config.extend(config_line("request-target", Some(OsStr::new(target))));
    }
    config.extend(config_line("url", Some(OsStr::new(url))));
    (config, first, last)
}

/// Returns a line of a config file (curl(1), "--config").
fn config_line(name: &str, value: Option<&OsStr>) -> Vec<u8> {
    let mut line = name.as_bytes().to_vec();
    if let Some(value) = value {
        line.extend_from_slice(b" = \"");
        for &byte in value.as_encoded_bytes() {
            match byte {
                b'\\' | b'"' => line.extend([b'\\', byte]),
                b'\n' => line.extend(b"\\n"),
                b'\r' => line.extend(b"\\r"),
                byte => line.push(byte),
            }
        }
        line.push(b'"');
    }
    line.push(b'\n');
    line
}

fn from_file(file: &PrivateFile) -> OsString {
    let mut from_file = OsString::from("@");
    from_file.push(file.path());
    from_file
}

fn cannot_dump(file: &OsStr, error: &io::Error, hint: &str) -> Failure {
    Failure::local(format!("cannot write {}: {error}", Path::new(file).display()), hint)
}
