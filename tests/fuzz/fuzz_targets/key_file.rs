//! A key that is read from any file is the same key as text, also where keys of any algorithm are read; and what a
//! private key signs, its own public half verifies.
#![no_main]

use countersign::{AnyKeyFile, KeyFile, PrivateKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The identifier of a secret that has none is slow to derive, by design.
    let has = |word: &[u8]| data.windows(3).any(|window| window == word);
    if has(b"oct") && !has(b"pk_") {
        return;
    }
    // Encrypted files are for another target: the work is what the file asks for, up to seconds.
    let any = AnyKeyFile::parse(data, None);
    match KeyFile::parse(data, None) {
        Ok(KeyFile::Private(key)) => {
            let text = key.expose_text();
            let again: PrivateKey = text.parse().unwrap();
            assert_eq!(again.publishable_key(), key.publishable_key());
            assert_eq!(again.sign(b"base"), key.sign(b"base"));
            let any = any.unwrap().into_private().unwrap();
            assert_eq!(any.sign(b"base"), key.sign(b"base"));
        }
        Ok(KeyFile::Public(key)) => {
            assert_eq!(key.publishable_key().to_verifying_key().unwrap(), key);
            let any = any.unwrap().into_verifying_key().unwrap();
            assert_eq!(any.thumbprint(), key.thumbprint());
        }
        Ok(KeyFile::Named(key)) => {
            assert_eq!(key.to_string().parse(), Ok(key.clone()));
            assert!(matches!(any, Ok(AnyKeyFile::Named(named)) if named == key));
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            match any {
                Ok(AnyKeyFile::Private(key)) => {
                    key.verifying_key().verify(b"base", &key.sign(b"base")).unwrap();
                }
                Ok(AnyKeyFile::Public(key) | AnyKeyFile::PublicHalf(key)) => {
                    key.verify(b"base", &[7; 64]).unwrap_err();
                }
                Ok(AnyKeyFile::Named(key)) => panic!("{key} is named for tools only"),
                Ok(other) => panic!("a form that is not known here: {other:?}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
});
