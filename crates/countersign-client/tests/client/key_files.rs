use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt};

use countersign::{KeyError, Passphrase};
use countersign_client::{Client, Error};

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
