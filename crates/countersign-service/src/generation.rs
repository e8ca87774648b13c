use std::{num::NonZeroU32, sync::Arc};

use countersign_server::{Ingress, Usage, Verifier, VerifierService};
use countersign_store::{MemoryBudget, Registry};
use tower_layer::Layer as _;

use crate::{
    auth::{AskedContent, ForwardAuth, answer::Answer, recent_answers::RecentAnswers},
    config::{
        Mode, ServiceConfig,
        route_finder::RouteFinder,
        route_settings::{ContentWay, RouteSettings},
    },
    error::ServiceError,
    gate::{Guard, ServiceGate},
    proxy::ReverseProxy,
};

/// What a process keeps as long as it runs.
#[derive(Clone, Debug)]
pub(crate) struct Foundation {
    pub(crate) registry: Arc<Registry>,
    pub(crate) guard: Guard,
    pub(crate) answers: Arc<RecentAnswers>,
    pub(crate) usage: Usage,
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
    Auth(ForwardAuth<Arc<Registry>, Arc<ServiceGate>>),
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
        let content_bytes = config.limits.content_bytes;
        let table = |way| RouteSettings::table(&config.routes, content_bytes, way);
        let gate = match before.filter(|before| before.config.limits == config.limits) {
            Some(before) => Arc::clone(&before.gate),
            None => Arc::new(foundation.guard.gate(&config.limits).await?),
        };
        let failures = config.limits.failures.iter().copied();
        let failures = MemoryBudget::new("failures", failures).map(Arc::new);
        let verifier = |table| {
            let (ingress, keys) = (config.ingress.clone(), Arc::clone(&foundation.registry));
            let verifier = Verifier::new(ingress, keys, Arc::clone(&gate))
                .routes(table)
                .failure_limit(failures.clone());
            let verifier = match config.usage {
                Some(_) => verifier.usage(foundation.usage.clone()),
                None => verifier,
            };
            let paths = config.public_paths.iter();
            let verifier = paths.fold(verifier, |verifier, path| verifier.public_path(path));
            let costly = |route: &RouteSettings| route.cost() > NonZeroU32::MIN;
            match config.routes.iter().any(costly) {
                true => {
                    let costs = RouteFinder::new(&config.routes, RouteSettings::cost);
                    verifier.cost(move |head| {
                        costs.find(&head.method, head.uri.path()).unwrap_or(NonZeroU32::MIN)
                    })
                }
                false => verifier,
            }
        };
        let front = match &config.mode {
            Mode::Proxy(upstream) => {
                let proxy = ReverseProxy::new(upstream)?;
                let layer = verifier(table(ContentWay::Streamed)?).layer();
                Front::Proxy { service: layer.layer(proxy.clone()), proxy }
            }
            Mode::Auth { kind, proxies } => {
                let answer = Answer::new(RouteFinder::new(&config.routes, RouteSettings::content));
                let (whole, kept) = (table(ContentWay::Gathered)?, table(ContentWay::Kept)?);
                let verifier = |content| match content {
                    AskedContent::Whole => verifier(whole.clone()),
                    AskedContent::Kept => verifier(kept.clone()),
                };
                let proxies = proxies.iter().copied();
                let answers = Arc::clone(&foundation.answers);
                Front::Auth(ForwardAuth::with(*kind, proxies, answers, &answer, verifier))
            }
        };
        let ingress = Arc::new(config.ingress.clone());
        Ok(Self { config, ingress, gate, front })
    }

    /// Has the registry keep usage for as long as the configuration says.
    pub(crate) fn keep_usage(&self, foundation: &Foundation) {
        if let Some(retention) = self.config.usage {
            drop(Registry::clone(&foundation.registry).usage_retention(retention));
        }
    }
}
