use std::fmt::Write as _;

use zeroize::Zeroizing;

/// Ed25519 public keys, in hex, whose private halves are printed in a standard, or are the first guess.
const ED25519: [(&str, &str); 12] = [
    (
        "26b40b8f93fff3d897112f7ebc582b232dbd72517d082fe83cfb30ddce43d1bb",
        "RFC 9421, appendix B.1.4",
    ),
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "RFC 8032, section 7.1, and RFC 8037, appendix A",
    ),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "RFC 8032, section 7.1"),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "RFC 8032, section 7.1"),
    ("278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e", "RFC 8032, section 7.1"),
    ("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf", "RFC 8032, section 7.1"),
    ("dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292", "RFC 8032, section 7.2"),
    ("0f1d1274943b91415889152e893d80e93275a1fc0b65fd71b4b0dda10ad7d772", "RFC 8032, section 7.2"),
    ("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1", "RFC 8410, section 10.3"),
    ("3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29", "a seed of 32 zeros"),
    ("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8", "a seed that counts up"),
    (
        "36007ecc8277650afdf55d26d6c1ab55d550d0d7bb14d9bc2c82b99157e74f47",
        "the source of countersign-test",
    ),
];

/// HMAC secrets, in hex, from standards.
const HMAC_SHA256: [(&str, &str); 3] = [
    (
        "bb3bc97c1e2edcdd09cb84fb359ef930355cafccd24c89de749b6481cbb8e985\
         b85c1cb33498f105db635247493c1b5b9878480e2ea9725f23b1ab2395332d0d",
        "RFC 9421, appendix B.1.5",
    ),
    (
        "0323354b2b0fa5bc837e0665777ba68f5ab328e6f054c928a90f84b2d2502ebf\
         d3fb5a92d20647ef968ab4c377623d223d2e2172052e4f08c0cd9af567d080a3",
        "RFC 7515, appendix A.1",
    ),
    ("849b57219dae48de646d07dbb533566e976686457c1491be3a76dcea6c427188", "RFC 7520, section 3.5"),
];

/// Where everybody can read the private half of an Ed25519 public key.
pub(super) fn of_public_key(bytes: &[u8]) -> Option<&'static str> {
    place(bytes, &ED25519)
}

/// Where everybody can read an HMAC secret.
pub(super) fn of_secret(bytes: &[u8]) -> Option<&'static str> {
    place(bytes, &HMAC_SHA256)
}

fn place(bytes: &[u8], known: &[(&str, &'static str)]) -> Option<&'static str> {
    let mut hex = Zeroizing::new(String::with_capacity(bytes.len().saturating_mul(2)));
    for byte in bytes {
        write!(hex, "{byte:02x}").ok()?;
    }
    known.iter().find(|(known, _)| *known == hex.as_str()).map(|(_, place)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{error::KeyError, private::PrivateKey, verifying::VerifyingKey};

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        hex.as_bytes().chunks(2).map(digits).collect()
    }

    /// The private halves, as the standards print them, in the order of [`ED25519`].
    const SEEDS: [&str; 12] = [
        "9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
        "ab9c2853ce297ddab85c993b3ae14bcad39b2c682beabc27d6d4eb20711d6560",
        "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "636f756e7465727369676e2d746573743a206e6f20736563726574206b65792e",
    ];

    #[test]
    fn a_key_whose_private_half_everybody_can_read_is_known() {
        for (seed, (public, place)) in SEEDS.into_iter().zip(ED25519) {
            let key = PrivateKey::ed25519(&bytes(seed).try_into().unwrap()).verifying_key();
            assert_eq!(key.publishable_key().as_bytes(), bytes(public), "{seed}");
            assert_eq!(key.require_secret(), Err(KeyError::Published(place)), "{seed}");
        }
        for (secret, place) in HMAC_SHA256 {
            let key = VerifyingKey::hmac_sha256([1; 16], &bytes(secret)).unwrap();
            assert_eq!(key.require_secret(), Err(KeyError::Published(place)), "{secret}");
        }
    }

    #[test]
    fn a_key_that_nobody_published_is_taken() {
        let secret = bytes("9a1c54f0be7d2863e07f1b93c5d8a64ee2710c9f5b3846adf19e27c08b5d6a34");
        let hmac = VerifyingKey::hmac_sha256([1; 16], &secret).unwrap();
        let ed25519 = PrivateKey::ed25519(&[5; 32]).verifying_key();
        for key in [hmac, ed25519] {
            assert_eq!(key.require_secret(), Ok(()));
        }
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_no_secret() {
        let hmac = VerifyingKey::hmac_sha256([1; 16], &[7; 32]).unwrap();
        assert_eq!(hmac.require_secret(), Err(KeyError::Guessable));
    }
}
