use std::fmt;

use countersign::{
    Algorithm, AnyVerifyingKey, Candidate, Check, Component, ContentDigest, KeyId, KeyLocations,
    LabelledSignature, Malformed, Message, Rejection, SignatureInput, Timestamp, Unmet, Unverified,
    with_reasons,
};
use http::{HeaderMap, HeaderName};
use serde_json::{Value, json};

use super::{
    Judged, NO_LENGTH, NO_SIGNATURE, NotVerified, PolicyName, Verify, acceptable,
    acceptable_trailers, covered_digest::CoveredDigest, exchange::ReceivedRequest,
    names_another_key,
};
use crate::{failure::Failure, key_source, printable::one_line};

const UNREAD_SIGNATURE: &str =
    "the message has no signature in its head, and a server does not look at trailers";

/// The result of one part of a check, made whatever the earlier results.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The check that the finding belongs to.
    pub(crate) check: Check,
    pub(crate) name: String,
    pub(crate) outcome: Verdict,
    pub(crate) detail: String,
}

/// Whether a part of a check passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    /// Not required, or not possible here.
    Skipped,
}

impl Verdict {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Finding {
    pub(crate) fn to_json(&self) -> Value {
        json!({ "step": self.check.number(), "check": self.name, "outcome": self.outcome.as_str(), "detail": self.detail })
    }
}

/// The findings so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add<E: Reason>(
        &mut self,
        check: Check,
        name: impl Into<String>,
        found: Result<impl fmt::Display, E>,
    ) {
        let (outcome, detail) = match found {
            Ok(detail) => (Verdict::Passed, detail.to_string()),
            Err(reason) => (Verdict::Failed, reason.text()),
        };
        self.0.push(Finding { check, name: name.into(), outcome, detail: one_line(&detail) });
    }

    fn skip(&mut self, check: Check, name: impl Into<String>, why: impl fmt::Display) {
        let detail = one_line(&why.to_string());
        self.0.push(Finding { check, name: name.into(), outcome: Verdict::Skipped, detail });
    }

    /// Returns all findings in the order of a server's checks, with a line for each check that only the server makes.
    fn in_order(mut self, policy: PolicyName) -> Vec<Finding> {
        for check in Check::ALL {
            match (check, policy) {
                (Check::Replay, PolicyName::Default) => {
                    self.skip(check, "replay", ONLY_THE_SERVER);
                }
                (Check::Replay, PolicyName::None) => {
                    self.skip(check, "replay", "not required by --policy none");
                }
                (
                    Check::Failures | Check::Credential | Check::Budget | Check::Token,
                    PolicyName::Default,
                ) => {
                    self.skip(check, check.title(), ONLY_THE_SERVER);
                }
                _ => {}
            }
        }
        self.0.sort_by_key(|finding| finding.check);
        self.0
    }
}

/// The detail of a check that only the server makes.
const ONLY_THE_SERVER: &str = "only the server can tell";

/// Why a check failed, as text.
trait Reason {
    fn text(self) -> String;
}

impl Reason for String {
    fn text(self) -> String {
        self
    }
}

impl Reason for &str {
    fn text(self) -> String {
        self.to_owned()
    }
}

impl Reason for NotVerified {
    fn text(self) -> String {
        self.detail
    }
}

impl Reason for Rejection {
    fn text(self) -> String {
        with_reasons(&self)
    }
}

impl Reason for Malformed {
    fn text(self) -> String {
        with_reasons(&self)
    }
}

