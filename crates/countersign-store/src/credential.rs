pub(crate) mod application;
pub(crate) mod label;
pub(crate) mod name;
pub(crate) mod reason;
pub(crate) mod restrictions;
pub(crate) mod rotation;
pub(crate) mod scope;

use std::{fmt, str::FromStr, sync::Arc};

use countersign::{PublishableKey, Timestamp, VerifyingKey};

use self::{
    application::Application, label::Label, reason::Reason, restrictions::Restrictions,
    scope::Scopes,
};
use crate::limits::own_limits::OwnLimits;

/// The number of a credential: its row in the store, never a text from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId(i64);

impl CredentialId {
    /// Makes the number of a credential.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A key pair of an application, as a server knows it.
///
/// A custom key store makes a credential of each row:
///
/// ```
/// use countersign::{PrivateKey, Timestamp};
/// use countersign_store::{Application, Credential, CredentialId, Standing};
///
/// let created_at = Timestamp::from_unix(1_763_900_000);
/// let shop = Application::new("shop".parse()?, "live".parse()?, created_at);
/// let key = PrivateKey::ed25519(&[7; 32]).verifying_key();
/// let expires_at = Timestamp::from_unix(1_800_000_000);
/// let credential = Credential::new(CredentialId::new(1), shop, key, created_at)
///     .with_label("laptop".parse()?)
///     .with_expires_at(Some(expires_at));
/// assert_eq!(credential.standing(created_at), Standing::Active);
/// assert_eq!(credential.standing(expires_at), Standing::Expired);
/// # Ok::<(), countersign_store::BadName>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Credential {
    /// Its number.
    pub id: CredentialId,
    /// The number of the first credential of those that took over from each other; its own if there was none before it. Limits
    /// are counted under this number.
    pub lineage: CredentialId,
    /// The application that owns it.
    pub application: Arc<Application>,
    /// Its name for people.
    pub label: Label,
    /// Its stored state.
    pub state: State,
    /// The key that verifies its signatures, prepared for use.
    pub key: VerifyingKey,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub revocation_reason: Option<Reason>,
    /// The publishable key of the credential that took over from it.
    pub replaced_by: Option<PublishableKey>,
    /// When it was last used, right to a minute, as known when the credential was read.
    pub last_used_at: Option<Timestamp>,
    /// Its scopes, for routes that require scopes.
    pub scopes: Scopes,
    /// The restrictions on where it may be used.
    pub restrictions: Restrictions,
    /// Limits of its own, which hold in place of the server's.
    pub limits: OwnLimits,
}

impl Credential {
    /// Makes an active credential without label, expiry, scopes and restrictions.
    pub fn new(
        id: CredentialId,
        application: impl Into<Arc<Application>>,
        key: VerifyingKey,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            lineage: id,
            application: application.into(),
            label: Label::default(),
            state: State::Active,
            key,
            created_at,
            expires_at: None,
            revoked_at: None,
            revocation_reason: None,
            replaced_by: None,
            last_used_at: None,
            scopes: Scopes::default(),
            restrictions: Restrictions::default(),
            limits: OwnLimits::default(),
        }
    }

    /// Sets the label. Default: empty.
    pub fn with_label(mut self, label: Label) -> Self {
        self.label = label;
        self
    }

    /// Sets the state. Default: [`State::Active`].
    pub const fn with_state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// Sets when it expires. Default: `None`, never.
    pub const fn with_expires_at(mut self, time: Option<Timestamp>) -> Self {
        self.expires_at = time;
        self
    }

    /// Sets when it was revoked. [`State::Revoked`] revokes it. Default: `None`.
    pub const fn with_revoked_at(mut self, time: Option<Timestamp>) -> Self {
        self.revoked_at = time;
        self
    }

    /// Sets the scopes, for routes that require scopes. Default: none.
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Restricts where it may be used. Default: everywhere.
    pub fn with_restrictions(mut self, restrictions: Restrictions) -> Self {
        self.restrictions = restrictions;
        self
    }

    /// Sets limits of its own. Default: none, so that those of the server hold.
    pub fn with_limits(mut self, limits: OwnLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the number of the first credential of those that took over from each other. Default: its own number.
    pub const fn with_lineage(mut self, first: CredentialId) -> Self {
        self.lineage = first;
        self
    }

    /// Returns the publishable half of the key pair.
    pub fn publishable_key(&self) -> PublishableKey {
        self.key.publishable_key()
    }

    /// Returns where it is in its life at this time.
    pub fn stage(&self, now: Timestamp) -> Stage {
        match self.standing(now) {
            Standing::Active if self.state == State::Retiring => Stage::Retiring,
            Standing::Active => Stage::Active,
            Standing::Quarantined => Stage::Quarantined,
            Standing::Expired => Stage::Expired,
            Standing::Revoked => Stage::Revoked,
        }
    }

    /// Returns its standing at this time.
    pub fn standing(&self, now: Timestamp) -> Standing {
        let expired = self.expires_at.is_some_and(|at| at <= now);
        match self.state {
            State::Revoked => Standing::Revoked,
            State::Active | State::Retiring | State::Quarantined if expired => Standing::Expired,
            State::Active | State::Retiring => Standing::Active,
            State::Quarantined => Standing::Quarantined,
        }
    }
}

