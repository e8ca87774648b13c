//! The audit log: what it holds, and that edits of it are found.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign::{KeyId, PrivateKey, ProvenKey, Timestamp};
use countersign_store::{
    Action, AuditFilter, AuditFinding, AuditHead, MasterKey, MasterKeys, NewCredential, Registry,
    RegistryOptions, Replacement, Restriction, RestrictionKind, Scope,
};

use crate::{
    home::{Home, on_both},
    life::{NOW, add, id, key},
};

on_both! {
    entries_are_found_by_whom_and_what_and_when_they_are_about
    an_audit_log_as_it_was_written_is_whole_also_while_it_grows
    edits_of_the_audit_log_are_found_where_they_are
    a_log_that_was_rewritten_is_found_by_the_head_that_was_noted
    a_long_log_is_read_in_pieces
    no_row_changes_without_an_entry_and_no_secret_is_in_any
}

const LATER: Timestamp = Timestamp::from_unix(1_763_903_600);

/// Lets entries of the audit log be edited, as only who owns the database can.
async fn unlock(home: &Home) {
    home.raw(match home {
        Home::Sqlite(_) => "DROP TRIGGER audit_entry_update; DROP TRIGGER audit_entry_delete",
        #[cfg(all(feature = "postgres", unix))]
        Home::Postgres(_) => "DROP TRIGGER audit_entry_edit ON countersign.audit_entry",
    })
    .await;
}

async fn verified(registry: &Registry, noted: Option<AuditHead>) -> Vec<AuditFinding> {
    registry.verify_audit(noted, |_, _| {}).await.unwrap().findings
}

/// Makes a log of 6 entries.
async fn six_entries(home: &Home) -> Registry {
    let registry = home.registry().await;
    for seed in 1..=3 {
        add(&registry, &key(seed)).await;
    }
    registry.revoke(&id(&key(1)), None, LATER).await.unwrap();
    registry.add_application("web", "test", LATER).await.unwrap();
    registry
}

async fn entries_are_found_by_whom_and_what_and_when_they_are_about(home: Home) {
    let registry = six_entries(&home).await.acting_as("ana@ops-1".parse().unwrap());
    registry.revoke(&id(&key(2)), None, LATER).await.unwrap();
    let (all, revoke) = (AuditFilter::default(), Action::RevokeKey);
    let thumbprint = KeyId::Thumbprint(key(2).publishable_key().thumbprint().unwrap());
    let table: [(AuditFilter, &[i64]); 12] = [
        (all.clone(), &[1, 2, 3, 4, 5, 6, 7]),
        (all.clone().application(&"shop".parse().unwrap()), &[1, 2, 3, 4, 5, 7]),
        (all.clone().application(&"sho".parse().unwrap()), &[]),
        (all.clone().key(&id(&key(2))), &[3, 7]),
        (all.clone().key(&thumbprint), &[]),
        (all.clone().actor(&"ana@ops-1".parse().unwrap()), &[7]),
        (all.clone().action(revoke), &[5, 7]),
        (all.clone().since(LATER), &[5, 6, 7]),
        (all.clone().until(LATER), &[1, 2, 3, 4]),
        (all.clone().since(NOW).until(NOW), &[]),
        (all.clone().action(revoke).key(&id(&key(1))), &[5]),
        (all.clone().action(Action::AddKey).key(&id(&key(1))).until(NOW), &[]),
    ];
    for (filter, expected) in table {
        let entries = registry.latest_audit_entries(&filter, None, 100).await.unwrap();
        let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, expected, "{filter:?}");
    }
    let page = async |before| {
        let entries = registry.latest_audit_entries(&all, before, 3).await.unwrap();
        entries.iter().map(|entry| entry.number).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, [5, 6, 7]);
    assert_eq!(page(Some(5)).await, [2, 3, 4]);
    assert_eq!(page(Some(2)).await, [1]);
    assert!(page(Some(1)).await.is_empty());
}

