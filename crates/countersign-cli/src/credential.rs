use std::sync::Arc;

use countersign::{KeyId, with_reasons};
use countersign_store::{
    Credential, CredentialId, DamagedCredential, Enforcement, MasterKeyId, NotOpened, Quota,
    Reason, RegistryError, Restriction, RestrictionKind, Scope, State,
};
use serde_json::{Value, json};

use crate::{
    environment::MASTER_KEY_VARIABLE,
    moment,
    output::warn,
    printable::one_line,
    table::{columns, facts},
};

/// Returns a key as JSON.
pub(crate) fn object(key: &Credential) -> Value {
    json!({
        "publishable_key": key.publishable_key().to_string(),
        "thumbprint": thumbprint(key),
        "alg": key.key.algorithm().as_str(),
        "application": key.application.name.as_str(),
        "environment": key.application.environment.as_str(),
        "label": key.label.as_str(),
        "state": key.stage(moment::now()).as_str(),
        "created_at": moment::show(key.created_at),
        "expires_at": key.expires_at.map(moment::show),
        "last_used_at": key.last_used_at.map(moment::show),
        "replaced_by": key.replaced_by.map(|key| key.to_string()),
        "revoked_at": key.revoked_at.map(moment::show),
        "revocation_reason": key.revocation_reason.as_ref().map(Reason::as_str),
        "scopes": key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "restrictions": key.restrictions.iter().map(restriction).collect::<Vec<_>>(),
        "limits": {
            "signed": key.limits.signed_quotas().iter().map(quota).collect::<Vec<_>>(),
            "reads": key.limits.unsigned_quotas().iter().map(quota).collect::<Vec<_>>(),
        },
    })
}

fn quota(quota: &Quota) -> Value {
    let (amount, window, burst) = (quota.amount(), quota.window(), quota.at_once());
    json!({ "amount": amount, "window_seconds": window.as_secs(), "burst": burst })
}

/// Returns the number of a key in its registry.
pub(crate) fn number(key: &Listed) -> CredentialId {
    match key {
        Ok(key) => key.id,
        Err(damaged) => damaged.id,
    }
}

/// A key in a registry's list. Its row may be damaged.
pub(crate) type Listed = Result<Arc<Credential>, Box<DamagedCredential>>;

/// Returns a listed key as JSON. A key that cannot be used has its readable members, `null` for the others, and the reason in
/// `damage` or the missing master key in `sealed_with`.
pub(crate) fn listed_object(key: &Listed) -> Value {
    let damaged = match key {
        Ok(key) => return object(key),
        Err(damaged) => &**damaged,
    };
    let (publishable_key, thumbprint) = match damaged.key {
        Some(KeyId::Publishable(key)) => (Some(key.to_string()), None),
        Some(thumbprint @ KeyId::Thumbprint(_)) => (None, Some(thumbprint.to_string())),
        None => (None, None),
    };
    let application = damaged.application.as_deref();
    let (reason, text) = match sealed_with(&damaged.error) {
        Some(id) => ("sealed_with", id.to_string()),
        None => ("damage", with_reasons(damaged)),
    };
    json!({
        "publishable_key": publishable_key,
        "thumbprint": thumbprint,
        "alg": null,
        "application": application.map(|application| application.name.as_str()),
        "environment": application.map(|application| application.environment.as_str()),
        "label": damaged.label,
        "state": state_of_unusable(damaged),
        (reason): text,
        "created_at": null,
        "expires_at": null,
        "last_used_at": null,
        "replaced_by": null,
        "revoked_at": null,
        "revocation_reason": null,
        "scopes": null,
        "restrictions": null,
        "limits": null,
    })
}

/// The state of a key that no server accepts, since its row in the registry is damaged.
const DAMAGED: &str = "damaged";

/// The state of a key whose secret is sealed with a master key that is not given.
const SEALED: &str = "sealed";

fn state_of_unusable(key: &DamagedCredential) -> &'static str {
    match key.state {
        Some(State::Revoked) if key.is_sealed() => State::Revoked.as_str(),
        _ if key.is_sealed() => SEALED,
        _ => DAMAGED,
    }
}

/// Returns the id of the master key that is missing.
fn sealed_with(error: &RegistryError) -> Option<MasterKeyId> {
    match error {
        RegistryError::Sealed {
            source: NotOpened::NoMasterKey { needed } | NotOpened::OtherMasterKey { needed, .. },
            ..
        } => Some(*needed),
        _ => None,
    }
}

/// Warns of the keys among these that servers refuse: those that are damaged, and those whose master key is missing.
pub(crate) fn warn_of_damage(keys: &[Listed]) {
    let mut missing: Vec<(MasterKeyId, u64)> = Vec::new();
    for unusable in keys.iter().filter_map(|key| key.as_ref().err()) {
        match sealed_with(&unusable.error) {
            Some(id) => match missing.iter_mut().find(|(known, _)| *known == id) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => missing.push((id, 1)),
            },
            None => {
                let reasons = with_reasons(&**unusable);
                warn(format_args!(
                    "{reasons}; servers refuse it: restore a backup of the registry"
                ));
            }
        }
    }
    for (id, count) in missing {
        let (keys, are, them) = match count {
            1 => ("key", "is", "it"),
            _ => ("keys", "are", "them"),
        };
        warn(format_args!(
            "{count} {keys} {are} sealed with master key {id}, and servers without it refuse {them}: give it with --master-key FILE, or \
             in {MASTER_KEY_VARIABLE}"
        ));
    }
}

