mod admission;
mod advice;
mod check;
pub(crate) mod demand;
mod failure_limit;
pub(crate) mod layer;
mod log_pace;
mod nobody;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use countersign::{KeyLocations, Policy, Timestamp};
use countersign_store::{ClientNetwork, Enforcement, Gate, KeyStore, MemoryBudget, SystemClock};
use http::request::Parts;

use self::{demand::Declared, failure_limit::FailureLimit, log_pace::LogPace, nobody::Nobody};
use crate::{
    content::{ContentLimit, memory::ContentMemory},
    ingress::Ingress,
    refusal::{Hook, Refusal, RefusalSettings},
    route::{rollout::Rollout, table::RouteTable},
};

/// Decides what a request may do: finds its key, checks it, looks at restrictions and scopes, passes the gate (budget and
/// nonce) and compares its content, in that order.
///
/// It takes what has no safe default: the origins served, the store of keys, and the [`Gate`], which remembers nonces: a replay guard
/// such as [`MemoryNonces`](countersign_store::MemoryNonces), or [`Limited`](countersign_store::Limited), which puts limits in
/// front of one. [`Verifier::layer`] puts the verifier in front of a service.
pub struct Verifier<K, G> {
    ingress: Ingress,
    keys: K,
    gate: G,
    clock: Clock,
    key_locations: KeyLocations,
    limit: ContentLimit,
    content_memory: ContentMemory,
    declared: Declared,
    cost: Cost,
    failures: FailureLimit,
    log_pace: LogPace,
    explanation: Explanation,
    /// With the policy, which refusals write out.
    refusals: Arc<RefusalSettings>,
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

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// A verifier for these [`Origins`](countersign::Origins), or where proxies are in front for this [`Ingress`], with
    /// [`Policy::default`] and a [`SystemClock`].
    pub fn new(ingress: impl Into<Ingress>, keys: K, gate: G) -> Self {
        let clock = SystemClock::default();
        Self {
            ingress: ingress.into(),
            keys,
            gate,
            clock: Arc::new(move || clock.now()),
            key_locations: KeyLocations::default(),
            limit: ContentLimit { bytes: 1 << 20, time: Duration::from_secs(30) },
            content_memory: ContentMemory::new(64 << 20),
            declared: Declared::default(),
            cost: Arc::new(|_| NonZeroU32::MIN),
            failures: FailureLimit::default(),
            log_pace: LogPace::default(),
            explanation: Explanation::default(),
            refusals: Arc::default(),
            nobody: Nobody::default(),
        }
    }

    /// What a signature has to prove.
    pub fn policy(mut self, policy: Policy) -> Self {
        Arc::make_mut(&mut self.refusals).policy = policy;
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
        let memory = self.content_memory.limit().max(self.limit.bytes);
        self.content_memory = ContentMemory::new(memory);
        self
    }

    /// The most content that all signed requests together may have in memory, in bytes, from the first byte that arrives until
    /// the handler lets go of it. A request over it is answered with 503 `overloaded` and `Retry-After`. Default: 64 MiB, and
    /// never less than [`content_limit`](Self::content_limit).
    ///
    /// The requests of one application have a quarter of this at most, and never less than `content_limit`: set four times as much as
    /// your busiest application sends at once.
    ///
    /// [Streamed](crate::Route::streamed) content is not gathered and takes nothing of it.
    pub fn content_memory(mut self, bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.content_memory = ContentMemory::new(bytes.max(self.limit.bytes));
        self
    }

    /// The longest that the content of a signed request may take to arrive and, where it is streamed, the longest that
    /// nothing of it may come. Default: 30 s. [`serve`](crate::serve) has less patience with content that comes to a standstill.
    pub fn content_timeout(mut self, time: Duration) -> Self {
        self.limit.time = time;
        self
    }

    /// What each route asks for, for a service that routes by itself. Default: no route is declared, and
    /// [`Access::by_default`](crate::Access::by_default) says it. [`Verifier::protect`] needs no table.
    ///
    /// It has to have all routes of the service: what is declared of a path with parameters is taken for all paths that match
    /// it, whatever the service has there.
    pub fn routes(mut self, routes: RouteTable) -> Self {
        self.declared.routes = routes;
        self
    }

    /// Lets every request pass as it did before on routes that do not say otherwise, and only counts and logs what would be
    /// refused: for an API that moves to signatures. Handlers take `Option<SignedBy>` then.
    ///
    /// The content of routes that are streamed is not compared. Trailers of signed requests are not handed on.
    pub fn insecure_observe(mut self) -> Self {
        self.declared.rollout = Rollout::Observe;
        self
    }

