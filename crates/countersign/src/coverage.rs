use http::{HeaderMap, HeaderName, HeaderValue, header::COOKIE};
use sfv::KeyRef;

use crate::{
    accept_signature::{AcceptSignature, Unmeetable},
    component::{Component, Derived},
    digest::ContentDigest,
    field_name::{CONDITIONAL_FIELDS, CONTENT_DIGEST},
    key::PublishableKey,
    message::{Message, RequestHead},
    nonce::Nonce,
    policy::{self, BadPolicy},
    prepared_signature::PreparedSignature,
    sign::{SignError, refuse_label},
    signature_base::Rules,
    signature_input::write_components,
    timestamp::Timestamp,
};

/// The components that a signer covers, and the parameters of its key.
#[derive(Debug)]
pub(crate) struct Coverage {
    key: PublishableKey,
    tag: Box<str>,
    /// The end of the signature parameters, from the quote behind the nonce on: it is the same for all requests.
    named: String,
    always: Vec<Derived>,
    when_present: Vec<HeaderName>,
    /// The conditional fields outside of `when_present`.
    conditional: Vec<HeaderName>,
}

impl Coverage {
    /// The coverage for the default policy, under the tag `countersign`.
    pub(crate) fn new(key: PublishableKey) -> Self {
        let named = named(&key, policy::TAG);
        Self {
            key,
            tag: policy::TAG.into(),
            named,
            always: policy::ALWAYS.into(),
            when_present: policy::when_present(),
            conditional: CONDITIONAL_FIELDS.to_vec(),
        }
    }

    pub(crate) fn set_tag(&mut self, tag: &str) -> Result<(), BadPolicy> {
        self.named = named(&self.key, policy::check_tag(tag)?);
        self.tag = tag.into();
        Ok(())
    }

    pub(crate) const fn tag(&self) -> &str {
        &self.tag
    }

    pub(crate) const fn key(&self) -> PublishableKey {
        self.key
    }

    pub(crate) fn add_always(
        &mut self,
        components: impl IntoIterator<Item = Derived>,
    ) -> Result<(), BadPolicy> {
        policy::add_derived(&mut self.always, components)
    }

    pub(crate) fn add_when_present(&mut self, fields: impl IntoIterator<Item = HeaderName>) {
        policy::add(&mut self.when_present, fields);
        self.conditional.retain(|field| !self.when_present.contains(field));
    }

