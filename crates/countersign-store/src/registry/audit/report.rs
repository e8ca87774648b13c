//! The verification of an audit log: are all entries there, and as they were written?

use std::fmt;

use super::{entry::StoredEntry, hash::AuditHash, head::AuditHead};
use crate::registry::{
    Registry,
    error::RegistryError,
    query::{Query, Row},
    statements,
};

/// How many entries are read at a time.
const BATCH: i64 = 1000;

/// How many findings a report names.
const MOST_FINDINGS: usize = 1000;

/// What an audit log is found to be, by [`Registry::verify_audit`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditReport {
    /// How many entries were read.
    pub entries: u64,
    /// The end of the log, as the registry records it; `None` if the record is missing or damaged. Note it outside of the database.
    pub head: Option<AuditHead>,
    /// The faults, in the order of their entries: the first thousand.
    pub findings: Vec<AuditFinding>,
    /// How many faults there are beside these.
    pub more_findings: u64,
}

impl AuditReport {
    /// Whether no fault was found.
    pub const fn is_whole(&self) -> bool {
        self.findings.is_empty() && self.more_findings == 0
    }
}

/// A fault of an audit log, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditFinding {
    /// Entries have numbers less than 1, which no change has: they were put in.
    BeforeFirst {
        /// The number of the first of them.
        from: i64,
        /// The number of the last of them.
        to: i64,
    },
    /// Entries are missing, before or between others. The hash of the entry behind them cannot be checked.
    Missing {
        /// The number of the first of them.
        from: i64,
        /// The number of the last of them.
        to: i64,
    },
    /// The hash of this entry does not follow from the entry before it: this entry was changed, or the one before it was replaced
    /// together with its hash.
    Broken {
        /// Its number.
        number: i64,
    },
    /// A column of this entry cannot be read. The hash of the entry behind it cannot be checked.
    Unreadable {
        /// Its number.
        number: i64,
    },
    /// The registry does not record the end of the log, or the record is damaged.
    NoHead,
    /// The last entries are missing: the registry records an end behind the last entry.
    Truncated {
        /// The number of the first of them.
        from: i64,
        /// The number of the last of them.
        to: i64,
    },
    /// The registry records another hash for the last entry.
    OtherHead {
        /// The end that the registry records.
        recorded: AuditHead,
        /// The entry with this number.
        found: AuditHead,
    },
    /// Entries are behind the end that the registry records: they were put in, or the record was set back.
    AfterHead {
        /// The number of the first of them.
        from: i64,
        /// The number of the last of them.
        to: i64,
    },
    /// The log has another entry than when its head was noted, or has lost it. An earlier part of the log was rewritten.
    NotAsNoted {
        /// The head that was noted.
        noted: AuditHead,
        /// The entry with this number; `None` if it is missing or cannot be read.
        found: Option<AuditHead>,
    },
}

impl AuditFinding {
    /// Returns the name of this kind of fault, like `missing`, for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::BeforeFirst { .. } => "before-first",
            Self::Missing { .. } => "missing",
            Self::Broken { .. } => "broken",
            Self::Unreadable { .. } => "unreadable",
            Self::NoHead => "no-head",
            Self::Truncated { .. } => "truncated",
            Self::OtherHead { .. } => "other-head",
            Self::AfterHead { .. } => "after-head",
            Self::NotAsNoted { .. } => "not-as-noted",
        }
    }

    /// Returns the numbers of the first and the last entry that it is about; `None` if it is about no entry.
    pub const fn numbers(&self) -> Option<(i64, i64)> {
        match *self {
            Self::BeforeFirst { from, to }
            | Self::Missing { from, to }
            | Self::Truncated { from, to }
            | Self::AfterHead { from, to } => Some((from, to)),
            Self::Broken { number } | Self::Unreadable { number } => Some((number, number)),
            Self::OtherHead { recorded: AuditHead { number, .. }, .. }
            | Self::NotAsNoted { noted: AuditHead { number, .. }, .. } => Some((number, number)),
            Self::NoHead => None,
        }
    }
}

