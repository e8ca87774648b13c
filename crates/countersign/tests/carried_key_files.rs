//! Key files as they arrive: made by openssl and ssh-keygen, and then carried through variables, editors and shells.

#![cfg(all(unix, feature = "key-files"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign::{KeyError, KeyFile, Passphrase, PrivateKey, ProvenKey};

/// A folder that is gone when this is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("countersign-{name}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn read(content: &[u8]) -> Result<KeyFile, KeyError> {
    match KeyFile::parse(content, None) {
        Err(KeyError::Encrypted) => KeyFile::parse(content, Some(&Passphrase::new("secret"))),
        parsed => parsed,
    }
}

fn openssl_key(folder: &Folder) -> String {
    folder.run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", "a.pem"]);
    folder.text("a.pem")
}

/// The body of a PEM block, in one line.
fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

fn with_body(pem: &str, body: &str) -> String {
    let (first, _) = pem.split_once('\n').unwrap();
    let (_, last) = pem.trim_end().rsplit_once('\n').unwrap();
    format!("{first}\n{body}\n{last}\n")
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2], mark: &str) -> Vec<u8> {
    format!("{mark}{text}").encode_utf16().flat_map(unit).collect()
}

/// What becomes of a file on its way, without a bit of the key being lost.
fn carried(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let lines = text.trim_end();
    let mut all: Vec<(&'static str, Vec<u8>)> = [
        ("as it is", text.to_owned()),
        ("without the last line break", lines.to_owned()),
        ("line breaks of Windows", text.replace('\n', "\r\n")),
        ("line breaks of old Macs", text.replace('\n', "\r")),
        ("line breaks turned into blanks", text.replace('\n', " ")),
        ("line breaks turned into \\n", text.replace('\n', r"\n")),
        ("line breaks turned into \\\\n", text.replace('\n', r"\\n")),
        ("line breaks turned into \\r\\n", text.replace('\n', r"\r\n")),
        ("line breaks lost", text.replace('\n', "")),
        ("line breaks doubled", text.replace('\n', "\n\n")),
        ("double quotes", format!("\"{lines}\"\n")),
        ("single quotes", format!("'{lines}'\n")),
        ("quotes and \\n", format!("\"{}\"", text.replace('\n', r"\n"))),
        ("trailing blanks", text.replace('\n', "  \t\n")),
        ("indented", format!("    {}", text.replace('\n', "\n    "))),
        ("no-break spaces", format!("\u{a0}{}\u{a0}", text.replace('\n', "\u{a0}\n"))),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("a NUL", format!("{text}\0")),
    ]
    .map(|(name, text)| (name, text.into_bytes()))
    .into();
    all.push(("UTF-16 of PowerShell", utf16(text, u16::to_le_bytes, "\u{feff}")));
    all.push(("UTF-16, big-endian", utf16(text, u16::to_be_bytes, "\u{feff}")));
    all.push(("UTF-16 without a mark", utf16(text, u16::to_le_bytes, "")));
    if text.starts_with("-----BEGIN") {
        let body = body(text);
        let columns = |width: usize| {
            let lines: Vec<_> =
                body.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
            with_body(text, &lines.join("\n"))
        };
        all.push(("76 columns", columns(76).into_bytes()));
        all.push(("48 columns", columns(48).into_bytes()));
        all.push(("one line", columns(10_000).into_bytes()));
        all.push(("the body alone", body.clone().into_bytes()));
        let unpadded = with_body(text, body.trim_end_matches('='));
        all.push(("padding lost", unpadded.into_bytes()));
        all.push(("text before and behind", format!("Bag:\n  a: b\n{text}more\n").into_bytes()));
        all.push(("DER", STANDARD.decode(&body).unwrap()));
    }
    all
}