    pub(crate) fn asked_beyond<'a>(
        &self,
        asked: &AcceptSignature<'a>,
    ) -> Result<Vec<Component<'a>>, Unmeetable> {
        asked.suits(&self.key)?;
        if asked.tag() != Some(&*self.tag) {
            return Err(Unmeetable::Tag);
        }
        if asked.nonce().is_some() {
            return Err(Unmeetable::Nonce);
        }
        if asked.asks_for_expiry() {
            return Err(Unmeetable::Expires);
        }
        let fields = self.when_present.iter().chain(&self.conditional).map(Component::field);
        let always = self.always.iter().copied().map(Component::from);
        let covered: Vec<_> = always.chain(fields).collect();
        let beyond = asked.components().iter().filter(|component| !covered.contains(component));
        Ok(beyond.cloned().collect())
    }

    /// Prepares a signature. Also returns the `Content-Digest` to add.
    pub(crate) fn prepare(
        &self,
        more: &[Component<'_>],
        request: &RequestHead<'_>,
        content: &[u8],
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<(Option<HeaderValue>, PreparedSignature), SignError> {
        request.target.check()?;
        let content_digest = missing_digest(request.headers, content)?;
        self.prepare_checked(more, request, content_digest, created, nonce)
    }

    /// As [`Coverage::prepare`], for content with this digest, or for no content.
    pub(crate) fn prepare_digested(
        &self,
        more: &[Component<'_>],
        request: &RequestHead<'_>,
        content: Option<&ContentDigest>,
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<(Option<HeaderValue>, PreparedSignature), SignError> {
        request.target.check()?;
        let content_digest = match content {
            None => missing_digest(request.headers, &[])?,
            Some(digest) if request.headers.contains_key(CONTENT_DIGEST) => {
                let given = ContentDigest::from_headers(request.headers).ok().flatten();
                let held = given.is_some_and(|given| digest.holds(&given));
                held.then_some(None).ok_or(SignError::ContentDigest)?
            }
            Some(digest) => Some(digest.to_header().map_err(|_| SignError::ContentDigest)?),
        };
        self.prepare_checked(more, request, content_digest, created, nonce)
    }

    /// Prepares a request with a checked target and `Content-Digest`.
    fn prepare_checked(
        &self,
        more: &[Component<'_>],
        request: &RequestHead<'_>,
        content_digest: Option<HeaderValue>,
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<(Option<HeaderValue>, PreparedSignature), SignError> {
        let headers = request.headers;
        let mut components = Vec::with_capacity(8);
        components.extend(self.always.iter().copied().map(Component::from));
        cover_present(&mut components, &self.when_present, headers, content_digest.as_ref())?;
        if policy::has_conditions(headers) {
            cover_present(&mut components, &self.conditional, headers, None)?;
        }
        for component in more {
            if !components.contains(component) {
                components.push(component.clone());
            }
        }
        let mut signature_params = String::with_capacity(320);
        write_components(&mut signature_params, &components);
        signature_params.push_str(";created=");
        signature_params.push_str(&created.to_string());
        signature_params.push_str(";nonce=\"");
        signature_params.push_str(nonce.as_str());
        signature_params.push_str(&self.named);
        let message = Message::from(*request).with_content_digest(content_digest.as_ref());
        let label = KeyRef::constant("sig");
        refuse_label(headers, label)?;
        // Servers refuse a field on several lines, also where they asked for it.
        let rules = Rules::Policy;
        let prepared =
            PreparedSignature::new(&message, label, &components, signature_params, rules)?;
        Ok((content_digest, prepared))
    }
}

fn named(key: &PublishableKey, tag: &str) -> String {
    let algorithm = key.algorithm();
    let tag = tag.replace('\\', "\\\\").replace('"', "\\\"");
    format!(r#"";keyid="{key}";alg="{algorithm}";tag="{tag}""#)
}

/// The `Content-Digest` to add, if there is content and no such field. A present field has to match the content.
pub(crate) fn missing_digest(
    headers: &HeaderMap,
    content: &[u8],
) -> Result<Option<HeaderValue>, SignError> {
    if headers.contains_key(CONTENT_DIGEST) {
        check_digest(headers, content)?;
        return Ok(None);
    }
    if content.is_empty() {
        return Ok(None);
    }
    let digest = ContentDigest::sha256(content).to_header();
    digest.map(Some).map_err(|_| SignError::ContentDigest)
}

/// Adds the present fields of a list, and those about to be added.
pub(crate) fn cover_present<'a>(
    components: &mut Vec<Component<'a>>,
    when_present: &'a [HeaderName],
    headers: &HeaderMap,
    content_digest: Option<&HeaderValue>,
) -> Result<(), SignError> {
    for field in when_present {
        let mut lines = headers.get_all(field).iter();
        let made = content_digest.is_some() && *field == CONTENT_DIGEST;
        if lines.next().is_none() && !made {
            continue;
        }
        if lines.next().is_some() && *field != COOKIE {
            return Err(SignError::RepeatedField(field.clone()));
        }
        components.push(Component::field(field));
    }
    Ok(())
}

fn check_digest(headers: &HeaderMap, content: &[u8]) -> Result<(), SignError> {
    let digest = ContentDigest::from_headers(headers).ok().flatten();
    let mut check = digest.ok_or(SignError::ContentDigest)?.check();
    check.update(content);
    check.finish().map_err(|_| SignError::ContentDigest)
}

/// The setters of a signer with a `coverage`. The literals name its method for signing, and the method for more coverage.
macro_rules! coverage_setters {
    ($sign:literal, $sign_covering:literal) => {
        /// Sets the tag by which the server selects the signature. Default: `countersign`.
        ///
        /// # Errors
        ///
        /// [`BadPolicy::Tag`]($crate::BadPolicy::Tag).
        pub fn tag(mut self, tag: &str) -> Result<Self, $crate::policy::BadPolicy> {
            self.coverage.set_tag(tag)?;
            Ok(self)
        }

        /// Adds derived components to cover in every request, as [`Policy::cover_always`]($crate::Policy::cover_always) asks
        /// for: [`Derived::Scheme`]($crate::Derived::Scheme), [`Derived::TargetUri`]($crate::Derived::TargetUri).
        ///
        /// # Errors
        ///
        /// [`BadPolicy::Component`]($crate::BadPolicy::Component).
        pub fn cover_always(
            mut self,
            components: impl IntoIterator<Item = $crate::component::Derived>,
        ) -> Result<Self, $crate::policy::BadPolicy> {
            self.coverage.add_always(components)?;
            Ok(self)
        }

        /// Adds fields to cover when a request has them.
        pub fn cover_when_present(
            mut self,
            fields: impl IntoIterator<Item = http::HeaderName>,
        ) -> Self {
            self.coverage.add_when_present(fields);
            self
        }

        #[doc = concat!("Returns the components of `asked` that [`", $sign, "`](Self::", $sign, ") does not cover anyway, for")]
        #[doc = concat!("[`", $sign_covering, "`](Self::", $sign_covering, ").")]
        ///
        /// # Errors
        ///
        /// [`Unmeetable`]($crate::Unmeetable) if `asked` is for another key or another tag, or asks for a nonce or an expiry,
        /// which this signer does not take from others. Signing reports components that the request lacks.
        pub fn asked_beyond<'a>(
            &self,
            asked: &$crate::accept_signature::AcceptSignature<'a>,
        ) -> Result<Vec<$crate::component::Component<'a>>, $crate::accept_signature::Unmeetable> {
            self.coverage.asked_beyond(asked)
        }
    };
}
pub(crate) use coverage_setters;
