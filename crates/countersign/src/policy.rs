use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, header};

use crate::{
    accept_signature::AcceptSignature,
    byte_set::ByteSet,
    component::{BoundTo, Component, Derived, Form},
    content::{Content, is_read},
    field_name::{
        CONDITIONAL_FIELDS, CONTENT_DIGEST, METHOD_OVERRIDES, SIGNATURES, TARGET_OVERRIDES,
    },
    malformed::Malformed,
    message::RequestHead,
    nonce::Nonce,
    rejection::{Rejection, Stale, Unmet},
    signature_input::SignatureInput,
    timestamp::Timestamp,
    window::Window,
};

/// The requirements on a request. Strict by default; setters that weaken it have `insecure` in their names.
///
/// A signature has to cover `@method`, `@authority`, `@path` and `@query`; `content-digest` when there is content; and,
/// when present, `content-type`, `content-encoding`, `authorization`, `idempotency-key`, the fields that override a
/// method ([`METHOD_OVERRIDES`]) or a target ([`TARGET_OVERRIDES`]), and the fields of [`Policy::cover_when_present`]. A
/// write also has to cover [`CONDITIONAL_FIELDS`] when present; a read that does not cover them loses them
/// ([`Unverified::fields_to_remove`](crate::Unverified::fields_to_remove)). The parameters `created`, `nonce`, `keyid`
/// and `tag` are required.
///
/// ```
/// use std::time::Duration;
///
/// use countersign::{Derived, Policy};
/// use http::HeaderName;
///
/// let policy = Policy::default()
///     .tag("shop")?
///     .window(Duration::from_secs(30), Duration::from_secs(5))?
///     .cover_always([Derived::Scheme])?
///     .cover_when_present([HeaderName::from_static("x-tenant")]);
/// assert_eq!(policy.max_age(), Duration::from_secs(30));
/// # Ok::<(), countersign::BadPolicy>(())
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    window: Window,
    tag: Box<str>,
    always: Vec<Derived>,
    when_present: Vec<HeaderName>,
    /// The conditional fields that are in neither of the other lists.
    conditional: Vec<HeaderName>,
    /// Fields that are hidden from handlers unless covered.
    removed: Vec<HeaderName>,
    /// Fields whose members may be covered by themselves.
    members: Vec<HeaderName>,
    unsigned_content: UnsignedContent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnsignedContent {
    Refused,
    Allowed,
}

/// Why a policy cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPolicy {
    /// The window would accept no request, or would keep captured requests good for too long.
    #[error("the window is out of range: max_age is 1 to 900 s, the skew at most 60 s")]
    Window,
    /// Not a structured-field String, or empty.
    #[error("a tag is printable ASCII and not empty")]
    Tag,
    /// `@query-param`, which needs a name, or `@status`, which requests do not have.
    #[error("{} cannot be required of every request", .0.as_str())]
    Component(Derived),
}

/// Refuses a tag that a signature cannot have.
pub(crate) fn check_tag(tag: &str) -> Result<&str, BadPolicy> {
    match tag.is_empty() || sfv::StringRef::from_str(tag).is_err() {
        true => Err(BadPolicy::Tag),
        false => Ok(tag),
    }
}

/// The default tag of Countersign's signatures.
pub(crate) const TAG: &str = "countersign";

/// Fields that change the meaning of a request, so that an attacker could add an uncovered one.
pub(crate) fn when_present() -> Vec<HeaderName> {
    let fields = [
        CONTENT_DIGEST,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::AUTHORIZATION,
        HeaderName::from_static("idempotency-key"),
    ];
    fields.into_iter().chain(METHOD_OVERRIDES).chain(TARGET_OVERRIDES).collect()
}

/// Whether a field may be one of [`CONDITIONAL_FIELDS`]. One look at each name costs less than looking all of them up.
pub(crate) fn has_conditions(headers: &HeaderMap) -> bool {
    let may_be = |name: &str| name.starts_with("if-") || name.ends_with("range");
    headers.keys().any(|name| may_be(name.as_str()))
}

