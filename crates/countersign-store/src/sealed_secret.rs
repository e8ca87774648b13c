//! HMAC secrets at rest. The sealed form is `key id (8) ‖ nonce (24) ‖ ciphertext and tag (secret + 16)`: XChaCha20-Poly1305
//! under a master key, with the associated data
//!
//! ```text
//! "countersign hmac-secret v1" ‖ credential id (8, big-endian) ‖ publishable key (its text, without a brand)
//! ```
//!
//! Only the last part varies in length, so no two credentials have the same associated data, and a sealed secret that was
//! moved to another credential does not open.

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, aead::inout::InOutBuf};
use countersign::{PublishableKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::{
    credential::CredentialId,
    master_key::{MasterKey, MasterKeyId, MasterKeys},
};

const DOMAIN: &[u8] = b"countersign hmac-secret v1";
const KEY_ID: usize = 8;
const NONCE: usize = 24;
const TAG: usize = 16;

/// The HMAC secret of a credential, sealed with a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedSecret {
    key: MasterKeyId,
    nonce: [u8; NONCE],
    ciphertext: Vec<u8>,
    tag: [u8; TAG],
}

impl SealedSecret {
    /// Seals the secret of a key. `None` for a key without a secret. Take the nonce from a good random source.
    pub(crate) fn seal(
        master: &MasterKey,
        id: CredentialId,
        key: &VerifyingKey,
        nonce: [u8; NONCE],
    ) -> Option<Self> {
        // Encrypted in place.
        let mut ciphertext = key.hmac_secret()?.to_vec();
        let associated = associated_data(id, &key.publishable_key());
        let sealed = cipher(master).encrypt_inout_detached(
            &nonce.into(),
            &associated,
            InOutBuf::from(ciphertext.as_mut_slice()),
        );
        #[expect(
            clippy::expect_used,
            reason = "the cipher takes 256 GiB, and a secret has 64 bytes at most"
        )]
        let tag = sealed.expect("a secret is short").into();
        Some(Self { key: master.id(), nonce, ciphertext, tag })
    }

    /// Reads the sealed form.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, NotOpened> {
        let parts = || {
            let (key, rest) = bytes.split_first_chunk::<KEY_ID>()?;
            let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
            let (ciphertext, tag) = rest.split_last_chunk::<TAG>()?;
            let key = MasterKeyId::from_bytes(*key);
            Some(Self { key, nonce: *nonce, ciphertext: ciphertext.to_vec(), tag: *tag })
        };
        parts().ok_or(NotOpened::Damaged)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.key.as_bytes(), self.nonce.as_slice(), &self.ciphertext, &self.tag].concat()
    }

    /// Returns the id of the master key that sealed it.
    pub(crate) const fn master_key(&self) -> MasterKeyId {
        self.key
    }

    /// Opens the secret of the credential with this number and publishable key.
    pub(crate) fn open(
        &self,
        keys: Option<&MasterKeys>,
        id: CredentialId,
        publishable: &PublishableKey,
    ) -> Result<VerifyingKey, NotOpened> {
        let needed = self.key;
        let keys = keys.ok_or(NotOpened::NoMasterKey { needed })?;
        let master = keys.find(needed).ok_or(NotOpened::OtherMasterKey {
            needed,
            current: keys.current().id(),
            previous: keys.previous().map(MasterKey::id),
        })?;
        let mut secret = Zeroizing::new(self.ciphertext.clone());
        let opened = cipher(master).decrypt_inout_detached(
            &self.nonce.into(),
            &associated_data(id, publishable),
            InOutBuf::from(secret.as_mut_slice()),
            &self.tag.into(),
        );
        opened.map_err(|_| NotOpened::Damaged)?;
        let id = publishable.as_bytes().try_into().map_err(|_| NotOpened::Damaged)?;
        VerifyingKey::hmac_sha256(id, &secret).map_err(|_| NotOpened::Damaged)
    }
}

fn cipher(master: &MasterKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(master.as_bytes().into())
}

fn associated_data(id: CredentialId, publishable: &PublishableKey) -> Vec<u8> {
    let publishable = publishable.to_string();
    [DOMAIN, &id.get().to_be_bytes(), publishable.as_bytes()].concat()
}