impl fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |from: i64, to: i64| match from == to {
            true => format!("entry {from}"),
            false => format!("entries {from} to {to}"),
        };
        match *self {
            Self::BeforeFirst { from, to } => {
                write!(f, "put in before the first entry: {}", range(from, to))
            }
            Self::Missing { from, to } => write!(f, "missing: {}", range(from, to)),
            Self::Broken { number } => {
                write!(f, "changed: entry {number}, or the one before it together with its hash")
            }
            Self::Unreadable { number } => write!(f, "damaged: a column of entry {number}"),
            Self::NoHead => f.write_str("missing or damaged: the record of the last entry"),
            Self::Truncated { from, to } => write!(f, "cut off at the end: {}", range(from, to)),
            Self::OtherHead { recorded, found } => {
                write!(f, "recorded as the last entry: {recorded}; found: {found}")
            }
            Self::AfterHead { from, to } => {
                write!(f, "put in after the last entry: {}", range(from, to))
            }
            Self::NotAsNoted { noted, found: Some(found) } => {
                write!(
                    f,
                    "rewritten: entry {} or entries before it; noted: {noted}; found: {found}",
                    noted.number
                )
            }
            Self::NotAsNoted { noted, found: None } => {
                write!(f, "lost: entry {}, which was noted: {noted}", noted.number)
            }
        }
    }
}

impl Registry {
    /// Reads the whole audit log, and checks that each entry is as it was written: the numbers, from 1 without a gap; the hashes,
    /// each of which covers its entry and the hash before it; and the record of the last entry. Changes can be made meanwhile.
    ///
    /// The check finds what was changed, taken out or put in by somebody who does not compute all later hashes anew. **Whoever can
    /// write to the database can do that**: the hashes need no secret. So note [`AuditReport::head`] where these people cannot write,
    /// and give it as `noted` the next time: then nothing up to that entry can have been rewritten. The log also holds only what
    /// programs told it: a change that was made by SQL, past this library, has no entry.
    ///
    /// Calls `progress` with the number of the last entry that was checked, and of the last entry to check, a thousand
    /// entries at a time.
    ///
    /// # Errors
    ///
    /// An error of the database. A damaged log is no error: the report has the findings.
    pub async fn verify_audit(
        &self,
        noted: Option<AuditHead>,
        mut progress: impl FnMut(i64, i64) + Send,
    ) -> Result<AuditReport, RegistryError> {
        let mut connection = self.shared.database.connection().await?;
        let mut session = connection.session();
        let bounds = session.fetch_one(Query::new(statements::AUDIT_BOUNDS)).await?;
        // Entries behind this one were added since.
        let last: Option<i64> = bounds.get("last")?;
        let mut check = Check::new(recorded_head(&bounds), noted);
        let (mut from, Some(last)) = (i64::MIN, last) else { return Ok(check.report()) };
        loop {
            let query = Query::new(statements::AUDIT_RANGE).bind(from).bind(last).bind(BATCH);
            let rows = session.fetch_all(query).await?;
            let Some(row) = rows.last() else { return Ok(check.report()) };
            let number: i64 = row.get("number")?;
            for row in &rows {
                check.next(row.get("number")?, StoredEntry::read(row).ok());
            }
            progress(number, last);
            match number.checked_add(1) {
                Some(next) if number < last => from = next,
                _ => return Ok(check.report()),
            }
        }
    }
}

fn recorded_head(bounds: &Row) -> Option<AuditHead> {
    let number = bounds.get::<Option<i64>>("number").ok()??;
    let hash = bounds.get::<Option<Vec<u8>>>("hash").ok()??;
    Some(AuditHead::of(number, AuditHash::from_stored(&hash)?))
}

