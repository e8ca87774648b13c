//! Key files of the algorithms that no credential has, as openssl and ssh-keygen write them.

#![cfg(all(feature = "ecdsa", feature = "rsa"))]
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use countersign::{Algorithm, AnyKeyFile, AnyVerifyingKey, KeyError, KeyFile, Passphrase};
use proptest::prelude::*;

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("keys/", $name))
    };
}

/// The test key of RFC 9421 Appendix B.1.3.
const RFC_JWK: &str = r#"{"kty":"EC","crv":"P-256","kid":"test-key-ecc-p256",
    "d":"UpuF81l-kOxbjf7T4mNSv0r5tN67Gim7rnf6EFpcYDs",
    "x":"qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA",
    "y":"Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"}"#;
/// The example of RFC 7638 §3.1.
const RSA_JWK: &str = r#"{"kty":"RSA","e":"AQAB","alg":"RS256","kid":"2011-04-29",
    "n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;

fn read(text: &str) -> Result<AnyKeyFile, KeyError> {
    AnyKeyFile::parse(text.as_bytes(), None)
}

fn verifying(text: &str) -> AnyVerifyingKey {
    read(text).unwrap().into_verifying_key().unwrap()
}

#[test]
fn one_key_is_the_same_in_every_form() {
    use Algorithm::{EcdsaP256Sha256, EcdsaP384Sha384};
    let tables: [(Option<Algorithm>, &[&str]); 4] = [
        (
            Some(EcdsaP256Sha256),
            &[
                file!("ec.pem"),
                file!("ec_sec1.pem"),
                file!("ec_public.pem"),
                file!("ec_compressed_public.pem"),
                file!("openssh_ecdsa.pem"),
                file!("openssh_ecdsa_public.txt"),
            ],
        ),
        (
            Some(EcdsaP384Sha384),
            &[
                file!("ec_p384.pem"),
                file!("ec_p384_sec1.pem"),
                file!("ec_p384_public.pem"),
                file!("openssh_ecdsa_p384.pem"),
            ],
        ),
        (
            None,
            &[
                file!("rsa.pem"),
                file!("rsa_public.pem"),
                file!("rsa_pkcs1.pem"),
                file!("rsa_pkcs1_public.pem"),
                file!("openssh_rsa.pem"),
                file!("openssh_rsa_public.txt"),
            ],
        ),
        (Some(Algorithm::RsaPssSha512), &[file!("rsa_pss.pem"), file!("rsa_pss_public.pem")]),
    ];
    for (algorithm, forms) in tables {
        let key = verifying(forms[0]);
        assert_eq!(key.algorithm(), algorithm);
        for form in forms {
            assert_eq!(verifying(form), key, "{form}");
            assert_eq!(verifying(&form.replace('\n', "\r\n")), key, "{form}");
        }
    }
    let public = RFC_JWK.replace("\"d\"", "\"ignored\"");
    assert_eq!(verifying(RFC_JWK), verifying(&public));
    assert!(matches!(read(RFC_JWK), Ok(AnyKeyFile::Private(_))));
    assert!(matches!(read(&public), Ok(AnyKeyFile::Public(_))));
}

