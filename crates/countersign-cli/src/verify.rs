mod chunked;
mod covered_digest;
mod exchange;
pub(crate) mod findings;
mod message_file;

use clap::{Args, ValueEnum};
use countersign::{
    Algorithm, AnyVerifyingKey, BadPresented, Candidate, Claim, Code, FieldType, KeyId,
    KeyLocations, Malformed, Message, Policy, PublishableKey, Rejection, RequestHead, SIGNATURE,
    SIGNATURE_INPUT, Scheme, SignatureBase, SignatureInput, SignedTrailer, Timestamp, Unserved,
    Unverified, VerifyingKey, check_served, check_trailers, with_reasons,
};
use http::{HeaderMap, Method, Version};
use serde_json::{Value, json};

use self::{
    covered_digest::CoveredDigest,
    exchange::{Exchange, ReceivedRequest},
    message_file::MessageBody,
};
use crate::{
    environment::KEY_VARIABLE,
    failure::{Exit, Failure},
    field_type_arg,
    input::is_stdin,
    key_source::{self, KeySource, PassphraseSource, is_stdin_key},
    moment,
    output::{note, print_line},
    printable::one_line,
};

const NO_SIGNATURE: &str = "the message has no signature";
const ADD_ALG: &str = "add --alg rsa-pss-sha512, or --alg rsa-v1_5-sha256";

/// Verifies a raw HTTP/1.1 request or response, as a server would
///
/// With --policy default, makes the checks of a Countersign server with default settings, except the server's own: a
/// repeated nonce, the state, scopes and restrictions of the key, the origins of the server, and limits. With --policy
/// none, checks the signature alone, and the digest of the content where it is covered; the key may then also be an
/// ECDSA or RSA key.
///
/// Give the message as it was sent; its content may be in chunks. Like a server, the default policy ignores trailers:
/// it refuses components with `tr`, and signature and digest fields among the trailers. With --policy none, components
/// with `tr` are read from the trailers, and so is the signature if the head has no signature. All lines of the message
/// end with CRLF, or all with LF, in chunks too.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 verified · 3 not verified · 1 the message or the key cannot be read."
)]
pub(crate) struct Verify {
    /// A key file, private or public, or a publishable key pk_…; `-` is stdin [default: the text in COUNTERSIGN_KEY]
    #[arg(long, value_name = "FILE|PUBLISHABLE")]
    key: Option<String>,
    /// The checks to make
    #[arg(long, value_enum, default_value_t)]
    policy: PolicyName,
    /// The time of the verification, in seconds since 1970 [default: now]
    #[arg(long, value_name = "UNIX", value_parser = moment::parse_unix)]
    at: Option<Timestamp>,
    /// The label of the signature; needed where there are several
    #[arg(long, value_name = "L")]
    label: Option<String>,
    /// The tag by which the default policy selects the signature
    #[arg(long, default_value = "countersign")]
    tag: String,
    /// The file of the request that the response belongs to: for components with `req`, and because a response to
    /// HEAD has no content; `-` is stdin
    #[arg(long, value_name = "FILE")]
    request: Option<String>,
    /// The scheme of the request, which the message does not name; with --policy none, a target in absolute form
    /// names it
    #[arg(long, default_value = "https", value_parser = parse_scheme)]
    scheme: Scheme,
    /// The algorithm of the key; an RSA key needs it if the message does not name one
    #[arg(long)]
    alg: Option<Algorithm>,
    /// The type of a structured field that only the service knows, for components with `sf` and `key`
    #[arg(long = "field-type", value_name = "NAME=item|list|dictionary", value_parser = field_type_arg::parse)]
    field_types: Vec<(&'static str, FieldType)>,
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
    /// The default policy of a Countersign server
    #[default]
    Default,
    /// The signature alone
    None,
}

/// The readable parts of a signature, whatever the verdict.
#[derive(Debug, Default)]
struct Seen {
    label: Option<String>,
    key_id: Option<String>,
    base: Option<SignatureBase>,
}

/// Why a message is not verified, and the remedy.
struct NotVerified {
    code: Code,
    detail: String,
    hint: &'static str,
}

/// A message and the verdict on it.
pub(crate) struct Judged {
    key: AnyVerifyingKey,
    exchange: Exchange,
    now: Timestamp,
    seen: Seen,
    verdict: Result<(), NotVerified>,
}

impl From<Rejection> for NotVerified {
    fn from(rejection: Rejection) -> Self {
        let detail = one_line(&with_reasons(&rejection));
        Self { code: rejection.code(), detail, hint: hint(&rejection) }
    }
}

impl From<BadPresented> for NotVerified {
    fn from(bad: BadPresented) -> Self {
        let hint = match bad.code() {
            Code::KeyUnknown => "check the publishable key that it carries beside the signature",
            code => code.hint(),
        };
        Self { code: bad.code(), detail: bad.to_string(), hint }
    }
}

impl Verify {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let judged = self.judge()?;
        if self.json {
            print_line(judged.to_json())?;
        } else {
            print_line(judged.verdict())?;
        }
        Ok(self.conclude(&judged))
    }

