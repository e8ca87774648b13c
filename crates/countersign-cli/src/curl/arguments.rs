use std::ffi::{OsStr, OsString};

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign::{Origin, Scheme};
use http::{HeaderValue, header};

use super::{
    flag::{self, Arity, Flag, Role},
    form::{self, Form},
};
use crate::{
    failure::Failure,
    input::Open,
    key_source, random,
    request::{
        Request,
        body::{self, Body, Data, DataKind},
        head_with_content,
        header_line::HeaderLine,
        url::{Url, percent_encoded},
    },
};

/// The parsed arguments of curl.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    method: Option<String>,
    headers: Vec<String>,
    data: Vec<Data>,
    form: Vec<form::Field>,
    form_escape: bool,
    url_query: Vec<String>,
    get: bool,
    head: bool,
    upload: Option<String>,
    url: Option<String>,
    user: Option<String>,
    bearer: Option<String>,
    /// The flag `-r` or `-C`, and its range.
    range: Option<(&'static str, String)>,
    etag_file: Option<String>,
    proxy_header: bool,
    proxy_tunnel: bool,
    /// The file for the head of the response.
    pub(super) dump_header: Option<OsString>,
    /// Whether the content of the response goes to a file.
    pub(super) saves: bool,
    /// Whether curl drops the content of an error response.
    pub(super) fails: bool,
    /// The keys of `--key`. With a certificate they belong to curl.
    keys: Vec<OsString>,
    certificate: bool,
    /// The flags that curl gets.
    pub(super) for_curl: Vec<CurlFlag>,
}

/// The purpose of a `--key` among curl's arguments.
#[derive(Debug)]
pub(super) enum NamedKey {
    None,
    /// The key signs.
    Signing(String),
    /// The key belongs to curl, for a TLS client certificate.
    OfCertificate,
}

/// A flag to pass to curl.
#[derive(Debug)]
pub(super) struct CurlFlag {
    /// Its long name, without dashes.
    pub(super) name: String,
    pub(super) value: Option<OsString>,
}

/// A request, and the facts that only curl needs.
#[derive(Debug)]
pub(super) struct PlannedRequest {
    pub(super) request: Request,
    /// The origin to connect to; a `Host` header may name another host.
    pub(super) connect_to: Origin,
    /// Whether curl expects a response without content.
    pub(super) head: bool,
}

const FORM_TYPE: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/json");

impl Arguments {
    /// Parses curl's arguments as curl does.
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

