use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use countersign::Timestamp;
use countersign_store::{CallCount, Registry, RegistryError, UsageQuery, UsageRow};
use serde_json::{Map, Value, json};

use super::{
    csv,
    dimension::{Dimension, Step},
    question::Question,
    sparkline::Sparkline,
};
use crate::{
    moment,
    printable::one_line,
    table::{Align, Column, lines},
};

type Group = Vec<Option<String>>;

/// How calls are divided, and what is wanted of each part.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    pub(super) by: Vec<Dimension>,
    pub(super) step: Option<Step>,
    /// How many at most, those with the most calls; all if there is no number.
    pub(super) top: Option<u32>,
    pub(super) latencies: bool,
    /// Whether a line shows the calls over time.
    pub(super) over_time: bool,
}

/// Calls, divided.
#[derive(Debug)]
pub(super) struct Breakdown {
    parts: Parts,
    from: Timestamp,
    to: Timestamp,
    /// All calls, also those of further parts.
    total: u64,
    has_bytes: bool,
    has_more: bool,
    rows: Vec<UsageRow>,
    /// How many of the calls of a part were refused. `None` where that is not asked.
    refused: Option<HashMap<(Option<Timestamp>, Group), u64>>,
    over_time: HashMap<Group, Sparkline>,
}

impl Breakdown {
    pub(super) async fn ask(
        registry: &Registry,
        question: &Question,
        parts: Parts,
    ) -> Result<Self, RegistryError> {
        let is_by_hour =
            question.filter.is_by_hour() || parts.by.iter().any(|one| one.is_by_hour());
        let names: Vec<_> = parts.by.iter().map(|one| one.name()).collect();
        let what =
            format!("by {}", if names.is_empty() { "time".into() } else { names.join(", ") });
        let divided = || {
            let groups = parts.by.iter().map(|one| one.asked());
            groups.fold(question.query(), UsageQuery::group_by)
        };
        // One more, to know whether there are more.
        let limit = parts.top.map(|top| top.saturating_add(1));
        let wanted = if parts.latencies { divided().latencies() } else { divided() };
        let stepped = parts.step.map(|step| wanted.clone().step(step.asked()));
        let (mut usage, mut top) = (None, None);
        if let Some(query) = &stepped {
            // A limit would take the earliest; the groups with the most calls are wanted.
            if let Some(limit) = limit.filter(|_| !parts.by.is_empty()) {
                top = Some(question.ask(registry, &what, divided().limit(limit)).await?.rows);
            }
            usage = Some(question.ask(registry, &what, query.clone()).await?);
        }
        let mut usage = match usage {
            Some(usage) => usage,
            None => {
                let query = limit.into_iter().fold(wanted, UsageQuery::limit);
                question.ask(registry, &what, query).await?
            }
        };
        let most = parts.top.and_then(|top| usize::try_from(top).ok()).unwrap_or(usize::MAX);
        let has_more = match (&top, parts.step) {
            (Some(top), _) => top.len() > most,
            (None, None) => usage.rows.len() > most,
            (None, Some(_)) => false,
        };
        match top {
            Some(top) => {
                let kept: HashSet<_> = top.into_iter().take(most).map(|row| row.group).collect();
                usage.rows.retain(|row| kept.contains(&row.group));
            }
            None if parts.step.is_none() => usage.rows.truncate(most),
            None => {}
        }
        let total = match has_more {
            true => {
                let all =
                    question.ask(registry, "all", divided_by_nothing(question, &parts)).await?;
                sum(&all.rows)
            }
            false => sum(&usage.rows),
        };
        let tells_outcome = parts.by.contains(&Dimension::Outcome) || question.filter.has_outcome();
        let refused = match is_by_hour || tells_outcome {
            true => None,
            false => {
                let query =
                    parts.step.iter().fold(divided(), |query, step| query.step(step.asked()));
                let rows = question.ask(registry, "refusals", query.refused()).await?.rows;
                Some(rows.into_iter().map(|row| ((row.at, row.group), row.count.calls)).collect())
            }
        };
        let mut breakdown = Self {
            from: usage.from,
            to: usage.to,
            total,
            has_bytes: !is_by_hour,
            has_more,
            rows: usage.rows,
            refused,
            over_time: HashMap::new(),
            parts: parts.clone(),
        };
        if parts.over_time {
            let step = Step::of(question.range, is_by_hour);
            let all = question.ask(registry, &what, divided().step(step.asked())).await?;
            let empty = Sparkline::new(all.from, all.to, step.seconds());
            for row in &breakdown.rows {
                breakdown.over_time.insert(row.group.clone(), empty.clone());
            }
            for row in &all.rows {
                if let Some(line) = breakdown.over_time.get_mut(&row.group) {
                    line.add(row);
                }
            }
        }
        Ok(breakdown)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) const fn has_more(&self) -> bool {
        self.has_more
    }

    /// By what it is divided, as an option says it.
    pub(super) fn asked(&self) -> String {
        self.parts.by.iter().map(|one| one.name()).collect::<Vec<_>>().join(",")
    }

    pub(super) fn rows(&self) -> &[UsageRow] {
        &self.rows
    }

