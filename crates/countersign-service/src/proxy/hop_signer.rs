use std::fmt;

use countersign::{
    ContentDigest, Nonce, Origin, RequestHead, SIGNATURE, SIGNATURE_INPUT, Signer, Target,
};
use countersign_client::KeySource;
use countersign_store::system_time;
use http::{HeaderMap, Method, Uri};

use super::identity;
use crate::config::{HopKey, fault::ConfigFault};

/// Signs the requests to upstream servers, so that they can be sure that a request came through this proxy.
pub(crate) struct HopSigner(Signer);

impl HopSigner {
    /// Reads the key.
    pub(crate) fn read(key: &HopKey) -> Result<Self, ConfigFault> {
        let file = key.file.display();
        let private = KeySource::from(&key.file).read(None).map_err(|error| {
            ConfigFault::new(
                format!("upstream.sign_with: {file}: {}", countersign::with_reasons(&error)),
                "make a key with `countersign keygen --out FILE`",
            )
        })?;
        let signer = Signer::new(private).cover_when_present(identity::FIELDS);
        let signer = match &key.tag {
            Some(tag) => signer.tag(tag).map_err(|error| {
                ConfigFault::new(
                    format!("upstream.sign_tag: {error}"),
                    "leave it out for `countersign`",
                )
            })?,
            None => signer,
        };
        Ok(Self(signer))
    }

    /// Replaces the signature of the client, which was verified, with one of this proxy's. The content is covered by the digest
    /// that the client signed.
    pub(super) fn sign(
        &self,
        method: &Method,
        uri: &Uri,
        origin: &Origin,
        headers: &mut HeaderMap,
    ) -> Result<(), crate::BoxError> {
        headers.remove(SIGNATURE);
        headers.remove(SIGNATURE_INPUT);
        let digest = ContentDigest::from_headers(headers)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let nonce = Nonce::from_random(random);
        let target = Target::origin_form(uri);
        let head = RequestHead { method, target, origin, headers };
        let signed = self.0.sign_digested(&head, digest.as_ref(), system_time(), &nonce)?;
        signed.apply(headers);
        Ok(())
    }
}

impl fmt::Debug for HopSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HopSigner").field(&self.0.publishable_key()).finish()
    }
}
