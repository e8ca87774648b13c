use crate::{curl::Server, desk::Desk};

#[test]
fn a_key_pair_is_made_for_its_owner_alone_and_never_overwritten() {
    let (desk, publishable) = Desk::with_key();
    assert!(publishable.starts_with("pk_"));
    assert_eq!((desk.mode("id.key"), desk.mode("id.key.pub")), (0o600, 0o644));
    assert!(desk.read("id.key.pub").starts_with(&publishable));
    let before = desk.read("id.key");
    desk.run(["keygen", "--out", "id.key"]).failed(1, "id.key exists", "--out");
    assert_eq!(desk.read("id.key"), before);
    desk.write("other.key.pub", "mine", 0o644);
    desk.run(["keygen", "--out", "other.key"]).failed(1, "other.key.pub exists", "--out");
    assert!(!desk.path("other.key").exists(), "half a pair");
    desk.run(["keygen", "--out", "no/such/folder"]).failed(1, "cannot create", "directory");
}

#[test]
fn openssl_reads_the_key_that_was_made_and_the_other_way_round() {
    let (desk, publishable) = Desk::with_key();
    let mut openssl = desk.command("openssl");
    let public = openssl.args(["pkey", "-in", "id.key", "-pubout"]).output().unwrap();
    desk.write("public.pem", public.stdout, 0o644);
    for file in ["id.key", "id.key.pub", "public.pem"] {
        assert_eq!(desk.run(["pubkey", file]).done().lines().next(), Some(publishable.as_str()));
    }
    let mut openssl = desk.command("openssl");
    openssl.args(["genpkey", "-algorithm", "ed25519", "-out", "theirs.key"]);
    assert!(openssl.status().unwrap().success());
    desk.set_mode("theirs.key", 0o600);
    assert!(desk.run(["pubkey", "theirs.key"]).done().starts_with("pk_"));
    let proof = desk.run(["pubkey", "--prove", "theirs.key"]).done();
    desk.write("theirs.pub", proof, 0o644);
    assert!(desk.run(["pubkey", "theirs.pub"]).done().starts_with("pk_"));
}

#[test]
fn ssh_keys_are_read_too() {
    let desk = Desk::new();
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "384"), ("rsa", "2048")] {
        let mut ssh = desk.command("ssh-keygen");
        ssh.args(["-q", "-t", kind, "-b", bits, "-N", "", "-f", kind]);
        assert!(ssh.status().unwrap().success());
        let private = desk.run(["pubkey", kind]).done();
        assert_eq!(private, desk.run(["pubkey", &format!("{kind}.pub")]).done());
    }
    let url = "https://api.example.com/v1/orders";
    for (kind, alg) in [("ed25519", "ed25519"), ("ecdsa", "ecdsa-p384-sha384")] {
        let signed = desk.run(["sign", "--key", kind, url]).done();
        assert!(signed.contains(&format!(";alg=\"{alg}\"")), "{signed}");
    }
    desk.run(["sign", "--key", "rsa", url]).failed(1, "an RSA private key", "Ed25519");
    for kind in ["ecdsa", "rsa"] {
        desk.run(["pubkey", "--prove", kind]).failed(1, "private key", "Ed25519");
    }
}