    /// Writes a table.
    pub(super) fn text(&self) -> String {
        let headings: Vec<_> = self.parts.by.iter().map(|one| one.name().to_uppercase()).collect();
        let left = |name| Column { name, align: Align::Left };
        let right = |name| Column { name, align: Align::Right };
        let mut columns = Vec::new();
        columns.extend(self.parts.step.map(|_| left("TIME")));
        columns.extend(headings.iter().map(|heading| left(heading.as_str())));
        columns.push(right("CALLS"));
        columns.extend(self.refused.as_ref().map(|_| right("REFUSED")));
        let has_share = self.parts.step.is_none();
        columns.extend(has_share.then_some(right("SHARE")));
        if self.parts.latencies {
            columns.extend([right("MEDIAN"), right("95 %")]);
        }
        columns.extend(has_share.then_some(left("LAST")));
        columns.extend(self.parts.over_time.then_some(left("OVER TIME")));
        let row = |row: &UsageRow| {
            let mut cells = Vec::new();
            cells.extend(row.at.map(moment::show));
            cells.extend(self.parts.by.iter().zip(&row.group).map(|(one, value)| match value {
                Some(value) => one_line(value),
                None => one.without_value().to_owned(),
            }));
            cells.push(row.count.calls.to_string());
            cells.extend(self.refused_of(row).map(|refused| refused.to_string()));
            cells.extend(has_share.then(|| percent(row.count.calls, self.total)));
            if self.parts.latencies {
                cells.extend([0.5, 0.95].map(|part| latency(&row.count, part)));
            }
            cells.extend(has_share.then(|| moment::show(row.last)));
            cells.extend(self.over_time.get(&row.group).map(Sparkline::draw));
            cells
        };
        let rows: Vec<Vec<String>> = self.rows.iter().map(row).collect();
        lines(&columns, &rows)
    }

    pub(super) fn object(&self) -> Value {
        json!({
            "from": moment::show(self.from),
            "to": moment::show(self.to),
            "rows": self.objects(),
        })
    }

    /// Returns a JSON object for each row.
    pub(super) fn objects(&self) -> Value {
        self.rows.iter().map(|row| self.row_object(row)).collect()
    }

    fn row_object(&self, row: &UsageRow) -> Value {
        let mut members = Map::new();
        if let Some(at) = row.at {
            members.insert("at".into(), moment::show(at).into());
        }
        for (one, value) in self.parts.by.iter().zip(&row.group) {
            members.insert(one.name().into(), value.clone().into());
        }
        members.insert("calls".into(), row.count.calls.into());
        if let Some(refused) = self.refused_of(row) {
            members.insert("refused".into(), refused.into());
        }
        for (name, number) in self.sums(&row.count) {
            members.insert(name.into(), number.map_or(Value::Null, Value::from));
        }
        members.insert("last".into(), moment::show(row.last).into());
        Value::Object(members)
    }

    /// Writes CSV, with a line of names.
    pub(super) fn csv(&self) -> String {
        let mut names = Vec::new();
        names.extend(self.parts.step.map(|_| "at"));
        names.extend(self.parts.by.iter().map(|one| one.name()));
        names.push("calls");
        names.extend(self.refused.as_ref().map(|_| "refused"));
        names.extend(self.sums(&CallCount::default()).into_keys());
        names.push("last");
        let mut text = csv::line(names);
        for row in &self.rows {
            let mut cells = Vec::new();
            cells.extend(row.at.map(moment::show));
            cells.extend(row.group.iter().map(|value| value.clone().unwrap_or_default()));
            cells.push(row.count.calls.to_string());
            cells.extend(self.refused_of(row).map(|refused| refused.to_string()));
            let sums = self.sums(&row.count).into_values();
            cells.extend(sums.map(|sum| sum.map_or_else(String::new, |sum| sum.to_string())));
            cells.push(moment::show(row.last));
            text.push_str(&csv::line(cells.iter().map(String::as_str)));
        }
        text
    }

    fn refused_of(&self, row: &UsageRow) -> Option<u64> {
        let refused = self.refused.as_ref()?;
        Some(refused.get(&(row.at, row.group.clone())).copied().unwrap_or(0))
    }

    /// The other sums of a row, by their names in JSON and CSV. A quantile of no calls has no value.
    fn sums(&self, count: &CallCount) -> BTreeMap<&'static str, Option<u64>> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut sums = BTreeMap::new();
        if self.has_bytes {
            sums.insert("bytes_in", Some(count.bytes_in));
            sums.insert("bytes_out", Some(count.bytes_out));
            sums.insert("duration_ms", Some(milliseconds(count.duration)));
        }
        if self.parts.latencies {
            sums.insert("latency_median_ms", count.latencies.quantile(0.5).map(milliseconds));
            sums.insert("latency_95_ms", count.latencies.quantile(0.95).map(milliseconds));
        }
        sums
    }
}

/// A query for all calls, counted in the same way.
fn divided_by_nothing(question: &Question, parts: &Parts) -> UsageQuery {
    // A dimension chooses the tables; the rows are added up here.
    let by_hour = parts.by.iter().find(|one| one.is_by_hour());
    by_hour.into_iter().fold(question.query(), |query, one| query.group_by(one.asked()))
}

fn sum(rows: &[UsageRow]) -> u64 {
    rows.iter().fold(0, |sum, row| sum.saturating_add(row.count.calls))
}

/// Writes a part of a whole in percent, with a digit after the point.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let (part, whole) = (u128::from(part), u128::from(whole));
    let tenths = part.saturating_mul(1000).saturating_add(whole / 2);
    let tenths = tenths.checked_div(whole).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Writes the duration that a part of the calls did not exceed.
pub(super) fn latency(count: &CallCount, part: f64) -> String {
    count.latencies.quantile(part).map_or_else(|| "-".into(), show_latency)
}

fn show_latency(time: Duration) -> String {
    match time.as_millis() {
        0 => "< 1 ms".into(),
        milliseconds @ 1..1000 => format!("{milliseconds} ms"),
        milliseconds => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
    }
}