    /// Lets every request pass on routes that do not say otherwise, and does not look at it.
    pub fn insecure_off(mut self) -> Self {
        self.declared.rollout = Rollout::Off;
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

    /// Changes refusals before they are sent: their header fields and their content. The status stays, and so does
    /// `Countersign-Refusal`, by which clients know a refusal and its code. Default: refusals are sent as they are.
    pub fn on_refusal(
        mut self,
        change: impl Fn(Refusal) -> Refusal + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.refusals).hook = Some(Hook::new(change));
        self
    }

    /// Lets anyone read this exact path, with `GET` or `HEAD`, as if the verifier were not there: for health checks.
    ///
    /// The request needs no `Host`, or may have any: a kubelet or a load balancer sends the address of the instance. A
    /// signature is not looked at, nothing is counted, and a handler that takes [`SignedBy`](crate::SignedBy) or
    /// [`Publishable`](crate::Publishable) there answers 500. Other methods are verified as everywhere, and so are requests with a field that
    /// names another method ([`METHOD_OVERRIDES`](countersign::METHOD_OVERRIDES)). Fields that name another target
    /// ([`TARGET_OVERRIDES`](countersign::TARGET_OVERRIDES)) are hidden from the handler.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// # use countersign::Origins;
    /// # use countersign_server::Verifier;
    /// # use countersign_store::{MemoryKeys, MemoryNonces, Window};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let now = countersign::Timestamp::from_unix(1_763_900_000);
    /// # let (keys, nonces) = (MemoryKeys::default(), MemoryNonces::volatile(Window::default(), now)?);
    /// # let origins = Origins::new(["https://api.example.com".parse()?])?;
    /// let verifier = Verifier::new(origins, keys, nonces).public_path("/health");
    /// let app: Router = Router::new()
    ///     .route("/v1/orders", get(async || "none"))
    ///     .route("/health", get(async || "well"))
    ///     .layer(verifier.layer());
    /// # Ok(())
    /// # }
    /// ```
    pub fn public_path(mut self, path: impl Into<String>) -> Self {
        self.declared.public_paths.push(path.into());
        self
    }

    /// Lets anyone call this exact path, with any method and content, and nobody checks what they send. A signature that is
    /// present is verified all the same. Fields that name another target ([`TARGET_OVERRIDES`](countersign::TARGET_OVERRIDES)) are hidden
    /// from the handler, unless they are signed. For health checks see [`public_path`](Self::public_path).
    pub fn insecure_open_path(mut self, path: impl Into<String>) -> Self {
        self.declared.open_paths.push(path.into());
        self
    }

    /// What a request costs of its budgets, from its head alone; what is more than a quota allows at once costs that much.
    /// Default: 1.
    pub fn cost(mut self, cost: impl Fn(&Parts) -> NonZeroU32 + Send + Sync + 'static) -> Self {
        self.cost = Arc::new(cost);
        self
    }

    /// How many requests from one client address may be forged, guessed, malformed or repeated, or have a key that is good for
    /// nothing. Every server counts for itself. From an address that has used that up nothing is read any more, honest requests included, until some of it
    /// is refilled. Default: `None`, no limit.
    ///
    /// These refusals count: a signature that does not hold, that was used before, or whose key is revoked or expired; a
    /// publishable key that opens nothing, for whichever reason; what looks like a private key and no credential has; malformed signature fields or `Content-Digest`; two different
    /// keys in one request, or a key in the URL beside a signature. These do not: a missing signature or key, a signature
    /// that covers too little or is outside its time, and what a credential may not do.
    ///
    /// The browsers at an address have this budget a second time, for themselves: a request with `Origin` or
    /// `Sec-Fetch-Site`, and one without signature and `X-Api-Key`, is theirs. Any page can have its visitors' browsers send such requests and fail on purpose;
    /// it can so shut out the browsers at an address for a while, and no other program there. A program that adds `Origin`
    /// to every second request can fail twice as often, and no more.
    ///
    /// The address is a [`ClientAddress`](countersign_store::ClientAddress) in the request's extensions, where [`serve`](crate::serve) puts that of the
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

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

impl<K, G> std::fmt::Debug for Verifier<K, G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("ingress", &self.ingress)
            .field("policy", &self.refusals.policy)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
