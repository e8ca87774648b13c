use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use countersign::{
    Algorithm, BadPresented, Claimed, Content, KeyId, METHOD_OVERRIDES, Misdirected, Presented,
    Rejection, RequestHead, TARGET_OVERRIDES, Target, Timestamp, Unverified, VerifyingKey,
};
use countersign_store::{
    ClientAddress, ClientNetwork, Credential, CredentialId, Gate, Half, KeyStore, NoClientAddress,
    Passage, QuotaLeft, RestrictionKind, Scope, Standing, StoreError, Verdict,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{AUTHORIZATION, HOST},
    request::Parts,
};
use http_body::Body;

use super::{Explanation, Nobody, Verifier};
use crate::{
    Access, BoxError, Rollout, Route,
    caller::{Caller, SignedUse},
    content::{ContentLimit, Unfit},
    failure_limit::sender,
    layer::{Behind, original_uri},
    reason::{Blame, Reason, Refused},
    received::Received,
    refusal::METHODS,
    route::Delivery,
    telemetry::{self, Passing},
    unaccepted::{Cause, Unaccepted},
};

/// What a request may do, from its head alone, and what is left of the budget that it was charged to.
pub(crate) enum Admitted {
    /// Anyone may do this.
    Open,
    /// A read by a known publishable key.
    Publishable(Caller, Option<QuotaLeft>),
    /// A signed request, whose content is still to be compared with its digest.
    Signed(Caller, Claimed, Option<QuotaLeft>, Hidden),
}