    /// Reads a cluster of one-letter flags. The last flag may have its value behind it: `-sSXPOST`.
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
            Role::CurlOnly => self.leave_to_curl(flag, name, value),
            Role::Output => {
                self.saves |= value.as_deref() != Some(OsStr::new("-"));
                self.leave_to_curl(flag, name, value);
            }
            Role::Fail => {
                self.fails = true;
                self.leave_to_curl(flag, name, value);
            }
            Role::Field => self.leave_field_to_curl(flag, name, value)?,
            Role::Range => {
                refuse_line_break(name, value.as_deref())?;
                self.range = Some((flag.long, text(value)?));
            }
            Role::ContinueAt => {
                let offset = text(value)?;
                if offset.is_empty() || !offset.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Failure::local(
                        format!(
                            "{name} {offset} cannot be signed: curl looks up the offset while sending"
                        ),
                        format!("give the number of bytes that are there: {name} 1024"),
                    ));
                }
                self.range = Some((flag.long, format!("{offset}-")));
                self.leave_to_curl(flag, name, Some(offset.into()));
            }
            Role::EtagCompare => self.etag_file = Some(text(value)?),
            Role::ProxyHeader => {
                self.proxy_header = true;
                self.leave_field_to_curl(flag, name, value)?;
            }
            Role::ProxyTunnel => {
                self.proxy_tunnel = true;
                self.leave_to_curl(flag, name, value);
            }
            Role::Method => self.method = Some(text(value)?),
            Role::Header => self.headers.push(text(value)?),
            Role::Data(kind) => self.data.push(Data { kind, text: text(value)? }),
            Role::Form | Role::FormString => self.form.push(form::Field {
                flag: name.to_owned(),
                text: text(value)?,
                literal: flag.role == Role::FormString,
            }),
            Role::FormEscape => self.form_escape = true,
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
                self.leave_to_curl(flag, name, value);
            }
            Role::Key => self.keys.extend(value),
        }
        Ok(())
    }

    /// Takes the keys of `--key`. With a certificate, the key belongs to curl and is passed on.
    pub(super) fn take_keys(&mut self) -> Result<NamedKey, Failure> {
        let mut keys = std::mem::take(&mut self.keys);
        match (keys.pop(), self.certificate) {
            (None, _) => Ok(NamedKey::None),
            (Some(_), true) if !keys.is_empty() => Err(Failure::local(
                "several --key stand beside --cert, and curl uses one",
                "leave one --key beside --cert, the certificate's; give the key that signs before curl's own arguments, as in `countersign curl --key FILE …`",
            )),
            (Some(key), true) => {
                self.for_curl.push(CurlFlag { name: "key".to_owned(), value: Some(key) });
                Ok(NamedKey::OfCertificate)
            }
            (Some(_), false) if !keys.is_empty() => Err(key_source::two_keys()),
            (Some(key), false) => {
                key.into_string().map(NamedKey::Signing).map_err(|_| not_text("the value of --key"))
            }
        }
    }

    fn leave_to_curl(&mut self, flag: &Flag, name: &str, value: Option<OsString>) {
        // `--no-…` is not the flag's own name.
        let long = name.strip_prefix("--").unwrap_or(flag.long);
        self.for_curl.push(CurlFlag { name: long.to_owned(), value });
    }

    fn leave_field_to_curl(
        &mut self,
        flag: &Flag,
        name: &str,
        value: Option<OsString>,
    ) -> Result<(), Failure> {
        refuse_line_break(name, value.as_deref())?;
        self.leave_to_curl(flag, name, value);
        Ok(())
    }

    fn take_url(&mut self, url: &str) -> Result<(), Failure> {
        match self.url.replace(url.to_owned()) {
            Some(_) => Err(several("more than one URL")),
            None => Ok(()),
        }
    }

    /// Returns the request that curl would make of these arguments.
    pub(super) fn request(&self, open: Open<'_>) -> Result<PlannedRequest, Failure> {
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
        let mut lines = self.header_lines(&mut *open)?;
        let (has_data, has_form) = (!self.data.is_empty(), !self.form.is_empty());
        let (default_method, body) = match (has_data, has_form, &self.upload, self.get, self.head) {
            (true, false, None, true, head) => {
                let mut data = Vec::new();
                body::join(&self.data, &mut *open, &mut |piece| {
                    data.extend_from_slice(piece);
                    Ok(())
                })?;
                let data = String::from_utf8(data).map_err(|_| not_text("the data for -G"))?;
                if !data.is_empty() {
                    url.push_query(&data);
                }
                (if head { "HEAD" } else { "GET" }, None)
            }
            (false, false, None, _, true) => ("HEAD", None),
            (false, false, None, _, false) => ("GET", None),
            (true, false, None, false, false) => {
                ("POST", Some(Body::of_data(&self.data, &mut *open)?))
            }
            (false, true, None, false, false) => {
                ("POST", Some(self.form_body(&mut lines, &mut *open)?))
            }
            (false, false, Some(file), false, false) => {
                push_file_name(&mut url, file);
                ("PUT", Some(Body::of_file(open(file)?)?))
            }
            _ => {
                return Err(Failure::local(
                    "-d, -F, -T, -G and -I ask for different requests",
                    "give one of them; -d may go with -G",
                ));
            }
        };
        for piece in &self.url_query {
            let encoded = match piece.strip_prefix('+') {
                Some(piece) => piece.to_owned(),
                None => body::url_encoded(piece, &mut *open)?,
            };
            url.push_query(&encoded);
        }
        let method = self.method.as_deref().unwrap_or(default_method);
        let head = self.head || method == "HEAD";
        if body.is_some() {
            if head {
                return Err(head_with_content());
            }
            if let Some((flag, _)) = self.range {
                return Err(Failure::local(
                    format!(
                        "--{flag} cannot be signed with content: curl would send a part of it, or add a header"
                    ),
                    "leave it out",
                ));
            }
        }
        let etag = self.etag_file.as_deref().map(etag).transpose()?;
        let lines = self.with_defaults(lines, body.is_some(), etag)?;
        let connect_to = url.origin.clone();
        let request = Request::new(method, url, lines, body)?;
        Ok(PlannedRequest { request, connect_to, head })
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
            let content = open(file)?.text()?;
            for line in content.lines().filter(|line| !line.trim().is_empty()) {
                // The line may be a secret, so the message does not show it.
                lines.push(HeaderLine::parse(line).map_err(|_| {
                    Failure::local(format!("a line of `{file}` is not a header"), hint)
                })?);
            }
        }
        Ok(lines)
    }

    /// Returns the content of a form, and adds its boundary to the `Content-Type`.
    fn form_body(&self, lines: &mut Vec<HeaderLine>, open: Open<'_>) -> Result<Body, Failure> {
        let form = Form::parse(&self.form, self.form_escape)?;
        let kind = match lines.iter().position(|line| line.is(&header::CONTENT_TYPE)) {
            None => "multipart/form-data".to_owned(),
            Some(at) => form_type(&lines.remove(at))?,
        };
        if lines.iter().any(|line| line.is(&header::CONTENT_TYPE)) {
            return Err(wrong_form_type());
        }
        let boundary = boundary()?;
        let kind = HeaderValue::try_from(format!("{kind}; boundary={boundary}"));
        let kind = kind.map_err(|_| wrong_form_type())?;
        let body =
            Body::made(&mut |push| form.write(&boundary, &mut self::boundary, &mut *open, push))?;
        lines.push(HeaderLine::field("Content-Type", kind));
        Ok(body)
    }

    /// Adds the fields that curl would add, so that they are signed.
    fn with_defaults(
        &self,
        mut lines: Vec<HeaderLine>,
        has_body: bool,
        etag: Option<HeaderValue>,
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
                // curl may receive an upload as data, and would then add a type; uploads have no type.
                Some(_) => HeaderLine::Removed(header::CONTENT_TYPE),
            });
        }
        if let Some((flag, range)) = &self.range
            && !has(&lines, &header::RANGE)
        {
            let range = HeaderValue::try_from(format!("bytes={range}"));
            lines.push(HeaderLine::field(
                "Range",
                range.map_err(|_| {
                    Failure::local(
                        format!("the value of --{flag} is not a range"),
                        "write it like 0-499",
                    )
                })?,
            ));
        }
        if let Some(etag) = etag
            && !has(&lines, &header::IF_NONE_MATCH)
        {
            lines.push(HeaderLine::field("If-None-Match", etag));
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
            Failure::local(
                "the bearer token has a character that a header cannot have",
                "check the token",
            )
        })
    }
}