#[test]
fn whatever_has_lost_nothing_on_its_way_is_read() {
    let folder = Folder::new("carried");
    let pem = openssl_key(&folder);
    folder.run("openssl", &["pkey", "-in", "a.pem", "-pubout", "-out", "a_public.pem"]);
    for cost in [["-v2", "aes256"].as_slice(), &["-scrypt"]] {
        let name = format!("a_{}.pem", cost[0]);
        let from = ["pkcs8", "-topk8", "-in", "a.pem", "-passout", "pass:secret", "-out", &name];
        folder.run("openssl", &[from.as_slice(), cost].concat());
    }
    for (name, passphrase) in [("b", ""), ("b_encrypted", "secret")] {
        let make = ["-q", "-t", "ed25519", "-C", "Ada's laptop", "-a", "1"];
        folder.run("ssh-keygen", &[make.as_slice(), &["-N", passphrase, "-f", name]].concat());
    }
    let key = read(pem.as_bytes()).unwrap().into_private().unwrap();
    let jwk = |member: &str, bytes: &[u8]| format!("\"{member}\":\"{}\"", STANDARD.encode(bytes));
    let seed = STANDARD.decode(body(&pem)).unwrap().split_off(16);
    let publishable = key.publishable_key();
    let (d, x) = (jwk("d", &seed), jwk("x", publishable.as_bytes()));
    let jwk = format!("{{\n\"kty\":\"OKP\",\"crv\":\"Ed25519\",\n{d},\n{x}}}\n");
    let files = [
        pem,
        folder.text("a_public.pem"),
        folder.text("a_-v2.pem"),
        folder.text("a_-scrypt.pem"),
        jwk.clone(),
        format!("{{\"keys\":[\n{jwk}]}}\n"),
        jwk.replace(&format!(",\n{x}"), ""),
        format!("{}\n", key.expose_text().as_str()),
        format!("{publishable}\n"),
        ProvenKey::proof(&key).unwrap(),
        folder.text("b"),
        folder.text("b.pub"),
        folder.text("b_encrypted"),
    ];
    for file in files {
        let expected = read(file.as_bytes()).unwrap_or_else(|error| panic!("{error}: {file}"));
        if !file.contains("OPENSSH") && !file.starts_with("ssh-") {
            assert_eq!(expected.publishable_key(), publishable, "{file}");
        }
        for (how, content) in carried(&file) {
            let found = read(&content).map(|found| found.publishable_key());
            assert_eq!(found, Ok(expected.publishable_key()), "{how}: {file}");
            if file.contains("countersign-registration") {
                let proven = ProvenKey::from_file(&content).unwrap();
                assert_eq!(proven.key().publishable_key(), publishable, "{how}");
            }
        }
    }
}

#[test]
fn what_openssl_writes_around_a_key_is_not_of_the_key() {
    let folder = Folder::new("around");
    folder.run("openssl", &["genpkey", "-algorithm", "ed25519", "-text", "-out", "a.pem"]);
    let key = read(&folder.read("a.pem")).unwrap().into_private().unwrap();
    assert!(folder.text("a.pem").trim_end().ends_with(|end: char| end.is_ascii_hexdigit()));
    let request = ["req", "-x509", "-key", "a.pem", "-subj", "/CN=a", "-out", "certificate.pem"];
    folder.run("openssl", &request);
    let export = ["pkcs12", "-export", "-inkey", "a.pem", "-in", "certificate.pem"];
    folder.run("openssl", &[export.as_slice(), &["-passout", "pass:x", "-out", "a.p12"]].concat());
    let import = ["pkcs12", "-in", "a.p12", "-passin", "pass:x", "-nodes", "-out", "bag.pem"];
    folder.run("openssl", &import);
    let bag = folder.text("bag.pem");
    assert!(bag.contains("Bag Attributes") && bag.contains("BEGIN CERTIFICATE"), "{bag}");
    let found = read(bag.as_bytes()).unwrap().into_private().unwrap();
    assert_eq!(found.publishable_key(), key.publishable_key());
}

#[test]
fn an_openssh_key_opens_or_its_cipher_is_named() {
    let folder = Folder::new("ciphers");
    let unread = [("3des-cbc", "triple DES")];
    let read = [
        "aes128-cbc",
        "aes192-cbc",
        "aes256-cbc",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
    ];
    let make = |cipher: &str| {
        let name = cipher.replace('@', "_");
        let make = ["-q", "-t", "ed25519", "-a", "1", "-N", "secret", "-Z", cipher, "-f", &name];
        folder.run("ssh-keygen", &make);
        (folder.read(&name), folder.read(&format!("{name}.pub")))
    };
    let open = |content: &[u8], passphrase: &str| {
        KeyFile::parse(content, Some(&Passphrase::new(passphrase)))
    };
    for cipher in read {
        let (private, public) = make(cipher);
        let expected = KeyFile::parse(&public, None).unwrap().publishable_key();
        let opened = open(&private, "secret").map(|key| key.publishable_key());
        assert_eq!(opened, Ok(expected), "{cipher}");
        assert_eq!(open(&private, "wrong").unwrap_err(), KeyError::WrongPassphrase, "{cipher}");
    }
    for (cipher, name) in unread {
        let (private, _) = make(cipher);
        for passphrase in ["secret", "wrong"] {
            let refused = open(&private, passphrase).unwrap_err();
            assert_eq!(refused, KeyError::UnreadCipher(name), "{cipher}");
        }
    }
}

/// PKCS#8 version 2 as ring writes it.
fn ring(seed: &[u8; 32], public: &[u8]) -> Vec<u8> {
    let head = *b"\x30\x53\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    [&head, seed.as_slice(), b"\xa1\x23\x03\x21\x00", public].concat()
}

