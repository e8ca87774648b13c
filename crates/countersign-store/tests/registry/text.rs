//! A registry as text: exported, compared, applied.

use std::fmt::Write as _;

use countersign::{PrivateKey, ProvenKey, Timestamp};
use countersign_store::{
    AuditFinding, NewCredential, Plan, PlanOptions, Registry, RegistryError, RegistryText,
    Replacement, State, Step,
};

use crate::{
    home::{Home, on_both},
    life::{NOW, add, id, key},
    listed::{applications, credentials},
};

on_both! {
    any_text_can_be_applied_to_an_empty_registry_which_is_then_as_it_says
    a_registry_moves_to_another_database_with_its_history
    each_difference_is_a_step_with_its_entry_in_the_audit_log
    what_the_text_does_not_list_stays_unless_it_is_pruned
    what_cannot_be_made_so_is_refused_with_its_place_and_nothing_is_changed
    a_key_that_is_new_needs_a_proof
    a_plan_is_not_carried_out_on_another_registry_than_it_was_made_for
    an_hmac_secret_is_named_and_never_added
    a_damaged_row_is_not_left_out_of_a_text
    the_audit_log_describes_a_key_alike_whoever_adds_it
}

const LATER: Timestamp = Timestamp::from_unix(1_763_903_600);
/// Accepts keys without a proof.
const TRUSTED: PlanOptions = PlanOptions::new().insecure_accept_unproven();

async fn plan(registry: &Registry, text: &str, options: PlanOptions) -> Plan {
    registry.plan(&text.parse().unwrap(), options).await.unwrap()
}

async fn apply(registry: &Registry, text: &str, options: PlanOptions) -> Plan {
    let planned = plan(registry, text, options).await;
    registry.apply(planned.clone(), LATER).await.unwrap();
    planned
}

async fn refused(registry: &Registry, text: &str, options: PlanOptions) -> String {
    let text: RegistryText = text.parse().unwrap();
    match registry.plan(&text, options).await.unwrap_err() {
        RegistryError::Text(refused) => refused.to_string(),
        other => panic!("{other}"),
    }
}

/// Says what a step does, like `key.add shop pk_… - … + …`.
fn said(steps: &[Step]) -> Vec<String> {
    let said = steps.iter().map(|step| {
        let mut said = format!("{} {}", step.action, step.application);
        if let Some(label) = &step.label {
            write!(said, " {label}").unwrap();
        }
        step.removed.iter().for_each(|line| write!(said, " - {line}").unwrap());
        step.added.iter().for_each(|line| write!(said, " + {line}").unwrap());
        said
    });
    said.collect()
}

async fn audited(registry: &Registry, after: i64) -> Vec<String> {
    let entries = registry.audit_entries(after, 1000).await.unwrap();
    entries.iter().map(|entry| entry.action.clone()).collect()
}

/// Makes up a text. It is not in the form of an export.
fn made_up(random: &mut fastrand::Rng) -> String {
    let mut text = "version = 1\n".to_owned();
    let mut seed = 1;
    for application in 0..random.usize(0..5) {
        let name = format!("\"app.{}-{application}\"", random.alphanumeric());
        writeln!(text, "[application.{name}]\nenvironment = 'env-{application}'").unwrap();
        if random.bool() {
            writeln!(
                text,
                "contact = 'Ana \\ \"x\" é'\nnotes = \"\"\"one\\\\\n two\\\"\\\"\\\"\n\"\"\""
            )
            .unwrap();
        }
        let keys: Vec<_> = (0..random.u8(0..6)).map(|number| key(seed + number)).collect();
        seed += 6;
        for (number, one) in keys.iter().enumerate() {
            writeln!(text, "[application.{name}.key.{}]", one.publishable_key()).unwrap();
            let time = |random: &mut fastrand::Rng| random.u64(0..3_000_000_000);
            let successor = keys.get(number + 1);
            match (random.u8(0..5), successor) {
                (0, _) => writeln!(text, "state = 'quarantined'"),
                (1, _) => {
                    writeln!(text, "state = 'revoked'\nrevoked = {}\nreason = 'lost'", time(random))
                }
                (2, _) => writeln!(text, "state = 'revoked'"),
                (3, Some(new)) => {
                    let new = new.publishable_key();
                    writeln!(text, "state = 'retiring'\nreplaced_by = 'acme_{new}'")
                }
                _ => writeln!(text, "label = 'n. {number}'"),
            }
            .unwrap();
            for name in ["created", "expires"] {
                if random.bool() {
                    writeln!(text, "{name} = {}", time(random)).unwrap();
                }
            }
            if random.bool() {
                writeln!(text, "scopes = ['b:x', 'a', 'b:x']").unwrap();
            }
            if random.bool() {
                writeln!(text, "limit_reads = ['60/1m']\nlimit_signed = ['600/60s:50', '9/1d']")
                    .unwrap();
            }
            if random.bool() {
                writeln!(text, "allow.sdk = ['shop']\nallow.ip = ['2001:db8::/48', '192.0.2.7']")
                    .unwrap();
                if random.bool() {
                    writeln!(text, "report_only = ['sdk']").unwrap();
                }
            }
        }
    }
    text
}