#[test]
fn a_key_file_that_cannot_be_used_is_told_in_one_line_and_stays_as_it_is() {
    let (desk, _) = Desk::with_key();
    let key = desk.read("id.key");
    let damaged = key.replace("MC4C", "MC4D");
    let mut openssl = desk.command("openssl");
    openssl.args(["pkey", "-in", "id.key", "-aes256", "-passout", "pass:open sesame"]);
    let encrypted = openssl.output().unwrap().stdout;
    let mut openssl = desk.command("openssl");
    openssl.args(["genpkey", "-algorithm", "x25519"]);
    let exchange = openssl.output().unwrap().stdout;
    let public = desk.read("id.key.pub");
    let table: [(&str, &[u8], u32, &str, &str); 10] = [
        ("empty.key", b"", 0o600, "it is empty", "keygen"),
        ("damaged.key", damaged.as_bytes(), 0o600, "damaged", "copy it again"),
        ("cut.key", &key.as_bytes()[..60], 0o600, "damaged", "copy it again"),
        ("text.key", b"hello\n", 0o600, "not a key in a known form", "keygen"),
        ("binary.key", &[0xff; 100], 0o600, "not a key in a known form", "keygen"),
        ("exchange.key", &exchange, 0o600, "an X25519 private key", "Ed25519 key"),
        ("run.key", key.as_bytes(), 0o610, "run.key is executable by", "chmod 600 run.key"),
        ("public.key", public.as_bytes(), 0o600, "it holds a public key", "the private key's file"),
        (
            "open.key",
            key.as_bytes(),
            0o644,
            "open.key is readable by other users",
            "chmod 600 open.key",
        ),
        (
            "encrypted.key",
            &encrypted,
            0o600,
            "encrypted with a passphrase",
            "COUNTERSIGN_PASSPHRASE",
        ),
    ];
    for (file, content, mode, error, hint) in table {
        desk.write(file, content, mode);
        desk.run(["sign", "--key", file, "https://example.com/"]).failed(1, error, hint);
        assert_eq!(std::fs::read(desk.path(file)).unwrap(), content, "{file}");
    }
    desk.run(["sign", "--key", "none.key", "https://example.com/"]).failed(1, "none.key", "keygen");
    desk.run(["sign", "--key", ".", "https://example.com/"]).failed(1, "is a directory", "in it");

    let open = |passphrase: &str| {
        desk.write("passphrase", format!("{passphrase}\n"), 0o600);
        desk.run(["pubkey", "encrypted.key", "--passphrase-file", "passphrase"])
    };
    assert_eq!(open("open sesame").done(), desk.run(["pubkey", "id.key"]).done());
    open("close sesame").failed(1, "the passphrase does not decrypt it", "check the passphrase");
}

#[test]
fn a_secret_is_taken_from_the_environment_or_stdin_and_not_from_the_command_line() {
    let desk = Desk::new();
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "secret.key"]).done();
    let secret = desk.read("secret.key");
    assert!(secret.starts_with("sk_"));
    let url = "https://example.com/";
    let refused = desk.run(["sign", "--key", secret.trim(), url]);
    assert!(!refused.stderr.contains(secret.trim()), "{refused:?}");
    refused.failed(1, "on the command line", "COUNTERSIGN_KEY");
    desk.run(["sign", url]).failed(1, "no key is given", "COUNTERSIGN_KEY");
    let piped = desk.run_with(["sign", "--key", "-", url], secret.as_bytes()).done();
    assert!(piped.contains("alg=\"hmac-sha256\""));
    let desk = desk.variable("COUNTERSIGN_KEY", &secret);
    assert!(desk.run(["sign", url]).done().contains("alg=\"hmac-sha256\""));
}

#[test]
fn a_private_key_in_a_wrong_place_is_not_said_again() {
    let (desk, _) = Desk::with_key();
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "secret.key"]).done();
    let (pem, secret) = (desk.read("id.key"), desk.read("secret.key").trim().to_owned());
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA","d":"BBBB"}"#.to_owned();
    let (cut, branded) = (format!("{secret}x"), format!(" acme_{secret}"));
    let url = "https://example.com/";
    for secret in [&pem, &secret, &jwk, &cut, &branded] {
        let table: [&[&str]; 13] = [
            &[secret],
            &["sign", secret],
            &["sign", url, secret],
            &["sign", "--key", secret, url],
            &["curl", "--key", secret, url],
            &["curl", "--key", "id.key", secret],
            &["pubkey", secret],
            &["verify", "--key", secret, "none"],
            &["verify", "--key", "id.key", secret],
            &["key", "add", "--app", "shop", "--public-key", secret],
            &["key", "add", "--app", "shop", "--hmac-key", secret],
            &["key", "show", secret],
            &["keygen", "--alg", secret],
        ];
        for arguments in table {
            desk.run(arguments).failed(1, "on the command line", "COUNTERSIGN_KEY");
        }
    }
    let mut openssl = desk.command("openssl");
    openssl.args(["pkey", "-in", "id.key", "-aes256", "-passout", "pass:x", "-out", "encrypted"]);
    assert!(openssl.status().unwrap().success());
    desk.set_mode("encrypted", 0o600);
    let outcome = desk.run(["pubkey", "encrypted", "--passphrase-file", "my-secret"]);
    assert!(!outcome.stderr.contains("my-secret"), "{outcome:?}");
    outcome.failed(1, "the file that --passphrase-file names", "first line");
    // A file of such a name is a file.
    desk.write("sk_prod", &pem, 0o600);
    desk.run(["sign", "--key", "sk_prod", url]).done();
    desk.run(["sign", "--key", "sk_none.pem", url]).failed(1, "cannot read sk_none.pem", "keygen");
}

