use clap::Args;
use countersign::{KeyId, Timestamp};
use countersign_store::{Action, Actor, ApplicationName, AuditEntry, AuditFilter};
use serde_json::{Value, json};

use crate::{
    failure::Failure, moment, output::note, printable::one_line, registry_args::RegistryArgs,
    table::columns,
};

/// Lists the latest entries of the audit log, the latest last
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only entries about this application and its keys
    #[arg(long, value_name = "NAME")]
    app: Option<ApplicationName>,
    /// Only entries about this key, by its publishable key or its JWK thumbprint
    // A thumbprint is base64url, which can begin with a hyphen.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: Option<KeyId>,
    /// Only changes that this actor made
    #[arg(long, value_name = "TEXT")]
    actor: Option<Actor>,
    /// Only changes of this kind, like key.revoke
    #[arg(long, value_name = "ACTION")]
    action: Option<Action>,
    /// Only changes made at this time or later, like 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Only changes made before this time
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Timestamp>,
    /// Only entries before the entry with this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
    /// How many entries at most
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

impl List {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let Self { app, key, actor, action, since, until, before, limit } = self;
        let mut filter = AuditFilter::default();
        if let Some(name) = &app {
            filter = filter.application(name);
        }
        if let Some(actor) = &actor {
            filter = filter.actor(actor);
        }
        if let Some(action) = action {
            filter = filter.action(action);
        }
        if let Some(time) = since {
            filter = filter.since(time);
        }
        if let Some(time) = until {
            filter = filter.until(time);
        }
        let entries = registry.ask(async |registry| {
            if let Some(key) = &key {
                // Entries name the publishable key. A key that is not registered may have entries all the same.
                let publishable = registry.publishable_key(key).await.map(KeyId::Publishable);
                filter = filter.key(&publishable.unwrap_or(*key));
            }
            registry.latest_audit_entries(&filter, before, limit).await
        })?;
        registry.print(|| entries.iter().map(object).collect::<Value>(), || listing(&entries))?;
        match entries.first() {
            None => note("no such entries"),
            Some(first) if usize::try_from(limit).is_ok_and(|limit| entries.len() == limit) => {
                note(format_args!("older entries: add --before {}", first.number));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// Returns an entry as JSON.
fn object(entry: &AuditEntry) -> Value {
    json!({
        "number": entry.number,
        "at": moment::show(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "application": entry.application,
        "key_id": entry.key_id,
        "before": entry.before.as_deref().map(members),
        "after": entry.after.as_deref().map(members),
        "hash": entry.hash.to_string(),
    })
}

/// Reads what was changed. Damaged JSON stays a text.
fn members(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn listing(entries: &[AuditEntry]) -> String {
    let or_none = |text: &Option<String>| one_line(text.as_deref().unwrap_or("-"));
    let row = |entry: &AuditEntry| {
        [
            entry.number.to_string(),
            moment::show(entry.at),
            one_line(&entry.actor),
            one_line(&entry.action),
            or_none(&entry.application),
            or_none(&entry.key_id),
            one_line(&changes(entry)),
        ]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    columns(["NUMBER", "TIME", "ACTOR", "ACTION", "APPLICATION", "KEY", "CHANGES"], &rows)
}

/// Names what was changed: each member that differs, before and after.
fn changes(entry: &AuditEntry) -> String {
    let read = |text: &Option<String>| text.as_deref().map(members);
    let (Some(Value::Object(before)), Some(Value::Object(after))) =
        (read(&entry.before), read(&entry.after))
    else {
        return String::new();
    };
    let changed = after.iter().filter(|&(name, value)| before.get(name) != Some(value));
    let shown = changed.map(|(name, value)| {
        format!("{name}: {} -> {value}", before.get(name).unwrap_or(&Value::Null))
    });
    shown.collect::<Vec<_>>().join(", ")
}
