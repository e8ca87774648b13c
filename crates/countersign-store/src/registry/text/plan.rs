use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use countersign::{Algorithm, PublishableKey, VerifyingKey, with_reasons};

use super::{
    Proof, RegistryText, TextApplication, TextKey,
    bad_registry_text::BadRegistryText,
    entry::{ApplicationEntry, KeyEntry, Line},
    stored::{Stored, StoredApplication, StoredKey},
    write::Quoted,
};
use crate::{
    credential::{State, application::ApplicationName, label::Label, reason::Reason},
    registry::{Registry, audit::act::Action, error::RegistryError, last_change::LastChange},
};

/// The reason for revoking a key that a text does not list.
const PRUNED: &str = "not in the text that was applied to the registry";

/// How a text is made into a [`Plan`]. The default removes nothing, and adds no key without a proof.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanOptions {
    prune: bool,
    accept_unproven: bool,
}

impl PlanOptions {
    /// The default, in a `const`.
    pub const fn new() -> Self {
        Self { prune: false, accept_unproven: false }
    }

    /// Revokes the keys and removes the applications that the text does not list. Default: they stay, and
    /// [`Plan::unlisted`] names them.
    pub const fn prune(mut self) -> Self {
        self.prune = true;
        self
    }

    /// Adds new keys without a proof that their holders have the private halves. Right for the export of another registry,
    /// which had the proofs; otherwise a stranger who has seen a publishable key can register it.
    pub const fn insecure_accept_unproven(mut self) -> Self {
        self.accept_unproven = true;
        self
    }
}

/// The changes by which a registry becomes like a text. [`Registry::apply`] makes them, unless the registry was changed meanwhile.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The last change before the plan was made. Another registry, or a backup of this one, can have as many.
    pub(super) change: LastChange,
    pub(super) steps: Vec<Step>,
    /// New keys that replaced others, each after the key before it.
    pub(super) replacements: Vec<Replacement>,
    unlisted: Vec<Unlisted>,
}

impl Plan {
    /// Returns the changes, in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the applications, and the keys that are not revoked, that the registry has and the text does not list. Nothing is
    /// done about them.
    pub fn unlisted(&self) -> &[Unlisted] {
        &self.unlisted
    }

    /// Whether the registry is as the text says: without changes, and without unlisted entries.
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.unlisted.is_empty()
    }
}

/// A change of one application or key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// The kind of change.
    pub action: Action,
    /// Its application.
    pub application: ApplicationName,
    /// Its key; `None` for a change of the application itself.
    pub key: Option<PublishableKey>,
    /// The label of the key, after the change.
    pub label: Option<Label>,
    /// The removed lines, in the form of the text, but each item of a list as a line: `scopes = "orders:read"`.
    pub removed: Vec<String>,
    /// The added lines.
    pub added: Vec<String>,
    pub(super) work: Work,
}

/// The action of a step.
#[derive(Clone, Debug)]
pub(super) enum Work {
    AddApplication(ApplicationEntry),
    SetApplication(ApplicationEntry),
    RemoveApplication,
    AddKey { key: Box<VerifyingKey>, entry: Box<KeyEntry> },
    SetKey { id: i64, entry: Box<KeyEntry> },
    SetState { id: i64, from: State, to: State },
    Revoke { id: i64, reason: Option<Reason> },
}

/// A new key that replaced another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replacement {
    pub(super) old: PublishableKey,
    pub(super) new: PublishableKey,
    /// Whether the new key is added as well, and gets the lineage of the old key.
    pub(super) both_are_added: bool,
}

/// An application or key that the text does not list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unlisted {
    /// The application. If `key` is `None`, all of it is unlisted.
    pub application: ApplicationName,
    /// The key.
    pub key: Option<PublishableKey>,
    /// The label of the key.
    pub label: Option<Label>,
}

