use std::pin::Pin;

use countersign::{
    BadPresented, Claimed, Content, KeyId, Misdirected, Presented, Rejection, RequestHead,
    SIGNATURE, SIGNATURE_INPUT, Target, Timestamp, Unverified, VerifyingKey, check_served,
};
use countersign_store::{
    CallAccess, ClientAddress, Credential, EventKind, Gate, GateVerdict, Half, KeyStore,
    NoClientAddress, QuotaLeft, Standing, StoreError, Verdict,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{AUTHORIZATION, HOST},
    request::Parts,
};

use super::{
    Verifier,
    demand::{Arrival, Demand},
};
use crate::{
    caller::{Caller, SignedUse},
    content::memory::Share,
    ingress::{received::Received, source::Source},
    recording::Recording,
    refusal::{
        forbidden::Forbidden,
        reason::{Reason, Refused, SentKey},
        unaccepted::{Cause, Unaccepted},
    },
    route::{BodyMode, Quarantine, Route, access::Access},
    telemetry,
};

/// The result of the checks of a request's head, with the level of the charged budget.
pub(crate) enum Admitted {
    /// The route is open.
    Open,
    /// A read by a known publishable key.
    Publishable(Caller, Option<QuotaLeft>),
    /// A signed request. Its content is still to be compared with its digest.
    Signed(Caller, Claimed, Option<QuotaLeft>, Hidden),
}

/// The credentials of a request, after checks 1 to 4.
enum Shown<'m> {
    /// No credential, and the route is open.
    Nothing,
    /// A private key, if undamaged as its verifying key.
    PrivateKey(Option<Box<VerifyingKey>>),
    /// A publishable key, or no key.
    Key(Presented),
    /// In a box, since it is large, and every future on the way keeps room for it.
    Signature(Box<Signature<'m>>),
}

struct Signature<'m> {
    unverified: Unverified<'m>,
    key_id: Option<KeyId>,
}