#[test]
fn the_name_of_a_key_file_is_no_key() {
    let (desk, _) = Desk::with_key();
    let url = "https://example.com/";
    desk.run_with(["sign", "--key", "-", url], b"id.key").failed(1, "not a key", "text of a key");
    desk.run_with(["sign", "--key", "fd:0", url], b"").failed(1, "it is empty", "text of a key");
    desk.run(["sign", "-d", "@none", "--key", "id.key", url]).failed(1, "`none`", "by stdin");
    let desk = desk.variable("COUNTERSIGN_KEY", "id.key");
    desk.run(["sign", url]).failed(1, "COUNTERSIGN_KEY", "given with --key");
}

#[test]
fn what_was_made_is_not_lost_with_what_cannot_be_printed() {
    let desk = Desk::new().variable("COUNTERSIGN_DB", "sqlite:registry.db");
    let full = |arguments: &[&str], hint: &str| {
        // There is no such device everywhere.
        let Ok(stdout) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
        let mut command = desk.command(env!("CARGO_BIN_EXE_countersign"));
        let output = command.args(arguments).stdout(stdout).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("error: cannot write to stdout"), "{stderr}");
        assert!(stderr.ends_with(&format!("\nhint: {hint}\n")), "{stderr}");
    };
    let made = "the key was made; `countersign pubkey id.key` prints its publishable key";
    full(&["keygen", "--out", "id.key"], made);
    let added = "the application was added; `countersign app show shop` prints it";
    full(&["app", "add", "shop"], added);
    let added = "the key was added; `countersign key list --app shop` prints it";
    full(&["key", "add", "--app", "shop", "--public-key", "id.key.pub"], added);
    desk.run(["keygen", "--out", "-"]).failed(1, "not written to stdout", "--out");
}

#[test]
fn wrong_usage_is_two_lines_as_well() {
    let desk = Desk::new();
    desk.run::<&str>([]).failed(1, "subcommand is missing", "countersign --help");
    desk.run(["sing"]).failed(1, "sing", "countersign --help");
    desk.run(["keygen", "--alg", "rsa"]).failed(1, "rsa", "countersign keygen --help");
    desk.run(["key", "add"]).failed(1, "--app", "countersign key add --help");
    assert!(desk.run(["--help"]).done().contains("Exit codes"));
    assert!(desk.run(["--version"]).done().starts_with("countersign "));
}

#[test]
fn a_file_that_is_not_there_is_told_as_such_whatever_its_name_resembles() {
    let (desk, _) = Desk::with_key();
    let url = "https://example.com/";
    let names = [
        "task_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A.json",
        "sk_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A.json",
        "SHOP PRIVATE KEY.pem",
    ];
    for name in names {
        let named = format!("cannot read {name}");
        desk.run(["sign", "--key", name, url]).failed(1, &named, "keygen");
        desk.run(["curl", "--key", name, url]).failed(1, &named, "keygen");
        desk.run(["pubkey", name]).failed(1, &named, "keygen");
        let content = format!("@{name}");
        desk.run(["sign", "--key", "id.key", "-d", &content, url]).failed(1, name, "");
    }
}

#[test]
fn a_mounted_secret_is_used_as_the_hint_says() {
    let (desk, publishable) = Desk::with_key();
    let key = desk.read("id.key");
    let url = "https://example.com/";
    for mode in [0o440, 0o444, 0o640] {
        desk.write("mounted.key", &key, 0o600);
        desk.set_mode("mounted.key", mode);
        for told in ["give `-` in place of its name", "`< mounted.key`", "`chmod 600 mounted.key`"]
        {
            desk.run(["sign", "--key", "mounted.key", url]).failed(1, "readable by other", told);
        }
    }
    let signed = desk.run_with(["sign", "--key", "-", url], key.as_bytes()).done();
    assert!(signed.contains(&publishable), "{signed}");
}

