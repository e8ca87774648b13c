use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use countersign::{
    Algorithm, Claimed, Content, KeyId, KeyLocations, Misdirected, Policy, Presented, PrivateKey,
    Rejection, RequestHead, Target, Timestamp, Unverified, VerifyingKey,
};
use countersign_store::{
    ClientAddress, ClientNetwork, Credential, Enforcement, Gate, Half, KeyStore, Level,
    MemoryBudget, NoClientAddress, Passage, Standing, SystemClock, Verdict,
};
use http::{Version, header::HOST, request::Parts};
use http_body::Body;

use crate::{
    Access, Ingress, Refusal, Rollout, Route, RouteTable, VerifierLayer,
    caller::Caller,
    content::ContentLimit,
    failure_limit::FailureLimit,
    layer::Behind,
    reason::{Reason, Refused},
    refusal::{Circumstances, Hook, METHODS},
    route::Delivery,
    telemetry::{self, Passing},
};

/// Decides what a request may do: finds its key, checks it, charges its budget, claims its nonce and reads its content, in
/// that order.
///
/// Required is what has no safe default: the origins served, where keys are found, and the gate, which remembers nonces: a
/// [`NonceStore`](countersign_store::NonceStore), or one with limits as [`Limited`](countersign_store::Limited).
/// [`Verifier::layer`] puts it in front of a service.
pub struct Verifier<K, G> {
    ingress: Ingress,
    keys: K,
    gate: G,
    policy: Arc<Policy>,
    clock: Clock,
    key_locations: KeyLocations,
    limit: ContentLimit,
    routes: RouteTable,
    rollout: Rollout,
    open_paths: Vec<String>,
    cost: Cost,
    failures: FailureLimit,
    explanation: Explanation,
    hook: Option<Hook>,
    nobody: Nobody,
}

/// Whether a signature that does not hold comes back with its base as it was rebuilt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Explanation {
    #[default]
    Withheld,
    Given,
}

