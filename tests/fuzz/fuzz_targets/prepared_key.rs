//! A prepared key has the verdicts of `verify_strict`, and so has the same key unprepared: of good signatures that were changed,
//! and of any others.
#![no_main]

use std::sync::LazyLock;

use countersign::{PrivateKey, VerifyingKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use libfuzzer_sys::fuzz_target;
use order::in_time;

struct Keys {
    signing: SigningKey,
    ours: [VerifyingKey; 2],
}

static KEYS: LazyLock<[Keys; 16]> = LazyLock::new(|| {
    std::array::from_fn(|seed| {
        let seed = [seed as u8; 32];
        let key = PrivateKey::ed25519(&seed).verifying_key();
        Keys { signing: SigningKey::from_bytes(&seed), ours: [key.prepared(), key] }
    })
});

fuzz_target!(|data: (u8, Option<(u8, u8)>, [[u8; 32]; 2], &[u8])| {
    let (key, change, [r, s], message) = data;
    let Keys { signing, ours } = &KEYS[usize::from(key % 16)];
    let signature = match change {
        // The good signature, with other bits: none, or some of one byte.
        Some((at, bits)) => {
            let mut signature = signing.sign(message).to_bytes();
            signature[usize::from(at % 64)] ^= bits;
            signature
        }
        None => [r, s].concat().try_into().unwrap(),
    };
    let strict = signing.verifying_key().verify_strict(message, &Signature::from_bytes(&signature));
    for key in ours {
        let verdict = in_time(message.len() + 1024, || key.verify(message, &signature));
        assert_eq!(verdict.is_ok(), strict.is_ok(), "{signature:?}");
    }
    if let Some((_, bits)) = change {
        assert_eq!(strict.is_ok(), bits == 0);
    }
});
