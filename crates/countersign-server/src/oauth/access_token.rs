use std::{fmt, sync::Arc, time::Duration};

use countersign::{KeyId, Timestamp};
use countersign_store::{Credential, Scope, Scopes};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::bad_token::BadToken;

/// An access token that its issuer has signed, for this service, at a time at which it is good.
///
/// [`RequireBearer`](crate::RequireBearer) puts it into the request's extensions. It does not print what it says.
#[derive(Clone)]
pub struct AccessToken(Arc<Claims>);

struct Claims {
    subject: Box<str>,
    expires_at: Timestamp,
    all: Map<String, Value>,
}

impl AccessToken {
    /// Whom the application acts for, or itself where it acts for nobody: `sub`.
    ///
    /// It is unique within its issuer, which is the one that [`RequireBearer`](crate::RequireBearer) was made for.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The client that the token was issued to, as its issuer calls it: `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.text("client_id")
    }

    /// What the token allows: `scope`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.text("scope").unwrap_or_default().split(' ').filter(|scope| !scope.is_empty())
    }

    /// The time from which on it is no longer good: `exp`.
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }

    /// All claims, as what the service reads of them.
    ///
    /// # Errors
    ///
    /// That of `C`.
    pub fn claims<C: DeserializeOwned>(&self) -> Result<C, serde_json::Error> {
        C::deserialize(&self.0.all)
    }

    /// A token whose signature holds, and whose issuer and audience are right.
    pub(super) fn new(
        all: Map<String, Value>,
        now: Timestamp,
        leeway: Duration,
    ) -> Result<Self, BadToken> {
        // The library takes a list as well, if one of it is right.
        if !all.get("iss").is_some_and(Value::is_string) {
            return Err(BadToken::Claim("iss"));
        }
        let expires_at = date(&all, "exp")?.ok_or(BadToken::Claim("exp"))?;
        // RFC 7519 §4.1.4: not on or after this time.
        if now.minus(leeway) >= expires_at {
            return Err(BadToken::Expired);
        }
        if date(&all, "nbf")?.is_some_and(|not_before| now.plus(leeway) < not_before) {
            return Err(BadToken::NotYetValid);
        }
        let subject = all.get("sub").and_then(Value::as_str).map(Box::from);
        let subject = subject.ok_or(BadToken::Claim("sub"))?;
        Ok(Self(Arc::new(Claims { subject, expires_at, all })))
    }

    /// Whether it allows what is asked for.
    pub(super) fn check_scopes(&self, asked: &Scopes) -> Result<(), BadToken> {
        let lacks = |scope: &&Scope| !self.scopes().any(|had| had == scope.as_str());
        match asked.iter().find(lacks) {
            Some(scope) => Err(BadToken::MissingScope(scope.clone())),
            None => Ok(()),
        }
    }

    /// Whether it is for whoever holds the key of this credential (RFC 7800 §3, RFC 9449 §6.1).
    pub(super) fn check_binding(
        &self,
        credential: &Credential,
        required: Binding,
    ) -> Result<(), BadToken> {
        let Some(confirmation) = self.0.all.get("cnf") else {
            return match required {
                Binding::Required => Err(BadToken::Unbound),
                Binding::WhenPresent => Ok(()),
            };
        };
        // What it says beside that would have to be confirmed too.
        let members = confirmation.as_object().filter(|members| members.len() == 1);
        let named = members.and_then(|members| members.get("jkt")?.as_str());
        let named = named.ok_or(BadToken::OtherBinding)?;
        // A shared secret has none, so that no token can be bound to it.
        let own = credential.key.thumbprint().map(|own| KeyId::Thumbprint(own).to_string());
        if own.as_deref() == Some(named) { Ok(()) } else { Err(BadToken::OtherKey) }
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.0.all.get(claim).and_then(Value::as_str)
    }
}

/// Whether tokens have to be bound to the key that signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Binding {
    #[default]
    WhenPresent,
    Required,
}

/// A `NumericDate` (RFC 7519 §2), whose fraction of a second is dropped.
fn date(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<Timestamp>, BadToken> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let whole = |seconds: f64| {
        let seconds = Duration::try_from_secs_f64(seconds).ok()?;
        Some(seconds.as_secs())
    };
    let seconds = value.as_u64().or_else(|| value.as_f64().and_then(whole));
    let seconds = seconds.ok_or(BadToken::Claim(claim))?;
    Ok(Some(Timestamp::from_unix(seconds)))
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").finish_non_exhaustive()
    }
}