fn restriction(restriction: &Restriction) -> Value {
    let enforcement = match restriction.enforcement() {
        Enforcement::Enforce => "enforce",
        Enforcement::Report => "report",
    };
    json!({
        "kind": restriction.kind().as_str(),
        "enforcement": enforcement,
        "allow": restriction.entries(),
    })
}

/// Returns keys as a table.
pub(crate) fn listing(keys: &[Listed]) -> String {
    let whole = |key: &Credential| {
        [
            key.publishable_key().to_string(),
            key.application.name.to_string(),
            key.label.to_string(),
            key.stage(moment::now()).to_string(),
            key.expires_at.map_or_else(|| "never".to_owned(), moment::show),
            key.last_used_at.map_or_else(|| "-".to_owned(), moment::show),
            or_none(key.scopes.iter().map(Scope::to_string)),
            or_none(key.restrictions.iter().map(|restriction| {
                format!("{}{}", restriction.kind(), mark(restriction.enforcement()))
            })),
        ]
    };
    let damaged = |key: &DamagedCredential| {
        let unknown = || "?".to_owned();
        [
            key.key.map_or_else(unknown, |key| key.to_string()),
            key.application
                .as_ref()
                .map_or_else(unknown, |application| application.name.to_string()),
            key.label.as_deref().map_or_else(unknown, one_line),
            state_of_unusable(key).to_owned(),
            unknown(),
            unknown(),
            unknown(),
            unknown(),
        ]
    };
    let rows: Vec<_> = keys
        .iter()
        .map(|key| match key {
            Ok(key) => whole(key),
            Err(key) => damaged(key),
        })
        .collect();
    let heading =
        ["KEY", "APPLICATION", "LABEL", "STATE", "EXPIRES", "LAST USED", "SCOPES", "RESTRICTIONS"];
    columns(heading, &rows)
}

fn or_none(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

const fn mark(enforcement: Enforcement) -> &'static str {
    match enforcement {
        Enforcement::Enforce => "",
        Enforcement::Report => "(reported)",
    }
}

/// Returns a key that cannot be used as text, with a line for each known fact.
pub(crate) fn shown_unusable(key: &DamagedCredential) -> String {
    let application = key.application.as_ref();
    facts([
        ("publishable key", key.key.map(|key| key.to_string())),
        ("application", application.map(|application| application.name.to_string())),
        ("environment", application.map(|application| application.environment.to_string())),
        ("label", key.label.as_deref().map(one_line)),
        ("state", Some(state_of_unusable(key).to_owned())),
        ("sealed with", sealed_with(&key.error).map(|id| format!("master key {id}"))),
    ])
}

/// Returns a key as text, with a line for each known fact.
pub(crate) fn shown(key: &Credential) -> String {
    let limit = |quotas: &[Quota]| {
        let quotas: Vec<_> = quotas.iter().map(ToString::to_string).collect();
        (!quotas.is_empty()).then(|| quotas.join(" "))
    };
    let only = |kind| {
        let restriction = key.restrictions.get(kind)?;
        let (entries, mark) = (restriction.entries().join(" "), mark(restriction.enforcement()));
        Some(format!("{entries} {mark}").trim_end().to_owned())
    };
    facts([
        ("publishable key", Some(key.publishable_key().to_string())),
        ("thumbprint", thumbprint(key)),
        ("algorithm", Some(key.key.algorithm().to_string())),
        ("application", Some(key.application.name.to_string())),
        ("environment", Some(key.application.environment.to_string())),
        ("label", Some(key.label.to_string())),
        ("state", Some(key.stage(moment::now()).to_string())),
        ("added", Some(moment::show(key.created_at))),
        ("expires", key.expires_at.map(moment::show)),
        ("last used", key.last_used_at.map(moment::show)),
        ("replaced by", key.replaced_by.map(|key| key.to_string())),
        ("revoked", key.revoked_at.map(moment::show)),
        ("reason", key.revocation_reason.as_ref().map(Reason::to_string)),
        ("scopes", Some(or_none(key.scopes.iter().map(Scope::to_string)))),
        ("restrictions", key.restrictions.is_empty().then(|| "none".to_owned())),
        ("only ip", only(RestrictionKind::Ip)),
        ("only origin", only(RestrictionKind::Origin)),
        ("only referrer", only(RestrictionKind::Referrer)),
        ("only android", only(RestrictionKind::Android)),
        ("only ios", only(RestrictionKind::Ios)),
        ("only sdk", only(RestrictionKind::Sdk)),
        ("limit signed", limit(key.limits.signed_quotas())),
        ("limit reads", limit(key.limits.unsigned_quotas())),
    ])
}

fn thumbprint(key: &Credential) -> Option<String> {
    key.key.thumbprint().map(|thumbprint| KeyId::Thumbprint(thumbprint).to_string())
}
