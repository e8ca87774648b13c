use countersign::{
    AcceptSignature, Component, ContentDigest, Nonce, PublishableKey, RemoteSigner, RequestHead,
    SignedFields, Signer,
};
use http::HeaderMap;

use crate::{clock::Moment, error::Error, remote_key::HeldKey};

/// How the client makes signatures.
#[derive(Debug)]
pub(crate) enum Signing {
    /// By a private key in this process.
    Here(Signer),
    /// By a key that another process or machine holds.
    Elsewhere { signer: RemoteSigner, key: Box<dyn HeldKey> },
}

/// The content to sign for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SignedContent<'a> {
    Bytes(&'a [u8]),
    Digested(&'a ContentDigest),
}

/// What is new in each signature.
#[derive(Debug)]
pub(crate) struct Use {
    pub(crate) moment: Moment,
    pub(crate) nonce: Nonce,
}

impl Signing {
    pub(crate) fn tag(&self) -> &str {
        match self {
            Self::Here(signer) => signer.selected_tag(),
            Self::Elsewhere { signer, .. } => signer.selected_tag(),
        }
    }

    pub(crate) fn publishable_key(&self) -> PublishableKey {
        match self {
            Self::Here(signer) => signer.publishable_key(),
            Self::Elsewhere { signer, .. } => signer.publishable_key(),
        }
    }

    /// The components that the server asks for under our tag and for our key, beyond those covered anyway.
    pub(crate) fn asked_beyond(&self, headers: &HeaderMap) -> Vec<Component<'static>> {
        let asked = AcceptSignature::all(headers).unwrap_or_default();
        let mut ours = asked.iter().filter_map(|asked| match self {
            Self::Here(signer) => signer.asked_beyond(asked).ok(),
            Self::Elsewhere { signer, .. } => signer.asked_beyond(asked).ok(),
        });
        ours.next().unwrap_or_default()
    }

    /// Signs at once, with a key in this process.
    pub(crate) fn sign(
        &self,
        more: &[Component<'_>],
        head: &RequestHead<'_>,
        content: SignedContent<'_>,
        Use { moment, nonce }: &Use,
    ) -> Result<SignedFields, Error> {
        let Self::Here(signer) = self else { return Err(Error::KeyElsewhere) };
        let signed = match content {
            SignedContent::Bytes(bytes) => {
                signer.sign_covering(more, head, bytes, moment.time, nonce)
            }
            SignedContent::Digested(digest) => {
                signer.sign_digested_covering(more, head, Some(digest), moment.time, nonce)
            }
        };
        Ok(signed?)
    }

    /// As [`Signing::sign`], with a key anywhere.
    pub(crate) async fn sign_anywhere(
        &self,
        more: &[Component<'_>],
        head: &RequestHead<'_>,
        content: SignedContent<'_>,
        signed: &Use,
    ) -> Result<SignedFields, Error> {
        let Self::Elsewhere { signer, key } = self else {
            return self.sign(more, head, content, signed);
        };
        let Use { moment, nonce } = signed;
        let prepared = match content {
            SignedContent::Bytes(bytes) => {
                signer.prepare_covering(more, head, bytes, moment.time, nonce)
            }
            SignedContent::Digested(digest) => {
                signer.prepare_digested_covering(more, head, Some(digest), moment.time, nonce)
            }
        }?;
        let signature = key.sign(prepared.signature_base().as_bytes()).await;
        Ok(prepared.attach(&signature.map_err(Error::RemoteKey)?)?)
    }
}