async fn an_audit_log_as_it_was_written_is_whole_also_while_it_grows(home: Home) {
    let registry = home.registry().await;
    let empty = registry.verify_audit(None, |_, _| {}).await.unwrap();
    assert!(empty.is_whole() && empty.entries == 0, "{empty:?}");
    assert_eq!(empty.head.unwrap().to_string(), format!("0:{}", "0".repeat(64)));
    let registry = six_entries(&home).await;
    let mut seen = Vec::new();
    let report = registry.verify_audit(empty.head, |at, of| seen.push((at, of))).await.unwrap();
    assert!(report.is_whole() && report.entries == 6, "{report:?}");
    assert_eq!(seen, [(6, 6)]);
    let entries = registry.audit_entries(0, 100).await.unwrap();
    let last = entries.last().unwrap();
    assert_eq!(report.head.unwrap().to_string(), format!("6:{}", last.hash));

    let elsewhere = registry.clone();
    let changes = tokio::spawn(async move {
        for name in ('a'..='z').map(String::from) {
            elsewhere.add_application(&name, "live", NOW).await.unwrap();
        }
    });
    while !changes.is_finished() {
        assert_eq!(verified(&registry, report.head).await, []);
    }
    changes.await.unwrap();
    let report = registry.verify_audit(report.head, |_, _| {}).await.unwrap();
    assert!(report.is_whole() && report.entries == 32, "{report:?}");
}

async fn edits_of_the_audit_log_are_found_where_they_are(home: Home) {
    use AuditFinding::{AfterHead, BeforeFirst, Broken, Missing, NoHead, Truncated, Unreadable};

    let registry = six_entries(&home).await;
    unlock(&home).await;
    let copy = "CREATE TABLE countersign.kept AS SELECT * FROM countersign.audit_entry;
                CREATE TABLE countersign.kept_change AS SELECT * FROM countersign.last_change";
    home.raw(copy).await;
    let restore = "DELETE FROM countersign.audit_entry;
                   INSERT INTO countersign.audit_entry SELECT * FROM countersign.kept;
                   DELETE FROM countersign.last_change;
                   INSERT INTO countersign.last_change SELECT * FROM countersign.kept_change";
    let entry = |number: i64| {
        format!(
            "INSERT INTO countersign.audit_entry
             SELECT {number}, at, actor, action, application, key_id, before, after, hash
             FROM countersign.audit_entry WHERE number = 3"
        )
    };
    let set =
        |columns: &str| format!("UPDATE countersign.audit_entry SET {columns} WHERE number = 3");
    let change = |columns: &str| format!("UPDATE countersign.last_change SET {columns}");
    let broken = || vec![Broken { number: 3 }];
    let table = [
        (String::new(), vec![]),
        (set("at = at + 1"), broken()),
        (set("at = -1"), broken()),
        (set("actor = 'bob'"), broken()),
        (set("action = 'key.revoke'"), broken()),
        (set("application = 'web'"), broken()),
        (set("application = NULL"), broken()),
        (set("key_id = NULL"), broken()),
        (set("before = after"), broken()),
        (set("after = NULL"), broken()),
        (set("hash = (SELECT hash FROM countersign.audit_entry WHERE number = 4)"), broken()),
        (set("number = -3"), vec![BeforeFirst { from: -3, to: -3 }, Missing { from: 3, to: 3 }]),
        (
            set("number = 9"),
            vec![
                Missing { from: 3, to: 3 },
                Missing { from: 7, to: 8 },
                AfterHead { from: 9, to: 9 },
            ],
        ),
        (
            "DELETE FROM countersign.audit_entry WHERE number IN (2, 3)".into(),
            vec![Missing { from: 2, to: 3 }],
        ),
        (
            "DELETE FROM countersign.audit_entry WHERE number > 4".into(),
            vec![Truncated { from: 5, to: 6 }],
        ),
        ("DELETE FROM countersign.audit_entry".into(), vec![Truncated { from: 1, to: 6 }]),
        (entry(7), vec![Broken { number: 7 }, AfterHead { from: 7, to: 7 }]),
        (change("number = 5"), vec![]), // below
        ("DELETE FROM countersign.last_change".into(), vec![NoHead]),
    ];
    let entries = registry.audit_entries(0, 100).await.unwrap();
    for (statement, expected) in table {
        home.raw(&statement).await;
        let listed = registry.audit_entries(0, 100).await;
        assert!(listed.is_ok(), "{statement}: {listed:?}");
        let found = verified(&registry, None).await;
        if statement == change("number = 5") {
            let [AuditFinding::OtherHead { recorded, found }, AfterHead { from: 6, to: 6 }] =
                *found
            else {
                panic!("{found:?}")
            };
            assert_eq!((recorded.hash, found.hash), (entries[5].hash, entries[4].hash));
        } else {
            assert_eq!(found, expected, "{statement}");
        }
        home.raw(restore).await;
        assert_eq!(verified(&registry, None).await, [], "{statement}");
    }
    let short = match home {
        Home::Sqlite(_) => "x'00'",
        #[cfg(all(feature = "postgres", unix))]
        Home::Postgres(_) => "decode('00', 'hex')",
    };
    home.raw(&set(&format!("hash = {short}"))).await;
    assert_eq!(verified(&registry, None).await, [Unreadable { number: 3 }]);
    home.raw(restore).await;
    home.raw(&change(&format!("hash = {short}"))).await;
    assert_eq!(verified(&registry, None).await, [NoHead]);
}

