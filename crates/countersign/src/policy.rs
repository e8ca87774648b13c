use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use crate::{
    AcceptSignature, Component, Derived, Malformed, Nonce, Stale, Timestamp, Unmet,
    byte_set::ByteSet, component::Form, digest::CONTENT_DIGEST, message::BoundTo,
    signature_input::SignatureInput,
};

/// What a request has to prove. Strict by default; setters that weaken it say so in their names.
///
/// Covered have to be `@method`, `@authority`, `@path` and `@query`; `content-digest` when there is content; and, when
/// present, `content-type`, `content-encoding`, `authorization`, `idempotency-key`, the fields that override a method,
/// and whatever [`Policy::cover_when_present`] adds. Present have to be `created`, `nonce`, `keyid` and the `tag`.
#[derive(Clone, Debug)]
pub struct Policy {
    window: Window,
    tag: Box<str>,
    when_present: Vec<HeaderName>,
    unsigned_content: UnsignedContent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnsignedContent {
    Refused,
    Allowed,
}

/// Whether a request has content; also an empty one that is sent in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// None: the head is all there is.
    Absent,
    /// Some, or some may come.
    Present,
}

/// Why a policy cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPolicy {
    /// Nothing would be accepted, or captured requests would stay good for too long.
    #[error("the freshness window is off: max_age is 1 to 900 s, the skew at most 60 s")]
    Window,
    /// Not a structured-field String, or empty.
    #[error("a tag is printable ASCII and not empty")]
    Tag,
}

/// The time in which a signature is acceptable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    max_age: Duration,
    skew: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(60), skew: Duration::from_secs(10) }
    }
}

impl Window {
    pub(crate) fn new(max_age: Duration, skew: Duration) -> Result<Self, BadPolicy> {
        let whole = max_age.subsec_nanos() == 0 && skew.subsec_nanos() == 0;
        if !whole || !(1..=900).contains(&max_age.as_secs()) || skew.as_secs() > 60 {
            return Err(BadPolicy::Window);
        }
        Ok(Self { max_age, skew })
    }

    pub(crate) fn check(
        &self,
        created: Timestamp,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Stale> {
        let allowed = self.skew;
        if let Some(ahead) = created.since(now).filter(|&ahead| ahead > allowed) {
            return Err(Stale::FromTheFuture { ahead, allowed, now });
        }
        let allowed = self.max_age.saturating_add(self.skew);
        if let Some(age) = now.since(created).filter(|&age| age > allowed) {
            return Err(Stale::TooOld { age, allowed, now });
        }
        match expires {
            Some(expires) if now > expires => Err(Stale::Expired { now }),
            _ => Ok(()),
        }
    }
}

/// Refuses a tag that no signature could have.
pub(crate) fn check_tag(tag: &str) -> Result<&str, BadPolicy> {
    match tag.is_empty() || sfv::StringRef::from_str(tag).is_err() {
        true => Err(BadPolicy::Tag),
        false => Ok(tag),
    }
}

/// The tag of Countersign's own signatures, for services that set none of their own.
pub(crate) const TAG: &str = "countersign";

/// Fields by which some frameworks take a request for one of another method. A server counts them as a write.
pub const METHOD_OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// Fields that change what a request means, so that an uncovered one could be added on the way.
pub(crate) fn when_present() -> Vec<HeaderName> {
    let fields = [
        CONTENT_DIGEST,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::AUTHORIZATION,
        HeaderName::from_static("idempotency-key"),
    ];
    fields.into_iter().chain(METHOD_OVERRIDES).collect()
}

/// Adds fields, each once.
pub(crate) fn add(list: &mut Vec<HeaderName>, fields: impl IntoIterator<Item = HeaderName>) {
    for field in fields {
        if !list.contains(&field) {
            list.push(field);
        }
    }
}

/// What every signature has to cover. Not `@scheme` or `@target-uri`: behind a proxy that ends TLS they are rarely
/// what the client saw.
pub(crate) const ALWAYS: [Derived; 4] =
    [Derived::Method, Derived::Authority, Derived::Path, Derived::Query];

impl Default for Policy {
    fn default() -> Self {
        Self {
            window: Window::default(),
            tag: TAG.into(),
            when_present: when_present(),
            unsigned_content: UnsignedContent::Refused,
        }
    }
}

impl Policy {
    /// The tag that selects our signature among several. Default: `countersign`.
    ///
    /// # Errors
    ///
    /// [`BadPolicy::Tag`].
    pub fn tag(mut self, tag: &str) -> Result<Self, BadPolicy> {
        self.tag = check_tag(tag)?.into();
        Ok(self)
    }

