mod config;
mod reload;
mod routes;
mod service_failure;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use countersign::Origin;
use countersign_service::{ConfigSource, Listening, Overrides, ProxyKind, UpstreamAddress};
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use self::{config::Config, reload::Reload, routes::Routes, service_failure::service_failure};
use crate::{
    environment::{
        CONFIG_VARIABLE, DB_VARIABLE, LISTEN_VARIABLE, LOG_VARIABLE, OPERATIONS_VARIABLE,
        ORIGINS_VARIABLE, PROXIES_VARIABLE, REDIS_VARIABLE, TLS_CERTIFICATE_VARIABLE,
        TLS_KEY_VARIABLE, UPSTREAMS_VARIABLE, USAGE_VARIABLE,
    },
    failure::{Exit, Failure},
    master_key_args::MasterKeyArgs,
    output::{note, print, print_line},
    table::facts,
};

/// Protects a service in any language: a reverse proxy that verifies requests before it forwards them
///
/// Reads need a publishable key and all other requests a signature, unless the configuration says otherwise. The
/// service reads its caller in Countersign-Application, -Credential, -Access and -Scopes. A flag goes before a
/// variable, and a variable before the file. SIGHUP or `countersign serve reload` takes a changed configuration without
/// dropping a request.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 stopped by a signal, or the configuration can be used · 1 wrong usage or configuration, or a fault on this machine · 2 the replay guard or the registry's server failed."
)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
    /// Check the configuration and the files that it names, and end
    #[arg(long)]
    check: bool,
    /// The least level of messages on stderr: error, warn, info, debug, trace or off
    #[arg(long, value_name = "LEVEL", env = LOG_VARIABLE, default_value = "info")]
    log: LevelFilter,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Auth(Auth),
    Config(Config),
    Routes(Routes),
    Reload(Reload),
}

/// Answers the questions of a proxy in front, and forwards no request itself
///
/// List the addresses of the proxy with --proxy. `countersign serve config` prints the configuration of the proxy.
/// Content that stays with the proxy is not verified: requests with content are refused, unless their route has
/// `content = "checked-behind"`.
#[derive(Args, Debug)]
struct Auth {
    /// The kind of proxy that asks: nginx, traefik, caddy, envoy (over gRPC) or envoy-http
    #[arg(long, value_name = "KIND")]
    from: ProxyKind,
}

/// The settings of a service, over those of its file.
#[derive(Args, Clone, Debug)]
struct SettingsArgs {
    /// The configuration, as TOML
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE, global = true)]
    config: Option<PathBuf>,
    /// The service to forward to, like http://127.0.0.1:3000; several times for several servers
    #[arg(long, value_name = "URL", env = UPSTREAMS_VARIABLE, value_delimiter = ',', global = true)]
    upstream: Vec<UpstreamAddress>,
    /// An origin by which callers know the service, like https://api.example.com
    #[arg(long, value_name = "ORIGIN", env = ORIGINS_VARIABLE, value_delimiter = ',', global = true)]
    origin: Vec<Origin>,
    /// The address to listen on [default: 127.0.0.1:8080, with TLS 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS", env = LISTEN_VARIABLE, global = true)]
    listen: Option<SocketAddr>,
    /// The registry: sqlite:FILE or postgres://USER@HOST/DATABASE [default: sqlite:countersign.db]
    #[arg(long, value_name = "URL", env = DB_VARIABLE, hide_env_values = true, global = true)]
    db: Option<String>,
    /// The Redis of replay guard and limits, for several servers: redis://HOST [default: the memory of this process]
    #[arg(long, value_name = "URL", env = REDIS_VARIABLE, hide_env_values = true, global = true)]
    redis: Option<String>,
    /// The certificate chain, as PEM
    #[arg(long, value_name = "FILE", env = TLS_CERTIFICATE_VARIABLE, global = true)]
    tls_certificate: Option<PathBuf>,
    /// The private key of the certificate, as PEM
    #[arg(long, value_name = "FILE", env = TLS_KEY_VARIABLE, global = true)]
    tls_key: Option<PathBuf>,
    /// A trusted proxy in front, like 10.0.0.7/32: the client is the one in its X-Forwarded-For
    #[arg(long, value_name = "RANGE", env = PROXIES_VARIABLE, value_delimiter = ',', global = true)]
    proxy: Vec<ipnet::IpNet>,
    /// The address of /healthz, /readyz and /metrics [default: 127.0.0.1:9421]
    #[arg(long, value_name = "ADDRESS", env = OPERATIONS_VARIABLE, global = true)]
    operations: Option<SocketAddr>,
    /// Record who calls what, from where, in the registry; --usage=false does not, whatever the file says
    #[arg(
        long,
        value_name = "true|false",
        env = USAGE_VARIABLE,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        global = true
    )]
    usage: Option<bool>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

impl SettingsArgs {
    fn source(self) -> ConfigSource {
        let overrides = Overrides {
            listen: self.listen,
            origins: self.origin,
            upstreams: self.upstream,
            registry: self.db,
            redis: self.redis,
            tls_certificate: self.tls_certificate,
            tls_key: self.tls_key,
            proxies: self.proxy,
            operations: self.operations,
            auth: None,
            usage: self.usage,
        };
        ConfigSource { file: self.config, overrides }
    }
}

impl Serve {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self { settings, master_keys, check, log, command } = self;
        let json = settings.json;
        let mut source = settings.source();
        match command {
            Some(Command::Auth(Auth { from })) => source.overrides.auth = Some(from),
            Some(Command::Config(config)) => return config.run(&source),
            Some(Command::Routes(routes)) => return routes.run(&source, json),
            Some(Command::Reload(reload)) => return reload.run(&source),
            None => {}
        }
        if check {
            countersign_service::check(&source)
                .map_err(|error| service_failure(&source, &error))?;
            note("the configuration can be used");
            return Ok(Exit::Done);
        }
        let master_keys = master_keys.read()?;
        let logs = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(log);
        logs.init();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::cannot_start(&error))?;
        let served =
            runtime.block_on(countersign_service::run(source.clone(), master_keys, |listening| {
                tell(listening, json)
            }));
        served.map_err(|error| service_failure(&source, &error))?;
        Ok(Exit::Done)
    }
}

/// Tells where the service listens. A reader that has gone away does not stop it.
fn tell(Listening { service, operations, .. }: &Listening, json: bool) {
    let told = match json {
        true => print_line(json!({ "service": service, "operations": operations })),
        false => print(facts([
            ("service", Some(service.clone())),
            ("operations", Some(operations.clone())),
        ])),
    };
    drop(told);
}
