mod admission;
mod advice;
mod check;
pub(crate) mod demand;
mod failure_limit;
mod handed_on;
pub(crate) mod layer;
mod log_pace;
mod nobody;
mod prepared_keys;
mod record;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use countersign::{KeyLocations, Policy, Timestamp};
use countersign_store::{ClientNetwork, Enforcement, Gate, KeyStore, MemoryBudget};
use http::request::Parts;

use self::{
    demand::Declared, failure_limit::FailureLimit, log_pace::LogPace, nobody::Nobody,
    prepared_keys::PreparedKeys,
};
#[cfg(feature = "usage")]
use crate::usage::Usage;
use crate::{
    clock::Clock,
    content::{ContentLimit, memory::ContentMemory},
    ingress::Ingress,
    refusal::{Hook, Refusal, RefusalSettings},
    route::{rollout::Rollout, table::RouteTable},
};

/// Verifies requests: finds the key, checks the signature, restrictions and scopes, asks the gate (budget and nonce) and compares
/// the content, in that order.
///
/// A verifier needs the origins it serves, a store of keys, and a [`Gate`], which remembers nonces. The gate is a replay guard
/// such as [`MemoryNonces`](countersign_store::MemoryNonces), or [`Limited`](countersign_store::Limited), which adds limits to a
/// guard. [`Verifier::layer`] puts the verifier in front of a service.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign::{Origins, Window};
/// use countersign_server::Verifier;
/// use countersign_store::{MemoryKeys, MemoryNonces, system_time};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let origins = Origins::new(["https://api.example.com".parse()?])?;
/// let keys = MemoryKeys::default(); // or a `Registry`
/// let guard = MemoryNonces::volatile(Window::default(), system_time())?;
/// let verifier = Verifier::new(origins, keys, guard).public_path("/health");
/// let app: Router = Router::new()
///     .route("/v1/orders", get(async || "none"))
///     .route("/health", get(async || "well"))
///     .layer(verifier.layer()); // last, around all routes
/// # Ok(())
/// # }
/// ```
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
    /// Whether the refusal of an invalid signature has the signature base that the server rebuilt.
    explains: bool,
    /// With the policy, which refusals write out.
    refusals: Arc<RefusalSettings>,
    nobody: Nobody,
    prepared_keys: PreparedKeys,
    #[cfg(feature = "usage")]
    usage: Option<Usage>,
}