impl Verify {
    /// Returns the findings of every check. The verdict names only the first failed check; the findings name all.
    pub(crate) fn findings(&self, judged: &Judged) -> Result<Vec<Finding>, Failure> {
        let mut findings = Findings::default();
        let message = judged.exchange.message();
        let request = judged.exchange.request();
        if let (PolicyName::Default, Some(request)) = (self.policy, &request) {
            check_target(&mut findings, request)?;
        }
        let fields = match self.policy {
            // A server does not wait for trailers to find a signature.
            PolicyName::Default => message.headers(),
            PolicyName::None => message.signature_fields(),
        };
        let signatures = match SignatureInput::all(fields) {
            Ok(signatures) => signatures,
            Err(malformed) => {
                findings.add(Check::Form, "signature fields", Err::<&str, _>(malformed));
                return Ok(findings.in_order(self.policy));
            }
        };
        let labels: Vec<_> = signatures.iter().map(|signature| signature.input.label()).collect();
        if labels.is_empty() {
            let in_trailers = message.signature_fields().contains_key("signature-input");
            let why = if in_trailers { UNREAD_SIGNATURE } else { NO_SIGNATURE };
            findings.add(Check::Form, "signature fields", Err::<&str, _>(why));
            return Ok(findings.in_order(self.policy));
        }
        findings.add(
            Check::Form,
            "signature fields",
            Ok::<_, &str>(format!("labels: {}", labels.join(", "))),
        );
        let Some(signature) = self.selected(&mut findings, &message, &signatures) else {
            return Ok(findings.in_order(self.policy));
        };
        match (self.policy, &request) {
            (PolicyName::Default, Some(request)) => {
                self.check_policy(&mut findings, request, signature, judged.now)?;
            }
            _ => skip_time(&mut findings, signature, judged.now),
        }
        self.check_signature(&mut findings, judged, &message, signature);
        if let (PolicyName::Default, Some(request)) = (self.policy, &request) {
            check_trailers(&mut findings, &request.body.trailers);
        }
        let content = match (self.policy, &request) {
            (PolicyName::Default, Some(request)) => request.bytes(),
            _ => &judged.exchange.body().bytes,
        };
        check_digest(&mut findings, judged, content, &message, signature);
        Ok(findings.in_order(self.policy))
    }

