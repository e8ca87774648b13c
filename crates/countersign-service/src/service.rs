use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use countersign::{Window, with_reasons};
use countersign_server::{Listener, SavedNonces, Tls, Usage, serve, until_signal};
use countersign_store::{MasterKeys, Registry, RegistryOptions};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::AbortHandle,
};

use crate::{
    config::{GuardPlace, Mode, ServiceConfig, source::ConfigSource},
    control::{Asked, Control},
    current::CurrentService,
    error::ServiceError,
    gate::Guard,
    generation::{Foundation, Generation},
    operations,
    proxy::ReverseProxy,
    telemetry,
};

/// How often the recorder of metrics tidies up.
const UPKEEP: Duration = Duration::from_secs(5);

/// A service that listens: where, and what it serves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listening {
    /// The URL of the service.
    pub service: String,
    /// The URL of the operations listener.
    pub operations: String,
}

/// Serves until `SIGINT` or `SIGTERM`, and takes a new configuration at `SIGHUP` and on the control socket.
///
/// Calls `listening` once it accepts connections.
///
/// # Errors
///
/// [`ServiceError`] if the service cannot start, or its replay guard cannot be saved at the end.
pub async fn run(
    source: ConfigSource,
    master_keys: Option<MasterKeys>,
    listening: impl FnOnce(&Listening),
) -> Result<(), ServiceError> {
    let config = source.load()?;
    let tls = read_tls(&config)?;
    let recorder = PrometheusBuilder::new().install_recorder();
    let metrics = recorder.map_err(|error| ServiceError::Metrics(error.to_string()))?;
    telemetry::describe_metrics();
    // Before the guard is resumed: a start that finds its port in use takes nothing away from the service that has it.
    let listener = bind(config.listen).await?;
    let operations = bind(config.operations).await?;
    let control = Control::bind(&config.control)?;
    // From here on a hangup is a request to reload. Before the service runs, it waits.
    let (asked, requests) = mpsc::channel(1);
    watch_hangups(asked.clone())?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = |listener: &TcpListener, fallback| listener.local_addr().unwrap_or(fallback);
    let urls = Listening {
        service: format!("{scheme}://{}", address(&listener, config.listen)),
        operations: format!("http://{}", address(&operations, config.operations)),
    };

    let options = RegistryOptions::new().master_keys(master_keys);
    let registry = Arc::new(options.open_or_create(&config.registry).await?);
    let mut service = Service::start(config, source, Arc::clone(&registry), tls.clone()).await?;
    let generation = service.generation.subscribe();
    let connections = service.current.config.connections;
    let mut listener = Listener::from(listener).connections(connections);
    if let Some(tls) = tls {
        listener = listener.tls(tls);
    }

    let tasks = [
        tokio::spawn(async move { control.listen(&asked).await }).abort_handle(),
        serve_operations(operations, operations::router(generation.clone(), metrics.clone())),
        keep_up(metrics),
    ];
    let Foundation { guard, usage, .. } = service.foundation.clone();
    tokio::spawn(async move { service.take_requests(requests).await });
    listening(&urls);
    let current = CurrentService::new(generation);
    let stopped = match guard {
        Guard::Memory(nonces) => {
            serve(listener, current, usage.flush_after(nonces.until_signal())).await
        }
        Guard::Redis { .. } => {
            let signal = until_signal().map_err(ServiceError::Signals)?;
            serve(listener, current, usage.flush_after(signal)).await;
            Ok(())
        }
    };
    for task in tasks {
        task.abort();
    }
    Registry::clone(&registry).close().await;
    Ok(stopped?)
}

struct Service {
    source: ConfigSource,
    foundation: Foundation,
    tls: Option<Tls>,
    current: Arc<Generation>,
    generation: watch::Sender<Arc<Generation>>,
}

impl Service {
    async fn start(
        config: ServiceConfig,
        source: ConfigSource,
        registry: Arc<Registry>,
        tls: Option<Tls>,
    ) -> Result<Self, ServiceError> {
        let guard = match &config.guard {
            GuardPlace::Memory => {
                let (registry, file) = (Arc::clone(&registry), config.saved_nonces());
                Guard::Memory(SavedNonces::resume(Window::default(), registry, file).await?)
            }
            GuardPlace::Redis { redis, servers, .. } => {
                Guard::Redis { redis: redis.clone(), servers: *servers }
            }
        };
        let usage = Usage::record_to(Arc::clone(&registry));
        let foundation = Foundation { registry, guard, answers: Arc::default(), usage };
        let current = Arc::new(Generation::build(config, &foundation, None).await?);
        current.keep_usage(&foundation);
        let (generation, _) = watch::channel(Arc::clone(&current));
        Ok(Self { source, foundation, tls, current, generation })
    }

