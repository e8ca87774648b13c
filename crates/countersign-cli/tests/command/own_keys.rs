//! What the holder of a key does with it alone, by the command.

use std::{process::Stdio, time::Instant};

use serde_json::Value;

use crate::{
    desk::Desk,
    end_to_end::{Server, desk_with_server},
};

/// With a key `id.key` that is registered.
fn desk_with_registered_key() -> (Desk, Server, String) {
    let (desk, server) = desk_with_server();
    let key = desk.run(["keygen", "--out", "id.key"]).done().trim().to_owned();
    desk.run(["key", "add", "--app", "shop", "--public-key", "id.key.pub"]).done();
    (desk, server, key)
}

fn order(desk: &Desk, server: &Server, key: &str) -> (i32, String) {
    let sent = desk.run(["curl", "--key", key, "-sS", "--json", "{}", &server.url]);
    (sent.code, sent.stdout)
}

fn works(desk: &Desk, server: &Server) {
    assert_eq!(order(desk, server, "id.key"), (0, "{}".to_owned()));
}

#[test]
fn a_key_is_rotated_by_its_holder_alone() {
    let (desk, server, old) = desk_with_registered_key();
    desk.write("old.key", desk.read("id.key"), 0o600);
    let endpoint = server.endpoint();
    let rotate = |more: &[&str]| {
        let fixed = ["key", "rotate", "--key", "id.key"];
        desk.run(fixed.iter().chain(more).chain(&[endpoint.as_str()]))
    };
    let rotated = rotate(&[]);
    assert!(
        rotated.stderr.contains("id.key has the new key; the old one ends at 2"),
        "{rotated:?}"
    );
    let new = rotated.done().trim().to_owned();
    assert_eq!(desk.run(["pubkey", "id.key"]).done().lines().next(), Some(&*new));
    assert!(desk.read("id.key.pub").starts_with(&new));
    assert_eq!(desk.mode("id.key"), 0o600);
    works(&desk, &server);
    assert_eq!(order(&desk, &server, "old.key").0, 0, "until the overlap ends");

    let json: Value = serde_json::from_str(&rotate(&["--overlap", "0", "--json"]).done()).unwrap();
    assert_eq!((&json["replaces"], &json["file"]), (&new.into(), &"id.key".into()));
    works(&desk, &server);
    let registered: Value =
        serde_json::from_str(&desk.run(["key", "show", &old, "--json"]).done()).unwrap();
    assert_eq!(registered["state"], "retiring");
}

#[test]
fn a_key_that_its_holder_cannot_rotate_says_what_to_do() {
    let (desk, server, _) = desk_with_registered_key();
    let endpoint = server.endpoint();
    desk.write("old.key", desk.read("id.key"), 0o600);
    desk.run(["key", "rotate", "--key", "id.key", &endpoint]).done();
    desk.run(["keygen", "--out", "none.key"]).done();
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "hmac.key"]).done();
    desk.write("open.key", desk.read("none.key"), 0o644);
    let no_endpoint = format!("{endpoint}/none");
    let table: [(&[&str], i32, &str, &str); 9] = [
        (&["old.key", &endpoint], 3, "key-conflict", "which keys are yours"),
        (&["none.key", &endpoint], 3, "signature-invalid", "is the key registered"),
        (&["hmac.key", &endpoint], 1, "HMAC secret", "ask the operator"),
        (&["open.key", &endpoint], 1, "readable by other users", "chmod 600"),
        (&["missing.key", &endpoint], 1, "cannot read missing.key", "name a key file that exists"),
        (&["id.key", "http://api.example.com/v1/key"], 1, "over https alone", "https://"),
        (&["id.key", "here"], 1, "the URL cannot be read", "like https://"),
        (&["id.key", &no_endpoint], 2, "404", "ask the operator"),
        (&["id.key", "http://127.0.0.1:9/v1/key"], 2, "got no response", "goes on where it was"),
    ];
    for (arguments, code, error, hint) in table {
        let fixed = ["key", "rotate", "--key"];
        desk.run(fixed.iter().chain(arguments)).failed(code, error, hint);
    }
    let too_long = ["key", "rotate", "--key", "id.key", "--overlap", "31d", &endpoint];
    desk.run(too_long).failed(2, "bad-request", "at most 2592000 s");
    works(&desk, &server);
    // The next key of the refused runs is there yet, and is the one that takes over.
    desk.run(["key", "rotate", "--key", "id.key", &endpoint]).done();
    works(&desk, &server);
}

