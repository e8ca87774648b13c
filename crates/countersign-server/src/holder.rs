mod request;

use std::{error::Error, fmt, sync::Arc, time::Duration};

use axum::{Router, extract::Request, response::Response};
use bytes::Bytes;
use countersign::{Algorithm, Timestamp};
use countersign_store::{Credential, HeldKeys, Made, NotHandedOver, NotReplaced, Rotation, State};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::{Value, json};

use self::request::{RevocationRequest, RotationRequest};
use crate::{
    caller::{SignedCaller, verification::Verification},
    refusal::{reason::Reason, unchanged::Unchanged},
    route::Route,
    routes::Routes,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Routes on which the holder of a key, without an operator, reads its credential, replaces the key, and revokes it.
///
/// | route | effect |
/// | --- | --- |
/// | `GET /` | responds with the caller's own credential, and when to rotate it |
/// | `POST /rotation` | registers a new key of the caller, and lets the old key run out |
/// | `POST /revocation` | revokes the caller's own key for ever |
///
/// Each of them takes signed requests alone, and concerns the key that signed. `docs/reference/protocol.md` ("What a holder does with its
/// own key") describes requests and responses. The new key of a rotation has the rights, the limits and the expiry of the old
/// one. A key in quarantine reads its credential and can be revoked by its holder, and does no more. The holder of an HMAC secret
/// can revoke it, and asks an operator to replace it.
///
/// ```
/// use std::sync::Arc;
///
/// use axum::Router;
/// use countersign_server::{HolderRoutes, Routes, Verifier};
/// use countersign_store::{Gate, Registry};
///
/// fn service<G: Gate>(
///     registry: Arc<Registry>,
///     verifier: Verifier<Arc<Registry>, G>,
/// ) -> Result<Router, countersign_server::BadRoute> {
///     let holder = HolderRoutes::new(registry);
///     verifier.protect(Routes::new().nest("/v1/key", holder.routes()))
/// }
/// ```
///
/// A thief of a private key can rotate it as well, as he can do everything else with it. The holder's next rotation is then refused
/// with `key-conflict`. Its detail and the audit log name the thief's key: revoke both.
#[derive(Clone)]
pub struct HolderRoutes<K> {
    keys: K,
    longest_overlap: Duration,
    rotation_age: Option<Duration>,
}

impl<K: HeldKeys> HolderRoutes<K> {
    /// Takes the store of the keys, such as a `Registry`.
    pub const fn new(keys: K) -> Self {
        Self {
            keys,
            longest_overlap: DAY.saturating_mul(30),
            rotation_age: Some(DAY.saturating_mul(90)),
        }
    }

    /// Sets the longest time for which an old key may be valid beside the new one. Default: 30 days.
    pub const fn longest_overlap(mut self, longest: Duration) -> Self {
        self.longest_overlap = longest;
        self
    }

    /// Sets the age at which a key is due for rotation: rotating clients go by it. Default: 90 days. `None` leaves the
    /// decision to the holders.
    pub const fn rotation_age(mut self, age: Option<Duration>) -> Self {
        self.rotation_age = age;
        self
    }

    /// Returns the routes with their declarations, for [`Verifier::protect`](crate::Verifier::protect): put them below a path
    /// with [`Routes::nest`]. They are enforced, also where the verifier only observes.
    pub fn routes<S: Clone + Send + Sync + 'static>(self) -> Routes<S> {
        let holder = Arc::new(self);
        let (rotation, revocation) = (Arc::clone(&holder), Arc::clone(&holder));
        Routes::new()
            .route(Route::signed(Method::GET, "/").enforce(), async move |request: Request| {
                holder.show(&request.into_parts().0)
            })
            .route(
                Route::signed(Method::POST, "/rotation").enforce(),
                async move |request: Request| rotation.rotate(&request.into_parts().0).await,
            )
            .route(
                Route::signed(Method::POST, "/revocation").enforce().in_quarantine_too(),
                async move |request: Request| revocation.revoke(&request.into_parts().0).await,
            )
    }

    /// Returns the routes as a router, for a service with the verifier as a layer around all routes. Their handlers refuse
    /// unsigned requests. Such a verifier does not know the routes, and refuses the revocation of a key in quarantine.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        self.routes().without_verifier()
    }

    fn show(&self, head: &Parts) -> Response {
        match Asked::of(head) {
            Ok(asked) => respond(StatusCode::OK, &self.described(asked.caller.credential())),
            Err(refused) => *refused,
        }
    }

    async fn rotate(&self, head: &Parts) -> Response {
        let asked = match Asked::of(head) {
            Ok(asked) => asked,
            Err(refused) => return *refused,
        };
        match self.hand_over(&asked).await {
            Ok(Rotation { new, old, made, .. }) => {
                let status = match made {
                    Made::Now => StatusCode::CREATED,
                    Made::Before => StatusCode::OK,
                };
                let ends_at = old.revoked_at.or(old.expires_at).map(Timestamp::unix);
                let (new, old) = (self.described(&new), self.described(&old));
                respond(status, &json!({ "new": new, "old": old, "old_ends_at": ends_at }))
            }
            Err(reason) => asked.verification.refuse(head, reason),
        }
    }

    async fn hand_over(&self, asked: &Asked<'_>) -> Result<Rotation, Reason> {
        let credential = asked.caller.credential();
        let request = RotationRequest::parse(asked.content, self.longest_overlap)?;
        if credential.key.algorithm() == Algorithm::HmacSha256 {
            return Err(Unchanged::Secret.into());
        }
        let (key, now) = (credential.publishable_key(), asked.verification.judge.now);
        let RotationRequest { new, overlap } = request;
        let rotation = self.keys.hand_over(&key, &new, overlap, now).await;
        rotation.map_err(|error| match error {
            // What the verifier had looked up was older than the change.
            NotHandedOver::NotReplaced(NotReplaced::Revoked) => Reason::Revoked,
            NotHandedOver::NotReplaced(NotReplaced::Expired) => Reason::Expired,
            NotHandedOver::NotReplaced(NotReplaced::Quarantined) => Reason::Quarantined,
            NotHandedOver::NotReplaced(reason) => Unchanged::NotReplaced(reason).into(),
            NotHandedOver::Registered => Unchanged::Registered.into(),
            NotHandedOver::Key(error) => Unchanged::BadKey(error).into(),
            error => unavailable(&error),
        })
    }

    async fn revoke(&self, head: &Parts) -> Response {
        let asked = match Asked::of(head) {
            Ok(asked) => asked,
            Err(refused) => return *refused,
        };
        match self.give_up(&asked).await {
            Ok(credential) => respond(StatusCode::OK, &self.described(&credential)),
            Err(reason) => asked.verification.refuse(head, reason),
        }
    }

    async fn give_up(&self, asked: &Asked<'_>) -> Result<Arc<Credential>, Reason> {
        let RevocationRequest { reason } = RevocationRequest::parse(asked.content)?;
        let (key, now) =
            (asked.caller.credential().publishable_key(), asked.verification.judge.now);
        self.keys.give_up(&key, reason, now).await.map_err(|error| unavailable(&error))
    }

    /// Returns a credential as its holder sees it.
    fn described(&self, credential: &Credential) -> Value {
        let can_rotate = credential.state == State::Active
            && credential.key.algorithm() != Algorithm::HmacSha256;
        let age = self.rotation_age.filter(|_| can_rotate);
        json!({
            "publishable_key": credential.publishable_key().to_string(),
            "alg": credential.key.algorithm().as_str(),
            "application": credential.application.name.as_str(),
            "environment": credential.application.environment.as_str(),
            "label": credential.label.as_str(),
            "state": credential.state.as_str(),
            "created_at": credential.created_at.unix(),
            "rotate_after": age.map(|age| credential.created_at.plus(age).unix()),
            "expires_at": credential.expires_at.map(Timestamp::unix),
            "revoked_at": credential.revoked_at.map(Timestamp::unix),
            "replaced_by": credential.replaced_by.map(|key| key.to_string()),
        })
    }
}

impl<K> fmt::Debug for HolderRoutes<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { longest_overlap, rotation_age, .. } = self;
        f.debug_struct("HolderRoutes")
            .field("longest_overlap", longest_overlap)
            .field("rotation_age", rotation_age)
            .finish_non_exhaustive()
    }
}

/// A signed request of a holder.
struct Asked<'r> {
    caller: SignedCaller,
    content: &'r [u8],
    verification: &'r Verification,
}

impl<'r> Asked<'r> {
    /// Returns the request, or the response to an unsigned request.
    fn of(head: &'r Parts) -> Result<Self, Box<Response>> {
        let (caller, verification) = (SignedCaller::of_head(head)?, Verification::of(head)?);
        let content = verification.content.as_deref().unwrap_or_default();
        Ok(Self { caller, content, verification })
    }
}

fn unavailable(error: &(dyn Error + 'static)) -> Reason {
    tracing::warn!(error, "the registry failed to change a key for its holder");
    Reason::RegistryUnavailable
}

fn respond(status: StatusCode, content: &Value) -> Response {
    let mut response = Response::new(Bytes::from(content.to_string()).into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
