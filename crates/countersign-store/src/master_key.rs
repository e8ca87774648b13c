pub(crate) mod bad_master_key;
pub(crate) mod source;

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign::{PrivateKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use self::{
    bad_master_key::BadMasterKey,
    source::{MasterKeyError, MasterKeySource},
};

const CURRENT_VARIABLE: &str = "COUNTERSIGN_MASTER_KEY";
const PREVIOUS_VARIABLE: &str = "COUNTERSIGN_PREVIOUS_MASTER_KEY";

/// Length of the text form, in characters: 43 digits of base64 and a `=`.
const TEXT: usize = 44;

/// The key that seals the HMAC secrets in a registry. Wiped on drop, and prints only its id.
///
/// Its text form is the base64 of 32 random bytes in one line, as `countersign master-key generate` and
/// `openssl rand -base64 32` write it. Keep it apart from the database and from the backups of the database: together they
/// are the secrets.
///
/// ```
/// use countersign_store::{MasterKey, MasterKeys};
///
/// # let random = [
/// #     0x9a, 0x1c, 0x54, 0xf0, 0xbe, 0x7d, 0x28, 0x63, 0xe0, 0x7f, 0x1b, 0x93, 0xc5, 0xd8, 0xa6, 0x4e, 0xe2, 0x71, 0x0c,
/// #     0x9f, 0x5b, 0x38, 0x46, 0xad, 0xf1, 0x9e, 0x27, 0xc0, 0x8b, 0x5d, 0x6a, 0x34,
/// # ];
/// let key = MasterKey::new(&random)?; // 32 bytes from a good random source
/// let read: MasterKey = key.expose_text().parse()?;
/// assert_eq!(read.id(), key.id());
/// let keys = MasterKeys::new(read);
/// # Ok::<(), countersign_store::BadMasterKey>(())
/// ```
pub struct MasterKey {
    id: MasterKeyId,
    // In a box: a moved array would leave a copy behind.
    key: Box<Zeroizing<[u8; 32]>>,
}

impl MasterKey {
    /// Makes a master key of 32 bytes. Take the bytes from a good random source.
    ///
    /// # Errors
    ///
    /// [`BadMasterKey::Guessable`] for bytes that repeat, count up or spell words, and for the test keys of standards.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, BadMasterKey> {
        let secret = VerifyingKey::hmac_sha256([0; 16], bytes);
        secret.and_then(|secret| secret.require_secret()).map_err(|_| BadMasterKey::Guessable)?;
        Ok(Self { id: MasterKeyId::of(bytes), key: Box::new(Zeroizing::new(*bytes)) })
    }

    /// Returns the id, which tells master keys apart and may be shown.
    pub fn id(&self) -> MasterKeyId {
        self.id
    }

    /// Returns the text form, without a line end. Any reader of the text can open the secrets that this key sealed.
    pub fn expose_text(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.as_bytes()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.key
    }
}

impl FromStr for MasterKey {
    type Err = BadMasterKey;

    /// Reads the text form. Blanks and line ends around it are ignored.
    fn from_str(text: &str) -> Result<Self, BadMasterKey> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(BadMasterKey::Empty);
        }
        if PrivateKey::is_shown_in(text) {
            return Err(BadMasterKey::PrivateKey);
        }
        if text.contains(['\n', '\r']) {
            return Err(BadMasterKey::SeveralLines);
        }
        match text.chars().count() {
            TEXT => {}
            64 if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                return Err(BadMasterKey::Hex);
            }
            length => return Err(BadMasterKey::Length(length)),
        }
        let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
        let mut characters = (1_usize..).zip(text.chars());
        let bad = characters.find(|&(at, c)| if at == TEXT { c != '=' } else { !is_digit(c) });
        if let Some((at, _)) = bad {
            return Err(BadMasterKey::Character(at));
        }
        // The decoder wants room for 33 bytes, before it has seen the `=`.
        let mut bytes = Zeroizing::new([0; 33]);
        // The last digit has two bits that belong to no byte. They have to be zero.
        let decoded = STANDARD.decode_slice(text, bytes.as_mut_slice());
        decoded.map_err(|_| BadMasterKey::Character(TEXT.saturating_sub(1)))?;
        let (bytes, _) = bytes.split_first_chunk().ok_or(BadMasterKey::Length(TEXT))?;
        Self::new(bytes)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