async fn any_text_can_be_applied_to_an_empty_registry_which_is_then_as_it_says(home: Home) {
    let mut random = fastrand::Rng::with_seed(7);
    let registry = home.registry().await;
    let empty = registry.export().await.unwrap();
    for _ in 0..12 {
        let text = made_up(&mut random);
        let planned = apply(&registry, &text, TRUSTED).await;
        let exported = registry.export().await.unwrap();
        for text in [&text, &exported] {
            let again = apply(&registry, text, PlanOptions::default()).await;
            assert!(again.is_empty(), "{text}\n{again:?}");
            assert_eq!(registry.export().await.unwrap(), exported);
        }
        let other = Home::sqlite().await;
        let elsewhere = other.registry().await;
        let same = apply(&elsewhere, &exported, TRUSTED).await;
        assert_eq!(same.steps().len(), planned.steps().len());
        assert_eq!(elsewhere.export().await.unwrap(), exported);
        home.raw("DELETE FROM countersign.credential; DELETE FROM countersign.application").await;
        assert_eq!(registry.export().await.unwrap(), empty);
    }
    assert!(registry.verify_audit(None, |_, _| {}).await.unwrap().is_whole());
}

async fn a_registry_moves_to_another_database_with_its_history(home: Home) {
    let other = Home::sqlite().await;
    let old = other.registry().await;
    for seed in 1..=3 {
        add(&old, &key(seed)).await;
    }
    let day = std::time::Duration::from_secs(86_400);
    for (from, to) in [(1, 4), (4, 5)] {
        let proven = ProvenKey::from(&key(to));
        old.rotate(&id(&key(from)), Replacement::new(&proven, day), NOW).await.unwrap();
    }
    old.revoke(&id(&key(2)), None, NOW).await.unwrap();
    let text = old.export().await.unwrap();
    let new = home.registry().await;
    apply(&new, &text, TRUSTED).await;
    assert_eq!(new.export().await.unwrap(), text);
    for seed in 1..=5 {
        let [was, is] =
            [old.credential(&id(&key(seed))).await, new.credential(&id(&key(seed))).await];
        let (was, is) = (was.unwrap(), is.unwrap());
        assert_eq!(is.standing(NOW), was.standing(NOW));
        assert_eq!((is.created_at, is.expires_at), (was.created_at, was.expires_at));
        assert_eq!((is.revoked_at, is.replaced_by), (was.revoked_at, was.replaced_by));
    }
    let lineage = async |seed| new.credential(&id(&key(seed))).await.unwrap().lineage;
    let first = new.credential(&id(&key(1))).await.unwrap().id;
    assert_eq!((lineage(1).await, lineage(4).await, lineage(5).await), (first, first, first));
    assert_ne!(lineage(3).await, first);
    let entries = new.audit_entries(0, 100).await.unwrap();
    let links = entries.iter().filter(|entry| {
        let after = entry.after.as_deref().unwrap_or_default();
        after.contains("\"replaces\":\"pk_") || after.contains("\"replaced_by\":\"pk_")
    });
    assert_eq!(links.count(), 3, "{entries:?}");
}

/// Returns the text of a registry with the application `shop` and a key.
fn shop(lines: &str) -> String {
    let key = key(1).publishable_key();
    format!(
        "version = 1\n[application.shop]\nenvironment = 'live'\n[application.shop.key.{key}]\n{lines}\n"
    )
}

