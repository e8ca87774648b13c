use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ed25519_dalek::pkcs8::{KeypairBytes, PublicKeyBytes};
use pkcs8::{
    EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument,
    SubjectPublicKeyInfoRef,
    der::{ErrorKind, Tag},
    pkcs5::{
        self, EncryptionScheme,
        pbes2::{self, Kdf, Pbkdf2Prf},
    },
};
use zeroize::Zeroizing;

use super::{
    error::KeyError, file_text, openssh, passphrase::Passphrase, private::PrivateKey, reads::Reads,
    verifying::VerifyingKey,
};

/// The start of a PEM block. Its blank can be lost, like all others.
pub(super) const BEGIN: &str = "-----BEGIN";

const NO_PKCS8: KeyError = KeyError::Damaged("it is no encrypted PKCS#8 private key");
const INVALID: KeyError = KeyError::Damaged("the parameters of its encryption are invalid");
const UNKNOWN: &str = "an unknown algorithm";

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Decodes base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the key in PEM blocks (RFC 7468): with lines of any length, or a single line, and any text around them.
pub(super) fn parse<T: Reads>(text: &str, passphrase: Option<&Passphrase>) -> Result<T, KeyError> {
    let mut blocks = blocks(text)?;
    // `openssl ecparam -genkey` writes the curve into a block of its own before the key, which repeats the curve.
    blocks.retain(|(label, _)| !matches!(label.as_str(), "ECPARAMETERS" | "DHPARAMETERS"));
    // Exports of key stores have the certificates of a key beside it.
    if blocks.iter().any(|(label, _)| label.ends_with("PRIVATEKEY")) {
        blocks.retain(|(label, _)| !label.ends_with("CERTIFICATE"));
    }
    let [(label, body)] = blocks.as_slice() else { return Err(KeyError::Several) };
    match label.as_str() {
        "PRIVATEKEY" => private(&der(body)?),
        "ENCRYPTEDPRIVATEKEY" => encrypted(&der(body)?, passphrase),
        "PUBLICKEY" => public(&der(body)?),
        "OPENSSHPRIVATEKEY" => openssh::parse_private(&der(body)?, passphrase),
        "RSAPRIVATEKEY" => T::pkcs1_private("an RSA private key", body),
        "RSAPUBLICKEY" => T::pkcs1_public("an RSA public key", body),
        "ECPRIVATEKEY" => T::sec1("an elliptic-curve (ECDSA) private key", body),
        "DSAPRIVATEKEY" => T::wrong_kind("a DSA private key"),
        "CERTIFICATE" => T::wrong_kind("a certificate"),
        "CERTIFICATEREQUEST" => T::wrong_kind("a certificate request"),
        _ => T::wrong_kind("something else in PEM form"),
    }
}

/// The key in binary form: PKCS#8 or SPKI without PEM, as `-outform DER` and other libraries write it.
pub(super) fn parse_der<T: Reads>(
    der: &[u8],
    passphrase: Option<&Passphrase>,
) -> Option<Result<T, KeyError>> {
    if PrivateKeyInfoRef::try_from(der).is_ok() || ring_pair(der).is_some() {
        Some(private(der))
    } else if EncryptedPrivateKeyInfoRef::try_from(der).is_ok() {
        Some(encrypted(der, passphrase))
    } else if SubjectPublicKeyInfoRef::try_from(der).is_ok() {
        Some(public(der))
    } else {
        None
    }
}

impl PrivateKey {
    /// As [`PrivateKey::expose_pkcs8_pem`], encrypted with a passphrase: AES-256 under a key by scrypt, as openssl reads it. Takes
    /// 32 random bytes for the salt and the initialisation vector.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] for an HMAC secret, which has no such form.
    pub fn encrypt_pkcs8_pem(
        &self,
        passphrase: &Passphrase,
        random: [u8; 32],
    ) -> Result<Zeroizing<String>, KeyError> {
        let pem = self.expose_pkcs8_pem()?;
        let (salt, iv) = random.split_at(16);
        let encrypted = || {
            let iv = iv.try_into().ok()?;
            // 2^14 blocks of 1 KiB: the most that openssl reads without being told.
            let cost = scrypt::Params::new(14, 8, 1).ok()?;
            let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(cost, salt, iv).ok()?;
            let (_, plain) = SecretDocument::from_pem(&pem).ok()?;
            let info = PrivateKeyInfoRef::try_from(plain.as_bytes()).ok()?;
            let secret = info.encrypt_with_params(parameters, passphrase.as_bytes()).ok()?;
            secret.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).ok()
        };
        encrypted().ok_or(KeyError::Damaged("it cannot be encrypted"))
    }
}