/// Refuses components that reinterpret a field: with `sf` or `bs`, and with `key` unless its field is in this list.
pub(crate) fn check_forms(
    components: &[Component<'_>],
    members_of: &[HeaderName],
) -> Result<(), Malformed> {
    for component in components {
        match component.form() {
            Form::AsSent => {}
            // A second reading of a field adds nothing to the plain one, and could contradict it.
            Form::Strict | Form::Wrapped => return Err(Malformed::Reformed),
            // It is parsed before the key is looked up, so its size is a stranger's to choose.
            Form::Member(_) if !members_of.iter().any(|field| component.is_of_field(field)) => {
                return Err(Malformed::Member);
            }
            Form::Member(_) => {}
        }
    }
    Ok(())
}

/// Adds derived components that every request has, without duplicates.
pub(crate) fn add_derived(
    list: &mut Vec<Derived>,
    components: impl IntoIterator<Item = Derived>,
) -> Result<(), BadPolicy> {
    for derived in components {
        match derived {
            Derived::QueryParam | Derived::Status => return Err(BadPolicy::Component(derived)),
            _ if list.contains(&derived) => {}
            _ => list.push(derived),
        }
    }
    Ok(())
}

/// Adds fields, each once.
pub(crate) fn add(list: &mut Vec<HeaderName>, fields: impl IntoIterator<Item = HeaderName>) {
    for field in fields {
        if !list.contains(&field) {
            list.push(field);
        }
    }
}

/// The components that every signature has to cover. Not `@scheme` or `@target-uri`: behind a proxy that ends TLS they
/// rarely match the client's.
pub(crate) const ALWAYS: [Derived; 4] =
    [Derived::Method, Derived::Authority, Derived::Path, Derived::Query];

impl From<&Policy> for Window {
    fn from(policy: &Policy) -> Self {
        policy.window
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            window: Window::default(),
            tag: TAG.into(),
            always: ALWAYS.into(),
            when_present: when_present(),
            conditional: CONDITIONAL_FIELDS.to_vec(),
            removed: Vec::new(),
            members: SIGNATURES.to_vec(),
            unsigned_content: UnsignedContent::Refused,
        }
    }
}

