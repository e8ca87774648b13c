use std::collections::HashMap;

use clap::Args;
use countersign::{Code, KeyId, Timestamp};
use countersign_store::{
    CallAccess, CallOutcome, OwnLimits, Quota, Registry, RegistryError, UsageDimension, UsageRow,
    UsageStep,
};
use serde_json::{Value, json};

use super::question::Question;
use crate::{
    failure::Failure,
    moment,
    output::note,
    printable::one_line,
    registry_args::RegistryArgs,
    table::{Align, Column, lines},
};

/// Prints the busiest minute of keys beside their limits
///
/// Counts by minute are kept for 2 days. LIMIT is the key's own; without a limit of its own, the server's limits hold,
/// and the registry does not know them. USED compares the minute with the limit's refill in a minute: more than 100 %
/// is a burst. LIMITED counts calls over a limit in all of the time.
#[derive(Args, Debug)]
pub(super) struct Headroom {
    /// How many keys: those with the most calls
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    keys: u32,
}

/// The busiest minute of a key and an access.
struct Peak {
    application: Option<String>,
    label: Option<String>,
    key: String,
    access: String,
    at: Option<Timestamp>,
    calls: u64,
    limited: u64,
    limit: Option<Quota>,
}

impl Headroom {
    pub(super) fn run(self, registry: &RegistryArgs, question: &Question) -> Result<(), Failure> {
        let peaks = registry.ask(async |open| self.ask(open, question).await)?;
        registry.print(|| peaks.iter().map(Peak::object).collect::<Value>(), || listing(&peaks))?;
        if peaks.is_empty() {
            note("no calls of known keys in this time");
        }
        Ok(())
    }

    async fn ask(
        &self,
        registry: &Registry,
        question: &Question,
    ) -> Result<Vec<Peak>, RegistryError> {
        let (key, access) = (UsageDimension::Key, UsageDimension::Access);
        let limited = question.query().outcome(CallOutcome::Refused(Code::RateLimited));
        let limited = limited.group_by(key).group_by(access);
        let limited = question.ask(registry, "refusals by limits", limited).await?.rows;
        let limited: HashMap<_, _> =
            limited.into_iter().map(|row| (row.group, row.count.calls)).collect();
        let busiest = question.query().group_by(key);
        // One more, as the calls without a known key may be one of them.
        let busiest = busiest.limit(self.keys.saturating_add(1));
        let busiest = question.ask(registry, "by key", busiest).await?.rows;
        let keys = busiest.iter().filter_map(|row| row.group.first()?.as_ref());
        let mut peaks = Vec::new();
        for name in keys.take(usize::try_from(self.keys).unwrap_or(usize::MAX)) {
            let Ok(id) = name.parse::<KeyId>() else { continue };
            let credential = registry.credential(&id).await.ok();
            let query = question.query().key(id).outcome(CallOutcome::Passed);
            let query = query.group_by(access).step(UsageStep::Minute);
            let rows = question.ask(registry, &format!("minutes of {name}"), query).await?.rows;
            for access in [CallAccess::Signed, CallAccess::Publishable] {
                let group = [Some(name.clone()), Some(access.as_str().to_owned())];
                let peak = busiest_of(&rows, access);
                let limited = limited.get(group.as_slice()).copied().unwrap_or(0);
                if peak.is_none() && limited == 0 {
                    continue;
                }
                let limits = credential.as_ref().map(|credential| &credential.limits);
                peaks.push(Peak {
                    application: credential.as_ref().map(|it| it.application.name.to_string()),
                    label: credential.as_ref().map(|it| it.label.to_string()),
                    key: name.clone(),
                    access: access.as_str().to_owned(),
                    at: peak.and_then(|row| row.at),
                    calls: peak.map_or(0, |row| row.count.calls),
                    limited,
                    limit: limits.and_then(|limits| tightest(limits, access)),
                });
            }
        }
        Ok(peaks)
    }
}

fn busiest_of(rows: &[UsageRow], access: CallAccess) -> Option<&UsageRow> {
    let same = rows.iter().filter(|row| row.group == [Some(access.as_str().to_owned())]);
    same.max_by_key(|row| row.count.calls)
}

/// Returns the limit that refills the least in a minute.
fn tightest(limits: &OwnLimits, access: CallAccess) -> Option<Quota> {
    let quotas = match access {
        CallAccess::Signed => limits.signed_quotas(),
        CallAccess::Publishable => limits.unsigned_quotas(),
        CallAccess::Open => &[],
    };
    quotas.iter().copied().min_by_key(per_minute_times_a_thousand)
}

fn per_minute_times_a_thousand(quota: &Quota) -> u64 {
    let amount = u64::from(quota.amount().get()).saturating_mul(60_000);
    amount.checked_div(quota.window().as_secs()).unwrap_or(u64::MAX)
}

impl Peak {
    /// How much of the limit the busiest minute used, in percent.
    fn used(&self) -> Option<u64> {
        let refilled = per_minute_times_a_thousand(&self.limit?);
        self.calls.saturating_mul(100_000).checked_div(refilled)
    }

    fn object(&self) -> Value {
        json!({
            "application": self.application,
            "label": self.label,
            "key": self.key,
            "access": self.access,
            "busiest_minute": self.at.map(moment::show),
            "calls": self.calls,
            "limited": self.limited,
            "limit": self.limit.map(|limit| limit.to_string()),
            "used_percent": self.used(),
        })
    }
}

fn listing(peaks: &[Peak]) -> String {
    let column = |name, align| Column { name, align };
    let columns = [
        column("APPLICATION", Align::Left),
        column("LABEL", Align::Left),
        column("ACCESS", Align::Left),
        column("BUSIEST MINUTE", Align::Left),
        column("CALLS", Align::Right),
        column("LIMIT", Align::Left),
        column("USED", Align::Right),
        column("LIMITED", Align::Right),
        column("KEY", Align::Left),
    ];
    let or_none = |text: Option<String>| text.map_or_else(|| "-".into(), |text| one_line(&text));
    let row = |peak: &Peak| {
        [
            or_none(peak.application.clone()),
            or_none(peak.label.clone()),
            peak.access.clone(),
            or_none(peak.at.map(moment::show)),
            peak.calls.to_string(),
            or_none(peak.limit.map(|limit| limit.to_string())),
            or_none(peak.used().map(|percent| format!("{percent} %"))),
            peak.limited.to_string(),
            peak.key.clone(),
        ]
    };
    let rows: Vec<_> = peaks.iter().map(row).collect();
    lines(&columns, &rows)
}