    /// The oldest signature accepted, and the difference of clocks allowed either way. Nonces are kept at least this
    /// long. Default: 60 s and 10 s.
    ///
    /// # Errors
    ///
    /// [`BadPolicy::Window`] unless `max_age` is 1 to 900 s and `skew` at most 60 s, both in whole seconds.
    pub fn window(mut self, max_age: Duration, skew: Duration) -> Result<Self, BadPolicy> {
        self.window = Window::new(max_age, skew)?;
        Ok(self)
    }

    /// Adds fields that have to be covered when a request has them.
    pub fn cover_when_present(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        add(&mut self.when_present, fields);
        self
    }

    /// Accepts a signature that leaves the content out, which can then be swapped on the way.
    pub fn insecure_allow_unsigned_content(mut self) -> Self {
        self.unsigned_content = UnsignedContent::Allowed;
        self.when_present.retain(|field| *field != CONTENT_DIGEST);
        self
    }

    /// The oldest signature accepted.
    pub const fn max_age(&self) -> Duration {
        self.window.max_age
    }

    /// The difference of clocks allowed either way.
    pub const fn skew(&self) -> Duration {
        self.window.skew
    }

    /// The tag of our signatures.
    pub const fn selected_tag(&self) -> &str {
        &self.tag
    }

    /// What a request with these header fields has to cover, in the order in which it is asked for.
    pub fn required(&self, headers: &HeaderMap, content: Content) -> Vec<Component<'_>> {
        let mut components: Vec<_> = ALWAYS.map(Component::from).into();
        let fields = self.when_present.iter().filter(|field| headers.contains_key(*field));
        components.extend(fields.map(Component::field));
        let digest = Component::CONTENT_DIGEST;
        let wanted = content == Content::Present
            && self.unsigned_content == UnsignedContent::Refused
            && !components.contains(&digest);
        if wanted {
            components.push(digest);
        }
        components
    }

    /// What to ask for in an `Accept-Signature` field (RFC 9421 §5.1) of the answer to a request with these header
    /// fields. A nonce and a keyid are the signer's to bring, which that field cannot say.
    pub fn accept_signature(&self, headers: &HeaderMap, content: Content) -> AcceptSignature<'_> {
        AcceptSignature::of_policy(self.required(headers, content), &self.tag)
    }

    /// Coverage and parameters.
    pub(crate) fn judge(
        &self,
        input: &SignatureInput<'_>,
        headers: &HeaderMap,
        content: Content,
    ) -> Result<Judged, crate::Rejection> {
        let components = input.components()?;
        if input.has_unknown_parameter() {
            return Err(Malformed::UnknownParameter.into());
        }
        let outside =
            |one: &Component<'_>| one.bound_to() == BoundTo::ItsRequest || one.is_trailer();
        if components.iter().any(outside) {
            return Err(Malformed::OutsideTheHead.into());
        }
        let covers = |field: &HeaderName| components.iter().any(|one| one.is_plain_field(field));
        let created = input.created()?;
        let expires = input.expires()?;
        let nonce = input.string("nonce")?.map(str::parse::<Nonce>);
        let nonce = nonce.transpose().map_err(|_| Malformed::Nonce)?;
        let key_id = input.string("keyid")?;
        if !key_id.is_none_or(is_key_id) {
            return Err(Malformed::KeyId.into());
        }
        let misses =
            |derived: &Derived| !components.iter().any(|one| one.is_plain_derived(*derived));
        if let Some(derived) = ALWAYS.into_iter().find(misses) {
            return Err(Unmet::Component(derived.as_str()).into());
        }
        let digest = covers(&CONTENT_DIGEST) && headers.contains_key(CONTENT_DIGEST);
        let unsigned = self.unsigned_content == UnsignedContent::Allowed;
        if content == Content::Present && !digest && !unsigned {
            return Err(Unmet::ContentDigest.into());
        }
        let uncovered = |field: &&HeaderName| !covers(field) && headers.contains_key(*field);
        if let Some(field) = self.when_present.iter().find(uncovered) {
            return Err(Unmet::PresentField(field.to_string()).into());
        }
        // A second reading of a field beside the plain one says nothing more, and could say something else.
        if components.iter().any(|one| matches!(one.form(), Form::Strict | Form::Wrapped)) {
            return Err(Malformed::Reformed.into());
        }
        let created = created.ok_or(Unmet::Parameter("created"))?;
        let nonce = nonce.ok_or(Unmet::Parameter("nonce"))?;
        if key_id.is_none() {
            return Err(Unmet::Parameter("keyid").into());
        }
        if expires.is_some_and(|expires| expires <= created) {
            return Err(Malformed::ExpiresBeforeCreated.into());
        }
        let digest = if digest { Covered::Yes } else { Covered::No };
        Ok(Judged { created, expires, nonce, digest })
    }

    /// Refuses what is outside its time: acceptable is `created - skew <= now <= created + max_age + skew`, and no
    /// second after `expires`.
    ///
    /// # Errors
    ///
    /// [`Stale`].
    pub fn check_time(
        &self,
        created: Timestamp,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Stale> {
        self.window.check(created, expires, now)
    }
}

