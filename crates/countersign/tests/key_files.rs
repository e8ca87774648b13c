//! Key files as openssl, ssh-keygen and others write them. Those in `keys/` are for tests alone.

#![cfg(feature = "key-files")]
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign::{Algorithm, KeyError, KeyFile, Passphrase, PrivateKey, ProvenKey};
use proptest::prelude::*;

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("keys/", $name)))
    };
}

const ED25519: (&str, &str) = file!("ed25519.pem");
const ED25519_PUBLIC: (&str, &str) = file!("ed25519_public.pem");
const OPENSSH: (&str, &str) = file!("openssh_ed25519.pem");
const OPENSSH_PUBLIC: (&str, &str) = file!("openssh_ed25519_public.txt");
const ENCRYPTED: [(&str, &str); 3] =
    [file!("encrypted_pbkdf2.pem"), file!("encrypted_scrypt.pem"), file!("openssh_encrypted.pem")];

/// The test keys of RFC 9421 Appendix B.1.4 and B.1.5.
const RFC_PEM: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
";
const RFC_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"test-key-ed25519",
    "d":"n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU",
    "x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#;
const RFC_SECRET: &str = r#"{"kty":"oct","alg":"HS256",
    "k":"uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ"}"#;

/// What Python's `hashlib.scrypt` makes of that secret.
const DERIVED: [u8; 16] = [
    0xb4, 0x7e, 0x26, 0xa7, 0xe5, 0xb0, 0x36, 0x44, 0xca, 0x07, 0x76, 0x30, 0xbd, 0xa1, 0xc0, 0x9f,
];

fn read(text: &str) -> Result<KeyFile, KeyError> {
    KeyFile::parse(text.as_bytes(), None)
}

fn private(text: &str) -> PrivateKey {
    read(text).unwrap().into_private().unwrap()
}

#[test]
fn one_key_is_the_same_in_every_form() {
    let key = private(RFC_PEM);
    let publishable = key.publishable_key();
    let forms = [
        RFC_JWK.to_owned(),
        key.expose_text().to_string(),
        format!("  {}\r\n", key.expose_text().as_str()),
        key.expose_pkcs8_pem().unwrap().to_string(),
        RFC_PEM.replace('\n', "\r\n"),
        publishable.to_string(),
        ProvenKey::proof(&key).unwrap(),
        RFC_JWK.replace("\"d\"", "\"ignored\""),
        format!("{RFC_PEM}more"),
        RFC_JWK.replace("JrQLj5P_", "JrQLj5P/"),
        RFC_JWK.replace("0bs\"", "0bs=\""),
    ];
    for form in forms {
        assert_eq!(read(&form).unwrap().publishable_key(), publishable, "{form}");
    }
    assert_eq!(key.expose_pkcs8_pem().unwrap().as_str(), RFC_PEM);
}

#[test]
fn what_openssl_and_ssh_keygen_write_is_read() {
    let pem = read(ED25519.1).unwrap();
    assert_eq!(pem.publishable_key(), read(ED25519_PUBLIC.1).unwrap().publishable_key());
    let openssh = read(OPENSSH.1).unwrap();
    assert_eq!(openssh.publishable_key(), read(OPENSSH_PUBLIC.1).unwrap().publishable_key());
    assert!(pem.into_private().is_ok() && openssh.into_private().is_ok());
    let public = read(ED25519_PUBLIC.1).unwrap().into_private();
    let found = KeyError::WrongKind { found: "a public key", wanted: "a private key" };
    assert_eq!(public.unwrap_err(), found);
}

#[test]
fn a_key_that_is_written_encrypted_opens_with_its_passphrase_alone() {
    let key = PrivateKey::ed25519(&[5; 32]);
    let pem = key.encrypt_pkcs8_pem(&Passphrase::new("horse"), [9; 32]).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{}", *pem);
    let read = |passphrase: Option<Passphrase>| {
        let parsed = KeyFile::parse(pem.as_bytes(), passphrase.as_ref());
        parsed.and_then(KeyFile::into_private).map(|key| key.publishable_key())
    };
    assert_eq!(read(Some(Passphrase::new("horse"))), Ok(key.publishable_key()));
    assert_eq!(read(Some(Passphrase::new("Horse"))), Err(KeyError::WrongPassphrase));
    assert_eq!(read(None), Err(KeyError::Encrypted));
    let other = key.encrypt_pkcs8_pem(&Passphrase::new("horse"), [8; 32]).unwrap();
    assert_ne!(other, pem);
    let secret = PrivateKey::hmac_sha256([1; 16], &[2; 32]).unwrap();
    let error = secret.encrypt_pkcs8_pem(&Passphrase::new("horse"), [9; 32]).unwrap_err();
    assert!(matches!(error, KeyError::WrongKind { .. }), "{error:?}");
}

