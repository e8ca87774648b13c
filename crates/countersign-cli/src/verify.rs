mod message_file;

use std::io::Read;

use clap::{Args, ValueEnum};
use countersign::{
    Algorithm, BadPresented, Candidate, Claim, Code, Content, ContentDigest, KeyLocations,
    Malformed, Message, Origins, Policy, PublishableKey, Rejection, RequestHead, ResponseHead,
    Scheme, SignatureInput, Target, Timestamp, Unverified, VerifyingKey,
};
use http::{Method, Version};
use serde_json::json;

use self::message_file::{MessageFile, Start};
use crate::{
    failure::{Exit, Failure, one_line, with_reasons},
    key_source::{self, KEY_VARIABLE, KeySource, PassphraseSource},
    moment,
    output::{note, print_line},
};

const LARGEST: u64 = 256 * 1024 * 1024;

/// Verifies a raw HTTP/1.1 request or response, as a server would
///
/// With --policy default all that a Countersign server checks of a request, but not whether it was used before: only
/// the server can tell that. With --policy none the signature alone, and the digest of the content where it is covered.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 verified · 3 not verified · 1 the message or the key cannot be read."
)]
pub(crate) struct Verify {
    /// A key file, private or public, or a publishable key pk_…; `-` is stdin [default: the text in COUNTERSIGN_KEY]
    #[arg(long, value_name = "FILE|PUBLISHABLE")]
    key: Option<String>,
    /// What to ask of the signature
    #[arg(long, value_enum, default_value_t)]
    policy: PolicyName,
    /// The time to judge by, in seconds since 1970 [default: now]
    #[arg(long, value_name = "UNIX", value_parser = moment::parse_unix)]
    at: Option<Timestamp>,
    /// The label of the signature; needed where there are several
    #[arg(long, value_name = "L")]
    label: Option<String>,
    /// The tag that selects the signature under the default policy
    #[arg(long, default_value = "countersign")]
    tag: String,
    /// The scheme that the request came by, which the message does not tell
    #[arg(long, default_value = "https")]
    scheme: Scheme,
    /// The algorithm, which has to be the key's
    #[arg(long)]
    alg: Option<Algorithm>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// The file of the message; `-` is stdin
    message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum PolicyName {
    /// What a Countersign server asks for
    #[default]
    Default,
    /// Nothing but a signature that holds
    None,
}

/// What is known of a signature, however its verification ends.
#[derive(Debug, Default)]
struct Seen {
    label: Option<String>,
    key_id: Option<String>,
    base: Option<String>,
}

/// Why it is not verified.
struct Refusal {
    code: Code,
    detail: String,
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self { code: rejection.code(), detail: one_line(&with_reasons(&rejection)) }
    }
}

impl From<BadPresented> for Refusal {
    fn from(bad: BadPresented) -> Self {
        Self { code: bad.code(), detail: bad.to_string() }
    }
}