/// Fields that the verifier hides from the handler, since the signature does not cover them.
pub(crate) type Hidden = Box<[HeaderName]>;

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// Makes the checks without content: 1 to 8 of [`Check::ALL`](countersign::Check::ALL), which docs/reference/protocol.md
    /// numbers likewise.
    ///
    /// The future has a box of its own: allocators are quick with two boxes of less than 1 KiB, and slow with a larger box.
    pub(super) fn admit<'r>(
        &'r self,
        head: &'r Parts,
        target: Target<'r>,
        demand: &'r Demand<'_>,
        arrival: Arrival,
        source: Source,
        recording: &'r mut Recording,
    ) -> Pin<Box<impl Future<Output = Result<Box<Admitted>, Refused>> + Send>> {
        let now = arrival.at;
        let shown = self.read(head, target, demand, arrival, source);
        Box::pin(async move {
            let admitted = match shown? {
                Shown::Nothing => Admitted::Open,
                Shown::PrivateKey(sent) => {
                    let refusing = self.refuse_private_key(head, sent, now, recording);
                    return Err(Box::pin(refusing).await.into());
                }
                Shown::Key(presented) => {
                    self.admit_unsigned(head, presented, demand, now, recording).await?
                }
                Shown::Signature(signature) => {
                    self.admit_signed(head, signature, demand, arrival, recording).await?
                }
            };
            Ok(Box::new(admitted))
        })
    }

    /// Makes the checks without waiting: 1 to 4.
    fn read<'r>(
        &'r self,
        head: &'r Parts,
        target: Target<'r>,
        demand: &Demand<'_>,
        arrival: Arrival,
        source: Source,
    ) -> Result<Shown<'r>, Refused> {
        // 1. HTTP version, method, target, origin.
        check_served(&head.method, head.version)?;
        target.check().map_err(Rejection::from)?;
        if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
            // RFC 9112 §3.2 requires `Host`, also if the request line names a host. A request that was not received as an
            // HTTP/1.1 message, such as a request from a test or a serverless runtime, may have its host in the URI alone.
            if head.extensions.get::<Received>().is_some() || head.uri.authority().is_none() {
                return Err(Rejection::from(Misdirected::NoHost).into());
            }
        }
        let origin = self.ingress.origin(source.peer, &head.uri, &head.headers)?;
        let request = RequestHead { method: &head.method, target, origin, headers: &head.headers };
        let Arrival { at: now, content, announced } = arrival;
        let open = demand.access == Access::Open;
        let unsigned =
            || [SIGNATURE, SIGNATURE_INPUT].iter().all(|name| !head.headers.contains_key(name));
        if !(open && unsigned()) {
            // 1. The address of the client.
            source.client.map_err(|reason| *reason)?;
            // 2. Failures from this address.
            self.failures.check(head)?;
        }
        // 3. The form of the signature fields; 4. coverage, parameters, time.
        let unverified = Unverified::parse(request, content, &self.refusals.policy, now)?;
        if unverified.is_none() && open {
            return Ok(Shown::Nothing);
        }
        // 4. One credential, and a length that fits.
        let presented = match self.key_locations.find(&head.headers, target.query()) {
            Ok(presented) => presented,
            Err(BadPresented::PrivateKey(sent)) => return Ok(Shown::PrivateKey(sent)),
            Err(bad) => return Err(Reason::from(bad).into()),
        };
        match unverified {
            Some(unverified) => {
                self.check_announced(demand, announced)?;
                let key_id = unverified.key_id();
                presented.agrees_with(key_id.as_ref())?;
                Ok(Shown::Signature(Box::new(Signature { unverified, key_id })))
            }
            None => Ok(Shown::Key(presented)),
        }
    }

    async fn admit_signed(
        &self,
        head: &Parts,
        signature: Box<Signature<'_>>,
        demand: &Demand<'_>,
        arrival: Arrival,
        recording: &mut Recording,
    ) -> Result<Admitted, Refused> {
        let now = arrival.at;
        // 5. Key and signature.
        let found = match &signature.key_id {
            Some(id) => self.keys.find(id, now).await,
            None => Ok(None),
        };
        // 2, again: after waiting.
        self.failures.check_again(head)?;
        let credential = found.map_err(registry_unavailable)?;
        let unverified = &signature.unverified;
        let signature_base = self.explains.then(|| unverified.signature_base().as_str().into());
        let Some(credential) = credential else {
            let nobody = self.nobody.like(signature.key_id.as_ref());
            let reason = unverified.refuse_unknown_key(nobody).into();
            return Err(Refused { reason, signature_base });
        };
        recording.recognise(credential.id, CallAccess::Publishable);
        let authorization = covered_authorization(unverified, &head.headers);
        let hidden = Hidden::from(unverified.fields_to_remove());
        let verified = {
            let prepared = self.prepared_keys.get(&credential.key);
            signature.unverified.verify(prepared.as_ref().unwrap_or(&credential.key))
        };
        let authentic = verified.map_err(|rejection| {
            if rejection == Rejection::Invalid {
                recording.raise(EventKind::BadSignature, None);
            }
            Refused { reason: rejection.into(), signature_base }
        })?;
        recording.recognise(credential.id, CallAccess::Signed);
        // 6. State, restrictions, scopes. The caller has proven to have the key: only from here on are they told facts about it.
        // The lineage, so that no holder gets another share of the guard's memory by replacing its key.
        let nonce_use = authentic.nonce_use(credential.lineage.get());
        let caller = Caller::signed(credential, SignedUse { nonce_use, authorization });
        telemetry::name(&caller);
        let credential = caller.credential();
        if let Err(reason) = check_credential(credential, head, arrival.content, demand, now) {
            raise_refusal(recording, &reason);
            return Err(Box::pin(self.charge_forbidden(head, credential, reason)).await.into());
        }
        // 7. Memory for the content, and the budget of signed requests; 8. low-water mark and nonce.
        if demand.body_mode == BodyMode::Buffered {
            let largest = demand.content_limit(self.limit).bytes;
            let (memory, application) = (&self.content_memory, &credential.application);
            memory.check_share(application, largest, arrival.announced)?;
        }
        let verdict =
            self.gate.charge_and_claim(credential, &nonce_use, (self.cost)(head), now).await;
        let (claim, quota_left) = match verdict.map_err(replay_store_unavailable)? {
            GateVerdict::Claimed(claim, quota_left) => (claim, quota_left),
            GateVerdict::Exceeded(excess) => return Err(Reason::RateLimited(excess).into()),
        };
        let claimed = authentic.redeem(claim).inspect_err(|rejection| {
            if *rejection == Rejection::Replayed {
                recording.raise(EventKind::Replayed, None);
            }
        })?;
        recording.accept_signature();
        // Only now: a captured request that is repeated is no use of the key.
        self.prepared_keys.count(&credential.key);
        self.keys.used(credential, now);
        Ok(Admitted::Signed(caller, claimed, quota_left, hidden))
    }

    async fn admit_unsigned(
        &self,
        head: &Parts,
        presented: Presented,
        demand: &Demand<'_>,
        now: Timestamp,
        recording: &mut Recording,
    ) -> Result<Admitted, Reason> {
        // 5. The key alone.
        match demand.access {
            Access::Signed => {
                recording.name_key(presented.key());
                return Err(Reason::SignatureRequired);
            }
            Access::Publishable | Access::Open => {}
        }
        let key = presented.key().ok_or(Reason::KeyRequired)?;
        let found = self.keys.find(&KeyId::Publishable(key), now).await;
        // 2, again: after waiting.
        self.failures.check_again(head)?;
        let unaccepted = |cause, credential| Reason::Unaccepted(Unaccepted { cause, credential });
        let credential = found.map_err(registry_unavailable)?;
        let credential = credential.ok_or_else(|| unaccepted(Cause::Unknown, None))?;
        recording.recognise(credential.id, CallAccess::Publishable);
        let caller = Caller::publishable(credential);
        telemetry::name(&caller);
        // 6. State, restrictions, scopes, with the response of 5: whatever is wrong with the key, the caller gets one response.
        let credential = caller.credential();
        let refused = match credential.standing(now) {
            Standing::Active | Standing::Quarantined => {
                check_authority(credential, Half::Publishable, head, demand)
                    .err()
                    .map(Cause::Forbidden)
            }
            Standing::Expired => Some(Cause::Expired),
            Standing::Revoked => Some(Cause::Revoked),
        };
        if let Some(cause) = refused {
            raise_cause(recording, &cause);
            // The credential's budgets are not charged: their remaining quota would show that the key exists.
            return Err(unaccepted(cause, Some(credential.id)));
        }
        // 7. The budgets of unsigned reads.
        let charged =
            self.gate.charge_unsigned(credential, client_address(head), (self.cost)(head));
        match charged.await.map_err(|NoClientAddress| Reason::NoClientAddress)? {
            Verdict::Within(quota_left) => {
                self.keys.used(credential, now);
                Ok(Admitted::Publishable(caller, quota_left))
            }
            Verdict::Exceeded(excess) => Err(Reason::RateLimited(excess)),
        }
    }

    /// Refuses a sent private key. Only the registered key itself counts as disclosed: a stranger can make up
    /// an HMAC key with another caller's key name.
    async fn refuse_private_key(
        &self,
        head: &Parts,
        sent: Option<Box<VerifyingKey>>,
        now: Timestamp,
        recording: &mut Recording,
    ) -> Reason {
        let Some(sent) = sent else { return Reason::ApparentPrivateKey };
        let key = sent.publishable_key();
        let found = self.keys.find(&KeyId::Publishable(key), now).await;
        // 2, again: after waiting.
        if let Err(failed_too_often) = self.failures.check_again(head) {
            return failed_too_often;
        }
        let credential = match found {
            Ok(credential) => credential,
            Err(error) => return registry_unavailable(error),
        };
        let registered = credential.filter(|credential| credential.key == *sent);
        let Some(credential) = registered else { return Reason::UnknownPrivateKey };
        recording.recognise(credential.id, CallAccess::Publishable);
        let reason = match credential.standing(now) {
            // The operator has done what there is to do.
            Standing::Revoked => {
                recording.raise(EventKind::UsedAfterRevocation, None);
                Reason::RevokedPrivateKey
            }
            // Each of these can become active again.
            Standing::Active | Standing::Quarantined | Standing::Expired => {
                let sent = SentKey { key, credential: credential.id };
                // Before the charge: a budget that strangers have used up hides no key that was sent.
                self.advise_on_private_key(sent);
                Reason::RegisteredPrivateKey(sent)
            }
        };
        self.charge_forbidden(head, &credential, reason).await
    }

    /// Charges a request that is refused before its claim, and has a valid signature or the private key itself: to its
    /// address, and to the credential's budget for unsigned reads.
    ///
    /// The budget of signed calls stays untouched. Otherwise a captured request could use up that budget by
    /// repeating the request.
    async fn charge_forbidden(
        &self,
        head: &Parts,
        credential: &Credential,
        reason: Reason,
    ) -> Reason {
        let charged =
            self.gate.charge_unsigned(credential, client_address(head), (self.cost)(head));
        match charged.await {
            Ok(Verdict::Within(_)) => reason,
            Ok(Verdict::Exceeded(excess)) => Reason::RateLimited(excess),
            Err(NoClientAddress) => Reason::NoClientAddress,
        }
    }

    /// Refuses content with a length that does not fit.
    fn check_announced(&self, demand: &Demand<'_>, announced: u64) -> Result<(), Reason> {
        demand.content_limit(self.limit).check_announced(announced)?;
        match demand.body_mode {
            BodyMode::Buffered => Ok(self.content_memory.check_announced(announced)?),
            BodyMode::Streamed { .. } | BodyMode::Elsewhere { .. } => Ok(()),
        }
    }

    /// The application's share of the memory for content.
    pub(super) fn share(&self, demand: &Demand<'_>, credential: &Credential) -> Share {
        let largest = demand.content_limit(self.limit).bytes;
        self.content_memory.share(&credential.application, largest)
    }
}