impl Policy {
    /// The tag that selects the signature among several. Default: `countersign`.
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
        self.window = Window::new(max_age, skew).ok_or(BadPolicy::Window)?;
        Ok(self)
    }

    /// Adds derived components that every signature has to cover, beside `@method`, `@authority`, `@path` and `@query`.
    /// Use [`Derived::Scheme`] or [`Derived::TargetUri`] if a signature for `http` must not be good at the `https` origin
    /// of the same host and port. The scheme is that of your [`Origin`](crate::Origin). `Accept-Signature` asks for them,
    /// so this project's client covers them at its second attempt; with
    /// [`Signer::cover_always`](crate::Signer::cover_always) it covers them at the first.
    ///
    /// # Errors
    ///
    /// [`BadPolicy::Component`].
    pub fn cover_always(
        mut self,
        components: impl IntoIterator<Item = Derived>,
    ) -> Result<Self, BadPolicy> {
        add_derived(&mut self.always, components)?;
        Ok(self)
    }

    /// Adds fields that a request of any method has to cover when it has them.
    pub fn cover_when_present(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        for field in fields {
            self.removed.retain(|other| *other != field);
            self.conditional.retain(|other| *other != field);
            add(&mut self.when_present, [field]);
        }
        self
    }

    /// Hides these fields from handlers unless a signature covers them, instead of refusing the request. Use it for
    /// fields that a proxy of your own adds and that a handler must not take for the caller's. The field `content-digest`
    /// stays required.
    ///
    /// Without the server crate you remove them yourself:
    /// [`Unverified::fields_to_remove`](crate::Unverified::fields_to_remove).
    pub fn remove_uncovered(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        for field in fields.into_iter().filter(|field| *field != CONTENT_DIGEST) {
            self.when_present.retain(|other| *other != field);
            self.conditional.retain(|other| *other != field);
            add(&mut self.removed, [field]);
        }
        self
    }

    /// Lets a signature cover single members of these Dictionary fields (`key`, RFC 9421 §2.1.2), beside the required
    /// components. Default: `Signature` and `Signature-Input`, for a signature over another signature.
    ///
    /// The server parses such a field before it looks up the key, so strangers can make it parse the field.
    pub fn allow_members_of(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        add(&mut self.members, fields);
        self
    }

    /// Accepts a signature that does not cover the content, which an attacker can then replace.
    pub fn insecure_allow_unsigned_content(mut self) -> Self {
        self.unsigned_content = UnsignedContent::Allowed;
        self.when_present.retain(|field| *field != CONTENT_DIGEST);
        self
    }

    /// The oldest signature accepted.
    pub const fn max_age(&self) -> Duration {
        self.window.max_age()
    }

    /// The difference of clocks allowed either way.
    pub const fn skew(&self) -> Duration {
        self.window.skew()
    }

    /// The tag of our signatures.
    pub const fn selected_tag(&self) -> &str {
        &self.tag
    }

    /// The components that a request of this method with these header fields has to cover, in the order of
    /// `Accept-Signature`.
    pub fn required(
        &self,
        method: &Method,
        headers: &HeaderMap,
        content: Content,
    ) -> Vec<Component<'_>> {
        let mut components: Vec<_> = self.always.iter().copied().map(Component::from).collect();
        let fields = self.has_to_be_covered(method, headers, content);
        let present = fields.filter(|field| headers.contains_key(*field));
        components.extend(present.map(Component::field));
        let digest = Component::CONTENT_DIGEST;
        let wanted = content == Content::Present
            && self.unsigned_content == UnsignedContent::Refused
            && !components.contains(&digest);
        if wanted {
            components.push(digest);
        }
        components
    }

    /// The fields that such a request has to cover if present.
    fn has_to_be_covered(
        &self,
        method: &Method,
        headers: &HeaderMap,
        content: Content,
    ) -> impl Iterator<Item = &HeaderName> {
        let of_writes = match has_conditions(headers) && !is_read(method, headers, content) {
            true => &self.conditional[..],
            false => &[],
        };
        self.when_present.iter().chain(of_writes)
    }

    /// The fields to hide from a handler unless covered. The request has passed the policy: it is a read, or it covers
    /// its conditions.
    fn hidden_from_handlers(&self, headers: &HeaderMap) -> impl Iterator<Item = &HeaderName> {
        let of_reads = if has_conditions(headers) { &self.conditional[..] } else { &[] };
        self.removed.iter().chain(of_reads)
    }

    /// The `Accept-Signature` (RFC 9421 §5.1) for the response to a request of this method with these header fields. It
    /// cannot ask for a nonce or a keyid without giving their values; the signer brings them.
    pub fn accept_signature(
        &self,
        method: &Method,
        headers: &HeaderMap,
        content: Content,
    ) -> AcceptSignature<'_> {
        AcceptSignature::of_policy(self.required(method, headers, content), &self.tag)
    }

    /// Coverage and parameters.
    pub(crate) fn judge(
        &self,
        input: &SignatureInput<'_>,
        request: &RequestHead<'_>,
        content: Content,
    ) -> Result<Judged, Rejection> {
        let headers = request.headers;
        let components = input.components()?;
        if let Some(parameter) = input.unknown_parameter() {
            return Err(Malformed::UnknownParameter(parameter.into()).into());
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
        if let Some(derived) = self.always.iter().copied().find(misses) {
            return Err(Unmet::Component(derived.as_str()).into());
        }
        let digest = covers(&CONTENT_DIGEST) && headers.contains_key(CONTENT_DIGEST);
        let unsigned = self.unsigned_content == UnsignedContent::Allowed;
        if content == Content::Present && !digest && !unsigned {
            return Err(Unmet::ContentDigest.into());
        }
        let uncovered = |field: &&HeaderName| headers.contains_key(*field) && !covers(field);
        let mut needed = self.has_to_be_covered(request.method, headers, content);
        if let Some(field) = needed.find(uncovered) {
            return Err(Unmet::PresentField(field.to_string()).into());
        }
        let removed = self.hidden_from_handlers(headers).filter(uncovered).cloned().collect();
        check_forms(components, &self.members)?;
        let created = created.ok_or(Unmet::Parameter("created"))?;
        let nonce = nonce.ok_or(Unmet::Parameter("nonce"))?;
        if key_id.is_none() {
            return Err(Unmet::Parameter("keyid").into());
        }
        if expires.is_some_and(|expires| expires <= created) {
            return Err(Malformed::ExpiresBeforeCreated.into());
        }
        Ok(Judged { created, expires, nonce, covers_digest: digest, removed })
    }

    /// Refuses a signature outside its time. Accepted is `created - skew <= now <= created + max_age + skew`, up to the
    /// second of `expires`.
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
    pub(crate) covers_digest: bool,
    /// Fields that are present and uncovered, to be hidden from the handler.
    pub(crate) removed: Vec<HeaderName>,
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
    fn the_last_word_on_a_field_counts_and_says_nothing_of_others() {
        let [a, b] = ["x-a", "x-b"].map(HeaderName::from_static);
        let (kind, range, digest) = (header::CONTENT_TYPE, header::RANGE, CONTENT_DIGEST);
        let of = |policy: &Policy| {
            let lists = [&policy.when_present, &policy.conditional, &policy.removed];
            [&a, &b, &kind, &range, &header::IF_MATCH, &digest]
                .map(|field| lists.map(|list| list.iter().filter(|other| *other == field).count()))
        };
        let (covered, conditional, removed) = ([1, 0, 0], [0, 1, 0], [0, 0, 1]);
        let policy = Policy::default();
        let default = [[0; 3], [0; 3], covered, conditional, conditional, covered];
        assert_eq!(of(&policy), default);
        let fields = [&a, &b, &kind, &range, &digest, &a].map(Clone::clone);
        let policy = policy.remove_uncovered(fields);
        assert_eq!(of(&policy), [removed, removed, removed, removed, conditional, covered]);
        let policy = policy.cover_when_present([&a, &range, &a].map(Clone::clone));
        assert_eq!(of(&policy), [covered, removed, removed, covered, conditional, covered]);
        let policy = policy.cover_when_present([header::IF_MATCH]);
        assert_eq!(of(&policy), [covered, removed, removed, covered, covered, covered]);
        let policy = policy.cover_always([Derived::Scheme, Derived::Scheme]).unwrap();
        let always = policy.always.iter().filter(|derived| **derived == Derived::Scheme);
        assert_eq!(always.count(), 1);
    }

    #[test]
    fn what_is_asked_for_is_what_is_checked_each_once() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
        let always = r#"sig=("@method" "@authority" "@path" "@query" "content-type""#;
        let policy = Policy::default().cover_when_present([header::CONTENT_TYPE, header::RANGE]);
        let asked = |policy: &Policy, content| {
            policy.accept_signature(&Method::GET, &headers, content).to_string()
        };
        let end = r#");created;tag="countersign""#;
        assert_eq!(asked(&policy, Content::Absent), format!("{always}{end}"));
        let present = asked(&policy, Content::Present);
        assert_eq!(present, format!(r#"{always} "content-digest"{end}"#));
        let lax = policy.insecure_allow_unsigned_content();
        assert_eq!(asked(&lax, Content::Present), format!("{always}{end}"));
    }

    #[test]
    fn every_condition_is_seen_and_hardly_anything_else() {
        let has = |name: HeaderName| {
            has_conditions(&HeaderMap::from_iter([(name, http::HeaderValue::from_static("x"))]))
        };
        for field in CONDITIONAL_FIELDS {
            assert!(has(field.clone()), "{field}");
        }
        for field in [header::HOST, header::ACCEPT, header::IF_RANGE, header::ACCEPT_RANGES] {
            assert_eq!(has(field.clone()), field == header::IF_RANGE, "{field}");
        }
    }

    #[test]
    fn a_tag_is_never_empty_nor_unprintable() {
        assert!(Policy::default().tag("my-api").is_ok());
        assert_eq!(Policy::default().tag("").unwrap_err(), BadPolicy::Tag);
        assert_eq!(Policy::default().tag("é").unwrap_err(), BadPolicy::Tag);
    }
}