/// Fields of a signed request that its signature leaves out, and that no handler may take for the signer's.
pub(crate) type Hidden = Box<[HeaderName]>;

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// What a request has to bring, and how it is treated.
    pub(crate) fn demand<'v>(
        &'v self,
        head: &Parts,
        target: Target<'_>,
        content: Content,
        behind: &'v Behind,
    ) -> Demand<'v> {
        let route = match behind {
            Behind::Routes => self.routes.find(&head.method, target.path()),
            // What answers other methods than that of a route is declared by nobody.
            #[cfg(feature = "axum")]
            Behind::Route(route) => Some(&**route).filter(|route| route.is_for(&head.method)),
            #[cfg(feature = "axum")]
            Behind::Undeclared => None,
        };
        let open = self.open_paths.iter().any(|path| path == target.path());
        let access = match route.map(Route::access) {
            _ if open => Access::Open,
            Some(access) => access.for_request(head, content),
            None => Access::by_default(head, content),
        };
        let rollout = route.and_then(Route::rollout).unwrap_or(self.rollout);
        let delivery = route.map_or(Delivery::Whole, |route| route.delivery);
        Demand { route, access, rollout, delivery }
    }

    /// Whom a failure of this request is charged to.
    pub(crate) fn sender(&self, head: &Parts) -> Option<ClientNetwork> {
        self.failures.budget.as_ref().and_then(|_| sender(head))
    }

    /// Everything that can be said before the content is read.
    pub(crate) async fn admit(
        &self,
        head: &Parts,
        target: Target<'_>,
        demand: &Demand<'_>,
        arrival: Arrival,
        whence: Whence,
        now: Timestamp,
    ) -> Result<Admitted, Refused> {
        if head.version < Version::HTTP_11 {
            return Err(Reason::HttpVersion.into());
        }
        if !METHODS.contains(&head.method) {
            return Err(Reason::Method.into());
        }
        target.check().map_err(Rejection::from)?;
        if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
            // RFC 9112 §3.2, also where the request line names a host. A request that was no HTTP/1.1 message, as one that a test or
            // a serverless runtime hands over, has its host in the URI alone.
            if head.extensions.get::<Received>().is_some() || head.uri.authority().is_none() {
                return Err(Rejection::from(Misdirected::NoHost).into());
            }
        }
        let origin = self.ingress.origin(whence.peer, &head.uri, &head.headers)?;
        let request = RequestHead { method: &head.method, target, origin, headers: &head.headers };
        let Arrival { content, announced } = arrival;
        let open = demand.access == Access::Open;
        let unsigned =
            ["signature", "signature-input"].iter().all(|name| !head.headers.contains_key(*name));
        if !(open && unsigned) {
            whence.client?;
            self.failures.check(head)?;
        }
        let unverified = Unverified::parse(request, content, &self.policy, now)?;
        if unverified.is_none() && open {
            return Ok(Admitted::Open);
        }
        let presented = self.key_locations.find(&head.headers, target.query())?;
        match unverified {
            Some(unverified) => {
                self.check_announced(demand, announced)?;
                let key_id = unverified.key_id();
                presented.agrees_with(key_id.as_ref())?;
                self.admit_signed(head, unverified, key_id, demand, content, now).await
            }
            None => Ok(self.admit_unsigned(head, presented, demand, now).await?),
        }
    }

    async fn admit_signed(
        &self,
        head: &Parts,
        unverified: Unverified<'_>,
        key_id: Option<KeyId>,
        demand: &Demand<'_>,
        content: Content,
        now: Timestamp,
    ) -> Result<Admitted, Refused> {
        let credential = match &key_id {
            Some(id) => self.keys.find(id, now).await.map_err(registry_unavailable)?,
            None => None,
        };
        self.failures.check_again(head)?;
        let signature_base = match self.explanation {
            Explanation::Given => Some(unverified.signature_base().as_str().into()),
            Explanation::Withheld => None,
        };
        let Some(credential) = credential else {
            let nobody = self.nobody.like(key_id.as_ref());
            let reason = unverified.refuse_unknown_key(nobody).into();
            return Err(Refused { reason, signature_base });
        };
        let authorization = covered_authorization(&unverified, &head.headers);
        let hidden = Hidden::from(unverified.fields_to_remove());
        let authentic = unverified
            .verify(&credential.key)
            .map_err(|rejection| Refused { reason: rejection.into(), signature_base })?;
        // The caller has proven to have the key: only from here on are they told facts about it.
        let nonce_use = authentic.nonce_use(credential.id.get());
        let caller = Caller::signed(credential, SignedUse { nonce_use, authorization });
        telemetry::name(&caller);
        let credential = caller.credential();
        let allowed = check_standing(credential, head, content, now)
            .and_then(|()| Ok(check_authority(credential, Half::Private, head, demand)?));
        if let Err(reason) = allowed {
            return Err(self.charge_forbidden(head, credential, reason).await.into());
        }
        let passage = self.gate.signed(&nonce_use, (self.cost)(head), now).await;
        let (claim, level) = match passage.map_err(replay_store_unavailable)? {
            Passage::Claimed(claim, level) => (claim, level),
            Passage::Limited(excess) => return Err(Reason::RateLimited(excess).into()),
        };
        let claimed = authentic.redeem(claim)?;
        Ok(Admitted::Signed(caller, claimed, level, hidden))
    }

    async fn admit_unsigned(
        &self,
        head: &Parts,
        presented: Presented,
        demand: &Demand<'_>,
        now: Timestamp,
    ) -> Result<Admitted, Reason> {
        match demand.access {
            Access::Signed => return Err(Reason::SignatureRequired),
            Access::Publishable | Access::Open => {}
        }
        let key = presented.key().ok_or(Reason::KeyRequired)?;
        let found = self.keys.find(&KeyId::Publishable(key), now).await;
        self.failures.check_again(head)?;
        let unaccepted = |cause, credential| Reason::Unaccepted(Unaccepted { cause, credential });
        let credential = found.map_err(registry_unavailable)?;
        let credential = credential.ok_or_else(|| unaccepted(Cause::Unknown, None))?;
        let caller = Caller::publishable(credential);
        telemetry::name(&caller);
        let credential = caller.credential();
        let refused = match credential.standing(now) {
            Standing::Active | Standing::Quarantined => {
                check_authority(credential, Half::Publishable, head, demand).err().map(Cause::from)
            }
            Standing::Expired => Some(Cause::Expired),
            Standing::Revoked => Some(Cause::Revoked),
        };
        if let Some(cause) = refused {
            // No budget of the credential is charged, or what is left of it would tell that the key exists.
            return Err(unaccepted(cause, Some(credential.id)));
        }
        let charged = self.gate.unsigned(credential.id, client_address(head), (self.cost)(head));
        match charged.await.map_err(|NoClientAddress| Reason::NoClientAddress)? {
            Verdict::Within(level) => Ok(Admitted::Publishable(caller, level)),
            Verdict::Exceeded(excess) => Err(Reason::RateLimited(excess)),
        }
    }

    /// Leaves the address of the client in the extensions, in the place of that of its proxy. If it cannot be told, none is
    /// left, and whatever is not open to anyone is refused for that.
    pub(crate) fn locate(&self, head: &mut Parts) -> Whence {
        let peer = client_address(head).map(|address| address.ip());
        let client = match self.ingress.client_address(peer, &head.headers) {
            Ok(address) => {
                if let Some(address) = address {
                    head.extensions.insert(ClientAddress::from(address));
                }
                Ok(())
            }
            Err(reason) => {
                head.extensions.remove::<ClientAddress>();
                Err(reason)
            }
        };
        Whence { peer, client }
    }

    /// Charges a request whose signature holds and that is refused before its nonce is claimed: to its address, and to the
    /// budget that its credential has for unsigned reads.
    ///
    /// Not to the budget of signed calls, which nobody but the signer may use up: whoever captured this request can repeat it.
    async fn charge_forbidden(
        &self,
        head: &Parts,
        credential: &Credential,
        reason: Reason,
    ) -> Reason {
        let charged = self.gate.unsigned(credential.id, client_address(head), (self.cost)(head));
        match charged.await {
            Ok(Verdict::Within(_)) => reason,
            Ok(Verdict::Exceeded(excess)) => Reason::RateLimited(excess),
            Err(NoClientAddress) => Reason::NoClientAddress,
        }
    }

    /// Charges a refusal to where it came from, if its caller is to blame, and counts what only the operator can mend. A
    /// private key that was sent is counted, since whoever reads the logs on its way has it now.
    pub(crate) async fn charge_failure(&self, head: &Parts, reason: &Reason, now: Timestamp) {
        match reason {
            Reason::Presented(BadPresented::PrivateKey(_)) => telemetry::count_private_key(),
            Reason::Unaccepted(Unaccepted { cause, .. }) => telemetry::count_unaccepted(cause),
            _ => {}
        }
        self.failures.charge(sender(head), reason.blame());
        match reason {
            Reason::Presented(BadPresented::PrivateKey(key)) => {
                self.advise_on_private_key(*key, now).await;
            }
            _ => self.advise(head, reason),
        }
    }

    /// Charges a refusal of a publishable key by a layer further in as the verifier charges its own, or the limit on failures
    /// would tell that the key exists.
    pub(crate) fn charge_unaccepted(&self, sender: Option<ClientNetwork>, unaccepted: &Unaccepted) {
        self.failures.charge(sender, Blame::Caller);
        self.advise_on_unaccepted(unaccepted);
    }

    /// Whether a request is for a path that stands outside this verifier. A request with a field that names another method
    /// or target is not: whatever runs behind the verifier may take it for the other one.
    pub(crate) fn is_public(&self, head: &Parts) -> bool {
        let read = matches!(head.method, Method::GET | Method::HEAD);
        read && self.public_paths.iter().any(|path| path == original_uri(head).path())
            && !METHOD_OVERRIDES
                .iter()
                .chain(&TARGET_OVERRIDES)
                .any(|field| head.headers.contains_key(field))
    }

    /// Refuses content that says of itself that it does not fit, before anything is spent on it.
    fn check_announced(&self, demand: &Demand<'_>, announced: u64) -> Result<(), Reason> {
        self.content_limit_of(demand).check_announced(announced)?;
        match demand.delivery {
            Delivery::Whole => Ok(self.content_memory.check_announced(announced)?),
            Delivery::Streamed { .. } => Ok(()),
        }
    }

    /// Reads the content of a signed request to its end.
    pub(crate) async fn gather<B: Body<Error: Into<BoxError>> + Unpin>(
        &self,
        demand: &Demand<'_>,
        body: B,
        claimed: Claimed,
        credential: CredentialId,
    ) -> Result<Bytes, Unfit<B>> {
        let limit = self.content_limit_of(demand);
        let share = self.content_memory.share(credential, limit.bytes);
        limit.read(body, claimed, share).await
    }

    /// How much content a signed request may have.
    pub(crate) const fn content_limit_of(&self, demand: &Demand<'_>) -> ContentLimit {
        match demand.delivery {
            Delivery::Whole => self.limit,
            Delivery::Streamed { limit } => ContentLimit { bytes: limit, time: self.limit.time },
        }
    }
}

