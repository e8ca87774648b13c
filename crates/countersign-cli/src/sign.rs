use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use countersign::{
    Component, FieldType, FieldTypes, Message, Nonce, PrivateKey, SignError, SignatureInput,
    SignatureParams, Signer, Timestamp,
};
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    field_type_arg,
    input::{Files, is_stdin},
    key_source::{self, PrivateKeyArgs},
    moment,
    output::{print, print_line},
    random,
    request::{
        CURL_FLAGS, Request, added_fields,
        body::{Body, Data, DataKind, WHILE_WRITTEN},
        cannot_sign,
        coverage::chosen_coverage,
        head_with_content,
        header_line::HeaderLine,
        url::Url,
    },
    shell::quote,
};

/// Signs a request without sending it: prints the header fields to add, the whole request, or a curl command
///
/// Covers the components of a Countersign server's default policy. With --component, covers exactly your components, in
/// your order. An ECDSA key signs too, for other servers: a Countersign server accepts no ECDSA key.
#[derive(Args, Debug)]
pub(crate) struct Sign {
    #[command(flatten)]
    key: PrivateKeyArgs,
    /// The method [default: GET, with data POST]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A header field of the request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Content, as curl's -d: with @FILE a file without its line breaks
    #[arg(short = 'd', long = "data", value_name = "DATA", conflicts_with = "data_binary")]
    data: Option<String>,
    /// Content, as curl's --data-binary: with @FILE a file as it is
    #[arg(long, value_name = "@FILE")]
    data_binary: Option<String>,
    /// A component to cover, like @method, content-type or '"@query-param";name="page"'
    #[arg(long = "component", value_name = "ID")]
    components: Vec<String>,
    /// The time of signing, in seconds since 1970 [default: now]
    #[arg(long, value_name = "UNIX", value_parser = moment::parse_unix)]
    created: Option<Timestamp>,
    /// The time at which the signature expires, in seconds since 1970 [default: none]
    #[arg(long, value_name = "UNIX", value_parser = moment::parse_unix)]
    expires: Option<Timestamp>,
    /// The nonce, which makes the signature good for one request [default: random]
    #[arg(long, value_name = "N")]
    nonce: Option<String>,
    /// The label of the signature
    #[arg(long, default_value = "sig")]
    label: String,
    /// The keyid [default: the publishable key; of an ECDSA key the JWK thumbprint]
    #[arg(long, value_name = "ID")]
    keyid: Option<String>,
    /// The tag by which the server selects the signature
    #[arg(long, default_value = "countersign")]
    tag: String,
    /// The type of a structured field that only the service knows, for components with `sf` and `key`
    #[arg(long = "field-type", value_name = "NAME=item|list|dictionary", value_parser = field_type_arg::parse)]
    field_types: Vec<(&'static str, FieldType)>,
    /// The form of the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print a JSON object, as --format json
    #[arg(long, conflicts_with_all = ["format", "offline"])]
    json: bool,
    /// Print the whole request, byte by byte as it would be sent, as --format http
    #[arg(long, conflicts_with = "format")]
    offline: bool,
    /// The URL of the request, like https://api.example.com/v1/orders
    url: String,
}

/// Longest argument that Linux accepts, in bytes.
const LARGEST_ARGUMENT: u64 = 128 * 1024 - 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The header fields to add
    #[default]
    Headers,
    /// The whole request as HTTP/1.1 sends it
    Http,
    /// A curl command for a POSIX shell
    Curl,
    /// A JSON object
    Json,
}

struct Signed {
    request: Request,
    /// The URL for curl.
    url: String,
    added: Vec<(&'static str, HeaderValue)>,
    base: String,
    key_id: String,
}

impl Sign {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let format = match (self.json, self.offline) {
            (true, _) => Format::Json,
            (_, true) => Format::Http,
            _ => self.format,
        };
        let (label, data_file) = (self.label.clone(), self.binary_file());
        let signed = self.sign()?;
        match format {
            Format::Headers => {
                for (name, value) in &signed.added {
                    print_line(format_args!("{name}: {}", text(value)))?;
                }
            }
            Format::Http => {
                print(http_head(&signed)?)?;
                if let Some(body) = &signed.request.body {
                    body.read(&mut |piece| print(piece))?;
                    if let Some(file) = body.changed() {
                        return Err(Failure::local(
                            format!("`{file}` changed while it was signed and printed"),
                            WHILE_WRITTEN,
                        ));
                    }
                }
            }
            Format::Curl => print_line(curl(&signed, data_file)?)?,
            Format::Json => {
                let added = signed.added.iter();
                let added = added.map(|(name, value)| ((*name).to_owned(), text(value).into()));
                print_line(json!({
                    "method": signed.request.method.as_str(),
                    "url": signed.url,
                    "headers": added.collect::<serde_json::Map<_, _>>(),
                    "label": label,
                    "keyid": signed.key_id,
                    "signature_base": signed.base,
                }))?;
            }
        }
        Ok(Exit::Done)
    }