    /// Verifies the message, and keeps everything that `explain` shows.
    pub(crate) fn judge(&self) -> Result<Judged, Failure> {
        self.require_one_stdin(None)?;
        let key = self.key()?;
        let key = match self.alg {
            Some(algorithm) => {
                let (own, hint) = match key.algorithm() {
                    Some(own) => (own.as_str(), "leave --alg out: the key decides"),
                    None => ("RSA", ADD_ALG),
                };
                key.with_algorithm(algorithm).map_err(|_| {
                    Failure::local(format!("--alg is {algorithm}, and the key is for {own}"), hint)
                })?
            }
            None => key,
        };
        let exchange = Exchange::read(self)?;
        let now = self.at.unwrap_or_else(moment::now);
        let message = exchange.message();
        let seen = self.look(&message);
        let verdict = match (self.policy, exchange.request(), &key) {
            (PolicyName::Default, Some(request), AnyVerifyingKey::Credential(key)) => {
                self.by_policy(&request, key, now)?
            }
            (PolicyName::Default, Some(_), key) => {
                let own = key.algorithm().map_or("RSA", Algorithm::as_str);
                return Err(Failure::local(
                    format!("the default policy is for credentials, and the key is for {own}"),
                    "add --policy none, or name an Ed25519 key or an HMAC secret",
                ));
            }
            (PolicyName::Default, None, _) => {
                return Err(Failure::local(
                    "the default policy is for requests, and this is a response",
                    "add --policy none",
                ));
            }
            (PolicyName::None, _, key) => self.without_policy(&message, exchange.body(), key)?,
        };
        Ok(Judged { key, exchange, now, seen, verdict })
    }

    /// Prints the hint or the note for the verdict, and returns the exit code.
    pub(crate) fn conclude(&self, judged: &Judged) -> Exit {
        if let Err(refusal) = &judged.verdict {
            note(format_args!("hint: {}", refusal.hint));
            return Exit::Refused;
        }
        note(match self.policy {
            PolicyName::Default => {
                "note: only the server can tell whether this signature was used before"
            }
            PolicyName::None => {
                "note: --policy none checks neither the age of the signature nor what it covers"
            }
        });
        Exit::Done
    }

    pub(crate) const fn wants_json(&self) -> bool {
        self.json
    }

    /// Refuses two arguments that both name stdin, since stdin can be read only once.
    pub(crate) fn require_one_stdin(&self, expected: Option<&str>) -> Result<(), Failure> {
        let is_file = |file: Option<&str>| file.is_some_and(is_stdin);
        let stdins = [
            ("the key", self.key.as_deref().is_some_and(is_stdin_key)),
            ("its passphrase", self.passphrase.is_stdin()),
            ("the request", is_file(self.request.as_deref())),
            ("the expected base", is_file(expected)),
            ("the message", is_stdin(&self.message)),
        ];
        let mut stdins = stdins.into_iter().filter(|(_, is_stdin)| *is_stdin);
        match (stdins.next(), stdins.next()) {
            (Some((first, _)), Some((second, _))) => Err(Failure::local(
                format!("{first} and {second} cannot both be stdin"),
                "name a file for one of them",
            )),
            _ => Ok(()),
        }
    }