#[test]
fn encrypted_files_open_with_their_passphrase_alone() {
    let key = read(ED25519.1).unwrap().publishable_key();
    for (name, text) in ENCRYPTED {
        let open =
            |passphrase: &str| KeyFile::parse(text.as_bytes(), Some(&Passphrase::new(passphrase)));
        assert_eq!(read(text).unwrap_err(), KeyError::Encrypted, "{name}");
        for wrong in ["", "Secret", "secret\n"] {
            assert_eq!(open(wrong).unwrap_err(), KeyError::WrongPassphrase, "{name}");
        }
        let opened = open("secret").unwrap();
        if !name.starts_with("openssh") {
            assert_eq!(opened.publishable_key(), key, "{name}");
        }
        assert!(opened.into_private().is_ok(), "{name}");
    }
}

#[test]
fn a_cipher_that_is_not_read_is_told_from_a_wrong_passphrase() {
    let cases = [
        (file!("encrypted_3des.pem"), "triple DES"),
        (file!("encrypted_hmac_sha1.pem"), "a key derived by HMAC-SHA-1"),
        (file!("encrypted_camellia.pem"), "an unknown algorithm"),
        (file!("encrypted_pbes1.pem"), "PBES1"),
        (file!("encrypted_pkcs12.pem"), "an unknown algorithm"),
    ];
    for ((name, text), cipher) in cases {
        let passphrases = [None, Some(Passphrase::new("secret")), Some(Passphrase::new("wrong"))];
        for passphrase in passphrases {
            let refused = KeyFile::parse(text.as_bytes(), passphrase.as_ref());
            assert_eq!(refused.unwrap_err(), KeyError::UnreadCipher(cipher), "{name}");
        }
    }
}

