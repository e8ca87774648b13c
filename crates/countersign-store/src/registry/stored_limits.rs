use std::{error::Error, num::NonZeroU32, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::limits::{own_limits::OwnLimits, quota::Quota};

/// The version of the stored form, which migration 3 describes.
const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    #[serde(default)]
    signed: Vec<StoredQuota>,
    #[serde(default)]
    unsigned: Vec<StoredQuota>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredQuota {
    amount: NonZeroU32,
    /// In seconds.
    window: u64,
    burst: NonZeroU32,
}

/// Writes limits in the form of their column, which is `NULL` without any.
pub(super) fn write(limits: &OwnLimits) -> Option<String> {
    (!limits.is_empty()).then(|| stored(limits).to_string())
}

/// Returns limits in the form of their column, as JSON.
pub(super) fn stored(limits: &OwnLimits) -> Value {
    if limits.is_empty() {
        return Value::Null;
    }
    let quotas = |quotas: &[Quota]| {
        let quota = |quota: &Quota| {
            let (amount, window, burst) = (quota.amount(), quota.window(), quota.at_once());
            json!({ "amount": amount, "window": window.as_secs(), "burst": burst })
        };
        quotas.iter().map(quota).collect::<Vec<_>>()
    };
    json!({
        "version": VERSION,
        "signed": quotas(limits.signed_quotas()),
        "unsigned": quotas(limits.unsigned_quotas()),
    })
}

/// Reads limits. Any part that is not understood is an error: ignoring it would lift a limit.
pub(super) fn read(text: Option<&str>) -> Result<OwnLimits, Box<dyn Error + Send + Sync>> {
    let Some(text) = text else { return Ok(OwnLimits::default()) };
    let Stored { version, signed, unsigned } = serde_json::from_str(text)?;
    // The derived readers also accept a list of values in place of an object.
    let shape: Value = serde_json::from_str(text)?;
    let is_object =
        |quotas: &Value| quotas.as_array().is_some_and(|all| all.iter().all(Value::is_object));
    let lists = [shape.get("signed"), shape.get("unsigned")];
    if !shape.is_object() || !lists.iter().flatten().all(|quotas| is_object(quotas)) {
        return Err("what should be an object is not an object".into());
    }
    if version != VERSION {
        return Err(
            format!("they are of the form {version}, which this version does not know").into()
        );
    }
    if signed.is_empty() && unsigned.is_empty() {
        return Err("they limit nothing".into());
    }
    let quotas = |stored: Vec<StoredQuota>| {
        let quota = |StoredQuota { amount, window, burst }| {
            Ok(Quota::new(amount, Duration::from_secs(window))?.burst(burst))
        };
        stored.into_iter().map(quota).collect::<Result<Vec<_>, Box<dyn Error + Send + Sync>>>()
    };
    Ok(OwnLimits::default().signed(quotas(signed)?).unsigned(quotas(unsigned)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn limits_are_read_as_they_were_written() {
        let (minute, second) =
            (Quota::per_minute(number(60)).burst(number(5)), Quota::per_second(number(9)));
        let none = OwnLimits::default();
        assert_eq!(write(&none), None);
        for limits in [
            none.clone(),
            none.clone().signed([minute]),
            none.clone().unsigned([minute, second]),
            none.signed([second]).unsigned([minute]),
        ] {
            assert_eq!(read(write(&limits).as_deref()).unwrap(), limits);
        }
    }

    #[test]
    fn the_form_is_the_one_that_is_written_down() {
        let text = r#"{"version": 1, "signed": [{"amount": 60, "window": 60, "burst": 5}]}"#;
        let expected =
            OwnLimits::default().signed([Quota::per_minute(number(60)).burst(number(5))]);
        assert_eq!(read(Some(text)).unwrap(), expected);
    }

    #[test]
    fn what_is_not_understood_is_never_read_as_more() {
        let one = |quota: &str| format!(r#"{{"version":1,"signed":[{quota}],"unsigned":[]}}"#);
        let quota = r#"{"amount":60,"window":60,"burst":5}"#;
        assert!(read(Some(&one(quota))).is_ok());
        for (text, error) in [
            (String::new(), "EOF"),
            ("null".into(), "invalid type"),
            ("{}".into(), "missing field"),
            ("[1,[],[]]".into(), "not an object"),
            (r#"{"version":1}"#.into(), "limit nothing"),
            (one(""), "limit nothing"),
            (one("[60,60,5]"), "not an object"),
            (one(quota).replace(":1,", ":2,"), "of the form 2"),
            (one(quota).replace("unsigned", "reads"), "unknown field"),
            (one(quota).replace("\"amount\":60", "\"amount\":0"), "nonzero"),
            (one(quota).replace("\"amount\":60", "\"amount\":-1"), "nonzero"),
            (one(quota).replace("\"amount\":60", "\"amount\":4294967296"), "nonzero"),
            (one(quota).replace("\"burst\":5", "\"burst\":0"), "nonzero"),
            (one(quota).replace("\"window\":60", "\"window\":0"), "whole seconds"),
            (one(quota).replace("\"window\":60", "\"window\":2678401"), "whole seconds"),
            (one(quota).replace("\"window\":60", "\"window\":1.5"), "invalid type"),
            (one(quota).replace("burst", "least"), "unknown field"),
            (one(quota).replace(",\"burst\":5", ""), "missing field"),
        ] {
            let refused = read(Some(&text)).unwrap_err().to_string();
            assert!(refused.contains(error), "{text}: {refused}");
        }
    }
}
