use std::sync::mpsc;

use clap::Args;
use countersign_store::{Restriction, RestrictionKind, Restrictions};

use super::{change, key_arg::KeyArg, restriction_args::RestrictionArgs};
use crate::{failure::Failure, registry_args::RegistryArgs};

/// Changes where a key may be used from: servers apply it within 1 s
///
/// --allow-KIND replaces all entries of that kind, and enforces them unless --report-only names the kind. Other kinds
/// stay as they are. A request has to match an entry of every kind. For signed requests only the kind ip counts.
#[derive(Args, Debug)]
pub(super) struct Restrict {
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    restrictions: RestrictionArgs,
    /// Enforce this kind, which was only reported
    #[arg(long, value_name = "KIND")]
    enforce: Vec<RestrictionKind>,
    /// Remove the restriction of this kind
    #[arg(long, value_name = "KIND")]
    lift: Vec<RestrictionKind>,
}

/// A change of the restrictions of a key.
#[derive(Debug)]
struct Change {
    allowed: Vec<Restriction>,
    /// Existing restrictions to report only, by kind.
    reported: Vec<RestrictionKind>,
    enforced: Vec<RestrictionKind>,
    lifted: Vec<RestrictionKind>,
}

impl Restrict {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let change = self.change()?;
        let (tell_missing, missing) = mpsc::channel();
        let changed = change::make(registry, &self.key, move |settings| {
            if let Some(kind) = change.apply(&mut settings.restrictions) {
                // Fails only if nobody waits for the change.
                tell_missing.send(kind).unwrap_or_default();
            }
        })?;
        if let Ok(kind) = missing.try_recv() {
            return Err(Failure::local(
                format!("the key has no restriction of the kind `{kind}`"),
                format_args!(
                    "`countersign key show {}{}` shows those it has",
                    self.key.key,
                    registry.db_option()
                ),
            ));
        }
        change::print(registry, &changed)
    }

    fn change(&self) -> Result<Change, Failure> {
        let Self { key: _, restrictions, enforce, lift } = self;
        let allowed = restrictions.restrictions()?;
        let report = &restrictions.report_only;
        if allowed.is_empty() && report.is_empty() && enforce.is_empty() && lift.is_empty() {
            return Err(Failure::local(
                "no change is given",
                "add --allow-…, --report-only, --enforce or --lift",
            ));
        }
        for kind in RestrictionKind::ALL {
            let (reports, enforces) = (report.contains(&kind), enforce.contains(&kind));
            let keeps = restrictions.names(kind) || reports || enforces;
            if reports && enforces || lift.contains(&kind) && keeps {
                return Err(Failure::local(
                    format!("two options contradict each other on `{kind}`"),
                    "name a kind with one of --report-only, --enforce and --lift",
                ));
            }
        }
        let reported = report.iter().copied().filter(|kind| !restrictions.names(*kind)).collect();
        Ok(Change { allowed, reported, enforced: enforce.clone(), lifted: lift.clone() })
    }
}

impl Change {
    /// Applies the whole change. Changes nothing and returns the kind if the key lacks a restriction that the change
    /// needs.
    fn apply(self, restrictions: &mut Restrictions) -> Option<RestrictionKind> {
        let mut changed = restrictions.clone();
        for kind in self.lifted {
            if changed.remove(kind).is_none() {
                return Some(kind);
            }
        }
        for restriction in self.allowed {
            changed.insert(restriction);
        }
        for kind in self.reported {
            let Some(restriction) = changed.get(kind) else { return Some(kind) };
            changed.insert(restriction.clone().insecure_report_only());
        }
        for kind in self.enforced {
            let Some(restriction) = changed.get(kind) else { return Some(kind) };
            changed.insert(restriction.clone().enforced());
        }
        *restrictions = changed;
        None
    }
}