/// The stored state of a credential. Its [`Standing`] also depends on the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In use.
    Active,
    /// Replaced by another credential, and valid until it expires.
    Retiring,
    /// Reads only, never writes.
    Quarantined,
    /// Invalid for ever.
    Revoked,
}

impl State {
    /// Returns `active`, `retiring`, `quarantined` or `revoked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a credential is in its life at a given time: its state, unless it has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In use.
    Active,
    /// Replaced by another credential, and still valid.
    Retiring,
    /// Reads only, never writes.
    Quarantined,
    /// Invalid since it has expired.
    Expired,
    /// Invalid for ever.
    Revoked,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 5] =
        [Self::Active, Self::Retiring, Self::Quarantined, Self::Expired, Self::Revoked];

    /// Returns `active`, `retiring`, `quarantined`, `expired` or `revoked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => State::Active.as_str(),
            Self::Retiring => State::Retiring.as_str(),
            Self::Quarantined => State::Quarantined.as_str(),
            Self::Expired => "expired",
            Self::Revoked => State::Revoked.as_str(),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or(UnknownState)
    }
}

/// The text is not the name of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a state is active, retiring, quarantined, expired or revoked")]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let all = [Self::Active, Self::Retiring, Self::Quarantined, Self::Revoked];
        all.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// The rights of a credential at a given time, from its state and its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Reads and writes.
    Active,
    /// Reads only.
    Quarantined,
    /// Nothing: it has expired.
    Expired,
    /// Nothing: it was revoked.
    Revoked,
}

#[cfg(test)]
mod tests {
    use countersign::PrivateKey;

    use super::*;

    #[test]
    fn standing_follows_from_state_and_time() {
        let now = Timestamp::from_unix(100);
        let standing = |state, expires_at: Option<u64>| {
            let created_at = Timestamp::from_unix(1);
            let application =
                Application::new("shop".parse().unwrap(), "live".parse().unwrap(), created_at);
            let key = PrivateKey::ed25519(&[5; 32]).verifying_key();
            Credential::new(CredentialId::new(1), application, key, created_at)
                .with_state(state)
                .with_expires_at(expires_at.map(Timestamp::from_unix))
                .standing(now)
        };
        let table = [
            (State::Active, None, Standing::Active),
            (State::Active, Some(101), Standing::Active),
            (State::Active, Some(100), Standing::Expired),
            (State::Retiring, Some(101), Standing::Active),
            (State::Retiring, Some(99), Standing::Expired),
            (State::Quarantined, None, Standing::Quarantined),
            (State::Quarantined, Some(99), Standing::Expired),
            (State::Revoked, None, Standing::Revoked),
            (State::Revoked, Some(99), Standing::Revoked),
        ];
        for (state, expires_at, expected) in table {
            assert_eq!(standing(state, expires_at), expected, "{state} {expires_at:?}");
        }
    }

    #[test]
    fn states_print_as_they_are_read() {
        for state in [State::Active, State::Retiring, State::Quarantined, State::Revoked] {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!("Active".parse::<State>(), Err(UnknownState));
    }
}