    async fn take_requests(&mut self, mut requests: mpsc::Receiver<Asked>) {
        while let Some(asked) = requests.recv().await {
            let outcome = self.reload().await;
            match &outcome {
                Ok(()) => tracing::info!("the new configuration is in use"),
                Err(error) => {
                    let error = with_reasons(error);
                    tracing::error!(error, "the old configuration stays");
                }
            }
            let label = if outcome.is_ok() { "taken" } else { "refused" };
            metrics::counter!("countersign_reloads_total", "outcome" => label).increment(1);
            if let Some(asked) = asked {
                drop(asked.send(outcome.map_err(|error| with_reasons(&error))));
            }
        }
    }

    /// Takes the new configuration as a whole, or leaves everything as it is.
    async fn reload(&mut self) -> Result<(), ServiceError> {
        let config = self.source.load()?;
        refuse_changes(&self.current.config, &config)?;
        let next = Generation::build(config, &self.foundation, Some(&self.current)).await?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        next.keep_usage(&self.foundation);
        self.current = Arc::new(next);
        self.generation.send_replace(Arc::clone(&self.current));
        Ok(())
    }
}

/// Refuses a configuration that a running service cannot change to.
fn refuse_changes(old: &ServiceConfig, new: &ServiceConfig) -> Result<(), ServiceError> {
    let redis = |config: &ServiceConfig| match &config.guard {
        GuardPlace::Memory => None,
        GuardPlace::Redis { url, servers, .. } => Some((url.clone(), *servers)),
    };
    let auth = |config: &ServiceConfig| match config.mode {
        Mode::Proxy(_) => None,
        Mode::Auth { kind, .. } => Some(kind),
    };
    let changes = [
        ("the address to listen on", old.listen != new.listen),
        ("the address of the operations listener", old.operations != new.operations),
        ("the kind of proxy that asks", auth(old) != auth(new)),
        ("the number of connections", old.connections != new.connections),
        ("the path of the control socket", old.control != new.control),
        ("the registry", old.registry != new.registry),
        ("the replay guard", redis(old) != redis(new)),
        ("the name of a TLS file", old.tls != new.tls),
    ];
    match changes.into_iter().find(|(_, changed)| *changed) {
        Some((name, _)) => Err(ServiceError::Fixed(name)),
        None => Ok(()),
    }
}

fn read_tls(config: &ServiceConfig) -> Result<Option<Tls>, ServiceError> {
    let read = |files: &crate::config::TlsFiles| Tls::from_files(&files.certificate, &files.key);
    Ok(config.tls.as_ref().map(read).transpose()?)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(address).await.map_err(|source| ServiceError::Listen { address, source })
}

fn watch_hangups(asked: mpsc::Sender<Asked>) -> Result<(), ServiceError> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangups = signal(SignalKind::hangup()).map_err(ServiceError::Signals)?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() && asked.send(None).await.is_ok() {}
    });
    Ok(())
}

fn serve_operations(listener: TcpListener, router: Router) -> AbortHandle {
    tokio::spawn(serve(listener, router, std::future::pending())).abort_handle()
}

fn keep_up(metrics: PrometheusHandle) -> AbortHandle {
    tokio::spawn(async move {
        let mut turns = tokio::time::interval(UPKEEP);
        loop {
            turns.tick().await;
            metrics.run_upkeep();
        }
    })
    .abort_handle()
}

/// Checks a configuration as a start would, without listening and without the stores: also the files that it names.
///
/// # Errors
///
/// [`ServiceError`].
pub fn check(source: &ConfigSource) -> Result<ServiceConfig, ServiceError> {
    let config = source.load()?;
    read_tls(&config)?;
    if let Mode::Proxy(upstream) = &config.mode {
        ReverseProxy::check(upstream)?;
    }
    Ok(config)
}
