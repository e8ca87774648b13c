use std::{num::NonZeroU32, sync::Arc};

use countersign_server::{Ingress, Verifier, VerifierService};
use countersign_store::{MemoryBudget, Registry};
use tower_layer::Layer as _;

use crate::{
    auth::{Auth, answer::Answer, recent_answers::RecentAnswers},
    config::{
        Mode, ServiceConfig,
        route_finder::RouteFinder,
        route_settings::{ContentWay, RouteSettings},
    },
    error::ServiceError,
    gate::{Guard, ServiceGate},
    proxy::{ReverseProxy, hop_signer::HopSigner},
};

/// What a process keeps as long as it runs.
#[derive(Clone, Debug)]
pub(crate) struct Foundation {
    pub(crate) registry: Arc<Registry>,
    pub(crate) guard: Guard,
    pub(crate) answers: Arc<RecentAnswers>,
}

/// A service as one configuration has it. A reload makes the next.
#[derive(Clone, Debug)]
pub(crate) struct Generation {
    pub(crate) config: ServiceConfig,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) gate: Arc<ServiceGate>,
    pub(crate) front: Front,
}

/// What stands behind the listener.
#[derive(Clone, Debug)]
pub(crate) enum Front {
    /// A verifier before a proxy.
    Proxy {
        proxy: ReverseProxy,
        service: VerifierService<ReverseProxy, Arc<Registry>, Arc<ServiceGate>>,
    },
    /// A verifier that proxies ask.
    Auth(Auth),
}

impl Front {
    /// Whether requests that pass can be served.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Proxy { proxy, .. } => proxy.is_ready(),
            Self::Auth(_) => true,
        }
    }
}

impl Generation {
    /// Makes the service of a configuration. Limits that did not change keep their counts.
    pub(crate) async fn build(
        config: ServiceConfig,
        foundation: &Foundation,
        before: Option<&Self>,
    ) -> Result<Self, ServiceError> {
        let way = match &config.mode {
            Mode::Proxy(_) => ContentWay::Streamed,
            Mode::Auth { kind, .. } if kind.passes_content() => ContentWay::Gathered,
            Mode::Auth { .. } => ContentWay::Kept,
        };
        let content_bytes = config.limits.content_bytes;
        let table = RouteSettings::table(&config.routes, content_bytes, way)?;
        let gate = match before.filter(|before| before.config.limits == config.limits) {
            Some(before) => Arc::clone(&before.gate),
            None => Arc::new(foundation.guard.gate(&config.limits).await?),
        };
        let keys = Arc::clone(&foundation.registry);
        let verifier = Verifier::new(config.ingress.clone(), keys, Arc::clone(&gate))
            .routes(table)
            .failure_limit(MemoryBudget::new("failures", config.limits.failures.iter().copied()));
        let paths = config.public_paths.iter();
        let verifier = paths.fold(verifier, |verifier, path| verifier.public_path(path));
        let costly = |route: &RouteSettings| route.cost() > NonZeroU32::MIN;
        let verifier = match config.routes.iter().any(costly) {
            true => {
                let costs = RouteFinder::new(&config.routes, RouteSettings::cost);
                verifier.cost(move |head| {
                    costs.find(&head.method, head.uri.path()).unwrap_or(NonZeroU32::MIN)
                })
            }
            false => verifier,
        };
        let front = match &config.mode {
            Mode::Proxy(upstream) => {
                let signer = upstream.sign.as_ref().map(HopSigner::read).transpose()?;
                let proxy = ReverseProxy::new(upstream, signer);
                Front::Proxy { service: verifier.layer().layer(proxy.clone()), proxy }
            }
            Mode::Auth { kind, proxies } => {
                let checks = RouteFinder::new(&config.routes, RouteSettings::content);
                let service = verifier.layer().layer(Answer::new(checks));
                let answers = Arc::clone(&foundation.answers);
                Front::Auth(Auth::new(*kind, proxies, answers, service))
            }
        };
        let ingress = Arc::new(config.ingress.clone());
        Ok(Self { config, ingress, gate, front })
    }
}
