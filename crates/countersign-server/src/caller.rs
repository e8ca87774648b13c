#[cfg(feature = "axum")]
pub(crate) mod extract;
pub(crate) mod require;
pub(crate) mod verification;

use std::sync::Arc;

use countersign::NonceUse;
use countersign_store::{Application, Credential};
use http::HeaderValue;

/// The caller of a request, and the proof of its identity.
///
/// In axum, handlers get it from an extractor. In other services, [`Caller::of`] takes it from a request that passed the layer.
/// All of it comes from the key's credential in the registry, nothing from other parts of the request.
#[derive(Clone, Debug)]
pub struct Caller {
    credential: Arc<Credential>,
    signed: Option<Arc<SignedUse>>,
}

/// The signed parts of a request that handlers use.
#[derive(Clone, Debug)]
pub(crate) struct SignedUse {
    pub(crate) nonce_use: NonceUse,
    /// The value of `Authorization`, if the signature covers it: the value that the holder of the key sent, even if a layer in
    /// between has changed the field.
    #[cfg_attr(not(feature = "oauth"), expect(dead_code, reason = "tokens are read from it"))]
    pub(crate) authorization: Option<HeaderValue>,
}

/// The proof of a caller's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A publishable key, which anyone may have.
    Publishable,
    /// A signature, which only the holder of the private key can make.
    Signed,
}

impl Caller {
    pub(crate) const fn publishable(credential: Arc<Credential>) -> Self {
        Self { credential, signed: None }
    }

    pub(crate) fn signed(credential: Arc<Credential>, signed: SignedUse) -> Self {
        Self { credential, signed: Some(Arc::new(signed)) }
    }

    #[cfg(feature = "oauth")]
    pub(crate) fn signed_use(&self) -> Option<&SignedUse> {
        self.signed.as_deref()
    }

    /// Makes a caller without a request, for tests that call a handler as a function. With a `nonce_use` it is the caller of a
    /// signed request, otherwise of an unsigned read.
    #[cfg(feature = "test-util")]
    pub fn for_test(credential: impl Into<Arc<Credential>>, nonce_use: Option<NonceUse>) -> Self {
        let signed = nonce_use.map(|nonce_use| SignedUse { nonce_use, authorization: None });
        Self { credential: credential.into(), signed: signed.map(Arc::new) }
    }

    /// Returns the application that the credential belongs to.
    pub fn application(&self) -> &Application {
        &self.credential.application
    }

    /// Returns the credential.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Returns the proof of the caller's identity.
    pub const fn proof(&self) -> Proof {
        match self.signed {
            Some(_) => Proof::Signed,
            None => Proof::Publishable,
        }
    }

    /// Returns the signed caller, if the request was signed.
    pub fn to_signed(&self) -> Option<SignedCaller> {
        let nonce_use = self.signed.as_ref()?.nonce_use;
        Some(SignedCaller { credential: Arc::clone(&self.credential), nonce_use })
    }
}

/// The caller of a signed request.
#[derive(Clone, Debug)]
pub struct SignedCaller {
    credential: Arc<Credential>,
    nonce_use: NonceUse,
}

impl SignedCaller {
    /// Makes a caller without a request, for tests that call a handler as a function.
    #[cfg(feature = "test-util")]
    pub fn for_test(credential: impl Into<Arc<Credential>>, nonce_use: NonceUse) -> Self {
        Self { credential: credential.into(), nonce_use }
    }

    /// Returns the application that the credential belongs to.
    pub fn application(&self) -> &Application {
        &self.credential.application
    }

    /// Returns the credential.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Returns the nonce that the verifier claimed from its replay guard for this request.
    ///
    /// To never run twice, even if the guard loses its memory, a handler claims the nonce again in the transaction of its own
    /// writes: see `PostgresNonces` of `countersign-store`.
    pub const fn nonce_use(&self) -> &NonceUse {
        &self.nonce_use
    }
}