impl Registry {
    /// Compares a text with the registry, and returns the changes by which the registry becomes like the text.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Text`] for the first impossible line, such as a new key without a proof or a revoked
    /// key that is to be active; [`RegistryError::DamagedApplication`] or [`RegistryError::DamagedCredential`] for a damaged row;
    /// or an error of the database.
    pub async fn plan(
        &self,
        text: &RegistryText,
        options: PlanOptions,
    ) -> Result<Plan, RegistryError> {
        let stored = self.stored().await?;
        let mut plan = Plan {
            change: stored.change,
            steps: Vec::new(),
            replacements: Vec::new(),
            unlisted: Vec::new(),
        };
        let owners = stored.applications.iter().flat_map(|(name, application)| {
            application.keys.values().map(move |key| (key.entry.key, name))
        });
        let owners = owners.collect();
        let mut planning = Planning { stored: &stored, owners, options, plan: &mut plan };
        for (name, application) in &text.applications {
            planning.application(name, application)?;
        }
        for (name, application) in &stored.applications {
            if !text.applications.contains_key(name) {
                planning.unlisted_application(name, application);
            }
        }
        Ok(plan)
    }
}

struct Planning<'p> {
    stored: &'p Stored,
    /// The application of each key.
    owners: HashMap<PublishableKey, &'p ApplicationName>,
    options: PlanOptions,
    plan: &'p mut Plan,
}

