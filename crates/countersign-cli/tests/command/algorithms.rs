use crate::desk::Desk;

/// With a private key that openssl made.
fn openssl(desk: &Desk, file: &str, arguments: &[&str]) {
    let mut openssl = desk.command("openssl");
    openssl.arg("genpkey").args(arguments).args(["-out", file]);
    assert!(openssl.output().unwrap().status.success());
    desk.set_mode(file, 0o600);
}

const URL: &str = "https://api.example.com/v1/orders?expand=customer";
const P256: &[&str] = &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
const P521: &[&str] = &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
const RSA: &[&str] = &["-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"];

#[test]
fn an_ecdsa_key_signs_for_the_servers_of_others() {
    let desk = Desk::new();
    for (curve, algorithm) in [(P256, "ecdsa-p256-sha256"), (P384, "ecdsa-p384-sha384")] {
        openssl(&desk, "id.key", curve);
        let thumbprint = desk.run(["pubkey", "id.key"]).done();
        let mut public = desk.command("openssl");
        let public = public.args(["pkey", "-in", "id.key", "-pubout"]).output().unwrap();
        desk.write("id.pem", public.stdout, 0o644);
        assert_eq!(desk.run(["pubkey", "id.pem"]).done(), thumbprint);
        for coverage in [&[][..], &["--component", "@method", "--component", "@target-uri"]] {
            let sign = ["sign", "--key", "id.key", "-d", "{}", "--format", "http"];
            let message = desk.run(sign.iter().chain(coverage).chain(&[URL])).done();
            let named = format!("keyid=\"{}\";alg=\"{algorithm}\"", thumbprint.trim());
            assert!(message.contains(&named), "{message}");
            let verify = |message: &str| {
                let arguments = ["verify", "--policy", "none", "--key", "id.pem", "-"];
                desk.run_with(arguments, message.as_bytes())
            };
            assert_eq!(verify(&message).done(), format!("verified: signed by {thumbprint}"));
            let changes = [
                ("POST ", "PUT ".to_owned()),
                (algorithm, "ed25519".to_owned()),
                (algorithm, "ecdsa-p521-sha512".to_owned()),
                ("expand=customer", "expand=supplier".to_owned()),
            ];
            for (from, to) in changes {
                let outcome = verify(&message.replacen(from, &to, 1));
                assert_eq!(outcome.code, 3, "{from} → {to}: {outcome:?}");
            }
        }
        let keyid = desk.run(["sign", "--key", "id.key", "--keyid", "mine", URL]).done();
        assert!(keyid.contains("keyid=\"mine\""), "{keyid}");
    }
}

#[test]
fn an_rsa_key_does_not_sign() {
    let desk = Desk::new();
    openssl(&desk, "id.key", RSA);
    desk.run(["sign", "--key", "id.key", URL]).failed(1, "RUSTSEC-2023-0071", "ECDSA");
    assert_eq!(desk.run(["pubkey", "id.key"]).done().trim().len(), 43);
    desk.set_mode("id.key", 0o644);
    desk.run(["pubkey", "id.key"]).failed(1, "readable by other users", "chmod 600 id.key");
}

#[test]
fn whoever_names_a_key_on_another_curve_is_told_the_curves() {
    let desk = Desk::new();
    openssl(&desk, "id.key", P521);
    let table: [&[&str]; 3] = [
        &["sign", "--key", "id.key", URL],
        &["verify", "--policy", "none", "--key", "id.key", "message"],
        &["pubkey", "id.key"],
    ];
    for arguments in table {
        desk.run(arguments).failed(1, "on another curve", "ECDSA key on P-256 or P-384");
    }
    desk.run(["curl", "--key", "id.key", URL]).failed(1, "(ECDSA)", "HMAC secret; `countersign");
}

#[test]
fn what_is_for_credentials_takes_no_other_key_and_names_it() {
    let desk = Desk::with_registry();
    openssl(&desk, "ec.key", P256);
    openssl(&desk, "rsa.key", RSA);
    for (file, kind) in [("ec.key", "elliptic-curve (ECDSA)"), ("rsa.key", "an RSA private key")] {
        let table: [&[&str]; 4] = [
            &["curl", "--key", file, URL],
            &["pubkey", "--prove", file],
            &["key", "add", "--app", "shop", "--public-key", file],
            &["key", "add", "--app", "shop", "--hmac-key", file],
        ];
        for arguments in table {
            desk.run(arguments).failed(1, kind, "Ed25519");
        }
    }
    for algorithm in ["ecdsa-p256-sha256", "rsa-pss-sha512"] {
        desk.run(["keygen", "--alg", algorithm]).failed(1, "ed25519 or hmac-sha256", "--help");
    }
}
