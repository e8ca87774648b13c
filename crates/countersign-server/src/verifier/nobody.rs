use countersign::{Algorithm, KeyId, PrivateKey, VerifyingKey};

/// Keys that nobody has. Signatures of unknown key ids are verified with them, so that a forger pays the same for an unknown key; the
/// time of a refusal can still tell which keys exist, which is no secret.
pub(super) struct Nobody {
    ed25519: VerifyingKey,
    hmac: Option<VerifyingKey>,
}

impl Default for Nobody {
    fn default() -> Self {
        let hmac = PrivateKey::hmac_sha256([0; 16], &[0; 32]).ok();
        Self {
            ed25519: PrivateKey::ed25519(&[0; 32]).verifying_key(),
            hmac: hmac.map(|key| key.verifying_key()),
        }
    }
}

impl Nobody {
    /// The key of the algorithm that a key id names.
    pub(super) fn like(&self, id: Option<&KeyId>) -> &VerifyingKey {
        match (id, &self.hmac) {
            (Some(KeyId::Publishable(key)), Some(hmac))
                if key.algorithm() == Algorithm::HmacSha256 =>
            {
                hmac
            }
            _ => &self.ed25519,
        }
    }
}