/// Why a sealed HMAC secret cannot be opened. Its credential cannot be used until it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotOpened {
    /// No master key is given.
    #[error("its secret is sealed with master key {needed}, and no master key is given")]
    NoMasterKey {
        /// The id of the master key that sealed it.
        needed: MasterKeyId,
    },
    /// Another master key is given than the key that sealed it.
    #[error("its secret is sealed with master key {needed}, and {} given", match .previous {
        None => format!("{current} is"),
        Some(previous) => format!("{current} and {previous} are"),
    })]
    OtherMasterKey {
        /// The id of the master key that sealed it.
        needed: MasterKeyId,
        /// The id of the current master key.
        current: MasterKeyId,
        /// The id of the previous master key.
        previous: Option<MasterKeyId>,
    },
    /// The sealed secret was changed or cut short, or it is the secret of another credential.
    #[error("its sealed secret is damaged, or another credential's")]
    Damaged,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"0123456789 32 bytes or more of it";
    const ID: CredentialId = CredentialId::new(7);
    const NONCE_BYTES: [u8; NONCE] = *b"a nonce of 24 bytes here";

    /// The master key of bytes that no test guesses, one for each number.
    fn master(number: u8) -> MasterKey {
        let text = "mhxU8L59KGPgfxuTxdimTuJxDJ9bOEat8Z4nwItdajQ=";
        let first: MasterKey = text.parse().unwrap();
        MasterKey::new(&first.as_bytes().map(|byte| byte ^ number)).unwrap()
    }

    fn key() -> VerifyingKey {
        VerifyingKey::hmac_sha256([9; 16], SECRET).unwrap()
    }

    fn sealed() -> SealedSecret {
        SealedSecret::seal(&master(0), ID, &key(), NONCE_BYTES).unwrap()
    }

    /// Opens the sealed form as the secret of the credential that it was sealed for.
    fn open(bytes: &[u8], keys: &MasterKeys) -> Result<VerifyingKey, NotOpened> {
        SealedSecret::parse(bytes)?.open(Some(keys), ID, &key().publishable_key())
    }

    #[test]
    fn the_sealed_form_never_changes() {
        // Made with another implementation (HChaCha20, RFC 8439) from the definition above.
        let expected = "78f7663650a8e94061206e6f6e6365206f662032342062797465732068657265d864b56fef38fac1943862457863dae816db33b542ff\
                        aa078afba28de4524e0214eac5291f2df06c345ec9f80d35e03bd5";
        let bytes = sealed().to_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        let opened = open(&bytes, &MasterKeys::new(master(0))).unwrap();
        assert_eq!(opened.hmac_secret(), Some(SECRET));
        assert_eq!(opened.publishable_key(), key().publishable_key());
    }

    #[test]
    fn a_key_without_a_secret_is_not_sealed() {
        let key = countersign::PrivateKey::ed25519(&[7; 32]).verifying_key();
        assert_eq!(SealedSecret::seal(&master(0), ID, &key, NONCE_BYTES), None);
    }

    #[test]
    fn a_sealed_secret_opens_for_no_other_credential() {
        let keys = MasterKeys::new(master(0));
        let own = key().publishable_key();
        let other = PublishableKey::hmac_sha256([8; 16]);
        let ed25519 = PublishableKey::ed25519([9; 32]);
        let table = [
            (ID, own, true),
            (CredentialId::new(8), own, false),
            (CredentialId::new(-7), own, false),
            (CredentialId::new(7 << 8), own, false),
            (ID, other, false),
            (ID, ed25519, false),
        ];
        for (id, publishable, opens) in table {
            let opened = sealed().open(Some(&keys), id, &publishable);
            assert_eq!(opened.is_ok(), opens, "{id:?} {publishable}");
            assert!(opens || opened.is_err_and(|error| error == NotOpened::Damaged));
        }
    }

    #[test]
    fn secrets_swapped_between_credentials_do_not_open() {
        let keys = MasterKeys::new(master(0));
        let credentials = [(1, [1; 16]), (2, [2; 16])].map(|(id, name)| {
            let key = VerifyingKey::hmac_sha256(name, SECRET).unwrap();
            let id = CredentialId::new(id);
            (
                id,
                key.publishable_key(),
                SealedSecret::seal(&master(0), id, &key, NONCE_BYTES).unwrap(),
            )
        });
        for (at, (id, publishable, _)) in credentials.iter().enumerate() {
            for (from, (_, _, sealed)) in credentials.iter().enumerate() {
                let opened = sealed.open(Some(&keys), *id, publishable);
                assert_eq!(opened.is_ok(), at == from, "{at} {from}");
            }
        }
    }

    #[test]
    fn no_cut_and_no_changed_byte_opens() {
        let bytes = sealed().to_bytes();
        let keys = MasterKeys::new(master(0)).with_previous(Some(master(1)));
        for length in 0..bytes.len() {
            assert_eq!(open(&bytes[..length], &keys).err(), Some(NotOpened::Damaged), "{length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(open(&longer, &keys).err(), Some(NotOpened::Damaged));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let error = open(&changed, &keys).err().unwrap();
                match error {
                    NotOpened::Damaged => assert!(at >= KEY_ID, "{at}"),
                    NotOpened::OtherMasterKey { .. } => assert!(at < KEY_ID, "{at}"),
                    NotOpened::NoMasterKey { .. } => panic!("{at}: {error}"),
                }
            }
        }
        // With the id of the other master key in front.
        let mut changed = bytes;
        changed[..KEY_ID].copy_from_slice(master(1).id().as_bytes());
        assert_eq!(open(&changed, &keys).err(), Some(NotOpened::Damaged));
    }

    #[test]
    fn a_secret_opens_with_the_current_or_the_previous_master_key_and_no_other() {
        let bytes = sealed().to_bytes();
        let publishable = key().publishable_key();
        let needed = master(0).id();
        assert_eq!(
            sealed().open(None, ID, &publishable).err(),
            Some(NotOpened::NoMasterKey { needed })
        );
        let current = MasterKeys::new(master(0));
        assert!(open(&bytes, &current).is_ok());
        let replaced = MasterKeys::new(master(1)).with_previous(Some(master(0)));
        assert!(open(&bytes, &replaced).is_ok());
        assert_eq!(sealed().master_key(), needed);
        let (current, previous) = (master(1).id(), master(2).id());
        for (keys, previous) in [
            (MasterKeys::new(master(1)), None),
            (MasterKeys::new(master(1)).with_previous(Some(master(2))), Some(previous)),
        ] {
            let error = open(&bytes, &keys).err();
            assert_eq!(error, Some(NotOpened::OtherMasterKey { needed, current, previous }));
        }
    }

    #[test]
    fn a_message_names_the_master_key_that_is_missing() {
        let needed = master(0).id();
        let (current, previous) = (master(1).id(), Some(master(2).id()));
        let table = [
            (
                NotOpened::NoMasterKey { needed },
                "its secret is sealed with master key 78f7663650a8e940, and no master key is given",
            ),
            (
                NotOpened::OtherMasterKey { needed, current, previous: None },
                "its secret is sealed with master key 78f7663650a8e940, and c80411a14d014042 is given",
            ),
            (
                NotOpened::OtherMasterKey { needed, current, previous },
                "its secret is sealed with master key 78f7663650a8e940, and c80411a14d014042 and 43a7efb329c57a33 are given",
            ),
        ];
        for (error, message) in table {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let keys = MasterKeys::new(master(0));
        let opened = open(&sealed().to_bytes(), &keys).unwrap();
        for printed in [format!("{:?}", sealed()), format!("{keys:?}"), format!("{opened:?}")] {
            assert!(
                !printed.contains("48, 49, 50") && !printed.contains("0123456789 32"),
                "{printed}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again(
            secret in prop::collection::vec(any::<u8>(), 32..=64),
            (name, nonce, id, number) in any::<([u8; 16], [u8; 24], i64, u8)>(),
        ) {
            let key = VerifyingKey::hmac_sha256(name, &secret).unwrap();
            let id = CredentialId::new(id);
            let sealed = SealedSecret::seal(&master(number), id, &key, nonce).unwrap();
            let bytes = sealed.to_bytes();
            prop_assert_eq!(bytes.len().checked_sub(KEY_ID + NONCE + TAG), Some(secret.len()));
            prop_assert!(!bytes.windows(8).any(|part| secret.windows(8).any(|plain| plain == part)));
            let read = SealedSecret::parse(&bytes).unwrap();
            prop_assert_eq!(&read, &sealed);
            let keys = MasterKeys::new(master(number));
            let opened = read.open(Some(&keys), id, &key.publishable_key()).unwrap();
            prop_assert_eq!(opened.hmac_secret(), Some(secret.as_slice()));
        }

        #[test]
        fn no_bytes_panic_or_open(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let keys = MasterKeys::new(master(0));
            prop_assert!(open(&bytes, &keys).is_err());
            let known = [master(0).id().as_bytes().as_slice(), &bytes].concat();
            prop_assert_eq!(open(&known, &keys).err(), Some(NotOpened::Damaged));
        }
    }
}
