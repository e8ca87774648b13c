use std::ffi::{OsStr, OsString};

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign::{Origin, Scheme};
use http::{HeaderValue, header};

use super::flag::{self, Arity, Flag, Role};
use crate::{
    failure::Failure,
    header_line::HeaderLine,
    request::{Request, Url},
    request_body::{self, Data, DataKind, Open},
};

/// What curl's arguments ask for.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    method: Option<String>,
    headers: Vec<String>,
    data: Vec<Data>,
    url_query: Vec<String>,
    get: bool,
    head: bool,
    upload: Option<String>,
    url: Option<String>,
    user: Option<String>,
    bearer: Option<String>,
    without_body: Option<&'static str>,
    proxy_header: bool,
    proxy_tunnel: bool,
    /// Where the answer's head is to be written.
    pub(super) dump_header: Option<OsString>,
    /// Whether the answer's content goes to a file.
    pub(super) saves: bool,
    /// Whether the content of a refusal goes nowhere.
    pub(super) fails: bool,
    /// The key of `--key`. With a certificate it is curl's own.
    key: Option<OsString>,
    certificate: bool,
    /// What curl itself is to see.
    pub(super) passed: Vec<OsString>,
}

/// A request, and what only curl has to know.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) request: Request,
    /// Where to connect, which a `Host` header may differ from.
    pub(super) connect_to: Origin,
    /// Whether curl is to expect an answer without content.
    pub(super) head: bool,
}

const FORM_TYPE: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/json");

impl Arguments {
    /// Reads curl's arguments the way curl does.
    pub(super) fn read(arguments: Vec<OsString>) -> Result<Self, Failure> {
        let mut read = Self::default();
        let mut rest = arguments.into_iter();
        let mut flags_ended = false;
        while let Some(argument) = rest.next() {
            let text = argument.to_str();
            match text {
                Some("--") if !flags_ended => flags_ended = true,
                Some(text) if !flags_ended && text.starts_with("--") => {
                    let name = text.trim_start_matches("--");
                    let flag = flag::by_long_name(name).ok_or_else(|| unknown(text))?;
                    let value = match flag.arity {
                        Arity::Switch => None,
                        Arity::Value => Some(rest.next().ok_or_else(|| needs_value(text))?),
                    };
                    read.take(flag, text, value)?;
                }
                Some(text) if !flags_ended && text.starts_with('-') => {
                    read.take_short(text, &mut rest)?;
                }
                Some(url) => read.take_url(url)?,
                None => return Err(not_text("an argument")),
            }
        }
        Ok(read)
    }

