use std::sync::Arc;

use countersign::{KeyId, with_reasons};
use countersign_store::{
    Credential, CredentialId, DamagedCredential, Enforcement, Quota, Reason, Restriction,
    RestrictionKind, Scope,
};
use serde_json::{Value, json};

use crate::{
    failure::one_line,
    moment,
    output::warn,
    quota_arg,
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

/// Returns a listed key as JSON. A damaged key has its readable members, `null` for the others, and the reason in
/// `damage`.
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
    json!({
        "publishable_key": publishable_key,
        "thumbprint": thumbprint,
        "alg": null,
        "application": application.map(|application| application.name.as_str()),
        "environment": application.map(|application| application.environment.as_str()),
        "label": damaged.label,
        "state": DAMAGED,
        "damage": with_reasons(damaged),
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

/// Warns of the damaged keys among these.
pub(crate) fn warn_of_damage(keys: &[Listed]) {
    for damaged in keys.iter().filter_map(|key| key.as_ref().err()) {
        let reasons = with_reasons(&**damaged);
        warn(format_args!("{reasons}; servers refuse it: restore a backup of the registry"));
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
            DAMAGED.to_owned(),
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

/// Returns a key as text, with a line for each known fact.
pub(crate) fn shown(key: &Credential) -> String {
    let limit = |quotas: &[Quota]| {
        let quotas: Vec<_> = quotas.iter().map(quota_arg::show).collect();
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
