use countersign_store::UsageEvent;
use serde_json::{Value, json};

use crate::{moment, printable::one_line};

/// Returns an event as JSON.
pub(super) fn object(event: &UsageEvent) -> Value {
    json!({
        "kind": event.kind.as_str(),
        "detail": event.detail,
        "application": event.application,
        "label": event.label,
        "key": event.key,
        "first": moment::show(event.count.first),
        "last": moment::show(event.count.last),
        "count": event.count.count,
        "verified": event.count.verified,
    })
}

/// Returns what an event is about, as cells: its application, label, kind and detail.
pub(super) fn cells(event: &UsageEvent) -> [String; 4] {
    let or_none = |text: &Option<String>| one_line(text.as_deref().unwrap_or("-"));
    [
        or_none(&event.application),
        or_none(&event.label),
        event.kind.to_string(),
        or_none(&event.detail),
    ]
}