/// A walk along the log.
struct Check {
    recorded: Option<AuditHead>,
    noted: Option<AuditHead>,
    /// The entry with the number of the noted head, as it is now.
    at_noted: Option<AuditHead>,
    /// The entry with the number of the recorded head.
    at_recorded: Option<AuditHead>,
    before: Before,
    /// Entries behind the recorded head.
    after_head: Option<(i64, i64)>,
    entries: u64,
    findings: Vec<AuditFinding>,
    more_findings: u64,
}

/// The entry before the next one.
struct Before {
    number: i64,
    hashes: Hashes,
}

/// The hashes from which that of the next entry may follow.
enum Hashes {
    /// Any: the entry is missing or unreadable.
    Unknown,
    /// The hash of the entry.
    One(AuditHash),
    /// The hash of the entry does not follow. If the next hash follows from the one that it should be, the hash alone was changed.
    Two { stored: AuditHash, computed: AuditHash },
}

impl Check {
    fn new(recorded: Option<AuditHead>, noted: Option<AuditHead>) -> Self {
        let empty = Some(AuditHead::EMPTY);
        let at =
            |head: Option<AuditHead>| empty.filter(|_| head.is_some_and(|head| head.number == 0));
        let mut check = Self {
            recorded,
            noted,
            at_noted: at(noted),
            at_recorded: at(recorded),
            before: Before { number: 0, hashes: Hashes::One(AuditHash::START) },
            after_head: None,
            entries: 0,
            findings: Vec::new(),
            more_findings: 0,
        };
        if recorded.is_none() {
            check.find(AuditFinding::NoHead);
        }
        check
    }

    fn find(&mut self, finding: AuditFinding) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings = self.more_findings.saturating_add(1);
        }
    }

    /// Checks the next entry; `None` if it cannot be read.
    fn next(&mut self, number: i64, entry: Option<StoredEntry>) {
        self.entries = self.entries.saturating_add(1);
        if number < 1 {
            // The numbers rise, so these are one after the other.
            match self.findings.last_mut() {
                Some(AuditFinding::BeforeFirst { to, .. }) => *to = number,
                _ => self.find(AuditFinding::BeforeFirst { from: number, to: number }),
            }
            return;
        }
        if self.recorded.is_some_and(|head| number > head.number) {
            let from = self.after_head.map_or(number, |(from, _)| from);
            self.after_head = Some((from, number));
        }
        let before = self.before.number;
        let is_next = before.checked_add(1) == Some(number);
        if !is_next {
            let (from, to) = (before.saturating_add(1), number.saturating_sub(1));
            self.find(AuditFinding::Missing { from, to });
            self.before.hashes = Hashes::Unknown;
        }
        let Some(entry) = entry else {
            self.find(AuditFinding::Unreadable { number });
            self.before = Before { number, hashes: Hashes::Unknown };
            return;
        };
        let found = AuditHead::of(number, entry.hash);
        for (head, at) in [(self.noted, &mut self.at_noted), (self.recorded, &mut self.at_recorded)]
        {
            if head.is_some_and(|head| head.number == number) {
                *at = Some(found);
            }
        }
        let (stored, computed) = match self.before.hashes {
            Hashes::Unknown => (entry.hash, None),
            Hashes::One(hash) => (entry.hash_after(hash), None),
            Hashes::Two { stored, computed } => {
                (entry.hash_after(stored), Some(entry.hash_after(computed)))
            }
        };
        let hashes = if stored == entry.hash || computed == Some(entry.hash) {
            Hashes::One(entry.hash)
        } else {
            self.find(AuditFinding::Broken { number });
            Hashes::Two { stored: entry.hash, computed: stored }
        };
        self.before = Before { number, hashes };
    }

    fn report(mut self) -> AuditReport {
        if let Some(recorded) = self.recorded {
            match (self.at_recorded, self.after_head) {
                (Some(found), _) if found != recorded => {
                    self.find(AuditFinding::OtherHead { recorded, found });
                }
                (None, None) if recorded.number > self.before.number => {
                    let from = self.before.number.saturating_add(1);
                    self.find(AuditFinding::Truncated { from, to: recorded.number });
                }
                _ => {}
            }
        }
        if let Some((from, to)) = self.after_head {
            self.find(AuditFinding::AfterHead { from, to });
        }
        if let Some(noted) = self.noted.filter(|_| self.noted != self.at_noted) {
            self.find(AuditFinding::NotAsNoted { noted, found: self.at_noted });
        }
        let Self { entries, recorded: head, findings, more_findings, .. } = self;
        AuditReport { entries, head, findings, more_findings }
    }
}

