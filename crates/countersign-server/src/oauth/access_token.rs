use std::{fmt, sync::Arc, time::Duration};

use countersign::{KeyId, Timestamp};
use countersign_store::{Credential, Scope, Scopes};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::bad_token::BadToken;

/// A valid access token: signed by its issuer, issued for this service, and not expired.
///
/// [`RequireBearer`](crate::RequireBearer) puts it into the request's extensions. Its `Debug` output has no claims.
#[derive(Clone)]
pub struct AccessToken(Arc<Claims>);

struct Claims {
    subject: Box<str>,
    expires_at: Timestamp,
    all: Map<String, Value>,
}

impl AccessToken {
    /// Returns the claim `sub`: the user that the application acts for, or the application itself if it acts for no user.
    ///
    /// A subject is unique within its issuer, the issuer that [`RequireBearer`](crate::RequireBearer) was made with.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Returns the claim `client_id`: the issuer's name for the client that the token was issued to.
    pub fn client_id(&self) -> Option<&str> {
        self.text("client_id")
    }

    /// Returns the scopes of the token: the words of the claim `scope`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.text("scope").unwrap_or_default().split(' ').filter(|scope| !scope.is_empty())
    }

    /// Returns the claim `exp`: the time at which the token expires. The token is valid only before it.
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }

    /// Deserializes all claims into a type of the service.
    ///
    /// # Errors
    ///
    /// The deserialization error of `C`.
    pub fn claims<C: DeserializeOwned>(&self) -> Result<C, serde_json::Error> {
        C::deserialize(&self.0.all)
    }

    /// Checks the remaining claims of a token whose signature, issuer and audience are valid.
    pub(super) fn new(
        all: Map<String, Value>,
        now: Timestamp,
        leeway: Duration,
    ) -> Result<Self, BadToken> {
        // `jsonwebtoken` also accepts a list of issuers that includes the right issuer.
        if !all.get("iss").is_some_and(Value::is_string) {
            return Err(BadToken::Claim("iss"));
        }
        let expires_at = date(&all, "exp")?.ok_or(BadToken::Claim("exp"))?;
        // RFC 7519 §4.1.4: a token is not accepted on or after this time.
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

    /// Checks that the token has all of these scopes.
    pub(super) fn check_scopes(&self, asked: &Scopes) -> Result<(), BadToken> {
        let lacks = |scope: &&Scope| !self.scopes().any(|had| had == scope.as_str());
        match asked.iter().find(lacks) {
            Some(scope) => Err(BadToken::MissingScope(scope.clone())),
            None => Ok(()),
        }
    }

    /// Checks that the token is bound to the key of this credential, if it is bound (RFC 7800 §3, RFC 9449 §6.1).
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
        // Any other member of `cnf` would have to be confirmed, too.
        let members = confirmation.as_object().filter(|members| members.len() == 1);
        let named = members.and_then(|members| members.get("jkt")?.as_str());
        let named = named.ok_or(BadToken::OtherBinding)?;
        // A shared secret has no thumbprint, so no token can be bound to it.
        let own = credential.key.thumbprint().map(|own| KeyId::Thumbprint(own).to_string());
        if own.as_deref() == Some(named) { Ok(()) } else { Err(BadToken::OtherKey) }
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.0.all.get(claim).and_then(Value::as_str)
    }
}

/// Whether tokens must be bound to the key that signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Binding {
    #[default]
    WhenPresent,
    Required,
}

/// Reads a `NumericDate` (RFC 7519 §2), and drops its fraction of a second.
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