/// The parameters of a signature that meets the policy.
pub(crate) struct Judged {
    pub(crate) created: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) nonce: Nonce,
    /// Whether a digest of the content is covered.
    pub(crate) digest: Covered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Covered {
    Yes,
    No,
}

pub(crate) fn is_key_id(text: &str) -> bool {
    static ALLOWED: ByteSet = ByteSet::ALPHANUMERIC.with(b"_-");
    (8..=96).contains(&text.len()) && ALLOWED.has_all_of(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_can_be_neither_closed_nor_wide_open() {
        let window = |max_age, skew| {
            Policy::default()
                .window(Duration::from_secs(max_age), Duration::from_secs(skew))
                .is_ok()
        };
        assert!(window(1, 0) && window(60, 10) && window(900, 60));
        assert!(!window(0, 10) && !window(901, 10) && !window(60, 61));
        let half = Duration::from_millis(1500);
        assert!(Policy::default().window(half, Duration::ZERO).is_err());
    }

    #[test]
    fn time_is_checked_to_the_second_on_every_edge() {
        let policy = Policy::default();
        let now = Timestamp::from_unix(1_000_000);
        let at = |created: u64, expires: Option<u64>| {
            let expires = expires.map(Timestamp::from_unix);
            policy.check_time(Timestamp::from_unix(created), expires, now).is_ok()
        };
        let table = [
            (1_000_010, None, true),
            (1_000_011, None, false),
            (999_930, None, true),
            (999_929, None, false),
            (999_999_999_999_999, None, false),
            (0, None, false),
            (999_990, Some(1_000_000), true),
            (999_990, Some(999_999), false),
            (999_929, Some(2_000_000_000), false),
        ];
        for (created, expires, accepted) in table {
            assert_eq!(at(created, expires), accepted, "{created} {expires:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_what_is_checked_each_once() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
        let always = r#"sig=("@method" "@authority" "@path" "@query" "content-type""#;
        let policy = Policy::default().cover_when_present([header::CONTENT_TYPE, header::RANGE]);
        let asked =
            |policy: &Policy, content| policy.accept_signature(&headers, content).to_string();
        let end = r#");created;tag="countersign""#;
        assert_eq!(asked(&policy, Content::Absent), format!("{always}{end}"));
        let present = asked(&policy, Content::Present);
        assert_eq!(present, format!(r#"{always} "content-digest"{end}"#));
        let lax = policy.insecure_allow_unsigned_content();
        assert_eq!(asked(&lax, Content::Present), format!("{always}{end}"));
    }

    #[test]
    fn a_tag_is_never_empty_nor_unprintable() {
        assert!(Policy::default().tag("my-api").is_ok());
        assert_eq!(Policy::default().tag("").unwrap_err(), BadPolicy::Tag);
        assert_eq!(Policy::default().tag("é").unwrap_err(), BadPolicy::Tag);
    }
}
