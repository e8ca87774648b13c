use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt};

use countersign::{KeyError, Passphrase};
use countersign_client::{BadKeySource, Client, Error, KeySource};

use crate::server::key;

#[test]
fn key_files_are_read_or_the_fault_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8], mode| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let text = key().expose_text().to_string();
    let pem = key().expose_pkcs8_pem().unwrap();
    let good = file("good.key", pem.as_bytes(), 0o600);
    assert_eq!(Client::from_key_file(&good).unwrap().publishable_key(), key().publishable_key());
    let line = file("line.key", text.as_bytes(), 0o400);
    assert_eq!(Client::from_key_file(&line).unwrap().publishable_key(), key().publishable_key());

    let missing = Client::from_key_file(folder.path().join("missing.key"));
    assert!(matches!(missing.unwrap_err(), Error::KeyFile { .. }));
    match Client::from_key_file(folder.path()).unwrap_err() {
        Error::KeyFile { source, .. } => assert_eq!(source.kind(), ErrorKind::IsADirectory),
        other => panic!("{other:?}"),
    }
    let encrypted = include_bytes!("../../../countersign/tests/keys/encrypted_scrypt.pem");
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
        for content in [pem.as_bytes(), encrypted] {
            let open = file("open.key", content, mode);
            let error = Client::from_key_file(&open).unwrap_err();
            assert!(matches!(error, Error::KeyFileMode { .. }), "{mode:o}: {error:?}");
        }
    }
    let reason = |path| match Client::from_key_file(path).unwrap_err() {
        Error::Key { source, .. } => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(file("empty.key", b"", 0o600)), KeyError::Empty);
    let public = key().publishable_key().to_string();
    for mode in [0o600, 0o644] {
        let public = reason(file("public.key", public.as_bytes(), mode));
        assert!(matches!(public, KeyError::WrongKind { .. }), "{public:?}");
    }
    let encrypted = file("encrypted.key", encrypted, 0o600);
    assert_eq!(reason(encrypted.clone()), KeyError::Encrypted);
    let wrong = Passphrase::new(b"wrong".to_vec());
    assert!(Client::from_encrypted_key_file(encrypted, &wrong).is_err());
}

#[test]
fn a_key_comes_from_wherever_its_source_says() {
    use std::{io::Write as _, os::fd::AsRawFd as _};

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(key().expose_text().as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let descriptor: KeySource = format!("fd:{}", file.as_raw_fd()).parse().unwrap();
    // Its mode is of no interest, unlike that of a file with a name.
    assert_eq!(descriptor.read(None).unwrap().publishable_key(), key().publishable_key());
    let source = |text: &str| text.parse::<KeySource>();
    match source("env:COUNTERSIGN_TEST_NO_KEY").unwrap().read(None).unwrap_err() {
        Error::KeySource { from, source } => {
            assert_eq!(source.kind(), ErrorKind::NotFound);
            assert!(from.to_string().contains("COUNTERSIGN_TEST_NO_KEY"));
        }
        other => panic!("{other:?}"),
    }
    // A variable that every test has, and that holds no key.
    let error = source("env:PATH").unwrap().read(None).unwrap_err();
    assert!(matches!(&error, Error::Key { .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("/bin"), "{error:?}");

    let text = key().expose_text().to_string();
    let table = [
        ("", BadKeySource::Empty),
        ("env:", BadKeySource::Empty),
        ("fd:x", BadKeySource::Descriptor),
        (&text, BadKeySource::Secret),
        #[cfg(feature = "keyring")]
        ("keyring:shop", BadKeySource::Keyring),
        #[cfg(not(feature = "keyring"))]
        ("keyring:shop/laptop", BadKeySource::NoKeyring),
    ];
    for (text, error) in table {
        assert_eq!(source(text), Err(error));
    }
}

#[cfg(feature = "keyring")]
#[test]
fn a_key_comes_from_the_keyring() {
    let source: KeySource = "keyring:shop/laptop".parse().unwrap();
    let reason = |source: &KeySource| match source.read(None).unwrap_err() {
        Error::KeySource { source, .. } => source.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(reason(&source).contains("set_default_store"));
    keyring_core::set_default_store(keyring_core::mock::Store::new().unwrap());
    assert_eq!(reason(&source), "the keyring has no such entry");
    let entry = keyring_core::Entry::new("shop", "laptop").unwrap();
    entry.set_password(&key().expose_text()).unwrap();
    let client = Client::from_key_source(&source).unwrap();
    assert_eq!(client.publishable_key(), key().publishable_key());
    entry.set_secret(b"\xff secret").unwrap();
    let error = Client::from_key_source(&source).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("secret\""), "{error:?}");
}