/// Returns the value of the only `Authorization` field, if the signature covers it as it was sent.
fn covered_authorization(unverified: &Unverified<'_>, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (lines.next(), lines.next()) else { return None };
    let covered = unverified.components().iter().any(|one| one.is_plain(AUTHORIZATION.as_str()));
    let mut value = covered.then(|| value.clone())?;
    value.set_sensitive(true);
    Some(value)
}

/// Checks that a credential allows a signed request: its state, its restrictions and its scopes.
fn check_credential(
    credential: &Credential,
    head: &Parts,
    content: Content,
    demand: &Demand<'_>,
    now: Timestamp,
) -> Result<(), Reason> {
    check_standing(credential, head, content, demand, now)?;
    check_authority(credential, Half::Private, head, demand).map_err(Reason::Forbidden)
}

/// Checks the state of a credential for this kind of request.
fn check_standing(
    credential: &Credential,
    head: &Parts,
    content: Content,
    demand: &Demand<'_>,
    now: Timestamp,
) -> Result<(), Reason> {
    match credential.standing(now) {
        Standing::Active => Ok(()),
        Standing::Quarantined => {
            match (Access::by_default(head, content), demand.route.map(|route| route.quarantine)) {
                (Access::Publishable | Access::Open, _) => Ok(()),
                #[cfg(feature = "axum")]
                (Access::Signed, Some(Quarantine::GivesUp)) => Ok(()),
                (Access::Signed, Some(Quarantine::Reads) | None) => Err(Reason::Quarantined),
            }
        }
        Standing::Expired => Err(Reason::Expired),
        Standing::Revoked => Err(Reason::Revoked),
    }
}

