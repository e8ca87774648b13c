use std::io::{IsTerminal, stdout};

use countersign::Timestamp;
use countersign_store::{CallCount, Registry, RegistryError};
use serde_json::{Map, Value, json};

use super::{
    breakdown::{Breakdown, Parts, latency, percent},
    dimension::{Dimension, Step},
    question::Question,
    sparkline::Sparkline,
};
use crate::{failure::Failure, moment, output::note, registry_args::RegistryArgs, table::facts};

/// By what an overview divides calls.
const SECTIONS: [(&str, &[Dimension]); 7] = [
    ("applications", &[Dimension::Application]),
    ("keys", &[Dimension::Application, Dimension::Label]),
    ("routes", &[Dimension::Route]),
    ("outcomes", &[Dimension::Outcome]),
    ("platforms", &[Dimension::Platform]),
    ("products", &[Dimension::Product]),
    ("networks", &[Dimension::Network]),
];

/// How many rows each part has.
const ROWS: u32 = 5;

/// Calls, divided by what operators ask for most.
#[derive(Debug)]
pub(super) struct Overview {
    from: Timestamp,
    to: Timestamp,
    all: CallCount,
    /// `None` if the filters are for what is counted without outcomes.
    refused: Option<u64>,
    over_time: Option<Sparkline>,
    sections: Vec<(&'static str, Breakdown)>,
}

impl Overview {
    pub(super) fn print(registry: &RegistryArgs, question: &Question) -> Result<(), Failure> {
        let as_text = !registry.wants_json();
        let over_time = as_text && stdout().is_terminal();
        let overview = registry.ask(async |open| Self::ask(open, question, over_time).await)?;
        registry.print(|| overview.object(), || overview.text())?;
        if overview.all.calls == 0 {
            note(
                "no calls: servers count them if they have the feature `usage` and `Verifier::usage`",
            );
        }
        Ok(())
    }

    async fn ask(
        registry: &Registry,
        question: &Question,
        over_time: bool,
    ) -> Result<Self, RegistryError> {
        let is_by_hour = question.filter.is_by_hour();
        let query = if is_by_hour { question.query() } else { question.query().latencies() };
        let usage = question.ask(registry, "all", query).await?;
        let all = usage.rows.into_iter().next().map(|row| row.count).unwrap_or_default();
        let refused = match is_by_hour {
            true => None,
            false => {
                let query = question.query().refused();
                let rows = question.ask(registry, "refusals", query).await?.rows;
                Some(rows.first().map_or(0, |row| row.count.calls))
            }
        };
        let mut overview = Self {
            from: usage.from,
            to: usage.to,
            all,
            refused,
            over_time: None,
            sections: Vec::new(),
        };
        if over_time {
            let step = Step::of(question.range, is_by_hour);
            let query = question.query().step(step.asked());
            let usage = question.ask(registry, "by time", query).await?;
            let mut line = Sparkline::new(usage.from, usage.to, step.seconds());
            usage.rows.iter().for_each(|row| line.add(row));
            overview.over_time = Some(line);
        }
        for (name, by) in SECTIONS {
            let parts = Parts { by: by.to_vec(), top: Some(ROWS), over_time, ..Parts::default() };
            match Breakdown::ask(registry, question, parts).await {
                Ok(section) => overview.sections.push((name, section)),
                // The filters are for what is counted in another way.
                Err(RegistryError::Usage(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(overview)
    }

    fn text(&self) -> String {
        let Self { all, .. } = self;
        if all.calls == 0 {
            return String::new();
        }
        let calls = match &self.over_time {
            Some(line) => format!("{}  {}", all.calls, line.draw().trim_end()),
            None => all.calls.to_string(),
        };
        let is_of_calls = self.refused.is_some();
        let mut text = facts([
            ("time", Some(format!("{} to {}", moment::show(self.from), moment::show(self.to)))),
            ("calls", Some(calls)),
            (
                "refused",
                self.refused.map(|refused| format!("{refused} ({})", percent(refused, all.calls))),
            ),
            (
                "content",
                is_of_calls
                    .then(|| format!("{} in, {} out", bytes(all.bytes_in), bytes(all.bytes_out))),
            ),
            (
                "duration",
                is_of_calls.then(|| {
                    format!("{} (median), {} (95 %)", latency(all, 0.5), latency(all, 0.95))
                }),
            ),
        ]);
        for (name, section) in &self.sections {
            text.push('\n');
            text.push_str(&section.text());
            if section.has_more() {
                text.push_str(&format!("more {name}: --by {}\n", section.asked()));
            }
        }
        text
    }

    fn object(&self) -> Value {
        let mut by = Map::new();
        for (name, section) in &self.sections {
            by.insert((*name).into(), section.objects());
        }
        json!({
            "from": moment::show(self.from),
            "to": moment::show(self.to),
            "calls": self.all.calls,
            "refused": self.refused,
            "bytes_in": self.refused.map(|_| self.all.bytes_in),
            "bytes_out": self.refused.map(|_| self.all.bytes_out),
            "top": by,
        })
    }
}

fn bytes(number: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    let unit = units.into_iter().find(|(size, _)| number >= *size);
    let Some((size, name)) = unit else { return format!("{number} B") };
    let tenths = u128::from(number).saturating_mul(10).checked_div(u128::from(size)).unwrap_or(0);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_a_unit_that_fits() {
        for (number, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_999_999, "1.9 MB"),
            (u64::MAX, "18446744.0 TB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
    }
}