    /// Returns the file whose content is exactly the content of the request, if the file can be read a second time.
    fn binary_file(&self) -> Option<PathBuf> {
        let file = self.data_binary.as_deref()?.strip_prefix('@')?;
        let passing = is_stdin(file) || file.starts_with("/dev/fd/");
        (!passing && Path::new(file).is_file()).then(|| file.into())
    }

    fn sign(self) -> Result<Signed, Failure> {
        if self.tag.is_empty() {
            return Err(Failure::local(
                "--tag is empty, and servers select their signatures by it",
                "name the tag that the server's operator gave you, or leave it out",
            ));
        }
        let url = Url::parse(&self.url)?;
        let connect_to = url.origin.clone();
        let lines = self.headers.iter().map(|line| {
            HeaderLine::parse(line).map_err(|error| {
                Failure::local(error, "a header is like 'Content-Type: application/json'")
            })
        });
        let lines: Vec<_> = lines.collect::<Result<_, _>>()?;
        let data = match (self.data, self.data_binary) {
            (Some(text), _) => Some(Data { kind: DataKind::Text, text }),
            (None, Some(text)) => Some(Data { kind: DataKind::Binary, text }),
            (None, None) => None,
        };
        let mut files =
            Files::new(self.key.is_stdin(), "text that begins with @ goes in by stdin, with -d @-");
        let body = data.map(|data| Body::of_data(&[data], &mut |file| files.open(file)));
        let body = body.transpose()?;
        let default_method = if body.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(default_method);
        let request = Request::new(method, url, lines, body)?;

        let key = self.key.read_any()?;
        let key_id = self.keyid.unwrap_or_else(|| key_source::name(&key.verifying_key()));
        let created = self.created.unwrap_or_else(moment::now);
        if self.expires.is_some_and(|expires| expires <= created) {
            return Err(Failure::local(
                "--expires is not later than the time of signing",
                "give a later time, in seconds since 1970",
            ));
        }
        let nonce = match self.nonce {
            Some(nonce) => nonce,
            None => random::nonce()?.to_string(),
        };
        let mut headers = request.headers();
        let (components, content_digest) = if self.components.is_empty() {
            default_coverage(&request, &headers, created, &nonce)?
        } else {
            let components = chosen_coverage(&self.components)?;
            let digest = countersign::CONTENT_DIGEST;
            let covered = components.iter().any(|one| one.is_plain(digest.as_str()));
            let given = headers.contains_key(&digest);
            let made = match covered {
                true if given => {
                    request.check_digest(&headers)?;
                    None
                }
                true => request.made_digest().to_header().ok(),
                false => None,
            };
            (components, made)
        };
        if let Some(digest) = &content_digest {
            headers.insert(countersign::CONTENT_DIGEST, digest.clone());
        }
        let params = SignatureParams {
            label: &self.label,
            components,
            created: Some(created),
            expires: self.expires,
            nonce: Some(&nonce),
            key_id: Some(&key_id),
            algorithm: Some(key.algorithm()),
            tag: Some(&self.tag),
        };
        let field_types = FieldTypes::with(&self.field_types);
        let message = Message::from(request.head(&headers)).with_field_types(field_types);
        let signature = countersign::sign(&message, &key, &params);
        let signature = signature.map_err(|error| match error {
            SignError::DuplicateComponent => {
                cannot_sign(&error).with_hint("give each --component once")
            }
            SignError::Parameter(_) => cannot_sign(&error).with_hint(
                "labels are lower-case words; parameters are printable ASCII; see --help",
            ),
            SignError::Base(_) => cannot_sign(&error)
                .with_hint("see which headers the request has, and --component in --help"),
            _ => cannot_sign(&error),
        })?;
        let base = signature.base.as_str().to_owned();
        let added = added_fields(content_digest, signature);
        let url = format!("{connect_to}{}", request.uri);
        Ok(Signed { request, url, added, base, key_id })
    }
}