    /// Returns the signature that the tag or the label selects.
    fn selected<'s, 'm>(
        &self,
        findings: &mut Findings,
        message: &Message<'_>,
        signatures: &'s [LabelledSignature<'m>],
    ) -> Option<&'s LabelledSignature<'m>> {
        let tagged =
            |one: &&LabelledSignature<'_>| one.input.string("tag") == Ok(Some(self.tag.as_str()));
        let by_tag = signatures.iter().filter(tagged).count();
        let meant = self.meant_label(message);
        let labelled = |one: &&LabelledSignature<'_>| {
            meant.as_deref().is_none_or(|label| one.input.label() == label)
        };
        let mut candidates = signatures.iter().filter(labelled);
        let found = match (candidates.next(), candidates.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        };
        let (name, outcome) = match (self.policy, found) {
            (PolicyName::Default, Some(one)) => {
                let verdict = match by_tag {
                    1 if tagged(&one) => {
                        Ok(format!("{} has the tag {}", one.input.label(), self.tag))
                    }
                    0 | 1 => {
                        Err(format!("{} does not have the tag {}", one.input.label(), self.tag))
                    }
                    more => Err(format!("{more} signatures have the tag {}", self.tag)),
                };
                ("selected by tag", verdict)
            }
            (PolicyName::None, Some(one)) => {
                ("selected by label", Ok(one.input.label().to_owned()))
            }
            (_, None) if self.label.is_some() => {
                ("selected by label", Err("no signature has the requested label".into()))
            }
            (PolicyName::Default, None) => {
                ("selected by tag", Err(format!("no signature has the tag {}", self.tag)))
            }
            (PolicyName::None, None) => (
                "selected by label",
                Err("there are several signatures; name one with --label".into()),
            ),
        };
        findings.add(Check::Form, name, outcome);
        found
    }

    /// Makes the checks of the policy: form, coverage, parameters, time.
    fn check_policy(
        &self,
        findings: &mut Findings,
        request: &ReceivedRequest<'_>,
        signature: &LabelledSignature<'_>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let policy = self.policy()?;
        let (head, input) = (request.head, &signature.input);
        match Unverified::parse(head, request.content(), &policy, now) {
            Err(rejection @ Rejection::Malformed(_)) => {
                findings.add(Check::Form, "form", Err::<&str, _>(rejection));
            }
            // No signature has the tag; another finding says so.
            Err(Rejection::Required | Rejection::Policy(Unmet::Parameter("tag"))) => {}
            _ => findings.add(Check::Form, "form", Ok::<_, &str>("canonical")),
        }
        let components = match input.components() {
            Ok(components) => components,
            Err(malformed) => {
                findings.add(Check::Policy, "covered components", Err::<&str, _>(malformed));
                return Ok(());
            }
        };
        for component in policy.required(head.method, head.headers, request.content()) {
            let covered = if components.contains(&component) { Ok("yes") } else { Err("missing") };
            findings.add(Check::Policy, format!("covers {component}"), covered);
        }
        for component in components.iter().filter(|one| !is_asked_for(&policy, request, one)) {
            findings.skip(
                Check::Policy,
                format!("covers {component}"),
                "yes, though the policy does not ask for it",
            );
        }
        for name in ["nonce", "keyid"] {
            let present = match input.string(name) {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err("missing"),
                Err(_) => Err("not a String"),
            };
            findings.add(Check::Policy, name, present);
        }
        let presented = KeyLocations::default().find(head.headers, head.target.query());
        let key_id = input.string("keyid").ok().flatten().and_then(|id| id.parse::<KeyId>().ok());
        let agrees = presented.and_then(|presented| presented.agrees_with(key_id.as_ref()));
        let agrees = agrees.map(|()| "none beside the signature").map_err(NotVerified::from);
        findings.add(Check::Policy, "credentials", agrees);
        let created = match input.created() {
            Ok(Some(created)) => created,
            Ok(None) => {
                findings.add(Check::Policy, "time", Err::<&str, _>("created is missing"));
                return Ok(());
            }
            Err(malformed) => {
                findings.add(Check::Policy, "time", Err::<&str, _>(malformed));
                return Ok(());
            }
        };
        let expires = input.expires().ok().flatten();
        let latest = policy.max_age().saturating_add(policy.skew());
        let window = format!(
            "{}; accepted from {} s ahead to {} s ago",
            show_time(created, expires, now),
            policy.skew().as_secs(),
            latest.as_secs(),
        );
        let held = policy.check_time(created, expires, now);
        findings.add(Check::Policy, "time", if held.is_ok() { Ok(window) } else { Err(window) });
        Ok(())
    }

    /// Makes the checks of the key, the algorithm, the base and the signature itself.
    fn check_signature(
        &self,
        findings: &mut Findings,
        judged: &Judged,
        message: &Message<'_>,
        signature: &LabelledSignature<'_>,
    ) {
        let (key, input) = (&judged.key, &signature.input);
        let (named, name) = (input.string("keyid").ok().flatten(), key_source::name(key));
        let key_id = named.and_then(|text| text.parse::<KeyId>().ok());
        let names = match key {
            AnyVerifyingKey::Credential(key) => {
                key_id.is_some_and(|id| id.names(&key.publishable_key()))
            }
            _ => named == Some(&*name),
        };
        match (self.policy, named) {
            (_, Some(_)) if names => findings.add(Check::Signature, "key", Ok::<_, &str>(name)),
            (PolicyName::Default, _) => {
                findings.add(
                    Check::Signature,
                    "key",
                    Err::<&str, _>(names_another_key(key_id.as_ref(), &name)),
                );
            }
            (PolicyName::None, _) => {
                findings.skip(Check::Signature, "key", format!("{name}, regardless of its keyid"));
            }
        }
        let own = key.algorithm().map_or("RSA", Algorithm::as_str);
        let algorithm = match input.string("alg") {
            Ok(Some(name)) if key.algorithm().is_none_or(|own| name == own.as_str()) => {
                Ok(name.to_owned())
            }
            Ok(Some(name)) => Err(format!("{name}, and the key is for {own}")),
            Ok(None) => Ok(format!("{own}, by the key")),
            Err(malformed) => Err(malformed.text()),
        };
        findings.add(Check::Signature, "algorithm", algorithm);
        let candidate = match Candidate::select(message, Some(input.label())) {
            Ok(candidate) => candidate,
            Err(rejection) => {
                findings.add(Check::Signature, "signature base", Err::<&str, _>(rejection));
                findings.skip(
                    Check::Signature,
                    "signature",
                    "without a signature base there is nothing to verify",
                );
                return;
            }
        };
        let base = candidate.signature_base();
        let size =
            format!("{} lines, {} bytes", base.as_str().lines().count(), base.as_str().len());
        findings.add(Check::Signature, "signature base", Ok::<_, &str>(size));
        let agreed = candidate.insecure_verify_without_policy(key).is_ok();
        let held = match agreed || candidate.insecure_verify_whatever_alg(key).is_ok() {
            true => Ok("valid for this base"),
            false => Err("not valid for this base with this key"),
        };
        findings.add(Check::Signature, "signature", held);
    }
}

