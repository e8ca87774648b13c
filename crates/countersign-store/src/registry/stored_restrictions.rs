use std::error::Error;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    credential::restrictions::{Restriction, Restrictions, kind::RestrictionKind},
    enforcement::Enforcement,
};

/// The version of the stored form, which migration 2 describes.
const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    restrictions: Vec<StoredRestriction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRestriction {
    kind: String,
    enforcement: StoredEnforcement,
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredEnforcement {
    Enforce,
    Report,
}

/// Writes restrictions in the form of their column.
pub(super) fn write(restrictions: &Restrictions) -> String {
    stored(restrictions).to_string()
}

/// Returns restrictions in the form of their column, as JSON.
pub(super) fn stored(restrictions: &Restrictions) -> Value {
    let stored = restrictions.iter().map(|restriction| {
        let enforcement = match restriction.enforcement() {
            Enforcement::Enforce => "enforce",
            Enforcement::Report => "report",
        };
        serde_json::json!({
            "kind": restriction.kind().as_str(),
            "enforcement": enforcement,
            "allow": restriction.entries(),
        })
    });
    let stored: Vec<_> = stored.collect();
    serde_json::json!({ "version": VERSION, "restrictions": stored })
}

/// Reads restrictions. Any part that is not understood is an error: ignoring it would lift a restriction.
pub(super) fn read(text: &str) -> Result<Restrictions, Box<dyn Error + Send + Sync>> {
    let Stored { version, restrictions: stored } = serde_json::from_str(text)?;
    // The derived readers also accept a list of values in place of an object.
    let shape: Value = serde_json::from_str(text)?;
    let listed = shape.get("restrictions").and_then(Value::as_array);
    if !listed.is_some_and(|listed| listed.iter().all(Value::is_object)) {
        return Err("what should be an object is not an object".into());
    }
    if version != VERSION {
        return Err(
            format!("they are of the form {version}, which this version does not know").into()
        );
    }
    let mut restrictions = Restrictions::default();
    for StoredRestriction { kind, enforcement, allow } in stored {
        let kind: RestrictionKind = kind.parse()?;
        if restrictions.get(kind).is_some() {
            return Err(format!("there are two of the kind `{kind}`").into());
        }
        let restriction = Restriction::new(kind, allow)?;
        restrictions.insert(match enforcement {
            StoredEnforcement::Enforce => restriction,
            StoredEnforcement::Report => restriction.insecure_report_only(),
        });
    }
    Ok(restrictions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restrictions_are_read_as_they_were_written() {
        let sha256 = format!("com.example.shop={}", "AB".repeat(32));
        let entries = [
            (RestrictionKind::Ip, vec!["192.0.2.0/24", "2001:db8::/48"]),
            (RestrictionKind::Origin, vec!["https://shop.example"]),
            (RestrictionKind::Referrer, vec!["https://shop.example/app"]),
            (RestrictionKind::Android, vec![&sha256]),
            (RestrictionKind::Ios, vec!["com.example.Shop"]),
            (RestrictionKind::Sdk, vec!["shop-sdk"]),
        ];
        let mut restrictions = Restrictions::default();
        assert_eq!(read(&write(&restrictions)).unwrap(), restrictions);
        for (kind, entries) in entries {
            let enforced = Restriction::new(kind, &entries).unwrap();
            for restriction in [enforced.clone().insecure_report_only(), enforced] {
                restrictions.insert(restriction);
                assert_eq!(read(&write(&restrictions)).unwrap(), restrictions);
            }
        }
    }

    #[test]
    fn the_form_is_the_one_that_is_written_down() {
        let ip = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"]).unwrap();
        let sdk = Restriction::new(RestrictionKind::Sdk, ["shop-sdk"]).unwrap();
        let expected = Restrictions::default().with(ip).with(sdk.insecure_report_only());
        let text = r#"{"version": 1, "restrictions": [
            {"kind": "sdk", "enforcement": "report", "allow": ["shop-sdk"]},
            {"kind": "ip", "enforcement": "enforce", "allow": ["192.0.2.0/24"]}]}"#;
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_is_not_understood_is_never_read_as_less() {
        let one = |restriction: &str| format!(r#"{{"version":1,"restrictions":[{restriction}]}}"#);
        let ip = r#"{"kind":"ip","enforcement":"enforce","allow":["192.0.2.0/24"]}"#;
        assert!(read(&one(ip)).is_ok());
        for (text, error) in [
            (String::new(), "EOF"),
            ("null".into(), "invalid type"),
            ("{}".into(), "missing field"),
            ("[]".into(), "invalid length"),
            ("[1,[]]".into(), "not an object"),
            (one(r#"["ip","enforce",["192.0.2.0/24"]]"#), "not an object"),
            (r#"{"version":1}"#.into(), "missing field `restrictions`"),
            (r#"{"version":1,"restrictions":null}"#.into(), "invalid type"),
            (r#"{"version":2,"restrictions":[]}"#.into(), "of the form 2"),
            (r#"{"version":0,"restrictions":[]}"#.into(), "of the form 0"),
            (r#"{"version":1,"restrictions":[],"more":1}"#.into(), "unknown field"),
            (r#"{"version":1,"restrictions":[],"restrictions":[]}"#.into(), "duplicate field"),
            (format!("{} ,", one(ip)), "trailing characters"),
            (one(ip).replace("}]}", "}]"), "EOF"),
            (one(&format!("{ip},{ip}")), "two of the kind `ip`"),
            (one(&ip.replace("\"ip\"", "\"moon\"")), "a restriction is ip"),
            (one(&ip.replace("\"ip\"", "\"IP\"")), "a restriction is ip"),
            (one(&ip.replace("\"enforce\"", "\"off\"")), "unknown variant"),
            (one(&ip.replace("allow", "deny")), "unknown field"),
            (one(&ip.replace("[\"192.0.2.0/24\"]", "[]")), "allows nothing"),
            (one(&ip.replace("[\"192.0.2.0/24\"]", "\"192.0.2.0/24\"")), "invalid type"),
            (one(&ip.replace("/24", "/99")), "is not an address"),
            (one(&ip.replace("}", ",\"unless\":\"sunday\"}")), "unknown field"),
        ] {
            let refused = read(&text).unwrap_err().to_string();
            assert!(refused.contains(error), "{text}: {refused}");
        }
    }
}