    fn key(&self) -> Result<AnyVerifyingKey, Failure> {
        let source = match self.key.as_deref() {
            Some(text) => match text.parse::<PublishableKey>() {
                Ok(publishable) => {
                    return publishable.to_verifying_key().map(AnyVerifyingKey::from).map_err(
                        |error| {
                            Failure::local(
                                format!("cannot verify with {publishable}: {error}"),
                                "name the file of the HMAC secret, or an Ed25519 key",
                            )
                        },
                    );
                }
                Err(error) if text.starts_with("pk_") => {
                    return Err(Failure::local(
                        format!("--key is not a publishable key: {error}"),
                        "copy it again, from pk_ to its end",
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
        source.read_verifying(&self.passphrase)
    }

    /// Reads the selected signature, even if it is refused.
    fn look(&self, message: &Message<'_>) -> Seen {
        let in_head = [SIGNATURE_INPUT, SIGNATURE];
        let in_head = in_head.into_iter().any(|name| message.headers().contains_key(name));
        if self.policy == PolicyName::Default && !in_head {
            // A server does not look at trailers.
            return Seen::default();
        }
        match Candidate::select(message, self.meant_label(message).as_deref()) {
            Ok(candidate) => Seen {
                label: Some(candidate.label().to_owned()),
                key_id: candidate.key_id().map(str::to_owned),
                base: Some(candidate.signature_base().clone()),
            },
            Err(_) => Seen::default(),
        }
    }

    /// Returns the label of the selected signature; `None` if there is only one signature, or none is selected.
    fn meant_label(&self, message: &Message<'_>) -> Option<String> {
        if self.label.is_some() || self.policy == PolicyName::None {
            return self.label.clone();
        }
        let signatures = SignatureInput::all(message.headers()).unwrap_or_default();
        let ours =
            signatures.iter().find(|one| one.input.string("tag") == Ok(Some(self.tag.as_str())));
        ours.map(|signature| signature.input.label().to_owned())
    }

    fn policy(&self) -> Result<Policy, Failure> {
        Policy::default().tag(&self.tag).map_err(|error| {
            Failure::local(error, "give the tag by which the server selects the signature")
        })
    }

    fn by_policy(
        &self,
        request: &ReceivedRequest<'_>,
        key: &VerifyingKey,
        now: Timestamp,
    ) -> Result<Result<(), NotVerified>, Failure> {
        let (policy, origins) = (self.policy()?, request.origins()?);
        let (head, content) = (request.head, request.content());
        let verdict = (|| {
            acceptable(head.method, request.version)?;
            head.target.check().map_err(Rejection::from)?;
            origins.resolve(request.uri, head.headers).map_err(Rejection::from)?;
            let unverified = Unverified::parse(head, content, &policy, now)?;
            let unverified = unverified.ok_or(Rejection::Required)?;
            let key_id = unverified.key_id();
            let presented = KeyLocations::default().find(head.headers, head.target.query())?;
            presented.agrees_with(key_id.as_ref())?;
            self.check_label(head)?;
            if !key_id.is_some_and(|id| id.names(&key.publishable_key())) {
                let name = key.publishable_key().to_string();
                return Err(NotVerified {
                    code: Code::SignatureInvalid,
                    detail: names_another_key(key_id.as_ref(), &name),
                    hint: match key_id {
                        Some(_) => "give the key that signed it with --key",
                        None => {
                            "sign with a keyid that servers look a key up by: its publishable key, or its JWK thumbprint"
                        }
                    },
                });
            }
            let authentic = unverified.verify(key)?;
            // Only the server remembers nonces; a note on stderr says so.
            let mut check = authentic.redeem(Claim::Fresh)?.read();
            check.update(request.bytes());
            acceptable_trailers(&request.body.trailers)?;
            check.finish()?;
            Ok(())
        })();
        Ok(if request.body.unframed { unframed(verdict) } else { verdict })
    }

    /// Checks that `--label`, if given, is the label of the signature that the tag selects.
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
        body: &MessageBody,
        key: &AnyVerifyingKey,
    ) -> Result<Result<(), NotVerified>, Failure> {
        let candidate = match Candidate::select(message, self.label.as_deref()) {
            Ok(candidate) => candidate,
            // The rejection mentions a tag, but --policy none requires no tag.
            Err(rejection @ Rejection::Required) => {
                let (detail, hint) = (
                    NO_SIGNATURE.to_owned(),
                    "add Signature-Input and Signature to the message, as they were sent",
                );
                return Ok(Err(NotVerified { code: rejection.code(), detail, hint }));
            }
            Err(rejection) => return Ok(Err(rejection.into())),
        };
        if key.algorithm().is_none() && candidate.algorithm().is_none() {
            return Err(Failure::local(
                "an RSA key is for one of two algorithms, and neither it nor the message says which",
                ADD_ALG,
            ));
        }
        let verdict = (|| {
            candidate.insecure_verify_without_policy(key)?;
            for covered in CoveredDigest::all(candidate.components(), message, &body.trailers) {
                if let Some(digest) = covered.digest()? {
                    let mut check = digest.check();
                    check.update(&body.bytes);
                    check.finish()?;
                }
            }
            Ok::<_, Rejection>(())
        })();
        Ok(verdict.map_err(NotVerified::from))
    }
}

impl Judged {
    /// Returns the verdict as one line.
    pub(crate) fn verdict(&self) -> String {
        match &self.verdict {
            Ok(()) => format!("verified: signed by {}", key_source::name(&self.key)),
            Err(NotVerified { code, detail, .. }) => format!("not verified: {code}: {detail}"),
        }
    }

    /// Returns the signature base, as rebuilt from the message.
    pub(crate) const fn base(&self) -> Option<&SignatureBase> {
        self.seen.base.as_ref()
    }

    pub(crate) fn to_json(&self) -> Value {
        let refusal = self.verdict.as_ref().err();
        json!({
            "verified": refusal.is_none(),
            "code": refusal.map(|refusal| refusal.code.as_str()),
            "detail": refusal.map(|refusal| &refusal.detail),
            "keyid": self.seen.key_id,
            "label": self.seen.label,
            "signature_base": self.base().map(SignatureBase::as_str),
        })
    }
}

/// Returns the hint of a rejection: its own hint, or a hint for a user with the message, if the hint of its code is
/// about a server's response.
fn hint(rejection: &Rejection) -> &'static str {
    let code = rejection.code();
    let closer = rejection.hint();
    if closer != code.hint() {
        return closer;
    }
    match (rejection, code) {
        (Rejection::Malformed(Malformed::NoSuchLabel), _) => {
            "name one of the labels in Signature-Input with --label"
        }
        (_, Code::SignatureRequired) => "give the tag of the signature with --tag",
        (_, Code::SignaturePolicy) => {
            "cover what a server's default policy asks for, as `countersign sign` does, or verify the signature alone with --policy none"
        }
        (_, Code::SignatureStale) => "sign anew, or give the time of its arrival with --at",
        (_, Code::SignatureInvalid) => {
            "check that this key signed the message, and that the message is as it was sent; `countersign explain` shows the signature base"
        }
        (_, Code::Misdirected) => "give the scheme of the request with --scheme",
        (_, code) => code.hint(),
    }
}

/// Returns why the key id does not match this key.
fn names_another_key(key_id: Option<&KeyId>, name: &str) -> String {
    match key_id {
        Some(_) => format!("its keyid names a key other than {name}"),
        None => "its keyid is neither a publishable key nor a JWK thumbprint".to_owned(),
    }
}

fn parse_scheme(text: &str) -> Result<Scheme, &'static str> {
    text.parse().map_err(|_| "it is http or https")
}

/// Checks the trailers, as a server does after reading the content.
fn acceptable_trailers(trailers: &HeaderMap) -> Result<(), NotVerified> {
    let refused = |trailer: SignedTrailer| NotVerified {
        code: trailer.code(),
        detail: trailer.to_string(),
        hint: "send them in the head, before the content",
    };
    check_trailers(trailers).map_err(refused)
}

const NO_LENGTH: &str =
    "the request has neither Content-Length nor Transfer-Encoding, so a server reads no content";

const ADD_LENGTH: &str = "add the Content-Length that was sent, or leave out what follows the head";

/// Returns the verdict on a request without a length. A server would read its content as the next request.
fn unframed(verdict: Result<(), NotVerified>) -> Result<(), NotVerified> {
    match verdict {
        Ok(()) => Err(NotVerified {
            code: Code::BadRequest,
            detail: format!("{NO_LENGTH}, and takes what follows the head for another request"),
            hint: ADD_LENGTH,
        }),
        Err(NotVerified { code: code @ Code::DigestMismatch, .. }) => {
            let detail = format!("{NO_LENGTH}; other content was signed");
            Err(NotVerified { code, detail, hint: ADD_LENGTH })
        }
        refused => refused,
    }
}

/// Makes the first check: method and HTTP version.
fn acceptable(method: &Method, version: Version) -> Result<(), NotVerified> {
    let refused = |unserved: Unserved| {
        let hint = match unserved {
            Unserved::Version => "send it by HTTP/1.1; no signature covers the version",
            Unserved::Method => "use GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE",
        };
        NotVerified { code: unserved.code(), detail: unserved.to_string(), hint }
    };
    check_served(method, version).map_err(refused)
}