#[cfg(test)]
mod tests {
    use super::{AuditFinding::*, *};

    /// Returns a log with this many entries, as it is written.
    fn log(entries: i64) -> Vec<StoredEntry> {
        let mut hash = AuditHash::START;
        let chained = |number| {
            let mut entry = StoredEntry {
                number,
                at: 1_763_900_000,
                actor: "ana".into(),
                action: "key.revoke".into(),
                application: None,
                key_id: None,
                before: None,
                after: None,
                hash,
            };
            entry.hash = entry.hash_after(hash);
            hash = entry.hash;
            entry
        };
        (1..=entries).map(chained).collect()
    }

    fn head(log: &[StoredEntry]) -> AuditHead {
        log.last().map_or(AuditHead::EMPTY, |entry| AuditHead::of(entry.number, entry.hash))
    }

    fn findings(
        log: &[StoredEntry],
        recorded: Option<AuditHead>,
        noted: Option<AuditHead>,
    ) -> Vec<AuditFinding> {
        let mut check = Check::new(recorded, noted);
        for entry in log {
            check.next(entry.number, Some(entry.clone()));
        }
        check.report().findings
    }

    #[test]
    fn a_log_as_it_was_written_is_whole() {
        for entries in [0, 1, 2, 9] {
            let log = log(entries);
            assert_eq!(findings(&log, Some(head(&log)), None), [], "{entries}");
            for noted in 0..=log.len() {
                let noted = head(&log[..noted]);
                assert_eq!(findings(&log, Some(head(&log)), Some(noted)), [], "{noted}");
            }
        }
    }