async fn a_log_that_was_rewritten_is_found_by_the_head_that_was_noted(home: Home) {
    let registry = six_entries(&home).await;
    let noted = registry.verify_audit(None, |_, _| {}).await.unwrap().head.unwrap();
    add(&registry, &key(4)).await;
    assert_eq!(verified(&registry, Some(noted)).await, []);
    // Who can write to the database sets it back to an earlier state, and goes on from there.
    unlock(&home).await;
    home.raw(
        "DELETE FROM countersign.audit_entry WHERE number > 4;
         UPDATE countersign.last_change SET number = 4,
             hash = (SELECT hash FROM countersign.audit_entry WHERE number = 4)",
    )
    .await;
    assert_eq!(verified(&registry, None).await, [], "the hashes need no secret");
    let lost = AuditFinding::NotAsNoted { noted, found: None };
    assert_eq!(verified(&registry, Some(noted)).await, [lost]);
    for name in ["one", "two", "three"] {
        registry.add_application(name, "live", NOW).await.unwrap();
    }
    assert_eq!(verified(&registry, None).await, []);
    let found = verified(&registry, Some(noted)).await;
    let [AuditFinding::NotAsNoted { noted: _, found: Some(found) }] = *found else {
        panic!("{found:?}")
    };
    assert_eq!(found.number, 6);
    assert_ne!(found.hash, noted.hash);
}

async fn a_long_log_is_read_in_pieces(home: Home) {
    let registry = home.registry().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    unlock(&home).await;
    // The hashes of these do not follow.
    home.raw(
        "INSERT INTO countersign.audit_entry
         WITH RECURSIVE n(number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM n WHERE number < 2500)
         SELECT n.number, at, actor, action, application, key_id, before, after, hash
         FROM countersign.audit_entry, n WHERE audit_entry.number = 1",
    )
    .await;
    let mut seen = Vec::new();
    let report = registry.verify_audit(None, |at, of| seen.push((at, of))).await.unwrap();
    assert_eq!(seen, [(1000, 2500), (2000, 2500), (2500, 2500)]);
    assert_eq!((report.entries, report.findings.len()), (2500, 1000));
    assert_eq!(report.more_findings, 1500, "2499 broken ones and those after the head");
}

/// Counts every row of applications and credentials that is written.
async fn count_writes(home: &Home) {
    let tables = ["application", "credential"];
    home.raw("CREATE TABLE countersign.written (what text NOT NULL)").await;
    for table in tables {
        match home {
            Home::Sqlite(_) => {
                for event in ["INSERT", "UPDATE", "DELETE"] {
                    let trigger = format!(
                        "CREATE TRIGGER {table}_{event} AFTER {event} ON {table}
                         BEGIN INSERT INTO written (what) VALUES ('{table}'); END"
                    );
                    home.raw(&trigger).await;
                }
            }
            #[cfg(all(feature = "postgres", unix))]
            Home::Postgres(_) => {
                let trigger = format!(
                    "CREATE OR REPLACE FUNCTION countersign.note_write() RETURNS trigger LANGUAGE plpgsql AS $$
                     BEGIN INSERT INTO countersign.written (what) VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
                     CREATE TRIGGER {table}_write AFTER INSERT OR UPDATE OR DELETE ON countersign.{table}
                     FOR EACH ROW EXECUTE FUNCTION countersign.note_write()"
                );
                home.raw(&trigger).await;
            }
        }
    }
}

