use std::{
    collections::{BTreeMap, HashSet},
    error::Error,
    fmt::Display,
    ops::Range,
    str::FromStr,
};

use countersign::{ProvenKey, PublishableKey, Timestamp};
use serde::{Deserialize, Deserializer, de::Error as _};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use toml::Spanned;

use super::{
    Proof, RegistryText, TextApplication, TextKey, VERSION,
    bad_registry_text::{BadRegistryText, Place},
    entry::{ApplicationEntry, KeyEntry},
};
use crate::{
    credential::{
        State,
        application::{ApplicationName, Contact, Environment, Notes},
        label::Label,
        reason::Reason,
        restrictions::{
            Restriction, Restrictions,
            kind::{RestrictionKind, UnknownKind},
        },
        scope::Scope,
    },
    limits::{own_limits::OwnLimits, quota::Quota},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<u32>,
    #[serde(default)]
    application: BTreeMap<Spanned<String>, RawApplication>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApplication {
    environment: Parsed<Environment>,
    contact: Option<Parsed<Contact>>,
    notes: Option<Parsed<Notes>>,
    created: Option<Moment>,
    #[serde(default)]
    key: BTreeMap<Spanned<String>, RawKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    label: Option<Parsed<Label>>,
    state: Option<Spanned<Parsed<State>>>,
    reason: Option<Spanned<Parsed<Reason>>>,
    created: Option<Moment>,
    expires: Option<Moment>,
    revoked: Option<Spanned<Moment>>,
    replaced_by: Option<Spanned<Parsed<PublishableKey>>>,
    #[serde(default)]
    scopes: Vec<Spanned<String>>,
    #[serde(default)]
    allow: BTreeMap<Parsed<RestrictionKind>, Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    report_only: Vec<Spanned<String>>,
    #[serde(default)]
    limit_signed: Vec<Spanned<String>>,
    #[serde(default)]
    limit_reads: Vec<Spanned<String>>,
    proof: Option<Spanned<String>>,
    #[serde(default)]
    insecure_unproven: bool,
}

/// A value that is written as a text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Parsed<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A time, in whole seconds.
struct Moment(Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let moment = match toml::Value::deserialize(deserializer)? {
            toml::Value::Integer(seconds) => u64::try_from(seconds).ok(),
            toml::Value::Datetime(moment) => OffsetDateTime::parse(&moment.to_string(), &Rfc3339)
                .ok()
                .filter(|moment| moment.nanosecond() == 0)
                .and_then(|moment| u64::try_from(moment.unix_timestamp()).ok()),
            _ => None,
        };
        let moment = moment.filter(|&seconds| seconds <= Timestamp::MAX.unix());
        moment.map(|seconds| Self(Timestamp::from_unix(seconds))).ok_or_else(|| {
            D::Error::custom(
                "a time is like 2027-01-31T00:00:00Z, without quotes, or a number of seconds since 1970",
            )
        })
    }
}

/// The places of a text, by the number of the byte.
struct Places<'t> {
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl<'t> Places<'t> {
    fn of(text: &'t str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at.saturating_add(1));
        Self { text, lines: std::iter::once(0).chain(ends).collect() }
    }

    fn at(&self, byte: usize) -> Place {
        let line = self.lines.partition_point(|&begin| begin <= byte);
        let begin = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied();
        let before = begin.and_then(|begin| self.text.get(begin..byte)).unwrap_or("");
        Place { line, column: before.chars().count().saturating_add(1) }
    }

    fn of_span(&self, span: Range<usize>) -> Place {
        self.at(span.start)
    }

    fn of_value<T>(&self, value: &Option<Spanned<T>>, otherwise: Place) -> Place {
        value.as_ref().map_or(otherwise, |value| self.of_span(value.span()))
    }
}

