use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use sfv::KeyRef;

use crate::{
    component::Component,
    key::Signs,
    message::Message,
    sign::{SignError, SignatureFields, SignatureParams, refuse_label, signature_params},
    signature_base::{Rules, SignatureBase},
};

/// A signature to be made by a key elsewhere: in a KMS, an HSM, or an agent.
///
/// For requests to a Countersign server, [`RemoteSigner`](crate::RemoteSigner) covers the required components. Use this
/// type for any message of RFC 9421.
///
/// ```
/// # use countersign::{
/// #     Component, Derived, Message, Origin, PreparedSignature, PrivateKey, RequestHead, SignatureParams, Target,
/// # };
/// # use http::{HeaderMap, Method, Uri};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (uri, origin) = (Uri::from_static("/v1/orders"), "https://api.example.com".parse::<Origin>()?);
/// # let (method, target) = (Method::GET, Target::origin_form(&uri));
/// # let mut headers = HeaderMap::new();
/// # let message = Message::from(RequestHead { method: &method, target, origin: &origin, headers: &headers });
/// # let kms = PrivateKey::ed25519(&[7; 32]);
/// let params = SignatureParams {
///     label: "sig",
///     components: vec![Component::from(Derived::Method), Component::from(Derived::TargetUri)],
///     created: None,
///     expires: None,
///     nonce: None,
///     key_id: Some("alias/orders"),
///     algorithm: None,
///     tag: None,
/// };
/// let prepared = PreparedSignature::of(&message, &params)?;
/// let signature = kms.sign(prepared.signature_base().as_bytes()); // wherever that is
/// prepared.attach(&signature)?.apply(&mut headers);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is signed before the signature is attached"]
pub struct PreparedSignature {
    label: Box<str>,
    signature_params: String,
    base: SignatureBase,
}

impl PreparedSignature {
    /// Prepares the signature that [`sign`](crate::sign) would make.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub fn of(message: &Message<'_>, params: &SignatureParams<'_>) -> Result<Self, SignError> {
        let label = KeyRef::from_str(params.label).map_err(|_| SignError::Parameter("label"))?;
        refuse_label(message.headers(), label)?;
        Self::new(message, label, &params.components, signature_params(params)?, Rules::Rfc)
    }

    pub(crate) fn new(
        message: &Message<'_>,
        label: &KeyRef,
        components: &[Component<'_>],
        signature_params: String,
        rules: Rules,
    ) -> Result<Self, SignError> {
        let base = SignatureBase::new(message, components, &signature_params, rules)?;
        Ok(Self { label: label.as_str().into(), signature_params, base })
    }

    /// The bytes to sign.
    pub const fn signature_base(&self) -> &SignatureBase {
        &self.base
    }

    pub(crate) fn sign(self, key: &impl Signs) -> Result<SignatureFields, SignError> {
        let signature = key.sign_base(self.base.as_bytes());
        self.attach(&signature)
    }

    /// The fields with this signature of the base. Whether it holds is not checked: no key is known here.
    ///
    /// # Errors
    ///
    /// [`SignError::Parameter`] if a header field cannot hold the parameters.
    pub fn attach(self, signature: &[u8]) -> Result<SignatureFields, SignError> {
        let Self { label, signature_params, base } = self;
        let mut input = String::with_capacity(signature_params.len().saturating_add(16));
        input.push_str(&label);
        input.push('=');
        input.push_str(&signature_params);
        let mut member = String::with_capacity(128);
        member.push_str(&label);
        member.push_str("=:");
        STANDARD.encode_string(signature, &mut member);
        member.push(':');
        let field = |text: String| {
            HeaderValue::try_from(text).map_err(|_| SignError::Parameter("signature parameters"))
        };
        Ok(SignatureFields { input: field(input)?, signature: field(member)?, base })
    }
}