async fn no_row_changes_without_an_entry_and_no_secret_is_in_any(home: Home) {
    let registry = home.registry().await;
    count_writes(&home).await;
    let canary = *b"canary: a secret of 32 bytes yes";
    let secret = PrivateKey::hmac_sha256([7; 16], &canary).unwrap();
    let secret_id = id(&secret);

    let mut entries = 0;
    // Every change makes the entries that it should: where a row was written there is one.
    let mut made = async |expected: &[Action]| {
        let all = registry.audit_entries(entries, 100).await.unwrap();
        let actions: Vec<_> = all.iter().map(|entry| entry.action.as_str()).collect();
        let expected: Vec<_> = expected.iter().map(|action| action.as_str()).collect();
        assert_eq!(actions, expected);
        entries = all.last().map_or(entries, |entry| entry.number);
        let nothing_written = "INSERT INTO countersign.written
                               SELECT NULL FROM countersign.written LIMIT 1";
        let unwritten = home.try_raw(nothing_written).await.is_ok();
        assert_eq!(unwritten, expected.is_empty());
        home.raw("DELETE FROM countersign.written").await;
    };
    registry.add_application("shop", "live", NOW).await.unwrap();
    made(&[Action::AddApplication]).await;
    registry.add_application("shop", "live", NOW).await.unwrap_err();
    made(&[]).await;
    let proven = ProvenKey::from(&secret);
    registry.add_credential(NewCredential::new("shop", "hook", &proven), NOW).await.unwrap();
    made(&[Action::AddKey]).await;
    registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await.unwrap_err();
    made(&[]).await;
    for expected in [&[Action::ChangeKey] as &[_], &[]] {
        let change = registry.change_credential(&secret_id, NOW, |settings| {
            settings.scopes.insert(Scope::from_static("orders:read"));
            settings
                .restrictions
                .insert(Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"]).unwrap());
        });
        change.await.unwrap();
        made(expected).await;
    }
    for expected in [&[Action::QuarantineKey] as &[_], &[]] {
        registry.quarantine(&secret_id, None, NOW).await.unwrap();
        made(expected).await;
    }
    for expected in [&[Action::ReleaseKey] as &[_], &[]] {
        registry.release(&secret_id, None, NOW).await.unwrap();
        made(expected).await;
    }
    for expected in [&[Action::ChangeApplication] as &[_], &[]] {
        let change = registry.change_application("shop", NOW, |settings| {
            settings.contact = "ana@example.com".parse().unwrap();
        });
        change.await.unwrap();
        made(expected).await;
    }
    let mut random = fastrand::Rng::with_seed(8);
    let (mut of_successor, mut of_master_key) = ([0; 32], [0; 32]);
    random.fill(&mut of_successor);
    random.fill(&mut of_master_key);
    let successor = PrivateKey::hmac_sha256([8; 16], &of_successor).unwrap();
    let proven = ProvenKey::from(&successor);
    for expected in [&[Action::AddKey, Action::RotateKey] as &[_], &[]] {
        let replacement = Replacement::new(&proven, Duration::from_secs(3600));
        registry.rotate(&secret_id, replacement, NOW).await.unwrap();
        made(expected).await;
    }
    // A master key seals both secrets.
    let master_key = MasterKey::new(&of_master_key).unwrap();
    let options = RegistryOptions::new().master_keys(Some(MasterKeys::new(master_key)));
    let sealed = options.open(&home.url()).await.unwrap();
    made(&[Action::RewrapKey, Action::RewrapKey]).await;
    sealed.close().await;
    for id in [&secret_id, &id(&successor)] {
        // Their secrets are sealed, and this registry has no master key.
        registry.revoke(id, None, NOW).await.unwrap_err();
        made(&[Action::RevokeKey]).await;
        registry.revoke(id, None, NOW).await.unwrap_err();
        made(&[]).await;
    }
    registry.remove_application("shop", NOW).await.unwrap();
    made(&[Action::RemoveApplication]).await;

    let found = format!("{:?}", registry.audit_entries(0, 100).await.unwrap());
    assert!(found.contains("orders:read"));
    let hexadecimal: String = canary.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = secret.expose_text();
    let numbers = canary.map(|byte| byte.to_string()).join(", ");
    let in_base64 = STANDARD.encode(canary);
    // Wherever the secret begins in a longer text.
    let parts = [0, 1, 2].map(|skipped| STANDARD.encode(&canary[skipped..skipped + 12]));
    let forms = [&hexadecimal, &hexadecimal.to_uppercase(), &*text, &numbers, &in_base64];
    for form in forms.into_iter().chain(&parts).map(String::as_str).chain(["canary", "sk_"]) {
        assert!(!found.contains(form), "{form}: {found}");
    }
}