/// The body of a PEM block without its first and last line.
pub(super) fn bare_body(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // The shortest body is a public key; other texts read here are not base64 throughout.
    let der = BASE64.decode(file_text::without_blanks(text).as_bytes()).map(Zeroizing::new).ok()?;
    (der.len() >= 40).then_some(der)
}

/// Each block's label without its blanks, and its body.
fn blocks(text: &str) -> Result<Vec<(Zeroizing<String>, &str)>, KeyError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once(BEGIN) {
        let (label, behind) =
            behind.split_once("-----").ok_or(KeyError::Damaged("its BEGIN line is cut off"))?;
        let (body, behind) =
            behind.split_once("-----END").ok_or(KeyError::Damaged("its END line is missing"))?;
        if body.contains(BEGIN) {
            return Err(KeyError::Damaged("its END line is missing"));
        }
        let (end, behind) =
            behind.split_once("-----").ok_or(KeyError::Damaged("its END line is cut off"))?;
        let label = file_text::without_blanks(label);
        if label != file_text::without_blanks(end) {
            return Err(KeyError::Damaged("its BEGIN and END lines are of different keys"));
        }
        blocks.push((label, body));
        rest = behind;
    }
    Ok(blocks)
}

pub(super) fn der(body: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let body = file_text::without_blanks(body);
    if body.contains("Proc-Type:4,ENCRYPTED") {
        return Err(KeyError::UnreadCipher("the encryption of RFC 1421"));
    }
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    if !body.bytes().all(is_digit) {
        return Err(KeyError::Damaged("it has a character that base64 does not have"));
    }
    let der = BASE64.decode(body.as_bytes()).map(Zeroizing::new);
    der.map_err(|_| KeyError::Damaged("its base64 lacks a character, or has one too many"))
}

fn private<T: Reads>(der: &[u8]) -> Result<T, KeyError> {
    if let Some((seed, public)) = ring_pair(der) {
        return pair(seed, Some(public));
    }
    let info = PrivateKeyInfoRef::try_from(der);
    let info = info.map_err(|_| KeyError::Damaged("it is no PKCS#8 private key"))?;
    if info.algorithm.oid != ED25519 {
        let found =
            kind(&info.algorithm.oid).map_or("a private key of another algorithm", |kind| kind.0);
        return T::pkcs8(found, &info);
    }
    let pair = KeypairBytes::try_from(info);
    let pair = pair.map_err(|_| KeyError::Damaged("it is no Ed25519 private key"))?;
    let seed = Zeroizing::new(pair.secret_key);
    self::pair(&seed, pair.public_key.as_ref().map(|PublicKeyBytes(public)| public))
}

fn pair<T: Reads>(seed: &[u8; 32], public: Option<&[u8; 32]>) -> Result<T, KeyError> {
    let key = PrivateKey::ed25519(seed);
    // An attacker who chooses the public half of a signer could make it reveal the private one.
    match public {
        Some(public) if key.publishable_key().as_bytes() != public => Err(KeyError::Mismatched),
        _ => Ok(T::of_private(key)),
    }
}

/// Both halves of a PKCS#8 version 2 key as the library ring wrote it up to version 0.17: with another tag around the
/// public half than RFC 5958 has.
fn ring_pair(der: &[u8]) -> Option<(&[u8; 32], &[u8; 32])> {
    let rest =
        der.strip_prefix(b"\x30\x53\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20")?;
    let (seed, rest) = rest.split_first_chunk()?;
    let public = rest.strip_prefix(b"\xa1\x23\x03\x21\x00")?;
    Some((seed, public.try_into().ok()?))
}

fn encrypted<T: Reads>(der: &[u8], passphrase: Option<&Passphrase>) -> Result<T, KeyError> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| {
        let pkcs8::Error::Asn1(error) = error else { return NO_PKCS8 };
        match error.kind() {
            ErrorKind::OidUnknown { oid } => KeyError::UnreadCipher(cipher(&oid)),
            // The library's report for every scheme but PBES1 and PBES2.
            ErrorKind::Value { tag: Tag::ObjectIdentifier } => KeyError::UnreadCipher(UNKNOWN),
            _ => NO_PKCS8,
        }
    })?;
    check_cost(&info.encryption_algorithm)?;
    let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
    let opened = info.decrypt(passphrase.as_bytes()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::UnsupportedAlgorithm { oid }) => {
            KeyError::UnreadCipher(cipher(&oid))
        }
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::AlgorithmParametersInvalid { .. }) => {
            INVALID
        }
        _ => KeyError::WrongPassphrase,
    })?;
    // With CBC, a wrong passphrase gives valid padding once in 256 times, and noise before it.
    private(opened.as_bytes()).map_err(|error| match error {
        KeyError::Damaged(_) => KeyError::WrongPassphrase,
        error => error,
    })
}