#[test]
fn a_passphrase_file_that_others_can_read_is_refused_and_the_hint_works() {
    let (desk, publishable) = Desk::with_key();
    let mut openssl = desk.command("openssl");
    openssl.args(["pkey", "-in", "id.key", "-aes256", "-passout", "pass:open sesame"]);
    let encrypted = openssl.output().unwrap().stdout;
    desk.write("encrypted.key", encrypted, 0o600);
    let open = |desk: &Desk| desk.run(["pubkey", "encrypted.key", "--passphrase-file", "words"]);
    desk.write("words", "open sesame\n", 0o600);
    assert!(open(&desk).done().contains(&publishable));
    for mode in [0o440, 0o644, 0o620] {
        desk.set_mode("words", mode);
        let refused = open(&desk);
        assert!(!refused.stderr.contains("words"), "{refused:?}");
        refused.failed(1, "the file that --passphrase-file names is", "chmod 600");
        open(&desk).failed(1, "by other users", "\"$(head -n 1 FILE | tr -d '\\r')\"");
    }
    let desk = desk.variable("COUNTERSIGN_PASSPHRASE", "open sesame");
    assert!(desk.run(["pubkey", "encrypted.key"]).done().contains(&publishable));
}

#[test]
fn a_key_that_came_through_a_variable_or_an_editor_signs() {
    let (desk, publishable) = Desk::with_key();
    let key = desk.read("id.key");
    let url = "https://example.com/";
    let utf16: Vec<u8> =
        format!("\u{feff}{key}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    desk.write("utf16.key", utf16, 0o600);
    assert!(desk.run(["sign", "--key", "utf16.key", url]).done().contains(&publishable));
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "secret.key"]).done();
    desk.write("noted.key", desk.read("secret.key") + "# of Ada's laptop\n", 0o600);
    assert!(desk.run(["sign", "--key", "noted.key", url]).done().contains("hmac-sha256"));
    desk.write("two.key", format!("{key}{key}"), 0o600);
    desk.run(["sign", "--key", "two.key", url]).failed(1, "more than one key", "of its own");
    let mut keygen = desk.command("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-Z", "3des-cbc", "-N", "open sesame", "-f", "des.key"]);
    assert!(keygen.status().unwrap().success());
    desk.run(["sign", "--key", "des.key", url]).failed(1, "triple DES", "ssh-keygen -p -f");
    let changes = [key.replace('\n', " "), key.replace('\n', "\\n"), format!("\"{key}\"")];
    let mut desk = desk;
    for changed in changes {
        desk = desk.variable("COUNTERSIGN_KEY", &changed);
        assert!(desk.run(["sign", url]).done().contains(&publishable), "{changed}");
    }
}

#[test]
fn the_test_keys_of_a_standard_are_not_registered() {
    let desk = Desk::with_registry();
    // RFC 9421 appendix B.1.4 and B.1.5.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n";
    let jwk = r#"{"kty":"oct","k":"uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ"}"#;
    desk.write("rfc.key", pem, 0o600);
    desk.write("rfc.jwk", jwk, 0o600);
    let proof = desk.run(["pubkey", "--prove", "rfc.key"]).done();
    desk.write("rfc.key.pub", proof, 0o644);
    for file in [["--public-key", "rfc.key.pub"], ["--hmac-key", "rfc.jwk"]] {
        let add = [["key", "add", "--app", "shop"].as_slice(), &file].concat();
        desk.run(&add).failed(1, "known from RFC 9421", "countersign keygen");
    }
    assert!(!desk.run(["key", "list"]).done().contains("pk_"));
}

/// Of a file name, here, or of a server: nobody sees what it does to the text beside it.
#[test]
fn no_message_has_characters_that_reorder_or_hide_text() {
    let (desk, name) = (Desk::new(), "a\u{202e}yek.b\u{200b}\u{1b}[2K\n");
    let made = desk.run(["keygen", "--out", name]);
    assert_eq!(made.code, 0, "{made:?}");
    let again = desk.run(["keygen", "--out", name]);
    assert_eq!(again.code, 1, "{again:?}");
    let server = Server::start(
        "HTTP/1.1 401 Unauthorized\nCountersign-Refusal: signature-policy\nContent-Type: application/problem+json\n\
         Connection: close\n\n\
         {\"code\":\"signature-policy\",\"detail\":\"d\\u202ee\\u200b\\u001b[2K\\n\",\"hint\":\"h\\u2066i\\ufeff\",\"request_id\":\"r\"}",
    );
    desk.run(["keygen", "--out", "id.key"]).done();
    let url = server.url("/v1/key");
    let refused = desk.run(["key", "rotate", "--key", "id.key", &url]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("d\\u{202e}e"), "{refused:?}");
    for outcome in [made, again, refused] {
        let text = outcome.stdout + &outcome.stderr;
        assert!(text.is_ascii() && !text.contains('\u{1b}'), "{text:?}");
    }
}