#[test]
fn an_encrypted_key_stays_encrypted() {
    let (desk, server, _) = desk_with_registered_key();
    let mut openssl = desk.command("openssl");
    let arguments = "pkcs8 -topk8 -in id.key -out locked.key -passout pass:horse";
    assert!(openssl.args(arguments.split(' ')).status().unwrap().success());
    desk.set_mode("locked.key", 0o600);
    let rotate = ["key", "rotate", "--key", "locked.key", &server.endpoint()];
    desk.run(rotate).failed(1, "encrypted", "--passphrase-file");
    desk.write("passphrase", "donkey\n", 0o600);
    let given = ["--passphrase-file", "passphrase"];
    desk.run(rotate.iter().chain(&given)).failed(1, "does not decrypt it", "passphrase");
    desk.write("passphrase", "horse\n", 0o600);
    desk.run(rotate.iter().chain(&given)).done();
    assert!(desk.read("locked.key").starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    // openssl opens what was written.
    let mut openssl = desk.command("openssl");
    let arguments = "pkey -in locked.key -passin pass:horse -noout";
    assert!(openssl.args(arguments.split(' ')).status().unwrap().success());
    let fixed = ["curl", "--key", "locked.key", "-sS", "--json", "{}", &server.url];
    desk.run(fixed[..3].iter().chain(&given).chain(&fixed[3..])).done();
}

#[test]
fn a_rotation_that_is_killed_again_and_again_leaves_one_key_that_works() {
    let (desk, server, _) = desk_with_registered_key();
    let endpoint = server.endpoint();
    let begun = Instant::now();
    desk.run(["key", "rotate", "--key", "id.key", &endpoint]).done();
    let whole = begun.elapsed();
    for round in 0..60 {
        let overlap = if round % 2 == 0 { "0" } else { "24h" };
        let mut command = desk.command(env!("CARGO_BIN_EXE_countersign"));
        command.args(["key", "rotate", "--key", "id.key", "--overlap", overlap, &endpoint]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // At any point of a run, of which most of the time is before its first request, and now and then not at all.
        if round % 10 < 9 {
            std::thread::sleep(whole.mul_f64(f64::from(round * 7 % 60) / 35.0));
            drop(child.kill());
        }
        child.wait().unwrap();
        let content = desk.read("id.key");
        assert!(content.ends_with("-----END PRIVATE KEY-----\n"), "{round}: {content}");
    }
    desk.run(["key", "rotate", "--key", "id.key", &endpoint]).done();
    works(&desk, &server);
    let left = ["id.key.next", "id.key.next.part", "id.key.pub.part"];
    assert!(left.iter().all(|file| !desk.path(file).exists()));
    let proof = desk.run(["pubkey", "--prove", "id.key"]).done();
    assert_eq!(desk.read("id.key.pub"), proof);
    // Each key took over from one, and one is left. At least the eight runs that nobody killed made one each.
    let listed: Value = serde_json::from_str(&desk.run(["key", "list", "--json"]).done()).unwrap();
    let states: Vec<_> = listed.as_array().unwrap().iter().map(|key| &key["state"]).collect();
    let active = states.iter().filter(|state| **state == "active").count();
    assert_eq!(active, 1, "{states:?}");
    assert!(states.len() > 8, "{states:?}");
}

#[test]
fn a_holder_revokes_its_own_key() {
    let (desk, server, key) = desk_with_registered_key();
    let endpoint = server.endpoint();
    let revoke = |more: &[&str]| {
        let fixed = ["key", "revoke-own", "--key", "id.key"];
        desk.run(fixed.iter().chain(more).chain(&[endpoint.as_str()]))
    };
    revoke(&["--reason", ""]).failed(2, "bad-request", "1 to 200");
    let revoked = revoke(&["--reason", "laptop lost", "--json"]);
    assert!(revoked.stderr.contains("revoked for ever"), "{revoked:?}");
    let json: Value = serde_json::from_str(&revoked.done()).unwrap();
    assert_eq!(
        (&json["publishable_key"], &json["state"]),
        (&key.as_str().into(), &"revoked".into())
    );
    let again = revoke(&[]);
    assert!(again.stderr.contains("was revoked before"), "{again:?}");
    again.done();
    assert_eq!(order(&desk, &server, "id.key").0, 3);
    let log = desk.run(["audit", "list", "--json"]).done();
    assert!(log.contains("laptop lost") && log.contains(&format!("key {key}")), "{log}");
}