type Cost = Arc<dyn Fn(&Parts) -> NonZeroU32 + Send + Sync>;
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Keys that nobody has: what unknown key ids are verified with, so that the time of a refusal does not tell which
/// keys exist.
struct Nobody {
    ed25519: VerifyingKey,
    hmac: Option<VerifyingKey>,
}

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// A verifier for these [`Origins`](countersign::Origins), or where proxies are in front for this [`Ingress`], with
    /// [`Policy::default`] and a [`SystemClock`].
    pub fn new(ingress: impl Into<Ingress>, keys: K, gate: G) -> Self {
        let clock = SystemClock::default();
        let hmac = PrivateKey::hmac_sha256([0; 16], &[0; 32]).ok();
        let nobody = Nobody {
            ed25519: PrivateKey::ed25519(&[0; 32]).verifying_key(),
            hmac: hmac.map(|key| key.verifying_key()),
        };
        Self {
            ingress: ingress.into(),
            keys,
            gate,
            policy: Arc::default(),
            clock: Arc::new(move || clock.now()),
            key_locations: KeyLocations::default(),
            limit: ContentLimit { bytes: 1 << 20, time: Duration::from_secs(30) },
            routes: RouteTable::default(),
            rollout: Rollout::default(),
            open_paths: Vec::new(),
            cost: Arc::new(|_| NonZeroU32::MIN),
            failures: FailureLimit::default(),
            explanation: Explanation::default(),
            hook: None,
            nobody,
        }
    }

    /// What a signature has to prove.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Where the time comes from. Default: a [`SystemClock`].
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where unsigned reads may carry their publishable key. Default: everywhere.
    pub fn key_locations(mut self, locations: KeyLocations) -> Self {
        self.key_locations = locations;
        self
    }

    /// The most content that a signed request may have, in bytes, on routes that are not
    /// [streamed](crate::Route::streamed). Default: 1 MiB.
    pub fn content_limit(mut self, bytes: usize) -> Self {
        self.limit.bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self
    }

    /// The longest that the content of a signed request may take to arrive and, where it is streamed, the longest that
    /// nothing of it may come. Default: 30 s.
    pub fn content_timeout(mut self, time: Duration) -> Self {
        self.limit.time = time;
        self
    }

    /// What each route asks for, for a service that routes by itself. Default: no route is declared, and
    /// [`Access::by_default`] says it. [`Verifier::protect`] needs no table.
    ///
    /// It has to have all routes of the service: what is declared of a path with parameters is taken for all paths that match
    /// it, whatever the service has there.
    pub fn routes(mut self, routes: RouteTable) -> Self {
        self.routes = routes;
        self
    }

    /// Lets every request pass as it did before on routes that do not say otherwise, and only counts and logs what would be
    /// refused: for an API that moves to signatures. Handlers take `Option<SignedBy>` then.
    ///
    /// The content of routes that are streamed is not compared. Trailers of signed requests are not handed on.
    pub fn insecure_observe(mut self) -> Self {
        self.rollout = Rollout::Observe;
        self
    }

    /// Lets every request pass on routes that do not say otherwise, and does not look at it.
    pub fn insecure_off(mut self) -> Self {
        self.rollout = Rollout::Off;
        self
    }

    /// Sends the signature base back with a signature that does not hold, as `signature_base` in the problem, so that a
    /// client can compare it with its own. Default: off.
    ///
    /// Whoever asks can read so every field that reaches this server in their name, also those that a proxy adds on the way.
    pub fn insecure_explain(mut self) -> Self {
        self.explanation = Explanation::Given;
        self
    }

    /// Changes refusals before they are sent: their headers and their content, never their status. Default: none does.
    pub fn on_refusal(
        mut self,
        change: impl Fn(Refusal) -> Refusal + Send + Sync + 'static,
    ) -> Self {
        self.hook = Some(Hook::new(change));
        self
    }

    /// Lets anyone call this exact path, with any method and content, and nobody checks what they send. For health
    /// checks. A signature that is present is verified all the same.
    pub fn insecure_open_path(mut self, path: impl Into<String>) -> Self {
        self.open_paths.push(path.into());
        self
    }

    /// What a request costs of its budgets, from its head alone; what is more than a quota allows at once costs that much.
    /// Default: 1.
    pub fn cost(mut self, cost: impl Fn(&Parts) -> NonZeroU32 + Send + Sync + 'static) -> Self {
        self.cost = Arc::new(cost);
        self
    }

    /// How many requests from one client address may be forged, guessed or malformed, which every server counts for
    /// itself. From an address that has used that up nothing is read any more, honest requests included, until some of it
    /// is refilled. Default: `None`, no limit.
    ///
    /// What counts: signatures that do not hold, unknown keys, malformed signature fields. What does not: a missing
    /// signature or key, one that covers too little, a clock that is wrong, and whatever is refused after a signature held.
    ///
    /// The address is a [`ClientAddress`] in the request's extensions, where [`serve`](crate::serve) puts that of the
    /// socket's peer. Behind a proxy that is the proxy, and this limit one for all its clients together, unless
    /// [`Ingress::proxies`] says whom to believe.
    pub fn failure_limit(mut self, budget: Option<MemoryBudget<ClientNetwork>>) -> Self {
        self.failures.budget = budget;
        self
    }

    /// Lets through what is over the failure limit, and counts it as [`Enforcement::apply`] says: to see what it would do.
    pub fn insecure_report_failures_only(mut self) -> Self {
        self.failures.enforcement = Enforcement::Report;
        self
    }

    /// The layer that verifies requests before the service behind it sees them.
    ///
    /// It belongs on the outside of the finished router: routes that are added later, or that a nested router serves
    /// under a shortened URI, must not get around it.
    pub fn layer(self) -> VerifierLayer<K, G> {
        VerifierLayer::new(Arc::new(self))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn circumstances(
        &self,
        version: Version,
        content: Content,
        now: Timestamp,
    ) -> Circumstances {
        let (policy, hook) = (Some(Arc::clone(&self.policy)), self.hook.clone());
        Circumstances { version, content, now, policy, hook }
    }

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
            // RFC 9112 §3.2, also where the request line names a host.
            return Err(Rejection::from(Misdirected::NoHost).into());
        }
        let origin = self.ingress.origin(whence.peer, &head.uri, &head.headers)?;
        let request = RequestHead { method: &head.method, target, origin, headers: &head.headers };
        let Arrival { content, announced } = arrival;
        let open = demand.access == Access::Open;
        let unsigned =
            ["signature", "signature-input"].iter().all(|name| !head.headers.contains_key(*name));
        if !(open && unsigned) {
            whence.client?;
            self.failures.check(client_address(head))?;
        }
        let unverified = Unverified::parse(request, content, &self.policy, now)?;
        if unverified.is_none() && open {
            return Ok(Admitted::Open);
        }
        let presented = self.key_locations.find(&head.headers, target.query())?;
        match unverified {
            Some(unverified) => {
                self.content_limit_of(demand).check_announced(announced)?;
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
        self.failures.check_again(client_address(head))?;
        let signature_base = match self.explanation {
            Explanation::Given => Some(unverified.signature_base().as_str().into()),
            Explanation::Withheld => None,
        };
        let Some(credential) = credential else {
            let nobody = self.nobody.like(key_id.as_ref());
            let reason = unverified.refuse_unknown_key(nobody).into();
            return Err(Refused { reason, signature_base });
        };
        let authentic = unverified
            .verify(&credential.key)
            .map_err(|rejection| Refused { reason: rejection.into(), signature_base })?;
        // The caller has proven to have the key: only from here on are they told facts about it.
        let nonce_use = authentic.nonce_use(credential.id.get());
        let caller = Caller::signed(credential, nonce_use);
        telemetry::name(&caller);
        let credential = caller.credential();
        match credential.standing(now) {
            Standing::Active => {}
            Standing::Quarantined => {
                if Access::by_default(head, content) == Access::Signed {
                    return Err(Reason::Quarantined.into());
                }
            }
            Standing::Expired => return Err(Reason::Expired.into()),
            Standing::Revoked => return Err(Reason::Revoked.into()),
        }
        check_authority(credential, Half::Private, head, demand)?;
        let passage = self.gate.signed(&nonce_use, (self.cost)(head), now).await;
        let (claim, level) = match passage.map_err(replay_store_unavailable)? {
            Passage::Claimed(claim, level) => (claim, level),
            Passage::Limited(excess) => return Err(Reason::RateLimited(excess).into()),
        };
        let claimed = authentic.redeem(claim)?;
        Ok(Admitted::Signed(caller, claimed, level))
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
        self.failures.check_again(client_address(head))?;
        let credential = found.map_err(registry_unavailable)?.ok_or(Reason::UnknownPublishable)?;
        let caller = Caller::publishable(credential);
        telemetry::name(&caller);
        let credential = caller.credential();
        match credential.standing(now) {
            Standing::Active | Standing::Quarantined => {}
            Standing::Expired => return Err(Reason::Expired),
            Standing::Revoked => return Err(Reason::Revoked),
        }
        check_authority(credential, Half::Publishable, head, demand)?;
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

    /// Charges a refusal to where it came from, if its caller is to blame.
    pub(crate) fn charge_failure(&self, head: &Parts, reason: &Reason) {
        self.failures.charge(client_address(head), reason);
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
        Passing::begin(self.rollout, self.route.map(|route| Arc::clone(&route.label)))
    }
}

/// What a credential may do, and from where.
fn check_authority(
    credential: &Credential,
    half: Half,
    head: &Parts,
    demand: &Demand<'_>,
) -> Result<(), Reason> {
    let from = client_address(head).map(|address| address.ip());
    credential.restrictions.check(half, from, &head.headers).map_err(Reason::Restricted)?;
    let asked = demand.route.map(Route::scopes);
    match asked.and_then(|asked| credential.scopes.missing(asked)) {
        Some(scope) => Err(Reason::MissingScope(scope.clone())),
        None => Ok(()),
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

/// What a request may do, from its head alone, and what is left of the budget that it was charged to.
pub(crate) enum Admitted {
    /// Anyone may do this.
    Open,
    /// A read by a known publishable key.
    Publishable(Caller, Option<Level>),
    /// A signed request, whose content is still to be compared with its digest.
    Signed(Caller, Claimed, Option<Level>),
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

fn registry_unavailable(error: countersign_store::StoreError) -> Reason {
    tracing::warn!(error = &error as &dyn std::error::Error, "the key registry cannot be asked");
    Reason::RegistryUnavailable
}

fn replay_store_unavailable(error: countersign_store::StoreError) -> Reason {
    tracing::warn!(error = &error as &dyn std::error::Error, "the replay guard cannot be asked");
    Reason::ReplayStoreUnavailable
}

impl<K, G> std::fmt::Debug for Verifier<K, G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("ingress", &self.ingress)
            .field("policy", &self.policy)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