async fn each_difference_is_a_step_with_its_entry_in_the_audit_log(home: Home) {
    let registry = home.registry().await;
    let table = [
        (
            shop("label = 'laptop'"),
            &[
                "app.add shop + environment = \"live\"",
                "key.add shop laptop + label = \"laptop\" + state = \"active\"",
            ] as &[_],
        ),
        (
            shop("label = 'desk'").replace("'live'", "'test'\ncontact = 'ana'\nnotes = \"a\\nb\""),
            &[
                "app.change shop - environment = \"live\" + environment = \"test\" + contact = \"ana\" + notes = \"a\\nb\"",
                "key.change shop desk - label = \"laptop\" + label = \"desk\"",
            ],
        ),
        (
            shop(
                "expires = 2027-01-31T00:00:00Z\nscopes = ['a', 'b']\nallow.ip = ['192.0.2.0/24']\nreport_only = ['ip']\nlimit_signed = ['6/1m']",
            ),
            &[
                "app.change shop - environment = \"test\" - contact = \"ana\" - notes = \"a\\nb\" + environment = \"live\"",
                "key.change shop  - label = \"desk\" + expires = 2027-01-31T00:00:00Z + scopes = \"a\" + scopes = \"b\" \
                 + allow.ip = \"192.0.2.0/24\" + report_only = \"ip\" + limit_signed = \"6/1m\"",
            ],
        ),
        (
            shop("state = 'quarantined'\nscopes = ['b', 'c']\nallow.ip = ['192.0.2.0/24']"),
            &[
                "key.change shop  - expires = 2027-01-31T00:00:00Z - scopes = \"a\" - report_only = \"ip\" - limit_signed = \"6/1m\" + scopes = \"c\"",
                "key.quarantine shop  - state = \"active\" + state = \"quarantined\"",
            ],
        ),
        (
            shop(""),
            &[
                "key.change shop  - scopes = \"b\" - scopes = \"c\" - allow.ip = \"192.0.2.0/24\"",
                "key.release shop  - state = \"quarantined\" + state = \"active\"",
            ],
        ),
        (
            shop("state = 'revoked'\nreason = 'lost'"),
            &["key.revoke shop  - state = \"active\" + state = \"revoked\" + reason = \"lost\""],
        ),
        (shop("state = 'revoked'"), &[]),
        (shop("state = 'revoked'\ncreated = 7\nrevoked = 7"), &[]),
    ];
    for (text, expected) in table {
        let before = registry.audit_entries(0, 1000).await.unwrap().len();
        let planned = apply(&registry, &text, TRUSTED).await;
        assert_eq!(said(planned.steps()), expected, "{text}");
        let expected: Vec<_> =
            expected.iter().map(|step| step.split(' ').next().unwrap()).collect();
        assert_eq!(audited(&registry, i64::try_from(before).unwrap()).await, expected, "{text}");
        assert!(plan(&registry, &text, PlanOptions::default()).await.is_empty());
    }
    let revoked = registry.credential(&id(&key(1))).await.unwrap();
    assert_eq!(revoked.revoked_at, Some(LATER));
    assert_eq!(revoked.revocation_reason.as_ref().unwrap().as_str(), "lost");
    let findings: Vec<AuditFinding> =
        registry.verify_audit(None, |_, _| {}).await.unwrap().findings;
    assert_eq!(findings, []);
}

async fn what_the_text_does_not_list_stays_unless_it_is_pruned(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=3 {
        add(&registry, &key(seed)).await;
    }
    registry.revoke(&id(&key(3)), None, NOW).await.unwrap();
    registry.add_application("web", "live", NOW).await.unwrap();
    let proven = ProvenKey::from(&key(4));
    registry.add_credential(NewCredential::new("web", "page", &proven), NOW).await.unwrap();

    let text = shop("label = 'laptop'");
    let kept = plan(&registry, &text, PlanOptions::default()).await;
    assert!(kept.steps().is_empty() && !kept.is_empty());
    let unlisted: Vec<_> =
        kept.unlisted().iter().map(|one| (one.application.as_str(), one.key)).collect();
    assert_eq!(unlisted, [("shop", Some(key(2).publishable_key())), ("web", None)]);
    registry.apply(kept, NOW).await.unwrap();
    assert_eq!(credentials(&registry, None).await.unwrap().len(), 4);

    let pruned = apply(&registry, &text, PlanOptions::default().prune()).await;
    assert!(pruned.unlisted().is_empty());
    let actions: Vec<_> = pruned.steps().iter().map(|step| step.action.as_str()).collect();
    assert_eq!(actions, ["key.revoke", "key.revoke", "app.remove"]);
    for seed in [2, 4] {
        let credential = registry.credential(&id(&key(seed))).await.unwrap();
        assert_eq!(credential.state, State::Revoked);
        assert!(
            credential.revocation_reason.as_ref().unwrap().as_str().contains("not in the text")
        );
    }
    assert_eq!(applications(&registry).await.unwrap().len(), 1);
    let again = plan(&registry, &text, PlanOptions::default()).await;
    assert!(again.is_empty(), "keys that are revoked need not be listed: {again:?}");
}

