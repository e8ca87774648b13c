//! A key that is read from any file is the same key as text.
#![no_main]

use countersign::{KeyFile, Passphrase, PrivateKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // With a passphrase only what is cheap to open is opened: the work is what the file asks for, up to seconds.
    let costly = data.windows(9).any(|window| window == b"ENCRYPTED" || window == b"-----BEGI");
    let passphrase = (!costly).then(|| Passphrase::new(b"secret".to_vec()));
    match KeyFile::parse(data, passphrase.as_ref()) {
        Ok(KeyFile::Private(key)) => {
            let text = key.expose_text();
            let again: PrivateKey = text.parse().unwrap();
            assert_eq!(again.publishable_key(), key.publishable_key());
            assert_eq!(again.sign(b"base"), key.sign(b"base"));
        }
        Ok(KeyFile::Public(key)) => {
            assert_eq!(key.publishable_key().to_verifying_key().unwrap(), key);
        }
        Ok(KeyFile::Named(key)) => {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