fn refuse_line_break(name: &str, value: Option<&OsStr>) -> Result<(), Failure> {
    let bytes = value.unwrap_or_default().as_encoded_bytes();
    if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0')) {
        return Err(Failure::local(
            format!(
                "the value of {name} has a line break, which would begin a header that is not signed"
            ),
            "give headers with -H",
        ));
    }
    Ok(())
}

/// Returns the entity tag in the file of `--etag-save`; the empty tag if the file is missing or empty, as in curl.
fn etag(file: &str) -> Result<HeaderValue, Failure> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| {
            Failure::local(
                format!("cannot read `{file}`: {error}"),
                "name the file that --etag-save wrote, with --etag-compare",
            )
        })?,
    };
    let etag = if text.trim().is_empty() { "\"\"" } else { text.trim() };
    HeaderValue::try_from(etag).map_err(|_| {
        Failure::local(
            format!("`{file}` has no entity tag"),
            "name the file that --etag-save wrote, with --etag-compare",
        )
    })
}

/// Returns a boundary like curl's, random so that the content cannot contain it.
fn boundary() -> Result<String, Failure> {
    let random: [u8; 16] = random::bytes()?;
    let digits = random.iter().map(|byte| format!("{byte:02x}"));
    Ok(format!("{:-<24}{}", "", digits.collect::<String>()))
}

/// Returns the type of a form from the header that sets it. The boundary is added later.
fn form_type(line: &HeaderLine) -> Result<String, Failure> {
    let HeaderLine::Field { value, .. } = line else { return Err(wrong_form_type()) };
    let kind = value.to_str().map_err(|_| wrong_form_type())?;
    let lower = kind.to_ascii_lowercase();
    let essence = lower.split(';').next().unwrap_or_default().trim();
    if essence != "multipart/form-data" || lower.contains("boundary") {
        return Err(wrong_form_type());
    }
    Ok(kind.to_owned())
}

fn wrong_form_type() -> Failure {
    Failure::local(
        "a form has the Content-Type multipart/form-data, with a boundary that is made for it",
        "leave out -H 'Content-Type: …'",
    )
}

/// Names an upload to a URL that ends in a slash after the file, as curl does. A URL with a query stays as it is;
/// only a few versions of curl about 7.88 differ.
fn push_file_name(url: &mut Url, file: &str) {
    if url.path_and_query.ends_with('/') && !url.path_and_query.contains('?') {
        let name = file.rsplit('/').next().unwrap_or(file);
        url.path_and_query.push_str(&percent_encoded(name.as_bytes()));
    }
}

fn unknown(name: &str) -> Failure {
    let shown = name.split('=').next().unwrap_or(name);
    if matches!(shown, "--tag" | "--component" | "--passphrase-file") {
        return Failure::local(
            format!("{shown} comes after curl's own arguments"),
            format!("put it before them: `countersign curl {shown} VALUE …`"),
        );
    }
    let hint = if name.contains('=') && name.starts_with("--") {
        "curl's flags have their value in the next argument: write `--flag value`"
    } else {
        "write curl's flag in full; this command cannot tell whether an unknown flag takes a value, or what it does to the request"
    };
    Failure::local(format!("{shown} is not a flag of curl that this command knows"), hint)
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
