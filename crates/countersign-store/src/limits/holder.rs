use std::{fmt, hash::Hasher};

use siphasher::sip::SipHasher13;

use super::{Budget, quota::Quota};
use crate::credential::CredentialId;

/// Whose charges are counted together: a lineage of credentials, under the limits of the server or under limits of its own.
///
/// Each of several limits of its own is counted apart: a charge under limits by the day would otherwise block limits by the
/// minute for a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    lineage: CredentialId,
    /// A fingerprint of its own limits, the same on every server.
    own: Option<u64>,
}

impl Holder {
    /// Returns the budget that holds for a lineage, and who is charged.
    pub(crate) fn of<'b>(
        lineage: CredentialId,
        own: Option<&'b Budget>,
        of_server: Option<&'b Budget>,
    ) -> Option<(Self, &'b Budget)> {
        match own {
            Some(own) => Some((Self { lineage, own: Some(fingerprint(&own.quotas)) }, own)),
            None => Some((Self { lineage, own: None }, of_server?)),
        }
    }

    /// Whether the limits are its own.
    pub(crate) const fn has_own(self) -> bool {
        self.own.is_some()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lineage = self.lineage.get();
        match self.own {
            None => write!(f, "{lineage}"),
            Some(fingerprint) => write!(f, "{lineage}:{fingerprint:016x}"),
        }
    }
}

fn fingerprint(quotas: &[Quota]) -> u64 {
    let mut hasher = SipHasher13::new();
    for quota in quotas {
        hasher.write(&quota.amount().get().to_be_bytes());
        hasher.write(&quota.window().as_secs().to_be_bytes());
        hasher.write(&quota.at_once().get().to_be_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_holder_of_the_same_limits_is_the_same_on_every_server() {
        let budget = |amount| {
            let quota = Quota::per_minute(NonZeroU32::new(amount).unwrap());
            Budget::new("signed", [quota]).unwrap()
        };
        let (own, of_server, id) = (budget(5), budget(9), CredentialId::new(7));
        let (holder, held) = Holder::of(id, Some(&own), Some(&of_server)).unwrap();
        assert_eq!((holder.to_string().as_str(), held), ("7:bcc30ce5c221f244", &own));
        let (other, _) = Holder::of(id, Some(&budget(6)), None).unwrap();
        assert_ne!(other, holder);
        let (holder, held) = Holder::of(id, None, Some(&of_server)).unwrap();
        assert_eq!((holder.to_string().as_str(), held), ("7", &of_server));
        assert_eq!(Holder::of(id, None, None), None);
    }
}