#[test]
fn thumbprints_are_those_of_rfc_7638() {
    let thumbprint = |text| URL_SAFE_NO_PAD.encode(verifying(text).thumbprint().unwrap());
    assert_eq!(thumbprint(RSA_JWK), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(thumbprint(RFC_JWK), "ydQXMtvbsOsZyFir-Y7A8t7fKEM1gbKPvyFkdpu4fvI");
}

#[test]
fn credentials_are_read_as_by_their_own_parser() {
    let files = [file!("ed25519.pem"), file!("ed25519_public.pem"), file!("openssh_ed25519.pem")];
    for file in files {
        let own = KeyFile::parse(file.as_bytes(), None).unwrap().into_verifying_key().unwrap();
        assert_eq!(verifying(file), AnyVerifyingKey::from(&own));
    }
    let others = [file!("x25519.pem"), file!("ed448.pem"), file!("certificate.pem")];
    for file in others {
        let (any, own) = (read(file).unwrap_err(), KeyFile::parse(file.as_bytes(), None));
        let KeyError::WrongKind { found, .. } = any else { panic!("{any:?}") };
        assert!(
            matches!(own, Err(KeyError::WrongKind { found: named, .. }) if named == found),
            "{file}"
        );
    }
}

#[test]
fn an_encrypted_file_opens_with_its_passphrase_alone() {
    let files = [
        (file!("ec_encrypted.pem"), file!("ec_p384.pem")),
        (file!("openssh_ecdsa_encrypted.pem"), file!("openssh_ecdsa.pem")),
    ];
    for (file, plain) in files {
        assert_eq!(read(file).unwrap_err(), KeyError::Encrypted);
        let open = |passphrase: &str| {
            AnyKeyFile::parse(file.as_bytes(), Some(&Passphrase::new(passphrase.as_bytes())))
        };
        assert_eq!(open("Secret").unwrap_err(), KeyError::WrongPassphrase);
        let key = open("secret").unwrap().into_private().unwrap();
        assert_eq!(key.verifying_key(), verifying(plain));
    }
    let old = read(file!("ec_encrypted_rfc1421.pem"));
    assert!(matches!(old, Err(KeyError::UnreadCipher(_))), "{old:?}");
}

#[test]
fn an_rsa_private_key_is_read_and_does_not_sign() {
    let files =
        [file!("rsa.pem"), file!("rsa_pkcs1.pem"), file!("rsa_pss.pem"), file!("openssh_rsa.pem")];
    for file in files {
        let file = read(file).unwrap();
        assert!(matches!(file, AnyKeyFile::PublicHalf(_)));
        let refused = file.into_private().unwrap_err();
        assert!(refused.to_string().contains("RUSTSEC-2023-0071"), "{refused}");
    }
    assert!(read(file!("rsa_public.pem")).unwrap().into_private().is_err());
}

#[test]
fn what_a_private_key_signs_its_public_half_accepts() {
    for (private, public) in [
        (file!("ec.pem"), file!("openssh_ecdsa_public.txt")),
        (file!("ec_p384_sec1.pem"), file!("ec_p384_public.pem")),
    ] {
        let key = read(private).unwrap().into_private().unwrap();
        assert!(verifying(public).verify(b"base", &key.sign(b"base")).is_ok());
        assert_eq!(format!("{key:?}"), format!("Ecdsa(EcdsaPrivateKey {{ .. }})"));
    }
}

#[test]
fn weak_keys_and_other_curves_and_parameters_are_refused() {
    let weak = |text: &str| {
        let refused = read(text).unwrap_err();
        assert!(matches!(refused, KeyError::Weak(_)), "{refused:?}: {text}");
    };
    weak(file!("rsa_1024_public.pem"));
    assert!(read(file!("rsa_e3_public.pem")).is_ok());
    weak(&RSA_JWK.replace("AQAB", "AQ"));
    weak(&RSA_JWK.replace("AQAB", "AQAA"));
    weak(&RFC_JWK.replace("Mc4nN9", "Mc4nN8"));
    let zero = "A".repeat(43);
    weak(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{zero}","y":"{zero}"}}"#));
    let other = |text: &str| {
        let refused = read(text).unwrap_err();
        assert!(matches!(refused, KeyError::WrongKind { .. }), "{refused:?}: {text}");
    };
    other(file!("ec_p521.pem"));
    other(file!("ec_p521_public.pem"));
    other(&RFC_JWK.replace("P-256", "P-521"));
    other(&RFC_JWK.replace("P-256", "secp256k1"));
    other(file!("rsa_pss_sha256_public.pem"));
}

#[test]
fn damaged_files_are_refused() {
    let sec1 = file!("ec_p384_sec1.pem");
    let (parameters, key) = sec1.split_at(sec1.find("-----BEGIN EC PRIVATE").unwrap());
    for whole in [key, &format!("{key}{parameters}"), &format!("{parameters}{sec1}")] {
        assert_eq!(verifying(whole), verifying(sec1));
    }
    assert_eq!(verifying(&RFC_JWK.replace("6F0\"", "6F0=\"")), verifying(RFC_JWK));
    let cases = [
        parameters.to_owned(),
        format!("{sec1}{key}"),
        format!("{parameters}{}", file!("rsa_1024_public.pem")),
        key.replace("EC PRIVATE", "RSA PRIVATE"),
        file!("ec_public.pem").replace("PUBLIC KEY", "RSA PUBLIC KEY"),
        file!("rsa_pkcs1_public.pem").replace("RSA PUBLIC KEY", "PUBLIC KEY"),
        file!("rsa_pkcs1_public.pem").replace("RSA PUBLIC KEY", "RSA PRIVATE KEY"),
        RFC_JWK.replace("P-256", "P-384"),
        RFC_JWK.replace("\"y\"", "\"z\""),
        RFC_JWK.replace("6F0\"", "6F\""),
        RFC_JWK.replace("\"kid\"", "\"x\""),
        RFC_JWK.replace("\"kid\":\"test-key-ecc-p256\"", "\"alg\":\"ES384\""),
        RSA_JWK.replace("RS256", "PS256"),
        RSA_JWK.replace("\"n\"", "\"m\""),
        RSA_JWK.replace("AQAB", "AQA!"),
        file!("openssh_ecdsa_public.txt").replace("AAAA", "AAAB"),
        file!("openssh_ecdsa_public.txt").replace("nistp256", "nistp384"),
        file!("openssh_rsa_public.txt").replace("AAAA", "AAAB"),
        "ecdsa-sha2-nistp256".to_owned(),
        "ssh-rsa !".to_owned(),
    ];
    for text in cases {
        assert!(read(&text).is_err(), "{text}");
    }
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE";
    let mismatched = RFC_JWK.replace("UpuF81l-kOxbjf7T4mNSv0r5tN67Gim7rnf6EFpcYDs", other);
    assert_eq!(read(&mismatched).unwrap_err(), KeyError::Mismatched);
}

#[test]
fn no_changed_byte_of_an_openssh_key_makes_it_another() {
    let files =
        [file!("openssh_ecdsa.pem"), file!("openssh_ecdsa_p384.pem"), file!("openssh_rsa.pem")];
    for file in files {
        let lines: String = file.lines().filter(|line| !line.starts_with("-----")).collect();
        let bytes = STANDARD.decode(lines).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let digits = STANDARD.encode(changed);
            let lines: Vec<_> =
                digits.as_bytes().chunks(70).map(|it| str::from_utf8(it).unwrap()).collect();
            let text = format!(
                "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
                lines.join("\n")
            );
            if let Ok(read) = read(&text) {
                assert_eq!(read.into_verifying_key().unwrap(), verifying(file), "byte {at}");
            }
        }
    }
}

#[test]
fn every_file_that_is_cut_short_is_refused() {
    let files = [
        file!("ec.pem"),
        file!("ec_p384_sec1.pem"),
        file!("rsa_public.pem"),
        file!("rsa_pkcs1_public.pem"),
        file!("openssh_ecdsa.pem"),
        file!("openssh_ecdsa_public.txt"),
        RFC_JWK,
    ];
    for text in files {
        for end in 0..text.trim_end().len() {
            assert!(read(&text[..end]).is_err(), "{}", &text[..end]);
        }
    }
}

proptest! {
    #[test]
    fn no_mutation_of_a_file_panics(which in 0usize..10, at: usize, byte: u8) {
        let files = [
            file!("ec.pem"),
            file!("ec_p384_sec1.pem"),
            file!("ec_public.pem"),
            file!("rsa_pss_public.pem"),
            file!("rsa_pkcs1.pem"),
            file!("openssh_rsa_public.txt"),
            file!("openssh_ecdsa_p384.pem"),
            file!("openssh_rsa.pem"),
            RFC_JWK,
            RSA_JWK,
        ];
        let mut bytes = files[which].as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _outcome: Result<AnyKeyFile, KeyError> = AnyKeyFile::parse(&bytes, None);
    }
}
