use countersign::{PublishableKey, Timestamp};

use crate::{
    credential::{
        State,
        application::{Contact, Environment, Notes},
        label::Label,
        reason::Reason,
        restrictions::{Restriction, Restrictions},
        scope::Scopes,
    },
    enforcement::Enforcement,
    limits::{own_limits::OwnLimits, quota::Quota},
};

/// An application as a text has it, without its name and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApplicationEntry {
    pub(super) environment: Environment,
    pub(super) contact: Contact,
    pub(super) notes: Notes,
    pub(super) created: Option<Timestamp>,
}

/// A key as a text has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyEntry {
    pub(super) key: PublishableKey,
    pub(super) label: Label,
    pub(super) state: State,
    pub(super) reason: Option<Reason>,
    pub(super) created: Option<Timestamp>,
    pub(super) expires: Option<Timestamp>,
    pub(super) revoked: Option<Timestamp>,
    pub(super) replaced_by: Option<PublishableKey>,
    pub(super) scopes: Scopes,
    pub(super) restrictions: Restrictions,
    pub(super) limits: OwnLimits,
}

/// A value of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(String),
    Time(Timestamp),
    List(Vec<String>),
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl ApplicationEntry {
    /// Returns its lines, in the order in which they are written. A line that says what holds without it is left out.
    pub(super) fn lines(&self) -> Vec<(String, Line)> {
        let Self { environment, contact, notes, created } = self;
        let lines = [
            ("environment", Some(environment.as_str().into())),
            ("contact", filled(contact.as_str())),
            ("notes", filled(notes.as_str())),
            ("created", created.map(Line::Time)),
        ];
        present(lines)
    }
}

impl KeyEntry {
    /// Returns its lines, in the order in which they are written. A line that says what holds without it is left out, but for
    /// the state.
    pub(super) fn lines(&self) -> Vec<(String, Line)> {
        let Self { key: _, label, state, reason, created, expires, revoked, .. } = self;
        let Self { replaced_by, scopes, restrictions, limits, .. } = self;
        let key = |key: &PublishableKey| Line::Text(key.to_string());
        let mut lines = present([
            ("label", filled(label.as_str())),
            ("state", Some(state.as_str().into())),
            ("reason", reason.as_ref().map(|reason| reason.as_str().into())),
            ("created", created.map(Line::Time)),
            ("expires", expires.map(Line::Time)),
            ("revoked", revoked.map(Line::Time)),
            ("replaced_by", replaced_by.as_ref().map(key)),
            ("scopes", list(scopes.iter().map(ToString::to_string))),
        ]);
        for restriction in restrictions.iter() {
            let entries = Line::List(restriction.entries());
            lines.push((format!("allow.{}", restriction.kind()), entries));
        }
        let reported = |restriction: &&Restriction| match restriction.enforcement() {
            Enforcement::Enforce => false,
            Enforcement::Report => true,
        };
        let reported = restrictions.iter().filter(reported);
        let reported = list(reported.map(|restriction| restriction.kind().to_string()));
        let quotas = |quotas: &[Quota]| list(quotas.iter().map(ToString::to_string));
        lines.extend(present([
            ("report_only", reported),
            ("limit_signed", quotas(limits.signed_quotas())),
            ("limit_reads", quotas(limits.unsigned_quotas())),
        ]));
        lines
    }
}

fn filled(text: &str) -> Option<Line> {
    Some(text).filter(|text| !text.is_empty()).map(Line::from)
}

fn list(items: impl Iterator<Item = String>) -> Option<Line> {
    let items: Vec<_> = items.collect();
    Some(items).filter(|items| !items.is_empty()).map(Line::List)
}

fn present<const N: usize>(lines: [(&str, Option<Line>); N]) -> Vec<(String, Line)> {
    lines.into_iter().filter_map(|(name, line)| Some((name.to_owned(), line?))).collect()
}
