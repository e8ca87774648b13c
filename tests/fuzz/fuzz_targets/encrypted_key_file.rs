//! An encrypted key file opens with its passphrase and no other, whatever it was encrypted with; and a file that has been changed is
//! never asked a passphrase for, if opening it would cost more than is allowed.
#![no_main]

use countersign::{KeyError, KeyFile, Passphrase, PrivateKey};
use libfuzzer_sys::fuzz_target;
use pkcs8::{
    EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef,
    der::Decode,
    pkcs5::{EncryptionScheme, pbes2},
};
use ssh_key::{Cipher, Kdf, private::Ed25519Keypair};

/// How a file is encrypted, and with how much work: little, since it is done again for each input.
type Made<'d> = (u8, u8, [u8; 32], [u8; 16], [u8; 16], &'d [u8]);

fuzz_target!(|data: (Made<'_>, &[u8])| {
    let ((form, work, seed, salt, iv, passphrase), changes) = data;
    let key = PrivateKey::ed25519(&seed);
    let Some(file) = encrypted((form, work, seed, salt, iv, passphrase)) else { return };
    let right = Passphrase::new(passphrase);
    assert_eq!(KeyFile::parse(&file, None).unwrap_err(), KeyError::Encrypted);
    let opened = KeyFile::parse(&file, Some(&right)).unwrap().into_private().unwrap();
    assert_eq!(opened.sign(b"base"), key.sign(b"base"));
    let wrong = Passphrase::new([passphrase, b"x"].concat());
    assert_eq!(KeyFile::parse(&file, Some(&wrong)).unwrap_err(), KeyError::WrongPassphrase);

    // Position and value, three bytes each.
    let mut changed = file;
    for change in changes.chunks_exact(3).take(8) {
        let &[high, low, value] = change else { continue };
        let at = usize::from(u16::from_be_bytes([high, low])) % changed.len();
        changed[at] = value;
    }
    let allowed = allowed(&changed);
    match KeyFile::parse(&changed, None) {
        Err(KeyError::Encrypted) => assert!(allowed, "more work than is allowed"),
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(_) => panic!("an encrypted key without its passphrase"),
    }
    if !is_cheap(&changed) {
        return;
    }
    // Most ciphers do not notice a change, so the key can be another; its halves belong together all the same.
    match KeyFile::parse(&changed, Some(&right)) {
        Ok(KeyFile::Private(key)) => {
            key.verifying_key().verify(b"base", &key.sign(b"base")).unwrap();
        }
        Ok(other) => panic!("{other:?} in a private key file"),
        Err(error) => assert_ne!(error, KeyError::Encrypted),
    }
});

/// The key in a file that is encrypted so. PKCS#8 without PEM, and what an OpenSSH file has between its first and last line,
/// so that every changed byte counts.
fn encrypted((form, work, seed, salt, iv, passphrase): Made<'_>) -> Option<Vec<u8>> {
    let log_n = 1 + work % 6;
    let scrypt = || scrypt::Params::new(log_n, 1 + u32::from(work >> 6), 1 + u32::from(work >> 7));
    let iterations = 1 + u32::from(work);
    let nonce = || iv.first_chunk().copied();
    let parameters = match form % 8 {
        0 => pbes2::Parameters::generate_pbkdf2_sha256_aes128cbc(iterations, &salt, iv).ok()?,
        1 | 7 => pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(iterations, &salt, iv).ok()?,
        2 => pbes2::Parameters::generate_scrypt_aes128cbc(scrypt().ok()?, &salt, iv).ok()?,
        3 => pbes2::Parameters::generate_scrypt_aes256cbc(scrypt().ok()?, &salt, iv).ok()?,
        4 => pbes2::Parameters::scrypt_aes128gcm(scrypt().ok()?, &salt, nonce()?).ok()?,
        5 => pbes2::Parameters::scrypt_aes256gcm(scrypt().ok()?, &salt, nonce()?).ok()?,
        _ => {
            let ciphers = [
                Cipher::Aes128Cbc,
                Cipher::Aes192Cbc,
                Cipher::Aes256Cbc,
                Cipher::Aes128Ctr,
                Cipher::Aes192Ctr,
                Cipher::Aes256Ctr,
                Cipher::Aes128Gcm,
                Cipher::Aes256Gcm,
            ];
            let cipher = ciphers[usize::from(form >> 5)];
            // A round takes longer here than all the rest.
            let kdf = Kdf::Bcrypt { salt: salt.to_vec(), rounds: 1 };
            let pair = Ed25519Keypair::from_seed(&seed);
            let key = ssh_key::PrivateKey::from(pair);
            let key = key.encrypt_with(cipher, kdf, u32::from(work), passphrase).ok()?;
            let pem = key.to_openssh(ssh_key::LineEnding::LF).ok()?;
            return Some(
                pem.lines().filter(|line| !line.starts_with('-')).collect::<String>().into(),
            );
        }
    };
    // RFC 8410 §7.
    let mut plain = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    plain.extend(seed);
    let info = PrivateKeyInfoRef::from_der(&plain).unwrap();
    Some(info.encrypt_with_params(parameters, passphrase).ok()?.as_bytes().to_vec())
}

/// The work that a file asks for, as far as it can be read: memory in bytes, and rounds.
fn work(file: &[u8]) -> Option<(u128, u128)> {
    if let Ok(info) = EncryptedPrivateKeyInfoRef::try_from(file) {
        let EncryptionScheme::Pbes2(parameters) = info.encryption_algorithm else { return None };
        return match parameters.kdf {
            pbes2::Kdf::Pbkdf2(kdf) => Some((0, kdf.iteration_count.into())),
            pbes2::Kdf::Scrypt(kdf) => {
                let blocks = u128::from(kdf.cost_parameter) * u128::from(kdf.block_size);
                Some((blocks * 128, blocks * u128::from(kdf.parallelization)))
            }
            _ => None,
        };
    }
    let text = std::str::from_utf8(file).ok()?;
    let label = "OPENSSH PRIVATE KEY";
    let lines: Vec<_> = text.as_bytes().chunks(70).map(|line| std::str::from_utf8(line)).collect();
    let lines: Vec<&str> = lines.into_iter().collect::<Result<_, _>>().ok()?;
    let pem = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"));
    match ssh_key::PrivateKey::from_openssh(pem).ok()?.kdf() {
        Kdf::Bcrypt { rounds, .. } => Some((0, u128::from(*rounds) * 10_000)),
        _ => Some((0, 0)),
    }
}

/// 256 MiB, and some seconds.
fn allowed(file: &[u8]) -> bool {
    work(file).is_none_or(|(memory, rounds)| memory <= 256 << 20 && rounds <= 16 << 21)
}

fn is_cheap(file: &[u8]) -> bool {
    work(file).is_some_and(|(memory, rounds)| memory <= 1 << 20 && rounds <= 40_000)
}
