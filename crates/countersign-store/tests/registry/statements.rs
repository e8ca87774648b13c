//! Every statement of the registry, on each database.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

use crate::home::{Home, on_both};

// The file of the library: its constants are visible nowhere else.
#[path = "../../src/registry/statements.rs"]
mod written;

on_both! {
    each_statement_is_understood
}

macro_rules! statements {
    ($($name:ident)*) => {
        [$((stringify!($name), written::$name)),*]
    };
}

async fn each_statement_is_understood(home: Home) {
    let statements = statements! {
        APPLICATION
        ADD_APPLICATION
        SET_APPLICATION
        REMOVE_APPLICATION
        PAGE_OF_CREDENTIALS
        OF_APPLICATION
        OF_NO_REMOVED_APPLICATION
        ACTIVE
        RETIRING
        QUARANTINED
        REVOKED
        EXPIRED
        NOT_EXPIRED
        SEARCHED
        NEVER_EXPIRES
        UNRESTRICTED
        UNUSED_SINCE
        DUE_SINCE
        EXPIRING_UNTIL
        AFTER_NUMBER
        UP_TO_NUMBER
        IN_ORDER_OF_NUMBER
        AFTER_CREATION
        IN_ORDER_OF_CREATION
        AFTER_EXPIRY
        IN_ORDER_OF_EXPIRY
        AFTER_END
        IN_ORDER_OF_END
        NEXT_CREDENTIAL
        COUNT_CREDENTIALS
        PAGE_OF_APPLICATIONS
        IN_ENVIRONMENT
        SEARCHED_APPLICATION
        AFTER_APPLICATION
        IN_ORDER_OF_NAME
        CREDENTIAL_OF_KEY
        CREDENTIAL_OF_THUMBPRINT
        ADD_CREDENTIAL
        SET_CREDENTIAL
        SET_STATE
        REVOKE
        RETIRE
        RETIRE_AT_ONCE
        SAVE_LAST_USES_HEAD
        SAVE_LAST_USES_TAIL
        HAS_SECRETS
        TAKE_CEILING_OVER
        RAISE_CEILING
        LOCK_LAST_CHANGE
        SET_LAST_CHANGE
        ADD_AUDIT_ENTRY
        AUDIT_ENTRIES
        LAST_CHANGE
        CHANGES
        SEAL_SECRET
        PLAIN_SECRETS
        SEALED_SECRETS
        COUNT_PLAIN_SECRETS
        COUNT_SEALED_SECRETS
        NEXT_MASTER_KEY
        LATEST_AUDIT_ENTRIES
        AUDIT_RANGE
        AUDIT_BOUNDS
        TEXT_APPLICATIONS
        TEXT_CREDENTIALS
        TEXT_CREDENTIAL
        ADD_TEXT_APPLICATION
        ADD_TEXT_CREDENTIAL
        SET_REPLACED_BY
        SET_LINEAGE
        SET_STATE_FROM
        REVOKE_BY_TEXT
    };
    let source = include_str!("../../src/registry/statements.rs");
    let all = source.lines().filter_map(|line| line.strip_prefix("pub(super) const "));
    let all: BTreeSet<_> = all.map(|line| line.split(':').next().unwrap()).collect();
    let listed: BTreeSet<_> = statements.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, all, "each constant of the file is listed here");

    drop(home.registry().await);
    for (name, statement) in statements {
        let statement = whole(name, statement);
        let prepared = match &home {
            Home::Sqlite(_) => {
                let statement = AssertSqlSafe(statement.replace("countersign.", ""));
                let mut connection = SqliteConnection::connect(&home.url()).await.unwrap();
                connection.prepare(sqlx::SqlSafeStr::into_sql_str(statement)).await.map(drop)
            }
            #[cfg(all(feature = "postgres", unix))]
            // Of SQLite alone.
            Home::Postgres(_) if name == "DATA_VERSION" => continue,
            #[cfg(all(feature = "postgres", unix))]
            Home::Postgres(database) => {
                let statement = AssertSqlSafe(statement);
                let mut connection = database.connect().await;
                connection.prepare(sqlx::SqlSafeStr::into_sql_str(statement)).await.map(drop)
            }
        };
        assert!(prepared.is_ok(), "{name}: {prepared:?}");
    }
}

/// Makes a statement of a part of one: conditions and orders stand behind the beginning of a page.
fn whole(name: &str, statement: &str) -> String {
    let of_applications =
        ["IN_ENVIRONMENT", "SEARCHED_APPLICATION", "AFTER_APPLICATION", "IN_ORDER_OF_NAME"];
    let page = match of_applications.contains(&name) {
        true => written::PAGE_OF_APPLICATIONS,
        false => written::PAGE_OF_CREDENTIALS,
    };
    match statement.split_whitespace().next() {
        _ if name == "SAVE_LAST_USES_HEAD" || name == "SAVE_LAST_USES_TAIL" => {
            let (head, tail) = (written::SAVE_LAST_USES_HEAD, written::SAVE_LAST_USES_TAIL);
            format!("{head}($1, $2){tail}")
        }
        Some("SELECT" | "INSERT" | "UPDATE" | "PRAGMA") => statement.to_owned(),
        Some("ORDER") => format!("{page} {statement}"),
        _ => format!("{page} AND {}", statement.replace('?', "$")),
    }
}
