use base64::{Engine, engine::general_purpose::STANDARD};

#[cfg(feature = "key-files")]
use super::file_text;
use super::{
    error::KeyError, private::PrivateKey, publishable::PublishableKey, verifying::VerifyingKey,
};

/// A verifying key whose holder has proven possession of the private key, so that nobody can register another's
/// publishable key as their own. Registries take this type.
///
/// A proof is the same for every registrar, and anyone who has it can hand it on: send it to the registrar alone.
///
/// The proof is a signature over no message at all, in the form of RFC 9421, under a tag of its own: it can never pass
/// as a request. [`ProvenKey::proof`] writes it as three lines, the content of the `.pub` file beside a key:
///
/// ```text
/// pk_…
/// Signature-Input: sig=();keyid="pk_…";alg="ed25519";tag="countersign-registration"
/// Signature: sig=:…:
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenKey(VerifyingKey);

impl ProvenKey {
    /// The proof for `key`. Hand it to the registrar of the public half.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] for an HMAC secret: it has no public half, and its registrar needs the secret.
    pub fn proof(key: &PrivateKey) -> Result<String, KeyError> {
        require_public(&key.verifying_key())?;
        let publishable = key.publishable_key();
        let params = signature_params(&publishable);
        let signature = STANDARD.encode(key.sign(&base(&params)));
        Ok(format!("{publishable}\nSignature-Input: sig={params}\nSignature: sig=:{signature}:\n"))
    }

    /// Reads and checks a proof.
    ///
    /// # Errors
    ///
    /// A [`KeyError`]: the key is damaged or weak, or [`KeyError::Unproven`].
    pub fn from_proof(text: &str) -> Result<Self, KeyError> {
        let mut lines = text.lines();
        let publishable: PublishableKey = lines.next().ok_or(KeyError::Empty)?.parse()?;
        let key = publishable.to_verifying_key()?;
        let params = signature_params(&publishable);
        let (input, signature) = (lines.next(), lines.next());
        if input.is_none() {
            return Err(KeyError::Unproven("missing"));
        }
        let input = input.and_then(|line| line.strip_prefix("Signature-Input: sig="));
        let signature = signature.and_then(|line| line.strip_prefix("Signature: sig=:"));
        let signature = signature.and_then(|line| line.strip_suffix(':'));
        let signature = signature.and_then(|digits| STANDARD.decode(digits).ok());
        let (Some(input), Some(signature), None) = (input, signature, lines.next()) else {
            return Err(KeyError::Unproven("damaged"));
        };
        if input != params || key.verify(&base(&params), &signature).is_err() {
            return Err(KeyError::Unproven("wrong"));
        }
        Ok(Self(key))
    }

    /// As [`ProvenKey::from_proof`], for the content of a `.pub` file. Undoes the additions of editors and shells, as
    /// [`KeyFile::parse`](crate::KeyFile::parse) does.
    ///
    /// # Errors
    ///
    /// As [`ProvenKey::from_proof`], and [`KeyError::UnknownForm`] for bytes that are not text.
    #[cfg(feature = "key-files")]
    pub fn from_file(content: &[u8]) -> Result<Self, KeyError> {
        let text = file_text::read(content)?;
        Self::from_proof(&file_text::lines(&text).collect::<Vec<_>>().join("\n"))
    }

    /// Takes a key on trust. Its registrant may be registering another's key.
    pub const fn insecure_without_proof(key: VerifyingKey) -> Self {
        Self(key)
    }

    /// The key.
    pub const fn key(&self) -> &VerifyingKey {
        &self.0
    }
}

impl From<&PrivateKey> for ProvenKey {
    /// Having the private key is the proof.
    fn from(key: &PrivateKey) -> Self {
        Self(key.verifying_key())
    }
}

fn require_public(key: &VerifyingKey) -> Result<(), KeyError> {
    match key.hmac_secret() {
        None => Ok(()),
        Some(_) => Err(KeyError::WrongKind {
            found: "an HMAC secret, which has no public half",
            wanted: "an Ed25519 key",
        }),
    }
}

fn signature_params(key: &PublishableKey) -> String {
    let algorithm = key.algorithm();
    format!(r#"();keyid="{key}";alg="{algorithm}";tag="countersign-registration""#)
}

fn base(params: &str) -> Vec<u8> {
    format!("\"@signature-params\": {params}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_the_private_key_can_register_its_public_half() {
        let key = PrivateKey::ed25519(&[5; 32]);
        let proven = ProvenKey::from_proof(&ProvenKey::proof(&key).unwrap()).unwrap();
        assert_eq!(proven.key().publishable_key(), key.publishable_key());
    }

    #[test]
    fn nobody_else_can() {
        let key = PrivateKey::ed25519(&[5; 32]);
        let other = PrivateKey::ed25519(&[6; 32]);
        let proof = ProvenKey::proof(&key).unwrap();
        let others = ProvenKey::proof(&other).unwrap();
        let (own_key, others_key) = (key.publishable_key(), other.publishable_key());
        let cases = [
            (own_key.to_string(), "missing"),
            (format!("{own_key}\n\n\n"), "damaged"),
            (proof.replace("sig=:", "sig=:AA"), "damaged"),
            (format!("{proof}more\n"), "damaged"),
            (others.replacen(&others_key.to_string(), &own_key.to_string(), 1), "wrong"),
            (others.replace(&others_key.to_string(), &own_key.to_string()), "wrong"),
            (proof.replace("countersign-registration", "countersign"), "wrong"),
        ];
        for (text, why) in cases {
            assert_eq!(ProvenKey::from_proof(&text), Err(KeyError::Unproven(why)), "{text}");
        }
        assert_eq!(ProvenKey::from_proof(""), Err(KeyError::Empty));
    }

    #[test]
    fn a_secret_has_no_proof_to_show() {
        let key = PrivateKey::hmac_sha256([1; 16], &[2; 32]).unwrap();
        assert!(matches!(ProvenKey::proof(&key), Err(KeyError::WrongKind { .. })));
        let text = key.publishable_key().to_string();
        assert!(matches!(ProvenKey::from_proof(&text), Err(KeyError::WrongKind { .. })));
    }
}
