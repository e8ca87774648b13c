//! Lists in pages, with filters.

use std::time::Duration;

use countersign::{PrivateKey, ProvenKey};
use countersign_store::{
    ApplicationFilter, BadCursor, CredentialFilter, Cursor, NewCredential, Registry, RegistryError,
    Replacement, Restriction, RestrictionKind, Restrictions, Stage, Subject,
};

use crate::{
    home::{Home, on_both},
    life::{NOW, id, key},
};

const DAY: Duration = Duration::from_secs(86_400);

on_both! {
    pages_hold_every_key_once_whatever_changes_between_them
    each_filter_lists_its_keys
    pages_of_each_order_hold_every_key_once
    keys_are_unused_only_since_uses_are_recorded
    a_search_finds_its_text_and_takes_nothing_for_a_pattern
    damaged_rows_are_listed_in_their_place
    applications_have_pages_and_filters_as_well
}

async fn register(registry: &Registry, application: &str, label: &str, key: &PrivateKey) {
    match registry.add_application(application, "live", NOW).await {
        Ok(_) | Err(RegistryError::Exists(Subject::Application)) => {}
        Err(error) => panic!("{error}"),
    }
    let proven = ProvenKey::from(key);
    let new = NewCredential::new(application, label, &proven);
    registry.add_credential(new, NOW).await.unwrap();
}

/// The labels of what a filter lists, in pages of two.
async fn labels(registry: &Registry, filter: &CredentialFilter) -> Vec<String> {
    let (mut labels, mut from) = (Vec::new(), None);
    loop {
        let page = registry.page(filter, from, 2, NOW).await.unwrap();
        assert!(page.entries.len() <= 2);
        labels.extend(page.entries.iter().map(|entry| match entry {
            Ok(credential) => credential.label.to_string(),
            Err(damaged) => format!("damaged {}", damaged.id.get()),
        }));
        match page.next {
            // As a text, as it is handed on.
            Some(next) => from = Some(next.to_string().parse().unwrap()),
            None => return labels,
        }
    }
}

async fn pages_hold_every_key_once_whatever_changes_between_them(home: Home) {
    let registry = home.registry().await;
    let all = CredentialFilter::default();
    assert!(labels(&registry, &all).await.is_empty());
    for seed in 1..=5 {
        register(
            &registry,
            if seed == 3 { "other" } else { "shop" },
            &seed.to_string(),
            &key(seed),
        )
        .await;
    }
    assert_eq!(labels(&registry, &all).await, ["1", "2", "3", "4", "5"]);
    let of_shop = all.clone().application("shop");
    assert_eq!(labels(&registry, &of_shop).await, ["1", "2", "4", "5"]);
    let first = registry.page(&of_shop, None, 3, NOW).await.unwrap();
    assert_eq!(first.entries.len(), 3);
    // The last of the first page is changed, and another is added.
    registry.revoke(&id(&key(4)), None, NOW).await.unwrap();
    register(&registry, "shop", "6", &key(6)).await;
    let second = registry.page(&of_shop, first.next, 3, NOW).await.unwrap();
    let second_labels: Vec<_> =
        second.entries.iter().map(|entry| entry.as_ref().unwrap().label.to_string()).collect();
    assert_eq!(second_labels, ["5", "6"]);
    assert_eq!(second.next, None);
    let exact = registry.page(&of_shop, None, 5, NOW).await.unwrap();
    assert_eq!((exact.entries.len(), exact.next), (5, None));
    let missing = registry.page(&all.application("none"), None, 5, NOW).await;
    assert!(matches!(missing, Err(RegistryError::NotFound(Subject::Application))));
    let other_list =
        registry.page_of_applications(&ApplicationFilter::default(), first.next, 1).await;
    assert!(matches!(other_list, Err(RegistryError::Cursor(BadCursor))));
    assert_eq!("1".parse::<Cursor>(), Err(BadCursor));
    // A removed application hides its keys, and only those.
    registry.revoke(&id(&key(3)), None, NOW).await.unwrap();
    registry.remove_application("other", NOW).await.unwrap();
    assert_eq!(labels(&registry, &CredentialFilter::default()).await, ["1", "2", "4", "5", "6"]);
}

