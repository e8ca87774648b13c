use std::{fmt, str::FromStr};

use super::hash::AuditHash;

/// The end of an audit log: the number of its last entry, and the hash of that entry, which covers all entries before it.
///
/// Printed and parsed as `NUMBER:HASH`. Note it outside of the database, and give it to
/// [`Registry::verify_audit`](crate::Registry::verify_audit) later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditHead {
    /// The number of the last entry; 0 if there are no entries.
    pub number: i64,
    /// The hash of the last entry; 32 zero bytes if there are no entries.
    pub hash: AuditHash,
}

impl AuditHead {
    /// The head of a log without entries.
    pub(super) const EMPTY: Self = Self { number: 0, hash: AuditHash::START };

    pub(super) const fn of(number: i64, hash: AuditHash) -> Self {
        Self { number, hash }
    }
}

/// The text is not the head of an audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a head is NUMBER:HASH, with the 64 hexadecimal digits of the hash")]
pub struct BadAuditHead;

impl FromStr for AuditHead {
    type Err = BadAuditHead;

    fn from_str(text: &str) -> Result<Self, BadAuditHead> {
        let (number, hash) = text.split_once(':').ok_or(BadAuditHead)?;
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = Some(number).filter(|_| digits).and_then(|number| number.parse().ok());
        let hash = AuditHash::from_hexadecimal(hash);
        match (number, hash) {
            (Some(number), Some(hash)) => Ok(Self { number, hash }),
            _ => Err(BadAuditHead),
        }
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_prints_and_nothing_else_is_a_head() {
        let hash = "0123456789abcdef".repeat(4);
        let text = format!("17:{hash}");
        let head: AuditHead = text.parse().unwrap();
        assert_eq!((head.number, head.to_string()), (17, text));
        assert_eq!(AuditHead::EMPTY.to_string().parse(), Ok(AuditHead::EMPTY));
        for text in [
            String::new(),
            hash.clone(),
            format!(":{hash}"),
            format!("-1:{hash}"),
            format!("+1:{hash}"),
            format!("1:{hash}0"),
            format!("1:{}", &hash[1..]),
            format!("1:{}", hash.to_uppercase()),
            format!("1:{}", hash.replace('a', "g")),
            format!("1:{}", hash.replacen("0123", "é12", 1)),
            format!("9223372036854775808:{hash}"),
            format!("1:{hash}\n"),
        ] {
            assert_eq!(text.parse::<AuditHead>(), Err(BadAuditHead), "{text:?}");
        }
    }
}