/// The id of a [`MasterKey`]: 8 bytes of a hash of it, printed in hex. It stands in front of each secret that the key sealed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MasterKeyId([u8; 8]);

impl MasterKeyId {
    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    fn of(key: &[u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(b"countersign master-key id v1").chain_update(key);
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        Self([a, b, c, d, e, f, g, h])
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The master keys of a registry: the current key seals, and the current and the previous key open.
///
/// To replace a master key, make a new key current and the old key previous, and seal all secrets anew. Then the previous key
/// can go.
#[derive(Debug)]
pub struct MasterKeys {
    current: MasterKey,
    previous: Option<MasterKey>,
}

impl MasterKeys {
    /// Seals and opens with this key.
    pub const fn new(current: MasterKey) -> Self {
        Self { current, previous: None }
    }

    /// Also opens secrets that this key sealed. Default: `None`.
    pub fn with_previous(mut self, previous: Option<MasterKey>) -> Self {
        self.previous = previous;
        self
    }

    /// Reads the master keys from the environment: the text of the current key in `COUNTERSIGN_MASTER_KEY`, and that of the key
    /// that it replaced in `COUNTERSIGN_PREVIOUS_MASTER_KEY`. `None` if neither is set.
    ///
    /// # Errors
    ///
    /// [`MasterKeyError`], which names the variable; also if only the previous key is set.
    pub fn from_environment() -> Result<Option<Self>, MasterKeyError> {
        let read = |name: &str| MasterKeySource::Variable(name.to_owned()).read();
        let is_set = |name| std::env::var_os(name).is_some();
        if !is_set(CURRENT_VARIABLE) && !is_set(PREVIOUS_VARIABLE) {
            return Ok(None);
        }
        let current = read(CURRENT_VARIABLE)?;
        let previous = is_set(PREVIOUS_VARIABLE).then(|| read(PREVIOUS_VARIABLE)).transpose()?;
        Ok(Some(Self::new(current).with_previous(previous)))
    }

    /// Returns the key that seals.
    pub const fn current(&self) -> &MasterKey {
        &self.current
    }

    /// Returns the key that the current key replaced.
    pub const fn previous(&self) -> Option<&MasterKey> {
        self.previous.as_ref()
    }

    /// Finds the key with this id.
    pub(crate) fn find(&self, id: MasterKeyId) -> Option<&MasterKey> {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT_FORM: &str = "mhxU8L59KGPgfxuTxdimTuJxDJ9bOEat8Z4nwItdajQ=";
    const BYTES: [u8; 32] = [
        0x9a, 0x1c, 0x54, 0xf0, 0xbe, 0x7d, 0x28, 0x63, 0xe0, 0x7f, 0x1b, 0x93, 0xc5, 0xd8, 0xa6,
        0x4e, 0xe2, 0x71, 0x0c, 0x9f, 0x5b, 0x38, 0x46, 0xad, 0xf1, 0x9e, 0x27, 0xc0, 0x8b, 0x5d,
        0x6a, 0x34,
    ];

    #[test]
    fn a_master_key_is_read_from_its_text_whatever_blanks_stand_around_it() {
        for (before, after) in [("", ""), ("", "\n"), ("", "\r\n"), (" ", " \n\n"), ("\n", "\t")] {
            let key: MasterKey = format!("{before}{TEXT_FORM}{after}").parse().unwrap();
            assert_eq!(key.as_bytes(), &BYTES, "{before:?} {after:?}");
            assert_eq!(*key.expose_text(), TEXT_FORM);
        }
    }

    #[test]
    fn a_text_that_is_no_master_key_says_exactly_what_is_wrong() {
        let pem = PrivateKey::ed25519(&BYTES).expose_pkcs8_pem().unwrap();
        let secret = PrivateKey::ed25519(&BYTES).expose_text();
        let hex = "9a1c54f0be7d2863e07f1b93c5d8a64ee2710c9f5b3846adf19e27c08b5d6a34";
        let zeros = STANDARD.encode([0; 32]);
        let words = STANDARD.encode(b"my-secret-key-for-hmac-signing!!");
        let table = [
            ("", BadMasterKey::Empty),
            (" \n", BadMasterKey::Empty),
            (&*pem, BadMasterKey::PrivateKey),
            (&*secret, BadMasterKey::PrivateKey),
            (&format!("{TEXT_FORM}\n{TEXT_FORM}\n"), BadMasterKey::SeveralLines),
            (&format!("# of 2026\r\n{TEXT_FORM}"), BadMasterKey::SeveralLines),
            (hex, BadMasterKey::Hex),
            (&hex.to_uppercase(), BadMasterKey::Hex),
            (&hex[..63], BadMasterKey::Length(63)),
            (&TEXT_FORM[..43], BadMasterKey::Length(43)),
            (&TEXT_FORM[1..], BadMasterKey::Length(43)),
            (&format!("{TEXT_FORM}="), BadMasterKey::Length(45)),
            (&"é".repeat(30), BadMasterKey::Length(30)),
            (&"é".repeat(44), BadMasterKey::Character(1)),
            (&TEXT_FORM.replace("PgfxuT", "Pgf uT"), BadMasterKey::Character(14)),
            (&TEXT_FORM.replace("PgfxuT", "Pgf-uT"), BadMasterKey::Character(14)),
            (&TEXT_FORM.replace("PgfxuT", "Pgf=uT"), BadMasterKey::Character(14)),
            (&TEXT_FORM.replace('=', "A"), BadMasterKey::Character(44)),
            (&TEXT_FORM.replace("Q=", "=="), BadMasterKey::Character(43)),
            // Two bits too many: the text of no bytes.
            (&TEXT_FORM.replace("Q=", "R="), BadMasterKey::Character(43)),
            (&zeros, BadMasterKey::Guessable),
            (&words, BadMasterKey::Guessable),
        ];
        for (text, error) in table {
            let parsed = text.parse::<MasterKey>();
            assert_eq!(parsed.err(), Some(error), "{text}");
        }
    }

    #[test]
    fn guessable_bytes_are_no_master_key() {
        let ascending: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let words: [u8; 32] = *b"deadbeefdeadbeefdeadbeefdeadbeef";
        for bytes in [[0; 32], [0xff; 32], [7; 32], ascending, words] {
            assert_eq!(MasterKey::new(&bytes).err(), Some(BadMasterKey::Guessable), "{bytes:?}");
        }
    }

    #[test]
    fn a_master_key_prints_only_its_id() {
        let keys = MasterKeys::new(MasterKey::new(&BYTES).unwrap());
        assert_eq!(
            format!("{keys:?}"),
            "MasterKeys { current: MasterKey(78f7663650a8e940), previous: None }"
        );
    }

    #[test]
    fn the_current_and_the_previous_key_are_found_by_their_ids() {
        let [first, second, third] = [1, 2, 3].map(|by| {
            MasterKey::new(&BYTES.map(|byte: u8| byte.wrapping_mul(2).wrapping_add(by))).unwrap()
        });
        let ids = [first.id(), second.id(), third.id()];
        let found = |keys: &MasterKeys| ids.map(|id| keys.find(id).map(MasterKey::id));
        let keys = MasterKeys::new(first);
        assert_eq!(found(&keys), [Some(ids[0]), None, None]);
        let keys = keys.with_previous(Some(second));
        assert_eq!(found(&keys), [Some(ids[0]), Some(ids[1]), None]);
    }

    proptest! {
        #[test]
        fn random_bytes_are_a_master_key_and_its_text_reads_back(bytes: [u8; 32]) {
            let key = MasterKey::new(&bytes).unwrap();
            let read: MasterKey = key.expose_text().parse().unwrap();
            prop_assert_eq!(read.as_bytes(), &bytes);
            prop_assert_eq!(read.id(), key.id());
        }

        #[test]
        fn no_text_panics_and_what_parses_prints_the_same(text in "\\PC{0,80}|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/=é]{44}") {
            if let Ok(key) = text.parse::<MasterKey>() {
                prop_assert_eq!(&*key.expose_text(), text.trim_ascii());
            }
        }
    }
}
