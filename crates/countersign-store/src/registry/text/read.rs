use std::{
    collections::{BTreeMap, HashSet},
    fmt::Display,
    ops::Range,
    str::FromStr,
};

use countersign::{ProvenKey, PublishableKey, Timestamp};
use serde::{Deserialize, Deserializer, de::Error as _};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use toml::Spanned;

use super::{
    BadRegistryText, Place, Proof, RegistryText, TextApplication, TextKey, VERSION,
    entry::{ApplicationEntry, KeyEntry},
};
use crate::credential::{
    State,
    application::{ApplicationName, Contact, Environment, Notes},
    label::Label,
    reason::Reason,
    restrictions::{Restriction, Restrictions, kind::RestrictionKind},
    scope::Scope,
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
    scopes: Vec<Parsed<Scope>>,
    #[serde(default)]
    allow: BTreeMap<Parsed<RestrictionKind>, Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    report_only: Vec<Spanned<Parsed<RestrictionKind>>>,
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
        let application = application(place, raw, &places, &mut seen)?;
        applications.insert(name, application);
    }
    Ok(RegistryText { applications })
}

fn refuse(place: Place, error: &dyn std::error::Error) -> BadRegistryText {
    place.refuse(countersign::with_reasons(error).to_string())
}

fn application(
    place: Place,
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
    Ok(TextApplication { place, entry, keys })
}

fn text_key(
    place: Place,
    key: PublishableKey,
    raw: RawKey,
    places: &Places<'_>,
) -> Result<TextKey, BadRegistryText> {
    let restrictions = restrictions(raw.allow, raw.report_only, places)?;
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
        scopes: raw.scopes.into_iter().map(|Parsed(scope)| scope).collect(),
        restrictions,
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

fn restrictions(
    allow: BTreeMap<Parsed<RestrictionKind>, Spanned<Vec<Spanned<String>>>>,
    report_only: Vec<Spanned<Parsed<RestrictionKind>>>,
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
        let Parsed(kind) = kind.into_inner();
        let Some(restriction) = restrictions.remove(kind) else {
            return Err(place.refuse(format!("the key has no allow.{kind} to report")));
        };
        restrictions.insert(restriction.insecure_report_only());
    }
    Ok(restrictions)
}