/// Reads the text of a registry.
pub(super) fn read(text: &str) -> Result<RegistryText, BadRegistryText> {
    let places = Places::of(text);
    let file: File = toml::from_str(text).map_err(|error| {
        let place = places.of_span(error.span().unwrap_or_default());
        place.refuse(error.message().trim().replace('\n', "; "))
    })?;
    let place = places.of_span(file.version.span());
    match file.version.into_inner() {
        VERSION => {}
        other => {
            return Err(
                place.refuse(format!("this text has the version {other}, and {VERSION} is known"))
            );
        }
    }
    let mut applications = BTreeMap::new();
    let mut seen = HashSet::new();
    for (name, raw) in file.application {
        let place = places.of_span(name.span());
        let name: ApplicationName =
            name.get_ref().parse().map_err(|error| refuse(place, &error))?;
        let application = application(raw, &places, &mut seen)?;
        applications.insert(name, application);
    }
    Ok(RegistryText { applications })
}

fn refuse(place: Place, error: &dyn Error) -> BadRegistryText {
    place.refuse(countersign::with_reasons(error).to_string())
}

fn application(
    raw: RawApplication,
    places: &Places<'_>,
    seen: &mut HashSet<PublishableKey>,
) -> Result<TextApplication, BadRegistryText> {
    let RawApplication { environment, contact, notes, created, key: raw_keys } = raw;
    let entry = ApplicationEntry {
        environment: environment.0,
        contact: contact.map_or_else(Contact::default, |Parsed(contact)| contact),
        notes: notes.map_or_else(Notes::default, |Parsed(notes)| notes),
        created: created.map(|Moment(time)| time),
    };
    let mut keys = BTreeMap::new();
    for (name, raw) in raw_keys {
        let place = places.of_span(name.span());
        let key: PublishableKey = name.get_ref().parse().map_err(|error| refuse(place, &error))?;
        if !seen.insert(key) {
            return Err(place.refuse("this key is in the text twice"));
        }
        keys.insert(key.to_string(), text_key(place, key, raw, places)?);
    }
    Ok(TextApplication { entry, keys })
}

fn text_key(
    place: Place,
    key: PublishableKey,
    raw: RawKey,
    places: &Places<'_>,
) -> Result<TextKey, BadRegistryText> {
    let restrictions = restrictions(raw.allow, raw.report_only, places)?;
    let scopes = items::<Scope>(&raw.scopes, places)?.into_iter().collect();
    let limits = OwnLimits::default()
        .signed(items::<Quota>(&raw.limit_signed, places)?)
        .unsigned(items::<Quota>(&raw.limit_reads, places)?);
    let state_place = places.of_value(&raw.state, place);
    let reason_place = places.of_value(&raw.reason, place);
    let revoked_place = places.of_value(&raw.revoked, place);
    let replaced_by_place = places.of_value(&raw.replaced_by, place);
    let state = raw.state.map_or(State::Active, |state| state.into_inner().0);
    let reason = raw.reason.map(|reason| reason.into_inner().0);
    let revoked = raw.revoked.map(|revoked| revoked.into_inner().0);
    if state != State::Revoked {
        let only = "only a key whose state is \"revoked\" has this";
        match (&reason, revoked) {
            (Some(_), _) => return Err(reason_place.refuse(only)),
            (None, Some(_)) => return Err(revoked_place.refuse(only)),
            (None, None) => {}
        }
    }
    let proof = match raw.proof {
        Some(proof) => proven(&key, &proof, places)?,
        None if raw.insecure_unproven => Proof::Waived,
        None => Proof::Missing,
    };
    let entry = KeyEntry {
        key,
        label: raw.label.map_or_else(Label::default, |Parsed(label)| label),
        state,
        reason,
        created: raw.created.map(|Moment(time)| time),
        expires: raw.expires.map(|Moment(time)| time),
        revoked,
        replaced_by: raw.replaced_by.map(|key| key.into_inner().0),
        scopes,
        restrictions,
        limits,
    };
    Ok(TextKey { place, state_place, reason_place, replaced_by_place, entry, proof })
}