impl Verify {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let key = self.key()?;
        if let Some(algorithm) = self.alg.filter(|&algorithm| algorithm != key.algorithm()) {
            return Err(Failure::local(
                format!("--alg is {algorithm}, and the key is for {}", key.algorithm()),
                "leave --alg out: the key decides",
            ));
        }
        let message = MessageFile::parse(&self.content()?)?;
        let mut seen = Seen::default();
        let verdict = match &message.start {
            Start::Request { method, uri, version } => {
                let origin = message.origin(self.scheme)?;
                let head = RequestHead {
                    method,
                    target: Target::new(uri, http::Version::HTTP_11),
                    origin: &origin,
                    headers: &message.headers,
                };
                self.look(&Message::from(head), &mut seen);
                match self.policy {
                    PolicyName::Default => match acceptable(method, *version) {
                        Ok(()) => self.by_policy(head, uri, &message.body, &key)?,
                        Err(refusal) => Err(refusal),
                    },
                    PolicyName::None => {
                        self.without_policy(&Message::from(head), &message.body, &key)
                    }
                }
            }
            Start::Response { status } => {
                if self.policy == PolicyName::Default {
                    return Err(Failure::local(
                        "the default policy is for requests, and this is a response",
                        "add --policy none",
                    ));
                }
                let head = ResponseHead { status: *status, headers: &message.headers };
                self.look(&Message::from(head), &mut seen);
                self.without_policy(&Message::from(head), &message.body, &key)
            }
        };
        self.report(&key, &seen, verdict)
    }

    fn key(&self) -> Result<VerifyingKey, Failure> {
        let source = match self.key.as_deref() {
            Some(text) => match text.parse::<PublishableKey>() {
                Ok(publishable) => {
                    return publishable.to_verifying_key().map_err(|error| {
                        Failure::local(
                            format!("cannot verify with {publishable}: {error}"),
                            "name the file of the HMAC secret, or an Ed25519 key",
                        )
                    });
                }
                Err(error) if text.starts_with("pk_") => {
                    return Err(Failure::local(
                        format!("--key is no publishable key: {error}"),
                        "copy it again: a typo is told by its checksum",
                    ));
                }
                Err(_) => key_source::source(text)?,
            },
            None if std::env::var_os(KEY_VARIABLE).is_some() => KeySource::Environment,
            None => {
                return Err(Failure::local(
                    "no key is given",
                    "add --key with a key file or a publishable key",
                ));
            }
        };
        if matches!(source, KeySource::Stdin) && self.message == "-" {
            return Err(Failure::local(
                "key and message cannot both be stdin",
                "name a file for one of them",
            ));
        }
        source.read_verifying(&self.passphrase)
    }

    fn content(&self) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        let limit = LARGEST.saturating_add(1);
        let read = match self.message.as_str() {
            "-" => std::io::stdin().lock().take(limit).read_to_end(&mut content),
            file => std::fs::File::open(file)
                .and_then(|file| file.take(limit).read_to_end(&mut content)),
        };
        read.map_err(|error| {
            Failure::local(
                format!("cannot read {}: {error}", self.message),
                "name the file of a raw HTTP/1.1 message, or `-` for stdin",
            )
        })?;
        if u64::try_from(content.len()).is_ok_and(|length| length <= LARGEST) {
            return Ok(content);
        }
        Err(Failure::local(
            format!("{} is larger than 256 MiB", self.message),
            "verify large content by its digest with another tool",
        ))
    }

    /// Notes what can be told of the signature that is meant, also if it is refused.
    fn look(&self, message: &Message<'_>, seen: &mut Seen) {
        let headers = message.headers();
        let label = match (&self.label, self.policy) {
            (Some(label), _) => Some(label.clone()),
            (None, PolicyName::None) => None,
            (None, PolicyName::Default) => {
                let signatures = SignatureInput::all(headers).unwrap_or_default();
                let ours = signatures
                    .iter()
                    .find(|one| one.input.string("tag") == Ok(Some(self.tag.as_str())));
                ours.map(|signature| signature.input.label().to_owned())
            }
        };
        if let Ok(candidate) = Candidate::select(message, label.as_deref()) {
            seen.label = Some(candidate.label().to_owned());
            seen.key_id = candidate.key_id().map(str::to_owned);
            seen.base = Some(candidate.signature_base().as_str().to_owned());
        }
    }

    fn by_policy(
        &self,
        head: RequestHead<'_>,
        uri: &http::Uri,
        body: &[u8],
        key: &VerifyingKey,
    ) -> Result<Result<(), Refusal>, Failure> {
        let policy = Policy::default().tag(&self.tag).map_err(|error| {
            Failure::local(error, "name the tag that the server selects its signatures by")
        })?;
        let origins = Origins::new([head.origin.clone()])
            .map_err(|error| Failure::local(error, "see --help"))?;
        let now = self.at.unwrap_or_else(moment::now);
        let verdict = (|| {
            head.target.check().map_err(Rejection::from)?;
            origins.resolve(uri, head.headers).map_err(Rejection::from)?;
            let content = if body.is_empty() { Content::Absent } else { Content::Present };
            let unverified = Unverified::parse(head, content, &policy, now)?;
            let unverified = unverified.ok_or(Rejection::Required)?;
            let key_id = unverified.key_id();
            let presented = KeyLocations::default().find(head.headers, head.target.query())?;
            presented.agrees_with(key_id.as_ref())?;
            self.check_label(head)?;
            if !key_id.is_some_and(|id| id.names(&key.publishable_key())) {
                return Err(Refusal {
                    code: Code::SignatureInvalid,
                    detail: format!("its keyid names another key than {}", key.publishable_key()),
                });
            }
            let authentic = unverified.verify(key)?;
            // Only the server remembers nonces; the note on stderr says so.
            let mut check = authentic.redeem(Claim::Fresh)?.read();
            check.update(body);
            check.finish()?;
            Ok(())
        })();
        Ok(verdict)
    }

    /// The tag selects; a label that was asked for has to be that signature's.
    fn check_label(&self, head: RequestHead<'_>) -> Result<(), Rejection> {
        let Some(wanted) = &self.label else { return Ok(()) };
        let signatures = SignatureInput::all(head.headers)?;
        let ours = signatures.iter().find(|one| one.input.label() == wanted);
        match ours.map(|one| one.input.string("tag")) {
            Some(Ok(Some(tag))) if tag == self.tag => Ok(()),
            _ => Err(Malformed::NoSuchLabel.into()),
        }
    }

    fn without_policy(
        &self,
        message: &Message<'_>,
        body: &[u8],
        key: &VerifyingKey,
    ) -> Result<(), Refusal> {
        let candidate = Candidate::select(message, self.label.as_deref());
        let candidate = candidate.map_err(|rejection| match rejection {
            // Said of a tag, which nobody asked for here.
            Rejection::Required => Refusal {
                code: rejection.code(),
                detail: "the message carries no signature".to_owned(),
            },
            rejection => rejection.into(),
        })?;
        candidate.insecure_verify_without_policy(key)?;
        if candidate.covers_content_digest() {
            let digest = ContentDigest::from_headers(message.headers()).map_err(Rejection::from)?;
            if let Some(digest) = digest {
                let mut check = digest.check();
                check.update(body);
                check.finish().map_err(Rejection::from)?;
            }
        }
        Ok(())
    }

    fn report(
        &self,
        key: &VerifyingKey,
        seen: &Seen,
        verdict: Result<(), Refusal>,
    ) -> Result<Exit, Failure> {
        let (verified, code, detail) = match &verdict {
            Ok(()) => (true, None, None),
            Err(refusal) => (false, Some(refusal.code.as_str()), Some(&refusal.detail)),
        };
        if self.json {
            print_line(json!({
                "verified": verified,
                "code": code,
                "detail": detail,
                "keyid": seen.key_id,
                "label": seen.label,
                "signature_base": seen.base,
            }))?;
        }
        match verdict {
            Ok(()) => {
                if !self.json {
                    print_line(format_args!("verified: signed by {}", key.publishable_key()))?;
                }
                match self.policy {
                    PolicyName::Default => note(
                        "note: whether it was used before is not checked; only the server can tell",
                    ),
                    PolicyName::None => {
                        note("note: by --policy none neither its age nor what it covers is checked")
                    }
                }
                Ok(Exit::Done)
            }
            Err(Refusal { code, detail }) => {
                if !self.json {
                    print_line(format_args!("not verified: {code}: {detail}"))?;
                }
                Ok(Exit::Refused)
            }
        }
    }
}

/// What a server looks at before anything else.
fn acceptable(method: &Method, version: Version) -> Result<(), Refusal> {
    const METHODS: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    let refuse = |code, detail: &str| Err(Refusal { code, detail: detail.to_owned() });
    if version < Version::HTTP_11 {
        return refuse(Code::BadRequest, "HTTP/1.1 or HTTP/2 is needed");
    }
    if !METHODS.contains(method) {
        return refuse(Code::MethodNotAllowed, "the method is none that is served");
    }
    Ok(())
}