fn check_target(findings: &mut Findings, request: &ReceivedRequest<'_>) -> Result<(), Failure> {
    let head = request.head;
    findings.add(
        Check::Target,
        "method",
        acceptable(head.method, request.version).map(|()| head.method),
    );
    let target = match head.target.query() {
        Some(query) => format!("{}?{query}", head.target.path()),
        None => head.target.path().to_owned(),
    };
    findings.add(
        Check::Target,
        "target",
        head.target.check().map(|()| target).map_err(Rejection::from),
    );
    if request.body.unframed {
        findings.add(Check::Content, "length", Err::<&str, _>(NO_LENGTH));
    }
    let origins = request.origins()?;
    let origin = origins.resolve(request.uri, head.headers).map_err(Rejection::from);
    findings.add(Check::Target, "origin", origin);
    Ok(())
}

fn is_asked_for(
    policy: &countersign::Policy,
    request: &ReceivedRequest<'_>,
    component: &Component<'_>,
) -> bool {
    let head = request.head;
    policy.required(head.method, head.headers, request.content()).contains(component)
}

fn skip_time(findings: &mut Findings, signature: &LabelledSignature<'_>, now: Timestamp) {
    let created = signature.input.created().ok().flatten();
    let expires = signature.input.expires().ok().flatten();
    let when =
        created.map_or_else(|| "no created".to_owned(), |created| show_time(created, expires, now));
    findings.skip(Check::Policy, "time", format!("{when}; not required by --policy none"));
}

/// Writes the times of a signature relative to the time of the verification.
fn show_time(created: Timestamp, expires: Option<Timestamp>, now: Timestamp) -> String {
    let made = match (now.since(created), created.since(now)) {
        (Some(age), _) => format!("created {created}, {} s ago", age.as_secs()),
        (None, Some(ahead)) => format!("created {created}, {} s ahead", ahead.as_secs()),
        (None, None) => format!("created {created}"),
    };
    match expires {
        Some(expires) => format!("{made}; expires {expires}"),
        None => made,
    }
}

fn check_digest(
    findings: &mut Findings,
    judged: &Judged,
    content: &[u8],
    message: &Message<'_>,
    signature: &LabelledSignature<'_>,
) {
    let components = signature.input.components().unwrap_or_default();
    let body = judged.exchange.body();
    let covered = CoveredDigest::all(components, message, &body.trailers);
    if covered.is_empty() {
        findings.skip(Check::Content, "digest of the content", "not covered");
    }
    for one in covered {
        let name = match one.component() {
            plain if plain.is_plain("content-digest") => "digest of the content".to_owned(),
            other => format!("digest of the content, {other}"),
        };
        let found = match one.digest() {
            Ok(Some(digest)) => compare(&digest, content),
            Ok(None) => Err("Content-Digest is missing".to_owned()),
            Err(bad) => Err(Rejection::from(bad).text()),
        };
        findings.add(Check::Content, name, found);
    }
}

fn compare(digest: &ContentDigest, content: &[u8]) -> Result<String, String> {
    let mut check = digest.check();
    check.update(content);
    match check.finish() {
        Ok(()) => Ok(format!("matches, {} bytes", content.len())),
        Err(_) => Err(format!("the content has {}", ContentDigest::sha256(content))),
    }
}

/// Checks the trailers, which a server refuses or drops.
fn check_trailers(findings: &mut Findings, trailers: &HeaderMap) {
    if trailers.is_empty() {
        return;
    }
    let names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
    let dropped = format!("{}: handlers do not get them", names.join(", "));
    findings.add(Check::Content, "trailers", acceptable_trailers(trailers).map(|()| dropped));
}