type Cost = Arc<dyn Fn(&Parts) -> NonZeroU32 + Send + Sync>;

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// Makes a verifier for these [`Origins`](countersign::Origins), or for an [`Ingress`] behind proxies. It has
    /// [`Policy::default`] and a [`SystemClock`](countersign_store::SystemClock).
    pub fn new(ingress: impl Into<Ingress>, keys: K, gate: G) -> Self {
        Self {
            ingress: ingress.into(),
            keys,
            gate,
            clock: Clock::default(),
            key_locations: KeyLocations::default(),
            limit: ContentLimit { bytes: 1 << 20, time: Duration::from_secs(30) },
            content_memory: ContentMemory::new(64 << 20),
            declared: Declared::default(),
            cost: Arc::new(|_| NonZeroU32::MIN),
            failures: FailureLimit::default(),
            log_pace: LogPace::default(),
            explains: false,
            refusals: Arc::default(),
            nobody: Nobody::default(),
            prepared_keys: PreparedKeys::within(64 << 20),
            #[cfg(feature = "usage")]
            usage: None,
        }
    }

    /// Sets the requirements on signatures. Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        Arc::make_mut(&mut self.refusals).policy = policy;
        self
    }

    /// Sets the clock. Default: a [`SystemClock`](countersign_store::SystemClock).
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(clock);
        self
    }

    /// Sets where unsigned reads may carry their publishable key. Default: all locations.
    pub fn key_locations(mut self, locations: KeyLocations) -> Self {
        self.key_locations = locations;
        self
    }

    /// Limits the content of a signed request, in bytes, on routes that are not [streamed](crate::Route::streamed). Default: 1 MiB.
    pub fn content_limit(mut self, bytes: usize) -> Self {
        self.limit.bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let memory = self.content_memory.limit().max(self.limit.bytes);
        self.content_memory = ContentMemory::new(memory);
        self
    }

    /// Limits the memory for the content of all signed requests together, in bytes. Content counts from its first byte until the
    /// handler drops it. A request over the limit gets 503 `overloaded` and `Retry-After`. Default: 64 MiB, and never less than
    /// [`content_limit`](Self::content_limit).
    ///
    /// The requests of one application may use a quarter of this, or `content_limit` if that is more: set four times as much as
    /// your busiest application sends at once.
    ///
    /// [Streamed](crate::Route::streamed) content is not gathered, and does not count.
    pub fn content_memory(mut self, bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.content_memory = ContentMemory::new(bytes.max(self.limit.bytes));
        self
    }

    /// Limits the memory for prepared keys, in bytes. A prepared Ed25519 key takes 21 KB and verifies in two thirds of the time
    /// ([`VerifyingKey::prepared`](countersign::VerifyingKey::prepared)). Default: 64 MiB, for 3,000 keys; 0 prepares none.
    ///
    /// A key is prepared at its third accepted request, whichever store it comes from. If there is no room, a key has to be used
    /// more than twice as often as another key to take its place; all others verify as they would unprepared.
    pub fn prepared_keys_memory(mut self, bytes: usize) -> Self {
        self.prepared_keys = PreparedKeys::within(bytes);
        self
    }

    /// Limits the time in which the content of a signed request must arrive. For streamed content, limits each pause instead.
    /// Default: 30 s. [`serve`](crate::serve) also ends content that stalls for 10 s.
    pub fn content_timeout(mut self, time: Duration) -> Self {
        self.limit.time = time;
        self
    }

    /// Sets the declared routes, for a service that routes by itself. Default: no route is declared, and
    /// [`Access::by_default`](crate::Access::by_default) decides. [`Verifier::protect`] needs no table.
    ///
    /// The table must have all routes of the service: the declaration of a path with parameters applies to every path that
    /// matches the pattern.
    pub fn routes(mut self, routes: RouteTable) -> Self {
        self.declared.routes = routes;
        self
    }

    /// Lets every request pass, and only counts and logs the requests that would be refused: for an API that moves to signatures.
    /// A route can override this ([`Route::enforce`](crate::Route::enforce)). Let handlers take `Option<SignedBy>` then.
    ///
    /// The content of streamed routes is not compared. Trailers of signed requests are dropped.
    pub fn insecure_observe(mut self) -> Self {
        self.declared.rollout = Rollout::Observe;
        self
    }

    /// Lets every request pass unchecked. A route can override this ([`Route::enforce`](crate::Route::enforce)).
    pub fn insecure_off(mut self) -> Self {
        self.declared.rollout = Rollout::Off;
        self
    }

    /// Sends the rebuilt signature base in the refusal of an invalid signature, as `signature_base` in the problem, so that a
    /// client can compare the base with its own. Default: off.
    ///
    /// The caller can then read every covered field that this server received, including fields added by proxies.
    pub fn insecure_explain(mut self) -> Self {
        self.explains = true;
        self
    }

    /// Sets a function that changes the header fields and the content of refusals before they are sent. The status stays, and so
    /// does `Countersign-Refusal`, by which clients recognise a refusal and its code. Default: no change.
    pub fn on_refusal(
        mut self,
        change: impl Fn(Refusal) -> Refusal + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.refusals).hook = Some(Hook::new(change));
        self
    }

    /// Lets anyone read this exact path, with `GET` or `HEAD`, as if the verifier were not there: for health checks.
    ///
    /// The request may have any `Host` or none: a kubelet or a load balancer sends the address of the instance. The verifier
    /// ignores a signature there and counts nothing. A handler that takes [`SignedBy`](crate::SignedBy) or
    /// [`Publishable`](crate::Publishable) there responds with 500.
    ///
    /// The verifier checks other methods as everywhere, and also requests with a field that names another method
    /// ([`METHOD_OVERRIDES`](countersign::METHOD_OVERRIDES)). It hides fields that name another target
    /// ([`TARGET_OVERRIDES`](countersign::TARGET_OVERRIDES)) from the handler where it enforces
    /// ([`Rollout::Enforce`](crate::Rollout::Enforce)).
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// # use countersign::{Origins, Window};
    /// # use countersign_server::Verifier;
    /// # use countersign_store::{MemoryKeys, MemoryNonces};
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

    /// Lets anyone call this exact path, with any method and unchecked content. A signature that is present is verified all the
    /// same. Fields that name another target ([`TARGET_OVERRIDES`](countersign::TARGET_OVERRIDES)) are hidden from the handler,
    /// unless they are signed. For health checks use [`public_path`](Self::public_path).
    pub fn insecure_open_path(mut self, path: impl Into<String>) -> Self {
        self.declared.open_paths.push(path.into());
        self
    }

    /// Counts who calls what. Several verifiers can share the counts of a server. Default: nothing is counted.
    #[cfg(feature = "usage")]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Sets how much a request costs its budgets, computed from its head alone. A cost above the size of a quota counts as that
    /// size. Default: 1.
    pub fn cost(mut self, cost: impl Fn(&Parts) -> NonZeroU32 + Send + Sync + 'static) -> Self {
        self.cost = Arc::new(cost);
        self
    }

    /// Limits the failures of a client address: requests that are forged, guessed, malformed or repeated, or have a dead key.
    /// Once an address has used up its budget, all of its requests get 429 until some of the budget is refilled, honest requests
    /// included. Each server counts for itself. Default: `None`, no limit.
    ///
    /// These refusals count:
    ///
    /// - a signature that is invalid or repeated, or made with a revoked or expired key;
    /// - a publishable key that is not accepted, for any reason;
    /// - a private key that is revoked or that no credential has, or text that looks like a private key;
    /// - malformed signature fields or `Content-Digest`;
    /// - two different keys in one request, or a key in the URL beside a signature.
    ///
    /// These refusals do not count: a missing signature or key, a signature that covers too little or is outside its time, a
    /// credential without the authority.
    ///
    /// Browsers at an address have a second budget of this size. A request counts for it if it has `Origin` or `Sec-Fetch-Site`,
    /// or has neither a signature nor `X-Api-Key`. Any page can make its visitors' browsers send such requests and fail on
    /// purpose. The page can then shut out the browsers at an address for a while, and no other program there. A program that
    /// adds `Origin` to every second request can fail twice as often.
    ///
    /// The address is the [`ClientAddress`](countersign_store::ClientAddress) in the request's extensions.
    /// [`serve`](crate::serve) puts the address of the socket's peer there. Behind a proxy that is the proxy's address, and all
    /// its clients share a budget, unless [`Ingress::proxies`] lists the proxy.
    ///
    /// Several verifiers count together if they get the same `Arc`.
    pub fn failure_limit<B>(mut self, budget: Option<B>) -> Self
    where
        B: Into<Arc<MemoryBudget<ClientNetwork>>>,
    {
        self.failures.budget = budget.map(Into::into);
        self
    }

    /// Lets requests over the failure limit pass, and counts them as described at [`Enforcement::apply`]: to see the effect of a
    /// limit in advance.
    pub fn insecure_report_failures_only(mut self) -> Self {
        self.failures.enforcement = Enforcement::Report;
        self
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
