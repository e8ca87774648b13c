use clap::Args;
use countersign_store::{Restriction, RestrictionKind, Restrictions};

use super::{change, key_arg::KeyArg, restriction_args::RestrictionArgs};
use crate::{failure::Failure, registry_args::RegistryArgs};

/// Changes where a key may be used from: servers go by it within 5 s
///
/// What is allowed of a kind takes the place of what was allowed of it, and is enforced unless it is to be only reported.
/// Kinds that are not named stay as they are. All kinds have to hold, and of each kind one entry. Signed requests are bound by ip
/// alone.
#[derive(Args, Debug)]
pub(super) struct Restrict {
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    restrictions: RestrictionArgs,
    /// Refuses what this kind does not allow: the end of --report-only
    #[arg(long, value_name = "KIND")]
    enforce: Vec<RestrictionKind>,
    /// Lifts the restriction of this kind
    #[arg(long, value_name = "KIND")]
    lift: Vec<RestrictionKind>,
}

/// What is to become of the restrictions of a key.
#[derive(Debug)]
struct Change {
    allowed: Vec<Restriction>,
    /// Of kinds that are there already.
    reported: Vec<RestrictionKind>,
    enforced: Vec<RestrictionKind>,
    lifted: Vec<RestrictionKind>,
}

impl Restrict {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let change = self.change()?;
        let mut missing = None;
        let changed = change::make(registry, &self.key, |_, restrictions| {
            missing = change.apply(restrictions);
        })?;
        if let Some(kind) = missing {
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
                "nothing is to be changed",
                "say what with --allow-…, --report-only, --enforce or --lift",
            ));
        }
        for kind in RestrictionKind::ALL {
            let (reports, enforces) = (report.contains(&kind), enforce.contains(&kind));
            let keeps = restrictions.names(kind) || reports || enforces;
            if reports && enforces || lift.contains(&kind) && keeps {
                return Err(Failure::local(
                    format!("two things at once are said of `{kind}`"),
                    "name a kind with one of --report-only, --enforce and --lift",
                ));
            }
        }
        let reported = report.iter().copied().filter(|kind| !restrictions.names(*kind)).collect();
        Ok(Change { allowed, reported, enforced: enforce.clone(), lifted: lift.clone() })
    }
}

impl Change {
    /// Makes the change, or nothing of it if it names a kind that is not there, which is given back.
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