fn proven(
    key: &PublishableKey,
    proof: &Spanned<String>,
    places: &Places<'_>,
) -> Result<Proof, BadRegistryText> {
    let place = places.of_span(proof.span());
    let lines: Vec<_> = proof.get_ref().trim().lines().map(str::trim).collect();
    let proven = ProvenKey::from_proof(&lines.join("\n")).map_err(|error| refuse(place, &error))?;
    match proven.key().publishable_key() == *key {
        true => Ok(Proof::Given),
        false => Err(place.refuse("this is the proof of another key")),
    }
}

/// Reads the items of a list.
fn items<T: FromStr<Err: Error + 'static>>(
    items: &[Spanned<String>],
    places: &Places<'_>,
) -> Result<Vec<T>, BadRegistryText> {
    let parsed = items.iter().map(|item| {
        item.get_ref().parse().map_err(|error| refuse(places.of_span(item.span()), &error))
    });
    parsed.collect()
}

fn restrictions(
    allow: BTreeMap<Parsed<RestrictionKind>, Spanned<Vec<Spanned<String>>>>,
    report_only: Vec<Spanned<String>>,
    places: &Places<'_>,
) -> Result<Restrictions, BadRegistryText> {
    let mut restrictions = Restrictions::default();
    for (Parsed(kind), entries) in allow {
        let place = places.of_span(entries.span());
        for entry in entries.get_ref() {
            let place = places.of_span(entry.span());
            Restriction::new(kind, [entry.get_ref()]).map_err(|error| refuse(place, &error))?;
        }
        let entries = entries.into_inner().into_iter().map(Spanned::into_inner);
        let restriction = Restriction::new(kind, entries).map_err(|error| refuse(place, &error))?;
        restrictions.insert(restriction);
    }
    for kind in report_only {
        let place = places.of_span(kind.span());
        let kind = kind.get_ref().parse().map_err(|error: UnknownKind| refuse(place, &error))?;
        let Some(restriction) = restrictions.remove(kind) else {
            return Err(place.refuse(format!("the key has no allow.{kind} to report")));
        };
        restrictions.insert(restriction.insecure_report_only());
    }
    Ok(restrictions)
}

#[cfg(test)]
mod tests {
    use countersign::PrivateKey;