async fn each_filter_lists_its_keys(home: Home) {
    let registry = home.registry().await;
    for (seed, label) in [
        (1, "active"),
        (2, "old"),
        (3, "retiring"),
        (5, "quarantined"),
        (6, "expired"),
        (7, "revoked"),
        (8, "restricted"),
    ] {
        register(&registry, "shop", label, &key(seed)).await;
    }
    let proven = ProvenKey::from(&key(4));
    let replacement = Replacement::new(&proven, DAY).label("new");
    registry.rotate(&id(&key(3)), replacement, NOW).await.unwrap();
    registry.quarantine(&id(&key(5)), None, NOW).await.unwrap();
    registry.revoke(&id(&key(7)), None, NOW).await.unwrap();
    let change = |settings: &mut countersign_store::CredentialSettings| {
        let ip = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"]).unwrap();
        settings.restrictions = Restrictions::default().with(ip);
        settings.expires_at = Some(NOW.plus(DAY.saturating_mul(2)));
    };
    registry.change_credential(&id(&key(8)), NOW, change).await.unwrap();
    registry
        .change_credential(&id(&key(1)), NOW, |settings| {
            settings.restrictions = Restrictions::default()
        })
        .await
        .unwrap();
    home.raw("UPDATE countersign.credential SET expires_at = 1763900000 WHERE label = 'expired'")
        .await;
    home.raw("UPDATE countersign.credential SET created_at = 1763900000 - 90 * 86400 WHERE label IN ('old', 'retiring', 'revoked', 'expired', 'quarantined')").await;
    // As the migration writes it.
    home.raw(r#"UPDATE countersign.credential SET restrictions = '{"version":1,"restrictions":[]}' WHERE label = 'old'"#).await;
    let all = CredentialFilter::default;
    let table: [(CredentialFilter, &[&str]); 12] = [
        (all().stage(Stage::Active), &["active", "old", "restricted", "new"]),
        (all().stage(Stage::Retiring), &["retiring"]),
        (all().stage(Stage::Quarantined), &["quarantined"]),
        (all().stage(Stage::Expired), &["expired"]),
        (all().stage(Stage::Revoked), &["revoked"]),
        (all().never_expires(), &["active", "old", "quarantined", "revoked", "new"]),
        (all().never_expires().stage(Stage::Revoked), &["revoked"]),
        (
            all().unrestricted(),
            &["active", "old", "retiring", "quarantined", "expired", "revoked", "new"],
        ),
        (all().due_after(DAY.saturating_mul(90)), &["old"]),
        (all().due_after(DAY.saturating_mul(91)), &[]),
        (all().expiring_within(DAY), &["retiring"]),
        (all().expiring_within(DAY.saturating_mul(2)), &["retiring", "restricted"]),
    ];
    for (filter, expected) in table {
        assert_eq!(labels(&registry, &filter).await, expected, "{filter:?}");
        let of_shop = filter.application("shop");
        assert_eq!(labels(&registry, &of_shop).await, expected, "{of_shop:?}");
    }
}

async fn pages_of_each_order_hold_every_key_once(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=7 {
        register(&registry, "shop", &seed.to_string(), &key(seed)).await;
    }
    home.raw("UPDATE countersign.credential SET created_at = created_at - id / 2").await;
    let all = CredentialFilter::default;
    // The times of 2 and 3, 4 and 5, 6 and 7 are the same.
    let due = ["6", "7", "4", "5", "2", "3", "1"];
    assert_eq!(labels(&registry, &all().due_after(Duration::ZERO)).await, due);
    home.raw("UPDATE countersign.credential SET expires_at = created_at").await;
    assert_eq!(labels(&registry, &all().stage(Stage::Expired)).await, due);
    home.raw("UPDATE countersign.credential SET expires_at = created_at + 86400").await;
    assert_eq!(labels(&registry, &all().expiring_within(DAY)).await, due);
    // The expiry of one was taken away.
    home.raw("UPDATE countersign.credential SET state = 'retiring', expires_at = NULLIF(expires_at, 1763900000 + 86400 - 2)").await;
    let retiring = ["6", "7", "2", "3", "1", "4", "5"];
    assert_eq!(labels(&registry, &all().stage(Stage::Retiring)).await, retiring);
    // The place of one order means nothing in another.
    let first = registry.page(&all().stage(Stage::Retiring), None, 2, NOW).await.unwrap();
    for other in [all(), all().stage(Stage::Expired), all().due_after(DAY)] {
        let refused = registry.page(&other, first.next, 2, NOW).await;
        assert!(matches!(refused, Err(RegistryError::Cursor(BadCursor))), "{other:?}");
    }
    // Far apart, as after many that were undone.
    home.raw("UPDATE countersign.credential SET state = 'active'; INSERT INTO countersign.last_use (credential_id, seconds) VALUES (0, 0)").await;
    let far = match home {
        Home::Sqlite(_) => "UPDATE countersign.credential SET id = id * 150000 WHERE id > 3",
        #[cfg(all(feature = "postgres", unix))]
        Home::Postgres(_) => {
            "ALTER TABLE countersign.credential ALTER COLUMN id SET GENERATED BY DEFAULT;
             CREATE TEMP TABLE far AS SELECT * FROM countersign.credential WHERE id > 3;
             DELETE FROM countersign.credential WHERE id > 3;
             UPDATE far SET id = id * 150000;
             INSERT INTO countersign.credential SELECT * FROM far"
        }
    };
    home.raw(far).await;
    let each = ["1", "2", "3", "4", "5", "6", "7"];
    assert_eq!(labels(&registry, &all().search("shop")).await, each);
    assert_eq!(labels(&registry, &all().unused_for(Duration::ZERO)).await, each);
    assert_eq!(labels(&registry, &all().search("7")).await, ["7"]);
}

async fn keys_are_unused_only_since_uses_are_recorded(home: Home) {
    let registry = home.registry().await;
    for (seed, label) in
        [(1, "never used"), (2, "used"), (3, "used long ago"), (4, "new"), (5, "revoked")]
    {
        register(&registry, "shop", label, &key(seed)).await;
    }
    registry.revoke(&id(&key(5)), None, NOW).await.unwrap();
    home.raw(
        "UPDATE countersign.credential SET created_at = 1763900000 - 100 * 86400 WHERE id <> 4",
    )
    .await;
    home.raw("INSERT INTO countersign.last_use (credential_id, seconds) VALUES (2, 1763900000 - 86400), (3, 1763900000 - 95 * 86400)").await;
    let unused = CredentialFilter::default().unused_for(DAY.saturating_mul(90));
    assert!(labels(&registry, &unused).await.is_empty());
    for (since, expected) in [(89, &[][..]), (90, &["never used", "used long ago"])] {
        home.raw("DELETE FROM countersign.last_use WHERE credential_id = 0").await;
        home.raw(&format!("INSERT INTO countersign.last_use (credential_id, seconds) VALUES (0, 1763900000 - {since} * 86400)")).await;
        assert_eq!(labels(&registry, &unused).await, expected, "{since}");
    }
}

async fn a_search_finds_its_text_and_takes_nothing_for_a_pattern(home: Home) {
    let registry = home.registry().await;
    for (seed, application, label) in
        [(1, "shop", "Ana's laptop"), (2, "shop", "100%"), (3, "Web_Shop", "a\\b"), (4, "desk", "")]
    {
        register(&registry, application, label, &key(seed)).await;
    }
    let table: [(&str, &[&str]); 8] = [
        ("LAPTOP", &["Ana's laptop"]),
        ("shop", &["Ana's laptop", "100%", "a\\b"]),
        ("%", &["100%"]),
        ("_", &["a\\b"]),
        ("a\\b", &["a\\b"]),
        ("' OR 1=1 --", &[]),
        ("DESK", &[""]),
        ("", &["Ana's laptop", "100%", "a\\b", ""]),
    ];
    for (text, expected) in table {
        let filter = CredentialFilter::default().search(text);
        assert_eq!(labels(&registry, &filter).await, expected, "{text}");
    }
}

async fn damaged_rows_are_listed_in_their_place(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=4 {
        register(&registry, "shop", &seed.to_string(), &key(seed)).await;
    }
    home.raw("UPDATE countersign.credential SET scopes = 'a,b' WHERE id IN (2, 4)").await;
    for filter in [CredentialFilter::default(), CredentialFilter::default().application("shop")] {
        assert_eq!(labels(&registry, &filter).await, ["1", "damaged 2", "3", "damaged 4"]);
    }
    home.raw("UPDATE countersign.application SET environment = '?'").await;
    let all = ["damaged 1", "damaged 2", "damaged 3", "damaged 4"];
    for filter in [CredentialFilter::default(), CredentialFilter::default().application("shop")] {
        assert_eq!(labels(&registry, &filter).await, all);
    }
}

async fn applications_have_pages_and_filters_as_well(home: Home) {
    let registry = home.registry().await;
    for name in ["d", "a", "c", "b", "e"] {
        registry
            .add_application(name, if name == "c" { "test" } else { "live" }, NOW)
            .await
            .unwrap();
    }
    registry
        .change_application("d", NOW, |settings| {
            settings.contact = "ana@example.com".parse().unwrap()
        })
        .await
        .unwrap();
    home.raw("UPDATE countersign.application SET contact = 'two\nlines' WHERE name = 'b'").await;
    let names = async |filter: &ApplicationFilter| {
        let (mut names, mut from) = (Vec::new(), None);
        loop {
            let page = registry.page_of_applications(filter, from, 2).await.unwrap();
            names.extend(page.entries.iter().map(|entry| match entry {
                Ok(application) => application.name.to_string(),
                Err(damaged) => format!("damaged {}", damaged.name.as_deref().unwrap()),
            }));
            match page.next {
                Some(next) => from = Some(next.to_string().parse().unwrap()),
                None => return names,
            }
        }
    };
    let all = ApplicationFilter::default;
    assert_eq!(names(&all()).await, ["a", "damaged b", "c", "d", "e"]);
    assert_eq!(names(&all().environment("test")).await, ["c"]);
    assert_eq!(names(&all().search("ANA@")).await, ["d"]);
    assert!(names(&all().search("z")).await.is_empty());
    let first = registry.page_of_applications(&all(), None, 3).await.unwrap();
    registry.remove_application("c", NOW).await.unwrap();
    let second = registry.page_of_applications(&all(), first.next, 3).await.unwrap();
    let rest: Vec<_> =
        second.entries.into_iter().map(|entry| entry.unwrap().name.to_string()).collect();
    assert_eq!(rest, ["d", "e"], "though the last of the first page is gone");
}