/// An encrypted file whose scrypt asks for this.
fn scrypt(n: &[u8], r: &[u8], p: &[u8]) -> String {
    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        [&[tag, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
    }
    let integer = |bytes: &[u8]| tlv(0x02, &[bytes]);
    let id = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b];
    let params = tlv(0x30, &[&tlv(0x04, &[&[7; 8]]), &integer(n), &integer(r), &integer(p)]);
    let kdf = tlv(0x30, &[&tlv(0x06, &[&id]), &params]);
    let aes_256_cbc = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
    let cipher = tlv(0x30, &[&tlv(0x06, &[&aes_256_cbc]), &tlv(0x04, &[&[8; 16]])]);
    let pbes2 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
    let scheme = tlv(0x30, &[&tlv(0x06, &[&pbes2]), &tlv(0x30, &[&kdf, &cipher])]);
    let der = STANDARD.encode(tlv(0x30, &[&scheme, &tlv(0x04, &[&[9; 16]])]));
    let lines: Vec<_> =
        der.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    let label = "ENCRYPTED PRIVATE KEY";
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn absurd_parameters_of_an_encryption_are_refused_and_neither_panic_nor_take_long() {
    let invalid = KeyError::Damaged("the parameters of its encryption are invalid");
    let costly = KeyError::TooCostly;
    let wrong = KeyError::WrongPassphrase;
    let cases = [
        (file!("encrypted_scrypt_n0.pem").1.to_owned(), &invalid),
        (scrypt(&[0], &[1], &[1]), &invalid),
        (scrypt(&[1], &[1], &[1]), &invalid),
        (scrypt(&[3], &[8], &[1]), &invalid),
        (scrypt(&[2], &[0], &[1]), &invalid),
        (scrypt(&[2], &[1], &[0]), &invalid),
        (scrypt(&[0x40, 0, 0, 0, 0, 0, 0, 0], &[8], &[1]), &costly),
        (scrypt(&[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0], &[0x00, 0xff, 0xff], &[1]), &costly),
        (scrypt(&[0x10, 0, 0], &[8], &[1]), &costly),
        (scrypt(&[2], &[1], &[0x00, 0xff, 0xff]), &costly),
        // 256 MiB for N, and 128 MiB for p.
        (scrypt(&[0x20], &[0x00, 0xff, 0xff], &[0x10]), &costly),
        // The same file with parameters that are none of these.
        (scrypt(&[2], &[1], &[1]), &wrong),
        (scrypt(&[0x40, 0], &[8], &[1]), &wrong),
    ];
    for (text, expected) in cases {
        let refused = KeyFile::parse(text.as_bytes(), Some(&Passphrase::new("secret")));
        assert_eq!(refused.unwrap_err(), *expected, "{text}");
    }
    // 256 MiB for N, as some write it, and the blocks beside it.
    let most = scrypt(&[0x04, 0, 0], &[8], &[1]);
    assert_eq!(KeyFile::parse(most.as_bytes(), None).unwrap_err(), KeyError::Encrypted);
}

#[test]
fn an_hmac_secret_is_named_by_its_kid_or_by_itself() {
    let secret = private(RFC_SECRET);
    assert_eq!(secret.algorithm(), Algorithm::HmacSha256);
    assert_eq!(secret.publishable_key(), private(RFC_SECRET).publishable_key());
    // Both sides derive the same, also in other languages: scrypt with N = 2^15, r = 8, p = 3 under a fixed salt.
    assert_eq!(secret.publishable_key().as_bytes(), DERIVED);
    let own = PrivateKey::hmac_sha256([7; 16], &[8; 32]).unwrap().publishable_key();
    let named = RFC_SECRET.replace("\"HS256\"", &format!("\"HS256\",\"kid\":\"{own}\""));
    assert_eq!(private(&named).publishable_key(), own);
    let KeyFile::Named(name) = read(&own.to_string()).unwrap() else { panic!("a name") };
    assert_eq!(name, own);
    let unnamed = KeyFile::Named(name).into_verifying_key();
    assert!(matches!(unnamed, Err(KeyError::WrongKind { .. })));
}

#[test]
fn a_secret_that_can_be_guessed_is_refused_in_every_form() {
    let jwk = |secret: &[u8]| {
        format!(r#"{{"kty":"oct","k":"{}"}}"#, STANDARD.encode(secret).trim_end_matches('='))
    };
    let line = |secret: &[u8]| PrivateKey::hmac_sha256([7; 16], secret).unwrap().expose_text();
    let weak: [&[u8]; 3] = [&[7; 32], b"correct horse battery staple correct", &[0; 64]];
    for secret in weak {
        for form in [jwk(secret), line(secret).to_string()] {
            assert_eq!(read(&form).unwrap_err(), KeyError::Guessable, "{form}");
        }
    }
    let strong = STANDARD.decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YU=").unwrap();
    for form in [jwk(&strong), line(&strong).to_string()] {
        assert!(read(&form).is_ok(), "{form}");
    }
}

#[test]
fn a_wrong_kind_of_key_is_named() {
    let rsa_ssh = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC test";
    let cases = [
        (file!("rsa.pem").1, "an RSA private key"),
        (file!("rsa_public.pem").1, "an RSA public key"),
        (file!("rsa_pkcs1.pem").1, "an RSA private key"),
        (file!("ec.pem").1, "an elliptic-curve (ECDSA) private key"),
        (file!("ec_sec1.pem").1, "an elliptic-curve (ECDSA) private key"),
        (file!("ec_parameters.pem").1, "an elliptic-curve (ECDSA) private key"),
        (file!("x25519.pem").1, "an X25519 private key"),
        (file!("ed448.pem").1, "an Ed448 private key"),
        (file!("certificate.pem").1, "a certificate"),
        (file!("openssh_rsa.pem").1, "an RSA private key"),
        (file!("openssh_ecdsa.pem").1, "an elliptic-curve (ECDSA) private key"),
        (file!("openssh_ecdsa_encrypted.pem").1, "an elliptic-curve (ECDSA) private key"),
        ("ssh-xmss@openssh.com AAAA", "an OpenSSH public key of another algorithm"),
        (rsa_ssh, "an RSA public key"),
        ("ecdsa-sha2-nistp256 AAAA", "an elliptic-curve (ECDSA) public key"),
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "an RSA key"),
        (r#"{"kty":"EC","crv":"P-256"}"#, "an elliptic-curve (ECDSA) key"),
        (r#"{"kty":"OKP","crv":"X25519","x":""}"#, "an X25519 key"),
    ];
    for (text, expected) in cases {
        match read(text) {
            Err(KeyError::WrongKind { found, .. }) => assert_eq!(found, expected, "{text}"),
            other => panic!("{other:?}: {text}"),
        }
    }
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    let other = "PLHWzk1UBmUCZqjYPUbfVEEhfRl2dDvYnNf2v3TuLHE";
    let jwk = RFC_JWK.replace("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU", other);
    assert_eq!(read(&jwk).unwrap_err(), KeyError::Mismatched);
    // PKCS#8 version 2 with the public half of another key (RFC 8410 §10.3).
    let v2 = "-----BEGIN PRIVATE KEY-----
MFECAQEwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
gSEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
";
    assert_eq!(read(v2).unwrap_err(), KeyError::Mismatched);
}

#[test]
fn damaged_files_are_refused() {
    let twice = format!("{RFC_PEM}{RFC_PEM}");
    let line = private(RFC_PEM).expose_text();
    let cases = [
        RFC_PEM.replace("MC4C", "MC5C"),
        RFC_PEM.replace("BEGIN PRIVATE", "BEGIN PUBLIC"),
        RFC_PEM.replace("9qfSnF", "9qfSn"),
        twice,
        RFC_JWK.replace("\"kid\"", "\"x\""),
        RFC_JWK.replace("\"kid\":\"test-key-ed25519\"", "\"alg\":\"RS256\""),
        RFC_SECRET.replace("HS256", "HS512"),
        RFC_SECRET.replace("\"k\"", "\"kk\""),
        "{}".to_owned(),
        "{".to_owned(),
        line[..line.len() - 1].to_owned(),
        line.replacen("sk_", "pk_", 1),
        format!("{}\n{}", line.as_str(), line.as_str()),
        OPENSSH_PUBLIC.1.replace("AAAA", "AAAB"),
        "ssh-ed25519".to_owned(),
    ];
    for text in cases {
        assert!(read(&text).is_err(), "{text}");
    }
    for empty in ["", "\n", " \r\n\t"] {
        assert_eq!(read(empty).unwrap_err(), KeyError::Empty);
    }
    assert_eq!(KeyFile::parse(b"\x30\x2e\xff", None).unwrap_err(), KeyError::UnknownForm);
    assert_eq!(read("hello").unwrap_err(), KeyError::UnknownForm);
    assert!(matches!(read(&"a".repeat(70_000)), Err(KeyError::Damaged(_))));
    let short = r#"{"kty":"oct","k":"c2hvcnQ"}"#;
    assert_eq!(read(short).unwrap_err(), KeyError::SecretLength(5));
}

#[test]
fn every_file_that_is_cut_short_is_refused() {
    let line = private(RFC_PEM).expose_text().to_string();
    for text in [RFC_PEM, RFC_JWK, ED25519_PUBLIC.1, OPENSSH.1, &line] {
        for end in 0..text.trim_end().len() {
            assert!(read(&text[..end]).is_err(), "{}", &text[..end]);
        }
    }
}

proptest! {
    #[test]
    fn no_content_panics(bytes: Vec<u8>) {
        prop_assert!(KeyFile::parse(&bytes, None).is_err());
    }

    #[test]
    fn no_mutation_of_a_file_panics(which in 0usize..6, at: usize, byte: u8) {
        let ecdsa = file!("openssh_ecdsa.pem").1;
        let files = [RFC_PEM, RFC_JWK, OPENSSH.1, OPENSSH_PUBLIC.1, ecdsa, ENCRYPTED[2].1];
        let mut bytes = files[which].as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _outcome: Result<KeyFile, KeyError> = KeyFile::parse(&bytes, None);
    }
}