    use super::*;

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_refused_where_it_is() {
        let (key, other) = (PrivateKey::ed25519(&[1; 32]), PrivateKey::ed25519(&[2; 32]));
        let publishable = key.publishable_key();
        let head = format!(
            "version = 1\n[application.shop]\nenvironment = \"live\"\n[application.shop.key.{publishable}]\n"
        );
        assert!(read(&head).is_ok());
        let proof = ProvenKey::proof(&key).unwrap();
        for line in [
            format!("proof = \"\"\"\n{}\"\"\"", proof.replace('"', "\\\"")),
            format!("proof = '''{proof}'''"),
            format!("proof = '''\n\n  {}  '''", proof.replace('\n', " \r\n  ")),
            "insecure_unproven = true".into(),
            "limit_signed = ['600/1m:50', '1000/1d']\nlimit_reads = ['5/1s']".into(),
            "expires = 2027-01-31T00:00:00+01:00".into(),
            "expires = 2027-01-31 00:00:00z".into(),
            "expires = 253402300800".into(),
            "state = 'revoked'\nreason = 'lost'\nrevoked = 2027-01-31T00:00:00Z".into(),
            "allow = { ip = ['192.0.2.7'], sdk = ['shop-sdk'] }\nreport_only = ['sdk']".into(),
            format!("[application.shop.key.{}]", other.publishable_key()),
        ] {
            read(&format!("{head}{line}")).unwrap();
        }
        let others = ProvenKey::proof(&other).unwrap();
        let inside = [
            ("label = 7", "line 5, column 9: invalid type: integer `7`"),
            ("label = 'a'\nlabel = 'c'", "line 6, column 1: duplicate key"),
            ("label = \"a\\u0007b\"", "line 5, column 9: a label has at most 64"),
            ("  state =  'retired'", "line 5, column 12: a state is active"),
            ("scopes = [\n    'a',\n    'b c',\n]", "line 7, column 5: a scope has 1 to 64"),
            ("scopes = 'a'", "line 5, column 10: invalid type"),
            (
                "allow.ip = [\n    '192.0.2.0/24',\n    '192.0.2.0/99',\n]",
                "line 7, column 5: `192.0.2.0/99`",
            ),
            ("allow.ip = []", "line 5, column 12: "),
            ("allow.moon = ['x']", "line 5, column 7: a restriction is ip"),
            ("report_only = [\n    'moon',\n]", "line 6, column 5: a restriction is ip"),
            ("report_only = ['ip']", "line 5, column 16: the key has no allow.ip to report"),
            ("expires = '2027-01-31T00:00:00Z'", "line 5, column 11: a time is like"),
            ("expires = 2027-01-31", "line 5, column 11: a time is like"),
            ("expires = 2027-01-31T00:00:00", "line 5, column 11: a time is like"),
            ("expires = 2027-01-31T00:00:00.5Z", "line 5, column 11: a time is like"),
            ("expires = 1969-12-31T00:00:00Z", "line 5, column 11: a time is like"),
            ("expires = -1", "line 5, column 11: a time is like"),
            ("expires = 9223372036854775807", "line 5, column 11: a time is like"),
            ("reason = 'lost'", "line 5, column 10: only a key whose state is \"revoked\""),
            ("revoked = 2027-01-31T00:00:00Z", "line 5, column 11: only a key whose state"),
            ("state = 'revoked'\nreason = ''", "line 6, column 10: a reason has 1 to 200"),
            ("replaced_by = 'pk_x'", "line 5, column 15: "),
            ("proof = 'pk_x'", "line 5, column 9: "),
            (&format!("proof = '''{others}'''"), "line 5, column 9: this is the proof of another"),
            (&format!("proof = '''{publishable}'''"), "line 5, column 9: "),
            ("limit_signed = [\n    '6/1m',\n    '6/m',\n]", "line 7, column 5: a quota is like"),
            ("limit_reads = ['6/1m:0']", "line 5, column 16: a quota is like"),
            ("limit_reads = ['6/32d']", "line 5, column 16: a quota is for whole seconds"),
            ("rate = 7", "line 5, column 1: unknown field `rate`"),
            ("[application.shop.key.pk_x]", "line 5, column 23: "),
            (
                &format!(
                    "[application.web]\nenvironment = 'x'\n[application.web.key.{publishable}]"
                ),
                "line 7, column 22: this key is in the text twice",
            ),
            (
                &format!("[application.shop.key.acme_{publishable}]"),
                " column 23: this key is in the text twice",
            ),
        ];
        for (line, expected) in inside {
            let refused = refused(&format!("{head}{line}"));
            assert!(refused.contains(expected), "{line}: {refused}");
        }
        for (text, expected) in [
            ("", "line 1, column 1: missing field `version`"),
            ("version = 2", "line 1, column 11: this text has the version 2"),
            ("version = 'x'", "line 1, column 11: invalid type"),
            ("version = 1\nkeys = 1", "line 2, column 1: unknown field `keys`"),
            ("version = 1\n[application.shop]", "line 2, column "),
            ("version = 1\n[application.'a b']\nenvironment = 'x'", "line 2, column 14: a name"),
            ("version = 1\n[application.ä", "line 2, column "),
            ("version = 1\n# é\nx = \"é\" ?", "line 3, column "),
        ] {
            let refused = refused(text);
            assert!(refused.starts_with(expected), "{text}: {refused}");
            assert!(!refused.contains('\n'), "{refused}");
        }
    }
}