/// The most memory that a file may ask for: 256 MiB, and a little for the memory of scrypt beside its N blocks.
const MOST_MEMORY: u64 = (256 << 20) + (1 << 20);

/// Bounds the cost of a file's parameters to seconds and to [`MOST_MEMORY`].
fn check_cost(scheme: &EncryptionScheme) -> Result<(), KeyError> {
    let EncryptionScheme::Pbes2(scheme) = scheme else {
        return Err(KeyError::UnreadCipher(cipher(&scheme.oid())));
    };
    let (valid, bearable) = match &scheme.kdf {
        Kdf::Pbkdf2(params) if params.prf == Pbkdf2Prf::HmacWithSha1 => {
            return Err(KeyError::UnreadCipher(cipher(&params.prf.oid())));
        }
        Kdf::Pbkdf2(params) => (params.iteration_count > 0, params.iteration_count <= 10_000_000),
        Kdf::Scrypt(params) => {
            // RFC 7914 §2. The library takes the logarithm of N before it looks at it.
            let (n, r, p) = (params.cost_parameter, params.block_size, params.parallelization);
            // It holds N blocks for the one that it mixes, and all p that it mixes, of 128 r bytes each.
            let blocks = n.checked_add(u64::from(p));
            let memory = blocks.and_then(|blocks| blocks.checked_mul(u64::from(r)));
            let memory = memory.and_then(|units| units.checked_mul(128));
            (
                n > 1 && n.is_power_of_two() && r > 0 && p > 0,
                memory.is_some_and(|bytes| bytes <= MOST_MEMORY) && p <= 16,
            )
        }
        _ => return Err(KeyError::UnreadCipher(cipher(&scheme.kdf.oid()))),
    };
    match (valid, bearable) {
        (true, true) => Ok(()),
        (true, false) => Err(KeyError::TooCostly),
        (false, _) => Err(INVALID),
    }
}

/// The names of unsupported encryptions.
///
/// openssl's default has been AES with HMAC-SHA-256 for as long as it has known Ed25519. With its feature for triple DES,
/// the library panics on an initialisation vector that is too short.
fn cipher(algorithm: &ObjectIdentifier) -> &'static str {
    match algorithm.to_string().as_str() {
        "1.2.840.113549.3.7" => "triple DES",
        "1.2.840.113549.2.7" => "a key derived by HMAC-SHA-1",
        oid if oid.starts_with("1.2.840.113549.1.5.") => "PBES1",
        _ => UNKNOWN,
    }
}

fn public<T: Reads>(der: &[u8]) -> Result<T, KeyError> {
    let info = SubjectPublicKeyInfoRef::try_from(der);
    let info = info.map_err(|_| KeyError::Damaged("it is no SPKI public key"))?;
    if info.algorithm.oid != ED25519 {
        let found =
            kind(&info.algorithm.oid).map_or("a public key of another algorithm", |kind| kind.1);
        return T::spki(found, &info);
    }
    let damaged = KeyError::Damaged("it is no Ed25519 public key");
    if info.algorithm.parameters.is_some() {
        return Err(damaged);
    }
    let bytes = info.subject_public_key.as_bytes().and_then(|bytes| bytes.try_into().ok());
    VerifyingKey::ed25519(bytes.ok_or(damaged)?).map(T::of_public)
}

/// The names of other algorithms' keys: the private, and the public one.
fn kind(algorithm: &ObjectIdentifier) -> Option<(&'static str, &'static str)> {
    match algorithm.to_string().as_str() {
        "1.2.840.113549.1.1.1" => Some(("an RSA private key", "an RSA public key")),
        "1.2.840.113549.1.1.10" => Some(("an RSA-PSS private key", "an RSA-PSS public key")),
        "1.2.840.10045.2.1" => {
            Some(("an elliptic-curve (ECDSA) private key", "an elliptic-curve (ECDSA) public key"))
        }
        "1.2.840.10040.4.1" => Some(("a DSA private key", "a DSA public key")),
        "1.3.101.110" => Some(("an X25519 private key", "an X25519 public key")),
        "1.3.101.111" => Some(("an X448 private key", "an X448 public key")),
        "1.3.101.113" => Some(("an Ed448 private key", "an Ed448 public key")),
        _ => None,
    }
}