/// What a request has to bring, and how it is treated: as its route was declared, or by default.
pub(crate) struct Demand<'v> {
    route: Option<&'v Route>,
    access: Access,
    pub(crate) rollout: Rollout,
    pub(crate) delivery: Delivery,
}

impl Demand<'_> {
    pub(crate) fn begin(&self) -> Passing {
        Passing::begin(self.rollout, self.label())
    }

    /// What the route is called, if it was declared.
    pub(crate) fn label(&self) -> Option<Arc<str>> {
        self.route.map(|route| Arc::clone(&route.label))
    }
}

/// The value of the one `Authorization` field, if the signature covers it as it was sent.
fn covered_authorization(unverified: &Unverified<'_>, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (lines.next(), lines.next()) else { return None };
    let covered = unverified.components().iter().any(|one| one.is_plain(AUTHORIZATION.as_str()));
    let mut value = covered.then(|| value.clone())?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a credential that signed may do anything of this kind.
fn check_standing(
    credential: &Credential,
    head: &Parts,
    content: Content,
    now: Timestamp,
) -> Result<(), Reason> {
    match credential.standing(now) {
        Standing::Active => Ok(()),
        Standing::Quarantined => match Access::by_default(head, content) {
            Access::Signed => Err(Reason::Quarantined),
            Access::Publishable | Access::Open => Ok(()),
        },
        Standing::Expired => Err(Reason::Expired),
        Standing::Revoked => Err(Reason::Revoked),
    }
}

/// What a credential may do, and from where.
fn check_authority(
    credential: &Credential,
    half: Half,
    head: &Parts,
    demand: &Demand<'_>,
) -> Result<(), Forbidden> {
    let from = client_address(head).map(|address| address.ip());
    credential.restrictions.check(half, from, &head.headers).map_err(Forbidden::Restricted)?;
    let asked = demand.route.map(Route::scopes);
    match asked.and_then(|asked| credential.scopes.missing(asked)) {
        Some(scope) => Err(Forbidden::MissingScope(scope.clone())),
        None => Ok(()),
    }
}

/// Why a credential may not do this, or not from there.
enum Forbidden {
    Restricted(RestrictionKind),
    MissingScope(Scope),
}

impl From<Forbidden> for Reason {
    fn from(forbidden: Forbidden) -> Self {
        match forbidden {
            Forbidden::Restricted(kind) => Self::Restricted(kind),
            Forbidden::MissingScope(scope) => Self::MissingScope(scope),
        }
    }
}

impl From<Forbidden> for Cause {
    fn from(forbidden: Forbidden) -> Self {
        match forbidden {
            Forbidden::Restricted(kind) => Self::Restricted(kind),
            Forbidden::MissingScope(scope) => Self::MissingScope(scope),
        }
    }
}

/// Where a request came from, as whoever accepted its connection says.
fn client_address(head: &Parts) -> Option<ClientAddress> {
    head.extensions.get().copied()
}

/// Where a request came from.
pub(crate) struct Whence {
    /// Who is connected.
    peer: Option<IpAddr>,
    /// Whether the client is known, as far as proxies have to tell it.
    client: Result<(), Reason>,
}

/// What the head says of the content.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) content: Content,
    /// The least number of bytes that will come.
    announced: u64,
}

impl Arrival {
    pub(crate) fn of(body: &impl Body) -> Self {
        let size = body.size_hint();
        let absent = body.is_end_stream() || size.exact() == Some(0);
        let content = if absent { Content::Absent } else { Content::Present };
        Self { content, announced: size.lower() }
    }
}

impl Nobody {
    fn like(&self, id: Option<&KeyId>) -> &VerifyingKey {
        match (id, &self.hmac) {
            (Some(KeyId::Publishable(key)), Some(hmac))
                if key.algorithm() == Algorithm::HmacSha256 =>
            {
                hmac
            }
            _ => &self.ed25519,
        }
    }
}

fn registry_unavailable(error: StoreError) -> Reason {
    tracing::warn!(error = &error as &dyn std::error::Error, "the key registry cannot be asked");
    Reason::RegistryUnavailable
}

fn replay_store_unavailable(error: StoreError) -> Reason {
    tracing::warn!(error = &error as &dyn std::error::Error, "the replay guard cannot be asked");
    Reason::ReplayStoreUnavailable
}