type Coverage = (Vec<Component<'static>>, Option<HeaderValue>);

/// Returns the components that [`Signer`] covers, and the `Content-Digest` that it adds.
fn default_coverage(
    request: &Request,
    headers: &HeaderMap,
    created: Timestamp,
    nonce: &str,
) -> Result<Coverage, Failure> {
    let nonce: Nonce = nonce
        .parse()
        .map_err(|error| Failure::local(error, "leave --nonce out: a random one is made"))?;
    // Any key will do: this signature is not printed, since the user sets label and keyid.
    let signer = Signer::new(PrivateKey::ed25519(&[0; 32]));
    let content = request.digest(headers)?;
    let signed = signer.sign_digested(&request.head(headers), content.as_ref(), created, &nonce);
    let signed = signed.map_err(|error| cannot_sign(&error))?;
    let content_digest = signed.content_digest.clone();
    let mut fields = HeaderMap::new();
    signed.signature.apply(&mut fields);
    let signatures = SignatureInput::all(&fields).unwrap_or_default();
    let covered = signatures.first().and_then(|signature| signature.input.components().ok());
    let covered: Vec<String> =
        covered.unwrap_or_default().iter().map(ToString::to_string).collect();
    Ok((chosen_coverage(&covered)?, content_digest))
}

fn text(value: &HeaderValue) -> &str {
    // Signing adds only ASCII.
    value.to_str().unwrap_or_default()
}

/// Returns the head of the request as HTTP/1.1 sends it.
fn http_head(signed: &Signed) -> Result<Vec<u8>, Failure> {
    let request = &signed.request;
    if request.lines.iter().any(|line| line.is(&header::TRANSFER_ENCODING)) {
        return Err(Failure::local(
            "the content is printed as it is, and a Transfer-Encoding header would say otherwise",
            "leave out -H 'Transfer-Encoding: …'",
        ));
    }
    let mut message = format!("{} {} HTTP/1.1\r\n", request.method, request.uri).into_bytes();
    let mut push = |name: &str, value: &[u8]| {
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value);
        message.extend_from_slice(b"\r\n");
    };
    push("Host", request.origin.authority().as_bytes());
    for line in &request.lines {
        if let HeaderLine::Field { name, value } = line {
            push(name, value.as_bytes());
        }
    }
    for (name, value) in &signed.added {
        push(name, value.as_bytes());
    }
    // With these methods, a request without content says so (RFC 9110 §8.6).
    let expected = [Method::POST, Method::PUT, Method::PATCH].contains(&request.method);
    if request.body.is_some() || expected {
        let length = request.body.as_ref().map_or(0, Body::length);
        push("Content-Length", length.to_string().as_bytes());
    }
    message.extend_from_slice(b"\r\n");
    Ok(message)
}

/// Returns a curl command that sends the request as signed.
fn curl(signed: &Signed, file: Option<PathBuf>) -> Result<String, Failure> {
    let not_text = |what: &str| {
        Failure::local(
            format!("{what} is not text, so no command line can hold it"),
            "give content with --data-binary @FILE, or use --format http",
        )
    };
    let request = &signed.request;
    if request.method == Method::HEAD && request.body.is_some() {
        return Err(head_with_content());
    }
    let mut words = vec!["curl".to_owned()];
    words.extend(CURL_FLAGS.map(str::to_owned));
    match (&request.method, &request.body) {
        (&Method::HEAD, _) => words.push("--head".to_owned()),
        (&Method::GET, None) => {}
        (&Method::POST, Some(body)) if file.is_none() || body.length() <= LARGEST_ARGUMENT => {}
        (method, _) => words.extend(["-X".to_owned(), quote(method.as_str())]),
    }
    let host = HeaderLine::field("Host", text_value(request.origin.authority()));
    let no_type = HeaderLine::Removed(header::CONTENT_TYPE);
    let added = signed.added.iter().map(|(name, value)| HeaderLine::field(name, value.clone()));
    let mut lines: Vec<HeaderLine> = request.lines.clone();
    if !signed.url.contains(&format!("://{}/", request.origin.authority())) {
        lines.insert(0, host);
    }
    if request.body.is_some() && !lines.iter().any(|line| line.is(&header::CONTENT_TYPE)) {
        // curl would add a `Content-Type` that is not covered.
        lines.push(no_type);
    }
    for line in lines.into_iter().chain(added) {
        let line = String::from_utf8(line.for_curl()).map_err(|_| not_text("a header"))?;
        words.extend(["-H".to_owned(), quote(&line)]);
    }
    match (&request.body, file) {
        (None, _) => {}
        (Some(body), Some(file)) => {
            let file = file.to_str().ok_or_else(|| not_text("the file's name"))?;
            // curl reads a whole file into memory for --data-binary; -T would add its name to a path that ends in a slash.
            if body.length() > LARGEST_ARGUMENT && !request.uri.path().ends_with('/') {
                words.extend(["-T".to_owned(), quote(file)]);
            } else {
                words.extend(["--data-binary".to_owned(), quote(&format!("@{file}"))]);
            }
        }
        (Some(body), None) if body.length() > LARGEST_ARGUMENT => {
            return Err(Failure::local(
                "the content is larger than an argument of a command can be",
                "give content with --data-binary @FILE, or use --format http",
            ));
        }
        (Some(body), None) => {
            let body = String::from_utf8(body.bytes()?).ok().filter(|body| !body.contains('\0'));
            let body = body.ok_or_else(|| not_text("the content"))?;
            words.extend(["--data-raw".to_owned(), quote(&body)]);
        }
    }
    words.push(quote(&signed.url));
    Ok(words.join(" "))
}

fn text_value(authority: &str) -> HeaderValue {
    // An authority has only letters, digits and punctuation.
    HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static(""))
}
