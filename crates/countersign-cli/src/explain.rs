mod difference;
mod signed_base;

use clap::Args;
use countersign::SignatureBase;
use serde_json::{Value, json};

use self::difference::Difference;
use crate::{
    failure::{Exit, Failure},
    input::read_file,
    output::{print, print_line},
    verify::{
        Verify,
        findings::{Finding, Verdict},
    },
};

/// Verifies like `verify`, and shows every check and the signature base
///
/// With --expected, also shows the first line in which that base differs from the other side's: the client's base, as
/// `sign --json` and most libraries print it, or the server's base, from a refusal in explain mode. To compare a
/// refusal with your request, give the request as the message.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 verified · 3 not verified · 1 the message or the key cannot be read."
)]
pub(crate) struct Explain {
    /// The file of the other side's signature base, of a refusal that has it, or of `sign --json`; `-` is stdin
    #[arg(long, value_name = "FILE")]
    expected: Option<String>,
    #[command(flatten)]
    verify: Verify,
}

impl Explain {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        self.verify.require_one_stdin(self.expected.as_deref())?;
        let judged = self.verify.judge()?;
        let findings = self.verify.findings(&judged)?;
        let expected = self.expected()?;
        let difference = match (judged.base(), &expected) {
            (Some(base), Some(expected)) => base.difference(expected).map(Difference),
            _ => None,
        };
        if self.verify.wants_json() {
            let mut told = judged.to_json();
            if let Value::Object(told) = &mut told {
                told.insert("checks".into(), findings.iter().map(Finding::to_json).collect());
                told.insert("difference".into(), json!(difference.map(|one| one.to_json())));
            }
            print_line(told)?;
            return Ok(self.verify.conclude(&judged));
        }
        let mut text = listing(&findings);
        text.push_str("\nsignature base:\n");
        text.push_str(judged.base().map_or("(it cannot be made)", SignatureBase::as_str));
        text.push('\n');
        if expected.is_some() && judged.base().is_some() {
            let told = difference.map(|difference| difference.to_string());
            text.push_str(&format!("\n{}\n", told.as_deref().unwrap_or("the bases are the same")));
        }
        text.push_str(&format!("\n{}\n", judged.verdict()));
        print(text)?;
        Ok(self.verify.conclude(&judged))
    }

    fn expected(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.expected else { return Ok(None) };
        let hint = "name the file of a signature base, or `-` for stdin";
        let content = String::from_utf8(read_file(file, hint)?);
        let content = content.map_err(|_| {
            Failure::local(format!("{file} is no signature base: it is not text"), hint)
        })?;
        signed_base::read(file, &content).map(Some)
    }
}

/// Writes a line for each finding, with the number of its check in the order of `docs/reference/protocol.md`.
fn listing(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    let line = |finding: &Finding| {
        let mark = match finding.outcome {
            Verdict::Passed => "ok  ",
            Verdict::Failed => "FAIL",
            Verdict::Skipped => "-   ",
        };
        let number = finding.check.number();
        format!("{number:>2}  {mark}  {:width$}  {}\n", finding.name, finding.detail)
    };
    findings.iter().map(line).collect()
}