/// Checks the restrictions and the scopes of a credential.
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

/// Raises the event of a signed request, refused for the state or the restrictions of its credential.
fn raise_refusal(recording: &mut Recording, reason: &Reason) {
    match reason {
        Reason::Revoked => recording.raise(EventKind::UsedAfterRevocation, None),
        Reason::Expired => recording.raise(EventKind::UsedAfterExpiry, None),
        Reason::Forbidden(Forbidden::Restricted(kind)) => {
            recording.raise(EventKind::RestrictionViolated, Some(*kind));
        }
        _ => {}
    }
}

/// Raises the event of a refused publishable key.
fn raise_cause(recording: &mut Recording, cause: &Cause) {
    match cause {
        Cause::Revoked => recording.raise(EventKind::UsedAfterRevocation, None),
        Cause::Expired => recording.raise(EventKind::UsedAfterExpiry, None),
        Cause::Forbidden(Forbidden::Restricted(kind)) => {
            recording.raise(EventKind::RestrictionViolated, Some(*kind));
        }
        Cause::Forbidden(Forbidden::MissingScope(_)) | Cause::Unknown => {}
    }
}

/// The address of the client in the request's extensions.
fn client_address(head: &Parts) -> Option<ClientAddress> {
    head.extensions.get().copied()
}

fn registry_unavailable(error: StoreError) -> Reason {
    tracing::warn!(error = &error as &dyn std::error::Error, "the key registry failed");
    Reason::RegistryUnavailable
}

fn replay_store_unavailable(error: StoreError) -> Reason {
    tracing::warn!(error = &error as &dyn std::error::Error, "the replay guard failed");
    Reason::ReplayStoreUnavailable
}
