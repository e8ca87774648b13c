use countersign::{Algorithm, KeyId, PrivateKey, VerifyingKey};

/// Keys without an owner. A signature with an unknown key id is verified with one of these keys, so that a forger pays the same
/// for known and unknown keys. The time of a refusal can still reveal that a key exists; a key's existence is no secret.
pub(super) struct Nobody {
    ed25519: VerifyingKey,
    hmac: Option<VerifyingKey>,
}

impl Default for Nobody {
    fn default() -> Self {
        let hmac = PrivateKey::hmac_sha256([0; 16], &[0; 32]).ok();
        Self {
            ed25519: PrivateKey::ed25519(&[0; 32]).verifying_key().prepared(),
            hmac: hmac.map(|key| key.verifying_key()),
        }
    }
}

impl Nobody {
    /// Returns the key for the algorithm that a key id names.
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