#[test]
fn a_key_in_the_form_of_ring_is_read_and_its_halves_are_compared() {
    let key = PrivateKey::ed25519(&[5; 32]);
    let other = PrivateKey::ed25519(&[6; 32]).publishable_key();
    let publishable = key.publishable_key();
    let forms = |der: Vec<u8>| {
        let label = "PRIVATE KEY";
        let pem = STANDARD.encode(&der);
        let pem = format!("-----BEGIN {label}-----\n{pem}\n-----END {label}-----\n");
        [der, pem.into_bytes()]
    };
    for good in forms(ring(&[5; 32], publishable.as_bytes())) {
        let found = read(&good).unwrap().into_private().unwrap();
        assert_eq!(found.publishable_key(), publishable);
    }
    for bad in forms(ring(&[5; 32], other.as_bytes())) {
        assert_eq!(read(&bad).unwrap_err(), KeyError::Mismatched);
    }
    for cut in forms(ring(&[5; 32], &publishable.as_bytes()[1..])) {
        assert!(read(&cut).is_err());
    }
}

#[test]
fn a_line_of_a_key_keeps_its_meaning_beside_comments() {
    let key = PrivateKey::ed25519(&[5; 32]);
    let (secret, publishable) = (key.expose_text(), key.publishable_key());
    let (one, two) = secret.split_at(30);
    let private = [
        format!("{}\n# laptop of Ada\n", secret.as_str()),
        format!("# laptop of Ada\n\n{}\n", secret.as_str()),
        format!("{}\nlaptop of Ada\n", secret.as_str()),
        format!("{} laptop of Ada\n", secret.as_str()),
        format!("{}\n{publishable}\n", secret.as_str()),
        format!("{publishable}\n{}\n", secret.as_str()),
        format!("acme_{}\n", secret.as_str()),
        format!("{one}\n{two}\n"),
    ];
    for text in private {
        let found = read(text.as_bytes()).unwrap().into_private().unwrap();
        assert_eq!(found.publishable_key(), publishable, "{text}");
    }
    let public = [
        format!("# Ada\n{publishable}\n"),
        format!("{publishable} Ada\n"),
        format!("# Ada\n{}# end\n", ProvenKey::proof(&key).unwrap()),
    ];
    for text in public {
        let found = read(text.as_bytes()).unwrap();
        assert!(matches!(found, KeyFile::Public(_)), "{text}");
        assert_eq!(found.publishable_key(), publishable, "{text}");
    }
}

#[test]
fn more_keys_than_one_are_called_so_and_not_damaged() {
    let folder = Folder::new("several");
    let pem = openssl_key(&folder);
    folder.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "b"]);
    let line = PrivateKey::ed25519(&[5; 32]).expose_text();
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#;
    let several = [
        format!("{pem}{pem}"),
        format!("{pem}{}", folder.text("b")),
        format!("{0}{0}", folder.text("b.pub")),
        format!("{0}restrict,pty {0}", folder.text("b.pub")),
        format!("{0}\n{0}\n", line.as_str()),
        format!("{{\"keys\":[{jwk},{jwk}]}}"),
    ];
    for text in several {
        assert_eq!(read(text.as_bytes()).unwrap_err(), KeyError::Several, "{text}");
    }
}

#[test]
fn what_has_been_lost_is_named() {
    let folder = Folder::new("lost");
    let pem = openssl_key(&folder);
    let end = pem.find("-----END").unwrap();
    let key = PrivateKey::ed25519(&[5; 32]);
    let cut = with_body(&pem, body(&pem).split_at(60).0);
    let cases = [
        (pem[..end].to_owned(), "its END line is missing"),
        (pem.trim_end().trim_end_matches('-').to_owned(), "its END line is cut off"),
        (pem[..20].to_owned(), "its BEGIN line is cut off"),
        (pem.replacen("PRIVATE", "PUBLIC", 1), "its BEGIN and END lines are of different keys"),
        (pem.replacen("MC4C", "MC4*", 1), "it has a character that base64 does not have"),
        (cut, "it is no PKCS#8 private key"),
        (key.expose_text()[..40].to_owned(), "its checksum is wrong, a character may be mistyped"),
        (r#"{"keys":[]}"#.to_owned(), "it is a JWK Set without a key"),
    ];
    for (text, why) in cases {
        assert_eq!(read(text.as_bytes()).unwrap_err(), KeyError::Damaged(why), "{text}");
    }
    let sha512 = r#"{"kty":"oct","alg":"HS512","k":"uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YU"}"#;
    assert!(matches!(read(sha512.as_bytes()), Err(KeyError::WrongKind { .. })));
}
