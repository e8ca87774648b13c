use std::time::Duration;

use countersign::ProvenKey;
use countersign_store::Reason;
use serde::Deserialize;

use crate::refusal::unchanged::Unchanged;

/// The overlap of a rotation that names none.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// The content of a request for a rotation.
#[derive(Debug)]
pub(super) struct RotationRequest {
    pub(super) new: ProvenKey,
    pub(super) overlap: Duration,
}

/// The content of a request for a revocation.
#[derive(Debug, Default)]
pub(super) struct RevocationRequest {
    pub(super) reason: Option<Reason>,
}

/// A member that is misspelt is refused: left out of account, it would mean the default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotationContent {
    public_key: String,
    overlap_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevocationContent {
    reason: Option<String>,
}

impl RotationRequest {
    pub(super) fn parse(content: &[u8], longest_overlap: Duration) -> Result<Self, Unchanged> {
        let content = serde_json::from_slice(content);
        let RotationContent { public_key, overlap_seconds } =
            content.map_err(|_| Unchanged::NotARotation)?;
        let new = ProvenKey::from_proof(&public_key).map_err(Unchanged::BadKey)?;
        let overlap = match overlap_seconds.map(Duration::from_secs) {
            Some(overlap) if overlap > longest_overlap => {
                return Err(Unchanged::OverlapTooLong { longest: longest_overlap });
            }
            Some(overlap) => overlap,
            None => OVERLAP.min(longest_overlap),
        };
        Ok(Self { new, overlap })
    }
}

impl RevocationRequest {
    pub(super) fn parse(content: &[u8]) -> Result<Self, Unchanged> {
        if content.is_empty() {
            return Ok(Self::default());
        }
        let content = serde_json::from_slice(content);
        let RevocationContent { reason } = content.map_err(|_| Unchanged::NotARevocation)?;
        let reason = reason.map(|reason| reason.parse()).transpose();
        Ok(Self { reason: reason.map_err(|_| Unchanged::NotARevocation)? })
    }
}

#[cfg(test)]
mod tests {
    use countersign::{KeyError, PrivateKey};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_rotation_has_a_proven_key_and_an_overlap_that_is_allowed() {
        let proof = ProvenKey::proof(&PrivateKey::ed25519(&[5; 32])).unwrap();
        let key = serde_json::Value::from(proof.as_str());
        let unproven = serde_json::Value::from(proof.lines().next().unwrap());
        let foreign = ProvenKey::proof(&PrivateKey::ed25519(&[6; 32])).unwrap();
        let foreign = foreign.split_once('\n').unwrap().1;
        let foreign =
            serde_json::Value::from(format!("{}\n{foreign}", proof.lines().next().unwrap()));
        let too_long = Unchanged::OverlapTooLong { longest: HOUR };
        let unproven_for = |why| Unchanged::BadKey(KeyError::Unproven(why));
        let table = [
            (format!(r#"{{"public_key":{key},"overlap_seconds":60}}"#), Ok(60)),
            (format!(r#"{{"public_key":{key},"overlap_seconds":0}}"#), Ok(0)),
            (format!(r#"{{"public_key":{key},"overlap_seconds":3600}}"#), Ok(3600)),
            (format!(r#"{{"public_key":{key}}}"#), Ok(3600)),
            (format!(r#"{{"public_key":{key},"overlap_seconds":3601}}"#), Err(too_long.clone())),
            (format!(r#"{{"public_key":{key},"overlap_seconds":{}}}"#, u64::MAX), Err(too_long)),
            (
                format!(r#"{{"public_key":{key},"overlap_seconds":-1}}"#),
                Err(Unchanged::NotARotation),
            ),
            (
                format!(r#"{{"public_key":{key},"overlap_seconds":1.5}}"#),
                Err(Unchanged::NotARotation),
            ),
            (format!(r#"{{"public_key":{key},"overlap":60}}"#), Err(Unchanged::NotARotation)),
            (format!(r#"{{"public_key":{key},"public_key":{key}}}"#), Err(Unchanged::NotARotation)),
            (format!(r#"{{"public_key":{unproven}}}"#), Err(unproven_for("missing"))),
            (format!(r#"{{"public_key":{foreign}}}"#), Err(unproven_for("wrong"))),
            (r#"{"public_key":""}"#.into(), Err(Unchanged::BadKey(KeyError::Empty))),
            (r#"{"public_key":5}"#.into(), Err(Unchanged::NotARotation)),
            ("{}".into(), Err(Unchanged::NotARotation)),
            (String::new(), Err(Unchanged::NotARotation)),
            ("[".repeat(100_000), Err(Unchanged::NotARotation)),
        ];
        for (content, expected) in table {
            let parsed = RotationRequest::parse(content.as_bytes(), HOUR);
            let overlap = parsed.map(|request| request.overlap.as_secs());
            assert_eq!(overlap, expected, "{}", &content[..content.len().min(300)]);
        }
    }

    #[test]
    fn a_revocation_has_a_reason_or_none() {
        let table: [(&str, Result<Option<&str>, Unchanged>); 8] = [
            ("", Ok(None)),
            ("{}", Ok(None)),
            (r#"{"reason":null}"#, Ok(None)),
            (r#"{"reason":"laptop lost"}"#, Ok(Some("laptop lost"))),
            (r#"{"reason":""}"#, Err(Unchanged::NotARevocation)),
            (r#"{"reason":"two\nlines"}"#, Err(Unchanged::NotARevocation)),
            (r#"{"why":"laptop lost"}"#, Err(Unchanged::NotARevocation)),
            ("laptop lost", Err(Unchanged::NotARevocation)),
        ];
        for (content, expected) in table {
            let parsed = RevocationRequest::parse(content.as_bytes()).map(|request| request.reason);
            let expected = expected.map(|reason| reason.map(|reason| reason.parse().unwrap()));
            assert_eq!(parsed, expected, "{content}");
        }
    }
}