async fn what_cannot_be_made_so_is_refused_with_its_place_and_nothing_is_changed(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=3 {
        add(&registry, &key(seed)).await;
    }
    registry.revoke(&id(&key(2)), None, NOW).await.unwrap();
    registry.add_application("gone", "live", NOW).await.unwrap();
    let proven = ProvenKey::from(&key(6));
    registry.add_credential(NewCredential::new("gone", "", &proven), NOW).await.unwrap();
    registry.revoke(&id(&key(6)), None, NOW).await.unwrap();
    registry.remove_application("gone", NOW).await.unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let proven = ProvenKey::from(&key(7));
    registry.rotate(&id(&key(3)), Replacement::new(&proven, day), NOW).await.unwrap();
    let before = registry.export().await.unwrap();

    let named = |seed: u8, lines: &str| {
        format!("[application.shop.key.{}]\n{lines}\n", key(seed).publishable_key())
    };
    let successor = |seed: u8| format!("replaced_by = '{}'", key(seed).publishable_key());
    let published = PrivateKey::ed25519(&[
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ]);
    let table = [
        (named(2, ""), "line 7, column 23: the key is revoked for ever"),
        (named(2, "state = 'active'"), "line 8, column 9: the key is revoked for ever"),
        (
            named(2, "state = 'revoked'\nreason = 'lost'"),
            "line 9, column 10: the key is revoked already, with no reason",
        ),
        (named(3, "state = 'active'"), "line 8, column 9: another key took over"),
        (named(7, "state = 'retiring'"), "line 8, column 9: no other key took over"),
        (
            named(3, "state = 'retiring'").replace("state", &format!("{}\nstate", successor(2))),
            "line 8, column 15: no other key took over from this one",
        ),
        (named(8, ""), "line 7, column 23: the registry does not have this key"),
        (
            named(6, "insecure_unproven = true"),
            "line 7, column 23: the key was one of the application gone",
        ),
        (
            named(8, &format!("insecure_unproven = true\n{}", successor(9))),
            "line 9, column 15: the key that took over has to be in the same",
        ),
        (
            named(8, &format!("insecure_unproven = true\n{}", successor(9)))
                + &named(9, &format!("insecure_unproven = true\n{}", successor(8))),
            "took over from each other in a circle",
        ),
        (
            named(8, &format!("insecure_unproven = true\n{}", successor(1)))
                + &named(9, &format!("insecure_unproven = true\n{}", successor(1))),
            "column 15: it took over from another key already",
        ),
        (
            format!(
                "[application.web]\nenvironment = 'live'\n[application.web.key.{}]\n",
                key(3).publishable_key()
            ),
            "line 9, column 22: the key is one of the application shop",
        ),
        (
            format!(
                "[application.shop.key.{}]\ninsecure_unproven = true",
                published.publishable_key()
            ),
            "line 7, column 23: ",
        ),
    ];
    for (lines, expected) in table {
        // Before what is refused is a change that would be made.
        let text = format!("{}\n{lines}", shop("label = 'other'"));
        let refused = refused(&registry, &text, PlanOptions::default().prune()).await;
        assert!(refused.contains(expected), "{text}: {refused}");
        assert_eq!(registry.export().await.unwrap(), before);
    }
}

async fn a_key_that_is_new_needs_a_proof(home: Home) {
    let registry = home.registry().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    let missing = "line 4, column 23: the registry does not have this key: give its `proof`";
    assert!(refused(&registry, &shop(""), PlanOptions::default()).await.starts_with(missing));
    let proof = ProvenKey::proof(&key(1)).unwrap();
    for lines in [format!("proof = '''{proof}'''"), "insecure_unproven = true".into()] {
        assert_eq!(plan(&registry, &shop(&lines), PlanOptions::default()).await.steps().len(), 1);
    }
    apply(&registry, &shop(&format!("proof = '''{proof}'''")), PlanOptions::default()).await;
    assert!(!registry.export().await.unwrap().contains("proof"));
    assert!(plan(&registry, &shop(""), PlanOptions::default()).await.is_empty());
}