    /// A cluster of one-letter flags, the last of which may have its value behind it: `-sSXPOST`.
    fn take_short(
        &mut self,
        cluster: &str,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Failure> {
        let mut letters = cluster.chars();
        letters.next();
        if letters.as_str().is_empty() {
            return Err(unknown(cluster));
        }
        while let Some(letter) = letters.next() {
            let name = format!("-{letter}");
            let flag = flag::by_short_name(letter).ok_or_else(|| unknown(&name))?;
            if flag.arity == Arity::Switch {
                self.take(flag, &name, None)?;
                continue;
            }
            let value = match letters.as_str() {
                "" => rest.next().ok_or_else(|| needs_value(&name))?,
                value => value.into(),
            };
            return self.take(flag, &name, Some(value));
        }
        Ok(())
    }

    fn take(&mut self, flag: &Flag, name: &str, value: Option<OsString>) -> Result<(), Failure> {
        let text = |value: Option<OsString>| {
            let value = value.unwrap_or_default().into_string();
            value.map_err(|_| not_text(&format!("the value of {name}")))
        };
        match flag.role {
            Role::Ignored => {}
            Role::Refused(refused) => {
                return Err(Failure::local(
                    format!("{name} cannot be signed: {}", refused.why),
                    refused.instead,
                ));
            }
            Role::Passed => self.pass(name, value),
            Role::Output => {
                self.saves |= value.as_deref() != Some(OsStr::new("-"));
                self.pass(name, value);
            }
            Role::Fail => {
                self.fails = true;
                self.pass(name, value);
            }
            Role::Field => self.pass_field(name, value)?,
            Role::WithoutBody => {
                self.without_body = Some(flag.long);
                self.pass_field(name, value)?;
            }
            Role::ProxyHeader => {
                self.proxy_header = true;
                self.pass_field(name, value)?;
            }
            Role::ProxyTunnel => {
                self.proxy_tunnel = true;
                self.pass(name, value);
            }
            Role::Method => self.method = Some(text(value)?),
            Role::Header => self.headers.push(text(value)?),
            Role::Data(kind) => self.data.push(Data { kind, text: text(value)? }),
            Role::Get => self.get = true,
            Role::Head => self.head = true,
            Role::Upload => {
                let file = text(value)?;
                if matches!(file.as_str(), "-" | "." | "") {
                    return Err(Failure::local(
                        format!(
                            "{name} {file} cannot be signed: the content is not known before it is sent"
                        ),
                        "write it to a file first, or send it with -X PUT --data-binary @-, which reads all of it",
                    ));
                }
                if self.upload.replace(file).is_some() {
                    return Err(several(name));
                }
            }
            Role::Url => self.take_url(&text(value)?)?,
            Role::UrlQuery => self.url_query.push(text(value)?),
            Role::User => self.user = Some(text(value)?),
            Role::Bearer => self.bearer = Some(text(value)?),
            Role::DumpHeader => self.dump_header = value,
            Role::Certificate => {
                self.certificate = true;
                self.pass(name, value);
            }
            // The last one counts, as with curl.
            Role::Key => self.key = value,
        }
        Ok(())
    }

    /// The key that signs, if one is named among curl's arguments. A `--key` beside a certificate is curl's own, and left
    /// to it.
    pub(super) fn take_signing_key(&mut self) -> Result<Option<String>, Failure> {
        match self.key.take() {
            Some(key) if self.certificate => {
                self.pass("--key", Some(key));
                Ok(None)
            }
            key => key
                .map(|key| key.into_string().map_err(|_| not_text("the value of --key")))
                .transpose(),
        }
    }

    fn pass(&mut self, name: &str, value: Option<OsString>) {
        self.passed.push(name.into());
        self.passed.extend(value);
    }

    fn pass_field(&mut self, name: &str, value: Option<OsString>) -> Result<(), Failure> {
        let bytes = value.as_deref().unwrap_or_default().as_encoded_bytes();
        if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0')) {
            return Err(Failure::local(
                format!(
                    "the value of {name} has a line break, which would begin a header that is not signed"
                ),
                "give headers with -H",
            ));
        }
        self.pass(name, value);
        Ok(())
    }

    fn take_url(&mut self, url: &str) -> Result<(), Failure> {
        match self.url.replace(url.to_owned()) {
            Some(_) => Err(several("more than one URL")),
            None => Ok(()),
        }
    }

    /// The request that curl would make of these arguments.
    pub(super) fn request(&self, open: Open<'_>) -> Result<Planned, Failure> {
        let text = self.url.as_deref().ok_or_else(|| {
            Failure::local("no URL is given", "add one, like https://api.example.com/v1/orders")
        })?;
        let mut url = Url::parse(text)?;
        if self.proxy_header && !self.proxy_tunnel && url.origin.scheme() == Scheme::Http {
            return Err(Failure::local(
                "--proxy-header cannot be signed: over a plain http proxy its fields become the request's own",
                "add -p, so that they go to the proxy alone, or give them with -H",
            ));
        }
        let lines = self.header_lines(open)?;
        let has_data = !self.data.is_empty();
        let data = has_data.then(|| request_body::join(&self.data, open)).transpose()?;
        let (default_method, body) = match (data, &self.upload, self.get, self.head) {
            (Some(data), None, true, head) => {
                let data = String::from_utf8(data).map_err(|_| not_text("the data for -G"))?;
                if !data.is_empty() {
                    url.push_query(&data);
                }
                (if head { "HEAD" } else { "GET" }, None)
            }
            (None, None, _, true) => ("HEAD", None),
            (None, None, _, false) => ("GET", None),
            (Some(data), None, false, false) => ("POST", Some(data)),
            (None, Some(file), false, false) => {
                push_file_name(&mut url, file);
                ("PUT", Some(open(file)?))
            }
            _ => {
                return Err(Failure::local(
                    "-d, -T, -G and -I ask for different requests",
                    "give one of them; -d may go with -G",
                ));
            }
        };
        for piece in &self.url_query {
            let encoded = match piece.strip_prefix('+') {
                Some(piece) => piece.to_owned(),
                None => request_body::url_encoded(piece, open)?,
            };
            url.push_query(&encoded);
        }
        let method = self.method.as_deref().unwrap_or(default_method);
        let head = self.head || method == "HEAD";
        if body.is_some() {
            if head {
                return Err(Failure::local(
                    "a HEAD request with content cannot be sent by curl",
                    "leave out the content, or use another method",
                ));
            }
            if let Some(flag) = self.without_body {
                return Err(Failure::local(
                    format!(
                        "--{flag} cannot be signed with content: curl would send a part of it, or add a header"
                    ),
                    "leave it out",
                ));
            }
        }
        let lines = self.with_defaults(lines, body.is_some())?;
        let connect_to = url.origin.clone();
        let request = Request::new(method, url, lines, body)?;
        Ok(Planned { request, connect_to, head })
    }