impl Planning<'_> {
    fn application(
        &mut self,
        name: &ApplicationName,
        text: &TextApplication,
    ) -> Result<(), BadRegistryText> {
        let stored = self.stored.applications.get(name);
        match stored {
            None => {
                let added = flat(text.entry.lines());
                let work = Work::AddApplication(text.entry.clone());
                self.step(Action::AddApplication, name, None, (Vec::new(), added), work);
            }
            Some(stored) => {
                let entry =
                    ApplicationEntry { created: stored.entry.created, ..text.entry.clone() };
                if entry != stored.entry {
                    let lines = differences(stored.entry.lines(), entry.lines());
                    let work = Work::SetApplication(entry);
                    self.step(Action::ChangeApplication, name, None, lines, work);
                }
            }
        }
        let no_keys = BTreeMap::new();
        let stored_keys = stored.map_or(&no_keys, |stored| &stored.keys);
        for (key_name, key) in &text.keys {
            match stored_keys.get(key_name) {
                Some(stored) => self.known_key(name, key, stored)?,
                None => self.new_key(name, text, key)?,
            }
        }
        self.replacements(text, stored_keys)?;
        let unlisted = |(key_name, _): &(&String, &StoredKey)| !text.keys.contains_key(*key_name);
        for (_, key) in stored_keys.iter().filter(unlisted) {
            match self.options.prune {
                true => self.prune(name, key),
                false if key.entry.state == State::Revoked => {}
                false => self.plan.unlisted.push(Unlisted {
                    application: name.clone(),
                    key: Some(key.entry.key),
                    label: Some(key.entry.label.clone()),
                }),
            }
        }
        Ok(())
    }

    fn known_key(
        &mut self,
        name: &ApplicationName,
        text: &TextKey,
        stored: &StoredKey,
    ) -> Result<(), BadRegistryText> {
        let (id, before) = (stored.id, &stored.entry);
        if text.entry.replaced_by.is_some() && text.entry.replaced_by != before.replaced_by {
            return Err(text.replaced_by_place.refuse(
                "no other key took over from this one; `countersign key rotate` lets one take over",
            ));
        }
        let settings = KeyEntry {
            label: text.entry.label.clone(),
            expires: text.entry.expires,
            scopes: text.entry.scopes.clone(),
            restrictions: text.entry.restrictions.clone(),
            limits: text.entry.limits.clone(),
            ..before.clone()
        };
        if settings != *before {
            let lines = differences(before.lines(), settings.lines());
            let work = Work::SetKey { id, entry: Box::new(settings.clone()) };
            self.step(Action::ChangeKey, name, Some(&settings), lines, work);
        }
        self.state(name, text, id, &settings)
    }

    /// Plans the change of a key's state; its other lines are right already.
    fn state(
        &mut self,
        name: &ApplicationName,
        text: &TextKey,
        id: i64,
        before: &KeyEntry,
    ) -> Result<(), BadRegistryText> {
        let (from, to) = (before.state, text.entry.state);
        let reason = text.entry.reason.clone();
        let refuse = |what: &str| Err(text.state_place.refuse(what));
        let set_state = Work::SetState { id, from, to };
        let (action, work) = match (from, to) {
            (State::Revoked, State::Revoked) => {
                if reason.is_some() && reason != before.reason {
                    return Err(text.reason_place.refuse(format!(
                        "the key is revoked already, with {}, which stays so",
                        before.reason.as_ref().map_or_else(
                            || "no reason".to_owned(),
                            |reason| format!("the reason {}", Quoted(reason.as_str()))
                        )
                    )));
                }
                return Ok(());
            }
            (State::Revoked, _) => {
                return refuse("the key is revoked for ever: its state is \"revoked\"");
            }
            (State::Active | State::Retiring | State::Quarantined, State::Revoked) => {
                (Action::RevokeKey, Work::Revoke { id, reason: reason.clone() })
            }
            (State::Active, State::Active)
            | (State::Retiring, State::Retiring)
            | (State::Quarantined, State::Quarantined) => return Ok(()),
            (State::Active | State::Retiring, State::Quarantined) => {
                (Action::QuarantineKey, set_state)
            }
            (State::Quarantined, State::Active) if before.replaced_by.is_none() => {
                (Action::ReleaseKey, set_state)
            }
            (State::Quarantined, State::Retiring) if before.replaced_by.is_some() => {
                (Action::ReleaseKey, set_state)
            }
            (State::Quarantined | State::Retiring, State::Active) => {
                return refuse("another key took over from this one: its state is \"retiring\"");
            }
            (State::Active | State::Quarantined, State::Retiring) => {
                return refuse(
                    "no other key took over from this one; `countersign key rotate` lets one take over",
                );
            }
        };
        let after = KeyEntry { state: to, reason, ..before.clone() };
        let lines = differences(before.lines(), after.lines());
        self.step(action, name, Some(&after), lines, work);
        Ok(())
    }

    fn new_key(
        &mut self,
        name: &ApplicationName,
        application: &TextApplication,
        text: &TextKey,
    ) -> Result<(), BadRegistryText> {
        let refuse = |what: String| Err(text.place.refuse(what));
        let entry = &text.entry;
        if let Some(owner) = self.owners.get(&entry.key) {
            return refuse(format!("the key is one of the application {owner}, and stays there"));
        }
        if let Some(owner) = self.stored.removed.get(&entry.key) {
            return refuse(format!(
                "the key was one of the application {owner}, which was removed; a key is registered once, for ever"
            ));
        }
        if entry.key.algorithm() == Algorithm::HmacSha256 {
            return refuse(format!(
                "a text cannot add an HMAC secret: run `countersign key add --app {name} --hmac-key FILE` first"
            ));
        }
        let key = entry.key.to_verifying_key();
        let key = key.and_then(|key| key.require_secret().map(|()| key));
        let key = match key {
            Ok(key) => key,
            Err(error) => return refuse(with_reasons(&error).to_string()),
        };
        match text.proof {
            Proof::Given | Proof::Waived => {}
            Proof::Missing if self.options.accept_unproven => {}
            Proof::Missing => {
                return refuse(
                    "the registry does not have this key: give its `proof`, the content of its .pub file".into(),
                );
            }
        }
        if let Some(new) = &entry.replaced_by
            && !application.keys.contains_key(&new.to_string())
        {
            return Err(text
                .replaced_by_place
                .refuse("the key that took over has to be in the same application of the text"));
        }
        let added = flat(entry.lines());
        let work = Work::AddKey { key: Box::new(key), entry: Box::new(entry.clone()) };
        self.step(Action::AddKey, name, Some(entry), (Vec::new(), added), work);
        Ok(())
    }

    /// Puts new keys behind the keys that they replaced.
    fn replacements(
        &mut self,
        text: &TextApplication,
        stored: &BTreeMap<String, StoredKey>,
    ) -> Result<(), BadRegistryText> {
        let is_new = |key: &PublishableKey| !stored.contains_key(&key.to_string());
        let mut replaced = BTreeMap::new();
        let mut places = BTreeMap::new();
        let mut old_names = BTreeSet::new();
        for (name, key) in &text.keys {
            let Some(new) = key.entry.replaced_by.filter(|_| is_new(&key.entry.key)) else {
                continue;
            };
            let other = replaced.insert(new.to_string(), (key.entry.key, new));
            if other.is_some() {
                return Err(key.replaced_by_place.refuse("it took over from another key already"));
            }
            places.insert(name.clone(), key.replaced_by_place);
            old_names.insert(new.to_string());
        }
        // From each key that replaced no other, along those that took over.
        let next: BTreeMap<String, (PublishableKey, PublishableKey)> =
            replaced.values().map(|&(old, new)| (old.to_string(), (old, new))).collect();
        let mut linked = HashSet::new();
        for first in next.keys().filter(|name| !old_names.contains(*name)) {
            let mut name = first.clone();
            while let Some(&(old, new)) = next.get(&name) {
                linked.insert(name);
                let both_are_added = is_new(&new);
                self.plan.replacements.push(Replacement { old, new, both_are_added });
                name = new.to_string();
            }
        }
        match places.iter().find(|(name, _)| !linked.contains(*name)) {
            Some((_, place)) => {
                Err(place.refuse("these keys took over from each other in a circle"))
            }
            None => Ok(()),
        }
    }

    fn unlisted_application(&mut self, name: &ApplicationName, application: &StoredApplication) {
        if !self.options.prune {
            let application = name.clone();
            self.plan.unlisted.push(Unlisted { application, key: None, label: None });
            return;
        }
        for key in application.keys.values() {
            self.prune(name, key);
        }
        let removed = flat(application.entry.lines());
        let work = Work::RemoveApplication;
        self.step(Action::RemoveApplication, name, None, (removed, Vec::new()), work);
    }

    /// Plans to revoke a key that the text does not list.
    fn prune(&mut self, name: &ApplicationName, key: &StoredKey) {
        let before = &key.entry;
        if before.state == State::Revoked {
            return;
        }
        let reason: Option<Reason> = PRUNED.parse().ok();
        let after = KeyEntry { state: State::Revoked, reason: reason.clone(), ..before.clone() };
        let lines = differences(before.lines(), after.lines());
        let work = Work::Revoke { id: key.id, reason };
        self.step(Action::RevokeKey, name, Some(&after), lines, work);
    }

    fn step(
        &mut self,
        action: Action,
        application: &ApplicationName,
        key: Option<&KeyEntry>,
        (removed, added): (Vec<String>, Vec<String>),
        work: Work,
    ) {
        self.plan.steps.push(Step {
            action,
            application: application.clone(),
            key: key.map(|entry| entry.key),
            label: key.map(|entry| entry.label.clone()),
            removed,
            added,
            work,
        });
    }
}

/// Returns lines with each item of a list as a line of its own.
fn flat(lines: Vec<(String, Line)>) -> Vec<String> {
    let flat = lines.into_iter().flat_map(|(name, line)| match line {
        Line::Text(text) => vec![format!("{name} = {}", Quoted(&text))],
        line @ Line::Time(_) => vec![format!("{name} = {line}")],
        Line::List(items) => {
            items.iter().map(|item| format!("{name} = {}", Quoted(item))).collect()
        }
    });
    flat.collect()
}

/// Returns the removed lines, and the added lines.
fn differences(
    before: Vec<(String, Line)>,
    after: Vec<(String, Line)>,
) -> (Vec<String>, Vec<String>) {
    let (before, after) = (flat(before), flat(after));
    let only = |these: &[String], others: &[String]| {
        these.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    (only(&before, &after), only(&after, &before))
}
