use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use countersign::{
    Algorithm, Claimed, Content, KeyId, KeyLocations, Misdirected, Policy, Presented, PrivateKey,
    Rejection, RequestHead, Target, Timestamp, Unverified, VerifyingKey,
};
use countersign_store::{
    ClientAddress, Enforcement, Gate, KeyStore, Level, MemoryBudget, NoClientAddress, Passage,
    Standing, SystemClock, Verdict,
};
use http::{Version, header::HOST, request::Parts};
use http_body::Body;

use crate::{
    Access, Ingress, VerifierLayer,
    caller::Caller,
    content::ContentLimit,
    failure_limit::FailureLimit,
    refusal::{Circumstances, METHODS, Reason},
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
    open_paths: Vec<String>,
    cost: Cost,
    failures: FailureLimit,
    nobody: Nobody,
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
            open_paths: Vec::new(),
            cost: Arc::new(|_| NonZeroU32::MIN),
            failures: FailureLimit::default(),
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

    /// The most content that a signed request may have, in bytes. Default: 1 MiB.
    pub fn content_limit(mut self, bytes: usize) -> Self {
        self.limit.bytes = bytes;
        self
    }

    /// The longest that the content of a signed request may take to arrive. Default: 30 s.
    pub fn content_timeout(mut self, time: Duration) -> Self {
        self.limit.time = time;
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
    pub fn failure_limit(mut self, budget: Option<MemoryBudget<ClientAddress>>) -> Self {
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
        Circumstances { version, content, now, policy: Some(Arc::clone(&self.policy)) }
    }

    /// Everything that can be said before the content is read.
    pub(crate) async fn admit(
        &self,
        head: &Parts,
        target: Target<'_>,
        arrival: Arrival,
        whence: Whence,
        now: Timestamp,
    ) -> Result<Admitted, Reason> {
        if head.version < Version::HTTP_11 {
            return Err(Reason::HttpVersion);
        }
        if !METHODS.contains(&head.method) {
            return Err(Reason::Method);
        }
        target.check().map_err(Rejection::from)?;
        if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
            // RFC 9112 §3.2, also where the request line names a host.
            return Err(Rejection::from(Misdirected::NoHost).into());
        }
        let origin = self.ingress.origin(whence.peer, &head.uri, &head.headers)?;
        let request = RequestHead { method: &head.method, target, origin, headers: &head.headers };
        let Arrival { content, announced } = arrival;
        let open = self.open_paths.iter().any(|path| path == target.path());
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
                self.limit.check_announced(announced)?;
                let key_id = unverified.key_id();
                presented.agrees_with(key_id.as_ref())?;
                self.admit_signed(head, unverified, key_id, content, now).await
            }
            None => self.admit_unsigned(head, presented, content, now).await,
        }
    }

    async fn admit_signed(
        &self,
        head: &Parts,
        unverified: Unverified<'_>,
        key_id: Option<KeyId>,
        content: Content,
        now: Timestamp,
    ) -> Result<Admitted, Reason> {
        let credential = match &key_id {
            Some(id) => self.keys.find(id, now).await.map_err(registry_unavailable)?,
            None => None,
        };
        self.failures.check_again(client_address(head))?;
        let Some(credential) = credential else {
            let nobody = self.nobody.like(key_id.as_ref());
            return Err(unverified.refuse_unknown_key(nobody).into());
        };
        let authentic = unverified.verify(&credential.key)?;
        // The caller has proven to have the key: only from here on are they told facts about it.
        match credential.standing(now) {
            Standing::Active => {}
            Standing::Quarantined => {
                if Access::by_default(head, content) == Access::Signed {
                    return Err(Reason::Quarantined);
                }
            }
            Standing::Expired => return Err(Reason::Expired),
            Standing::Revoked => return Err(Reason::Revoked),
        }
        let nonce_use = authentic.nonce_use(credential.id.get());
        let passage = self.gate.signed(&nonce_use, (self.cost)(head), now).await;
        let (claim, level) = match passage.map_err(replay_store_unavailable)? {
            Passage::Claimed(claim, level) => (claim, level),
            Passage::Limited(excess) => return Err(Reason::RateLimited(excess)),
        };
        let claimed = authentic.redeem(claim)?;
        Ok(Admitted::Signed(Caller::signed(credential, nonce_use), claimed, level))
    }

    async fn admit_unsigned(
        &self,
        head: &Parts,
        presented: Presented,
        content: Content,
        now: Timestamp,
    ) -> Result<Admitted, Reason> {
        match Access::by_default(head, content) {
            Access::Signed => return Err(Reason::SignatureRequired),
            Access::Publishable | Access::Open => {}
        }
        let key = presented.key().ok_or(Reason::KeyRequired)?;
        let found = self.keys.find(&KeyId::Publishable(key), now).await;
        let credential = found.map_err(registry_unavailable)?.ok_or(Reason::UnknownPublishable)?;
        match credential.standing(now) {
            Standing::Active | Standing::Quarantined => {}
            Standing::Expired => return Err(Reason::Expired),
            Standing::Revoked => return Err(Reason::Revoked),
        }
        let charged = self.gate.unsigned(credential.id, client_address(head), (self.cost)(head));
        match charged.await.map_err(|NoClientAddress| Reason::NoClientAddress)? {
            Verdict::Within(level) => {
                Ok(Admitted::Publishable(Caller::publishable(credential), level))
            }
            Verdict::Exceeded(excess) => Err(Reason::RateLimited(excess)),
        }
    }

    /// Leaves the address of the client in the extensions, in the place of that of its proxy. If it cannot be told, none is
    /// left, and whatever is not open to anyone is refused for that.
    pub(crate) fn locate(&self, head: &mut Parts) -> Whence {
        let peer = client_address(head).and_then(exact);
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

    /// The content of a signed request, which is what was signed.
    pub(crate) async fn read_content<B: Body>(
        &self,
        body: B,
        claimed: Claimed,
    ) -> Result<Bytes, Reason> {
        let (content, countersign::Intact { .. }) = self.limit.read(body, claimed).await?;
        Ok(content)
    }
}

/// Where a request came from, as whoever accepted its connection says.
fn client_address(head: &Parts) -> Option<ClientAddress> {
    head.extensions.get().copied()
}

/// The address as it is on the wire.
fn exact(address: ClientAddress) -> Option<IpAddr> {
    address.to_string().parse().ok()
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