    fn header_lines(&self, open: Open<'_>) -> Result<Vec<HeaderLine>, Failure> {
        let mut lines = Vec::new();
        let hint = "a header is like 'Content-Type: application/json'; 'Name;' sends it empty, 'Name:' not at all";
        for text in &self.headers {
            let parse =
                |line: &str| HeaderLine::parse(line).map_err(|error| Failure::local(error, hint));
            let Some(file) = text.strip_prefix('@') else {
                lines.push(parse(text)?);
                continue;
            };
            let content = String::from_utf8(open(file)?).map_err(|_| not_text(file))?;
            for line in content.lines().filter(|line| !line.trim().is_empty()) {
                // What is in a file may be a secret, so it is not shown.
                lines.push(HeaderLine::parse(line).map_err(|_| {
                    Failure::local(format!("a line of `{file}` is no header"), hint)
                })?);
            }
        }
        Ok(lines)
    }

    /// Adds the fields that curl would add, so that they are signed.
    fn with_defaults(
        &self,
        mut lines: Vec<HeaderLine>,
        has_body: bool,
    ) -> Result<Vec<HeaderLine>, Failure> {
        let has = |lines: &[HeaderLine], name| lines.iter().any(|line| line.is(name));
        let json = self.data.iter().any(|data| data.kind == DataKind::Json);
        if json && !has(&lines, &header::ACCEPT) {
            lines.push(HeaderLine::field("Accept", JSON_TYPE));
        }
        if json && !has(&lines, &header::CONTENT_TYPE) {
            lines.push(HeaderLine::field("Content-Type", JSON_TYPE));
        }
        if has_body && !has(&lines, &header::CONTENT_TYPE) {
            lines.push(match self.upload {
                None => HeaderLine::field("Content-Type", FORM_TYPE),
                // Content goes to curl as data, which has a type; an upload has none.
                Some(_) => HeaderLine::Removed(header::CONTENT_TYPE),
            });
        }
        if let Some(authorization) = self.authorization()?
            && !has(&lines, &header::AUTHORIZATION)
        {
            lines.push(HeaderLine::field("Authorization", authorization));
        }
        Ok(lines)
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let text = match (&self.user, &self.bearer) {
            (None, None) => return Ok(None),
            (Some(user), None) if user.contains(':') => {
                format!("Basic {}", STANDARD.encode(user))
            }
            (Some(_), None) => {
                return Err(Failure::local(
                    "-u has no password, and curl would ask for it after signing",
                    "give -u USER:PASSWORD, or the header in a file with -H @FILE",
                ));
            }
            (None, Some(token)) => format!("Bearer {token}"),
            (Some(_), Some(_)) => {
                return Err(Failure::local(
                    "-u and --oauth2-bearer are both given",
                    "a request has one Authorization; leave one of them out",
                ));
            }
        };
        HeaderValue::try_from(text).map(Some).map_err(|_| {
            Failure::local("the bearer token has a character that no header has", "check the token")
        })
    }
}

/// An upload to a URL that ends in a slash is named after the file.
fn push_file_name(url: &mut Url, file: &str) {
    if url.path_and_query.ends_with('/') && !url.path_and_query.contains('?') {
        let name = file.rsplit('/').next().unwrap_or(file);
        url.path_and_query.push_str(&request_body::percent_encoded(name.as_bytes()));
    }
}

fn unknown(name: &str) -> Failure {
    let shown = name.split('=').next().unwrap_or(name);
    let hint = if name.contains('=') && name.starts_with("--") {
        "curl's flags have their value in the next argument: write `--flag value`"
    } else {
        "write curl's flag in full; whether an unknown one takes a value cannot be told, nor what it does to the request"
    };
    Failure::local(format!("{shown} is no flag of curl that is known here"), hint)
}

fn needs_value(name: &str) -> Failure {
    Failure::local(format!("{name} needs a value"), "give it in the next argument")
}

fn several(what: &str) -> Failure {
    Failure::local(
        format!("{what} cannot be signed at once: a signature is good for one request"),
        "run this command once for each",
    )
}

fn not_text(what: &str) -> Failure {
    Failure::local(format!("{what} is not UTF-8 text"), "put content that is not text into a file")
}
