use std::io::{IsTerminal, Write};

use clap::Args;
use countersign_store::{AuditFinding, AuditHead, AuditReport};
use serde_json::{Value, json};

use crate::{
    failure::{Exit, Failure},
    output::note,
    registry_args::RegistryArgs,
};

/// Checks that the audit log is whole, and prints its head: exit code 3 if it is not
///
/// Finds changed, removed and inserted entries. A writer of the database can also compute all hashes anew: note the
/// head outside of the database, and give it with --head the next time.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 the log is as it was written · 3 it is not.")]
pub(super) struct Verify {
    /// A head that was printed earlier: nothing up to that entry may have changed since
    #[arg(long, value_name = "NUMBER:HASH")]
    head: Option<AuditHead>,
}

impl Verify {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let noted = self.head;
        let mut progress = Progress::new();
        let report = registry.ask(async |registry| {
            let report = registry.verify_audit(noted, |at, last| progress.show(at, last)).await;
            progress.end();
            report
        })?;
        registry.print(|| object(&report), || text(&report))?;
        if !report.is_whole() {
            let db = registry.db_option();
            return Err(Failure::new(
                Exit::Refused,
                format_args!("the audit log is not as it was written: {}", count(&report)),
                format_args!(
                    "find out who can write to the database; a backup shows what was there, and `countersign audit export{db}` prints what is"
                ),
            ));
        }
        let entries = match report.entries {
            1 => "1 entry".to_owned(),
            entries => format!("{entries} entries"),
        };
        match noted {
            None => note(format_args!(
                "the log is whole ({entries}), unless all its hashes were computed anew: note this head outside of the database, and give it \
                 with --head the next time"
            )),
            Some(noted) => note(format_args!(
                "the log is whole ({entries}), and up to entry {} as when its head was noted",
                noted.number
            )),
        }
        Ok(())
    }
}

fn count(report: &AuditReport) -> String {
    let findings = u64::try_from(report.findings.len()).unwrap_or(u64::MAX);
    match findings.saturating_add(report.more_findings) {
        1 => "1 fault".to_owned(),
        faults => format!("{faults} faults"),
    }
}

/// Returns the head of a whole log, and the faults of another one.
fn text(report: &AuditReport) -> String {
    if let (true, Some(head)) = (report.is_whole(), report.head) {
        return format!("{head}\n");
    }
    let mut text: String = report.findings.iter().map(|finding| format!("{finding}\n")).collect();
    if report.more_findings > 0 {
        text.push_str(&format!("and {} more\n", report.more_findings));
    }
    text
}

fn object(report: &AuditReport) -> Value {
    json!({
        "whole": report.is_whole(),
        "entries": report.entries,
        "head": report.head.map(|head| head.to_string()),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "more_findings": report.more_findings,
    })
}

fn finding(finding: &AuditFinding) -> Value {
    let (from, to) = finding.numbers().unzip();
    json!({ "kind": finding.kind(), "from": from, "to": to, "detail": finding.to_string() })
}

/// A line on the terminal that says how far a long check is.
struct Progress {
    is_shown: bool,
    is_begun: bool,
}

impl Progress {
    fn new() -> Self {
        Self { is_shown: std::io::stderr().is_terminal(), is_begun: false }
    }

    fn show(&mut self, at: i64, last: i64) {
        if self.is_shown && (self.is_begun || at < last) {
            self.is_begun = true;
            self.write(format_args!("\rchecked {at} of {last} entries"));
        }
    }

    /// Clears the line.
    fn end(&mut self) {
        if self.is_begun {
            self.write(format_args!("\r\u{1b}[K"));
        }
    }

    fn write(&self, text: std::fmt::Arguments<'_>) {
        let mut stderr = std::io::stderr();
        // A closed stderr cannot be reported anywhere.
        drop(stderr.write_fmt(text).and_then(|()| stderr.flush()));
    }
}
