use std::collections::BTreeMap;

use super::tally::{Counts, add_to};
use crate::registry::{error::RegistryError, query::Cell, session::Session};

/// A table in which the rows of a group are bounded. What is new beyond that is added to a row with an empty last key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounded {
    pub(super) table: &'static str,
    pub(super) keys: &'static [&'static str],
    /// How many of the keys make a group.
    pub(super) group: usize,
    /// How many rows of a group are told apart.
    pub(super) most: u64,
}

/// What became of the rows of a batch in a bounded table.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    /// The keys that are not in the table yet.
    pub(super) new: Vec<Vec<Cell>>,
    /// How much was added to the others.
    pub(super) others: u64,
}

impl Bounded {
    /// Puts what is beyond the bound together. Of what is new, those with the largest first count stay apart.
    ///
    /// Two servers that save at the same time may each fill a group to its bound.
    pub(super) async fn admit(
        self,
        counts: &mut Counts,
        session: &mut Session<'_>,
    ) -> Result<Admitted, RegistryError> {
        let mut groups: BTreeMap<Vec<Cell>, Vec<Vec<Cell>>> = BTreeMap::new();
        for key in self.missing(counts, session).await? {
            let group = key.iter().take(self.group).cloned().collect();
            groups.entry(group).or_default().push(key);
        }
        let mut admitted = Admitted::default();
        let names: Vec<_> = groups.keys().cloned().collect();
        let sizes = self.sizes(&names, session).await?;
        for (group, mut new) in groups {
            let free = self.most.saturating_sub(sizes.get(&group).copied().unwrap_or(0));
            let free = usize::try_from(free).unwrap_or(usize::MAX);
            if new.len() > free {
                let first = |key: &Vec<Cell>| counts.get(key).and_then(|it| it.first()).copied();
                new.sort_by_key(|key| std::cmp::Reverse(first(key)));
                for mut key in new.split_off(free) {
                    let Some(count) = counts.remove(&key) else { continue };
                    let calls = count.first().copied().unwrap_or_default();
                    admitted.others = admitted.others.saturating_add(calls.unsigned_abs());
                    key.pop();
                    key.push("".into());
                    add_to(counts, key, &count);
                }
            }
            admitted.new.extend(new);
        }
        Ok(admitted)
    }

    /// Finds the keys that are not in the table. The row of others is never missed.
    async fn missing(
        self,
        counts: &Counts,
        session: &mut Session<'_>,
    ) -> Result<Vec<Vec<Cell>>, RegistryError> {
        let is_other = |key: &Vec<Cell>| key.last() == Some(&"".into());
        let keys: Vec<_> = counts.keys().filter(|key| !is_other(key)).collect();
        let rows = numbered(&keys);
        let (table, number) = (self.table, self.keys.len().saturating_add(1));
        let same = same(self.keys);
        let text = format!(
            "SELECT v.column{number} AS number FROM {{rows}}
             WHERE NOT EXISTS (SELECT 1 FROM countersign.{table} t WHERE {same})"
        );
        let mut missing = Vec::new();
        for row in session.fetch_over(&text, &rows).await? {
            let number = usize::try_from(row.get::<i64>("number")?).unwrap_or(usize::MAX);
            missing.extend(keys.get(number).map(|key| (*key).clone()));
        }
        Ok(missing)
    }

    /// Counts the rows of groups.
    async fn sizes<'g>(
        self,
        groups: &'g [Vec<Cell>],
        session: &mut Session<'_>,
    ) -> Result<BTreeMap<&'g Vec<Cell>, u64>, RegistryError> {
        let groups: Vec<_> = groups.iter().collect();
        let rows = numbered(&groups);
        let (table, number) = (self.table, self.group.saturating_add(1));
        let same = same(self.keys.get(..self.group).unwrap_or_default());
        let text = format!(
            "SELECT v.column{number} AS number,
                    (SELECT COUNT(*) FROM countersign.{table} t WHERE {same}) AS size FROM {{rows}}"
        );
        let mut sizes = BTreeMap::new();
        for row in session.fetch_over(&text, &rows).await? {
            let number = usize::try_from(row.get::<i64>("number")?).unwrap_or(usize::MAX);
            if let Some(group) = groups.get(number) {
                sizes.insert(*group, row.get::<i64>("size")?.unsigned_abs());
            }
        }
        Ok(sizes)
    }
}

/// Adds its number to each row, to know it again.
pub(super) fn numbered(rows: &[&Vec<Cell>]) -> Vec<Vec<Cell>> {
    let numbered = rows.iter().zip(0_i64..).map(|(row, number)| {
        row.iter().cloned().chain(std::iter::once(Cell::Integer(number))).collect()
    });
    numbered.collect()
}

/// The condition that a row of the table `t` has these keys.
fn same(keys: &[&str]) -> String {
    let same = keys.iter().zip(1..).map(|(key, at)| format!("t.{key} = v.column{at}"));
    same.collect::<Vec<_>>().join(" AND ")
}
