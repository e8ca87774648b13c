use std::sync::Arc;

use countersign_store::{Application, Credential};

/// Who sent a request, and how that is known.
///
/// The layer puts it into the request's extensions; handlers get it from an extractor. It comes from the registry's
/// row of the key alone, never from anything else that the request says.
#[derive(Clone, Debug)]
pub struct Caller {
    credential: Arc<Credential>,
    proof: Proof,
}

/// How a caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By a publishable key, which anyone may have.
    Publishable,
    /// By a signature, which only the holder of the private key can have made.
    Signed,
}

impl Caller {
    pub(crate) const fn new(credential: Arc<Credential>, proof: Proof) -> Self {
        Self { credential, proof }
    }

    /// The application that the credential belongs to.
    pub fn application(&self) -> &Application {
        &self.credential.application
    }

    /// The credential.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// How it is known.
    pub const fn proof(&self) -> Proof {
        self.proof
    }
}