    #[test]
    fn each_fault_is_found_where_it_is() {
        type Fault = fn(&mut Vec<StoredEntry>);
        let table: [(&str, Fault, &[AuditFinding]); 12] = [
            ("text changed", |log| log[3].actor = "bob".into(), &[Broken { number: 4 }]),
            ("hash changed", |log| log[3].hash = AuditHash::START, &[Broken { number: 4 }]),
            (
                "two beside each other changed",
                |log| {
                    log[3].at = 0;
                    log[4].at = 0;
                },
                &[Broken { number: 4 }, Broken { number: 5 }],
            ),
            (
                "changed, with its hash computed anew",
                |log| {
                    log[3].actor = "bob".into();
                    log[3].hash = log[3].hash_after(log[2].hash);
                },
                &[Broken { number: 5 }],
            ),
            ("first taken out", |log| drop(log.remove(0)), &[Missing { from: 1, to: 1 }]),
            ("some taken out", |log| drop(log.drain(2..5)), &[Missing { from: 3, to: 5 }]),
            (
                "taken out, and the others moved up",
                |log| {
                    log.remove(2);
                    log[2..].iter_mut().for_each(|entry| entry.number -= 1);
                },
                &[
                    Broken { number: 3 },
                    Broken { number: 4 },
                    Broken { number: 5 },
                    Broken { number: 6 },
                    Broken { number: 7 },
                    Truncated { from: 8, to: 8 },
                ],
            ),
            ("end cut off", |log| log.truncate(6), &[Truncated { from: 7, to: 8 }]),
            ("all taken out", Vec::clear, &[Truncated { from: 1, to: 8 }]),
            (
                "put in before",
                |log| {
                    for number in [0, -7] {
                        let entry = StoredEntry { number, ..log[3].clone() };
                        log.insert(0, entry);
                    }
                },
                &[BeforeFirst { from: -7, to: 0 }],
            ),
            (
                "put in after, without a fault of its own",
                |log| {
                    for number in 9..12 {
                        let last = log.last().unwrap().clone();
                        let mut entry = StoredEntry { number, ..last.clone() };
                        entry.hash = entry.hash_after(last.hash);
                        log.push(entry);
                    }
                },
                &[AfterHead { from: 9, to: 11 }],
            ),
            (
                "put in after, with the largest number",
                |log| log.push(StoredEntry { number: i64::MAX, ..log[7].clone() }),
                &[
                    Missing { from: 9, to: i64::MAX - 1 },
                    AfterHead { from: i64::MAX, to: i64::MAX },
                ],
            ),
        ];
        for (what, fault, expected) in table {
            let mut log = log(8);
            let recorded = head(&log);
            fault(&mut log);
            assert_eq!(findings(&log, Some(recorded), None), expected, "{what}");
        }
        let (log, start) = (log(3), AuditHash::START);
        assert_eq!(findings(&log, None, None), [NoHead]);
        let recorded = AuditHead::of(3, start);
        assert_eq!(
            findings(&log, Some(recorded), None),
            [OtherHead { recorded, found: head(&log) }]
        );
        assert_eq!(findings(&log, Some(AuditHead::EMPTY), None), [AfterHead { from: 1, to: 3 }]);
        let recorded = AuditHead::of(0, log[0].hash);
        assert_eq!(
            findings(&[], Some(recorded), None),
            [OtherHead { recorded, found: AuditHead::EMPTY }]
        );
    }

    #[test]
    fn a_log_that_was_rewritten_is_found_by_a_head_that_was_noted() {
        let original = log(8);
        let noted = head(&original[..5]);
        let mut rewritten = original;
        rewritten[1].actor = "bob".into();
        for at in 1..8 {
            rewritten[at].hash = rewritten[at].hash_after(rewritten[at - 1].hash);
        }
        let recorded = Some(head(&rewritten));
        assert_eq!(findings(&rewritten, recorded, None), [], "the hashes need no secret");
        let found = Some(head(&rewritten[..5]));
        assert_eq!(findings(&rewritten, recorded, Some(noted)), [NotAsNoted { noted, found }]);
        rewritten.truncate(4);
        let recorded = Some(head(&rewritten));
        assert_eq!(findings(&rewritten, recorded, None), []);
        let lost = [NotAsNoted { noted, found: None }];
        assert_eq!(findings(&rewritten, recorded, Some(noted)), lost);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named_and_the_others_are_checked() {
        let log = log(8);
        let mut check = Check::new(Some(head(&log)), Some(head(&log[..3])));
        for entry in &log {
            let entry = (entry.number != 3).then(|| entry.clone());
            let number = entry.as_ref().map_or(3, |entry| entry.number);
            check.next(number, entry);
        }
        let noted = head(&log[..3]);
        let expected = [Unreadable { number: 3 }, NotAsNoted { noted, found: None }];
        assert_eq!(check.report().findings, expected);
    }

    #[test]
    fn a_report_names_a_thousand_faults_and_counts_the_others() {
        let mut log = log(1200);
        let recorded = head(&log);
        log.iter_mut().for_each(|entry| entry.at = 0);
        let mut check = Check::new(Some(recorded), None);
        for entry in &log {
            check.next(entry.number, Some(entry.clone()));
        }
        let report = check.report();
        assert_eq!(
            (report.findings.len(), report.more_findings, report.entries),
            (1000, 200, 1200)
        );
        assert!(!report.is_whole());
    }
}