async fn a_plan_is_not_carried_out_on_another_registry_than_it_was_made_for(home: Home) {
    let registry = home.registry().await;
    let planned = plan(&registry, &shop(""), TRUSTED).await;
    registry.add_application("web", "live", NOW).await.unwrap();
    let before = registry.export().await.unwrap();
    let outdated = registry.apply(planned, NOW).await;
    assert!(matches!(outdated, Err(RegistryError::Outdated)), "{outdated:?}");
    assert_eq!(registry.export().await.unwrap(), before);
    // A row that was removed past the registry.
    add(&registry, &key(1)).await;
    let planned = plan(&registry, &shop("label = 'a'").replace("'live'", "'test'"), TRUSTED).await;
    home.raw("DELETE FROM countersign.credential").await;
    let entries = registry.audit_entries(0, 100).await.unwrap();
    let outdated = registry.apply(planned, NOW).await;
    assert!(matches!(outdated, Err(RegistryError::Outdated)), "{outdated:?}");
    assert_eq!(registry.audit_entries(0, 100).await.unwrap(), entries);
    assert_eq!(registry.application("shop").await.unwrap().environment, "live");
    // Another registry, with as many changes.
    let planned = plan(&registry, &shop(""), TRUSTED).await;
    let home = Home::sqlite().await;
    let other = home.registry().await;
    for number in 0..entries.len() {
        let name = format!("app{number}");
        other.add_application(&name, "live", NOW).await.unwrap();
    }
    assert_eq!(other.audit_entries(0, 100).await.unwrap().len(), entries.len());
    let outdated = other.apply(planned, NOW).await;
    assert!(matches!(outdated, Err(RegistryError::Outdated)), "{outdated:?}");
}

async fn an_hmac_secret_is_named_and_never_added(home: Home) {
    let registry = home.registry().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    let canary = *b"canary: a secret of 32 bytes yes";
    let secret = PrivateKey::hmac_sha256([7; 16], &canary).unwrap();
    let proven = ProvenKey::from(&secret);
    registry.add_credential(NewCredential::new("shop", "hook", &proven), NOW).await.unwrap();
    let text = registry.export().await.unwrap();
    assert!(text.contains(&secret.publishable_key().to_string()));
    assert!(!text.contains("canary") && !text.contains("sk_"));
    let changed = text.replace("hook", "web hook");
    assert_eq!(apply(&registry, &changed, PlanOptions::default()).await.steps().len(), 1);
    let other = Home::sqlite().await;
    let elsewhere = other.registry().await;
    let refused = refused(&elsewhere, &text, TRUSTED).await;
    assert!(refused.contains("a text cannot add an HMAC secret"), "{refused}");
}

async fn a_damaged_row_is_not_left_out_of_a_text(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    home.raw("UPDATE countersign.credential SET scopes = 'a,b'").await;
    let text: RegistryText = shop("").parse().unwrap();
    for refused in [
        registry.export().await.map(drop),
        registry.plan(&text, PlanOptions::default()).await.map(drop),
    ] {
        assert!(matches!(refused, Err(RegistryError::DamagedCredential { .. })), "{refused:?}");
    }
    home.raw("UPDATE countersign.credential SET scopes = ''").await;
    home.raw("UPDATE countersign.application SET environment = 'A B'").await;
    let refused = registry.export().await;
    assert!(matches!(refused, Err(RegistryError::DamagedApplication { .. })), "{refused:?}");
}

async fn the_audit_log_describes_a_key_alike_whoever_adds_it(home: Home) {
    let by_hand = home.registry().await;
    add(&by_hand, &key(1)).await;
    by_hand.revoke(&id(&key(1)), None, LATER).await.unwrap();
    let other = Home::sqlite().await;
    let by_text = other.registry().await;
    apply(&by_text, &shop("label = 'laptop'"), TRUSTED).await;
    apply(&by_text, &shop("label = 'laptop'\nstate = 'revoked'"), TRUSTED).await;
    let [hand, text] = [&by_hand, &by_text].map(|registry| registry.audit_entries(0, 10));
    let (hand, text) = (hand.await.unwrap(), text.await.unwrap());
    assert_eq!(hand.len(), 3);
    for (hand, text) in hand.iter().zip(&text) {
        assert_eq!(hand.action, text.action);
        let value = |json: &Option<String>| {
            json.as_deref().map(|json| serde_json::from_str::<serde_json::Value>(json).unwrap())
        };
        assert_eq!(value(&hand.before), value(&text.before), "{}", hand.action);
        assert_eq!(value(&hand.after), value(&text.after), "{}", hand.action);
    }
}
