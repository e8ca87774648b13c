use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::KeyError;

/// An HMAC-SHA256 secret with its key schedule done, and the identifier under which callers name it.
#[derive(Clone)]
pub(super) struct HmacKey {
    pub(super) id: [u8; 16],
    pub(super) secret: Zeroizing<Vec<u8>>,
    mac: Box<Hmac<Sha256>>,
}

impl HmacKey {
    pub(super) fn new(id: [u8; 16], secret: &[u8]) -> Result<Self, KeyError> {
        let wrong_length = KeyError::SecretLength(secret.len());
        if !(32..=64).contains(&secret.len()) {
            return Err(wrong_length);
        }
        let mac = Hmac::new_from_slice(secret).map_err(|_| wrong_length)?;
        Ok(Self { id, secret: Zeroizing::new(secret.to_vec()), mac: Box::new(mac) })
    }

    pub(super) fn after(&self, base: &[u8]) -> Hmac<Sha256> {
        Hmac::clone(&self.mac).chain_update(base)
    }
}
