pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod overrides;
pub(crate) mod period;
pub(crate) mod route_finder;
pub(crate) mod route_settings;
pub(crate) mod source;
pub(crate) mod upstream_address;
pub(crate) mod upstream_settings;

use std::{
    fmt::Display,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use countersign::{Origin, Origins};
use countersign_server::{ForwardedFields, Ingress, Proxies, RouteTable};
use countersign_store::{Quota, Redis, Registry, Scope, UsageRetention};
use ipnet::IpNet;
use toml::Spanned;

use self::{
    fault::ConfigFault,
    file::{
        Fields, File, GuardSection, HostIn, LimitsSection, Listed, ProxiesSection, RouteSection,
        Text, UsageSection,
    },
    overrides::Overrides,
    period::Period,
    route_settings::{ContentWay, RouteSettings},
    upstream_settings::UpstreamSettings,
};
use crate::auth::proxy_kind::ProxyKind;

/// The registry of a service that names no other.
const REGISTRY: &str = "sqlite:countersign.db";
const OPERATIONS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9421);
const CONNECTIONS: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
const CONTENT_BYTES: NonZeroU64 = NonZeroU64::new(100 << 20).unwrap();

/// The configuration of a service, checked: made by [`ConfigSource::load`](crate::ConfigSource::load).
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) operations: SocketAddr,
    pub(crate) connections: NonZeroU32,
    pub(crate) control: PathBuf,
    pub(crate) ingress: Ingress,
    pub(crate) public_paths: Vec<String>,
    pub(crate) registry: String,
    pub(crate) guard: GuardPlace,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) mode: Mode,
    pub(crate) limits: LimitSettings,
    /// How long usage is kept, if it is recorded.
    pub(crate) usage: Option<UsageRetention>,
    pub(crate) routes: Vec<RouteSettings>,
}

/// What a service does with requests that pass.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// It forwards them.
    Proxy(Box<UpstreamSettings>),
    /// It answers the questions of proxies, which forward them.
    Auth { kind: ProxyKind, proxies: Vec<IpNet> },
}

/// Where the replay guard and the limits are.
#[derive(Clone, Debug)]
pub(crate) enum GuardPlace {
    /// In this process; the memory of the guard is in a file from a stop to the next start.
    Memory,
    /// In a Redis that several servers share.
    Redis { url: String, redis: Box<Redis>, servers: NonZeroU32 },
}

/// The certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    pub(crate) signed: Vec<Quota>,
    pub(crate) unsigned: Vec<Quota>,
    pub(crate) unsigned_by_address: Vec<Quota>,
    pub(crate) failures: Vec<Quota>,
    pub(crate) content_bytes: NonZeroU64,
}

impl ServiceConfig {
    /// Puts the overrides over the file, and checks the whole.
    pub(crate) fn resolve(
        text: &str,
        file: File,
        overrides: &Overrides,
    ) -> Result<Self, ConfigFault> {
        let origins = origins(text, file.origins, overrides)?;
        let served = Origins::new(origins).map_err(|error| {
            ConfigFault::new(
                error,
                "add --origin https://api.example.com, or `origins` in the file",
            )
        })?;
        let (ingress, proxies) = ingress(text, served, file.proxies, overrides)?;
        let kind = overrides.auth.or(file.auth.map(|section| section.from.0));
        let mode = match kind {
            Some(_) if proxies.is_empty() => {
                return Err(ConfigFault::new(
                    "forward authentication needs the addresses of the proxies that ask",
                    "add --proxy ADDRESS/32, or `addresses` in [proxies]",
                ));
            }
            Some(kind) if !kind.is_built_in() => {
                return Err(ConfigFault::new(
                    format!("{kind} asks over gRPC, which this build does not speak"),
                    "build it with the feature `envoy-grpc`, or let Envoy ask over HTTP: envoy-http",
                ));
            }
            Some(kind) => Mode::Auth { kind, proxies },
            None => {
                Mode::Proxy(Box::new(UpstreamSettings::resolve(text, file.upstream, overrides)?))
            }
        };
        let registry = registry(text, file.registry.url, overrides)?;
        let tls = tls(file.tls, overrides)?;
        let port = if tls.is_some() { 8443 } else { 8080 };
        let listen = overrides.listen.or(file.listen);
        let listen = listen.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        let operations = overrides.operations.or(file.operations.listen).unwrap_or(OPERATIONS);
        if operations == listen && listen.port() != 0 {
            return Err(ConfigFault::new(
                format!("{listen} is the address of both listeners"),
                "give the operations listener another port, with --operations or `operations.listen`",
            ));
        }
        let limits = limits(text, &file.limits)?;
        let routes = routes(text, file.routes, limits.content_bytes)?;
        let control = file.control.unwrap_or_else(|| beside(&registry, "serve.sock"));
        Ok(Self {
            listen,
            operations,
            connections: file.connections.unwrap_or(CONNECTIONS),
            control,
            ingress,
            public_paths: public_paths(text, file.public_paths)?,
            guard: guard(text, file.guard, overrides)?,
            registry,
            tls,
            mode,
            limits,
            usage: usage(&file.usage, overrides),
            routes,
        })
    }

    /// Returns the routes, as they are declared.
    pub fn routes(&self) -> &[RouteSettings] {
        &self.routes
    }

    /// Returns the socket on which a running service takes the request to reload.
    pub fn control(&self) -> &Path {
        &self.control
    }

    /// Returns the address to listen on.
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Returns the address of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the file that has the guard's memory from a stop to the next start.
    pub(crate) fn saved_nonces(&self) -> PathBuf {
        beside(&self.registry, "nonces")
    }
}

/// Returns the name of a file beside the registry's, or in the working directory.
fn beside(registry: &str, what: &str) -> PathBuf {
    match Registry::file_of(registry) {
        Some(file) => {
            let mut name = file.as_os_str().to_owned();
            name.push(format!("-{what}"));
            name.into()
        }
        None => format!("countersign-{what}").into(),
    }
}

fn fault_at(
    text: &str,
    span: std::ops::Range<usize>,
    what: impl Display,
    hint: &str,
) -> ConfigFault {
    ConfigFault::new(what, hint).at(text, &span)
}

/// Parses the texts of a list. A fault has the line of its text.
fn listed<T: FromStr<Err: Display>>(text: &str, list: &Listed) -> Result<Vec<T>, ConfigFault> {
    let parse = |item: &Spanned<String>| {
        item.get_ref().parse().map_err(|error| {
            let what = format!("{:?}: {error}", item.get_ref());
            fault_at(text, item.span(), what, "docs/reference/configuration.md lists all settings")
        })
    };
    list.iter().map(parse).collect()
}

fn origins(
    text: &str,
    written: Option<Spanned<Listed>>,
    overrides: &Overrides,
) -> Result<Vec<Origin>, ConfigFault> {
    if !overrides.origins.is_empty() {
        return Ok(overrides.origins.clone());
    }
    let Some(written) = written else { return Ok(Vec::new()) };
    let span = written.span();
    let origins: Vec<Origin> = listed(text, &written.into_inner())?;
    match Origins::new(origins.iter().cloned()) {
        Ok(_) => Ok(origins),
        Err(error) => Err(fault_at(text, span, error, "name each origin of the service once")),
    }
}

fn ingress(
    text: &str,
    origins: Origins,
    written: Option<Spanned<ProxiesSection>>,
    overrides: &Overrides,
) -> Result<(Ingress, Vec<IpNet>), ConfigFault> {
    let span = written.as_ref().map(Spanned::span);
    let section = written.map(Spanned::into_inner);
    let fields = match section.as_ref().map(|section| section.fields).unwrap_or_default() {
        Fields::XForwarded => ForwardedFields::XForwarded,
        Fields::Forwarded => ForwardedFields::Forwarded,
    };
    let host = section.as_ref().map(|section| section.host).unwrap_or_default();
    let addresses: Vec<_> = match (overrides.proxies.is_empty(), section) {
        (false, _) => overrides.proxies.clone(),
        (true, Some(section)) => listed(text, &section.addresses)?,
        (true, None) => return Ok((Ingress::from(origins), Vec::new())),
    };
    let proxies = Proxies::new(addresses.iter().copied(), fields).map_err(|error| {
        let fault = ConfigFault::new(error, "list the addresses from which the proxies connect");
        match span.filter(|_| overrides.proxies.is_empty()) {
            Some(span) => fault.at(text, &span),
            None => fault,
        }
    })?;
    let ingress = match host {
        HostIn::Host => Ingress::from(origins).proxies(proxies),
        HostIn::Forwarded => Ingress::forwarded(origins, proxies),
    };
    Ok((ingress, addresses))
}

fn registry(
    text: &str,
    written: Option<Spanned<String>>,
    overrides: &Overrides,
) -> Result<String, ConfigFault> {
    const HINT: &str = "a registry is sqlite:FILE or postgres://USER@HOST/DATABASE";
    // The text is not repeated: it may hold a password.
    let known = |url: &str| Registry::name_of(url).is_some();
    match (&overrides.registry, written) {
        (Some(url), _) if known(url) => Ok(url.clone()),
        (Some(_), _) => Err(ConfigFault::new("the registry's address is not understood", HINT)),
        (None, Some(url)) if known(url.get_ref()) => Ok(url.into_inner()),
        (None, Some(url)) => {
            Err(fault_at(text, url.span(), "the registry's address is not understood", HINT))
        }
        (None, None) => Ok(REGISTRY.to_owned()),
    }
}

fn tls(
    written: Option<Spanned<file::TlsSection>>,
    overrides: &Overrides,
) -> Result<Option<TlsFiles>, ConfigFault> {
    match (&overrides.tls_certificate, &overrides.tls_key, written) {
        (Some(certificate), Some(key), _) => {
            Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }))
        }
        (None, None, Some(section)) => {
            let file::TlsSection { certificate, key } = section.into_inner();
            Ok(Some(TlsFiles { certificate, key }))
        }
        (None, None, None) => Ok(None),
        _ => Err(ConfigFault::new(
            "a certificate is of use only with its key",
            "give both: --tls-certificate FILE --tls-key FILE",
        )),
    }
}

fn guard(
    text: &str,
    section: GuardSection,
    overrides: &Overrides,
) -> Result<GuardPlace, ConfigFault> {
    const HINT: &str = "a Redis is redis://[user:password@]host[:port][/database]";
    let span = section.redis.as_ref().map(Spanned::span);
    let own = overrides.redis.is_some();
    let Some(url) = overrides.redis.clone().or(section.redis.map(Spanned::into_inner)) else {
        return Ok(GuardPlace::Memory);
    };
    let redis = Redis::single(&url).map_err(|error| match span.filter(|_| !own) {
        Some(span) => fault_at(text, span, error, HINT),
        None => ConfigFault::new(error, HINT),
    })?;
    let redis = match section.name {
        Some(name) => {
            let span = name.span();
            redis.guard(name.get_ref()).map_err(|error| {
                fault_at(text, span, error, "servers with the same name share a guard")
            })?
        }
        None => redis,
    };
    let redis = Box::new(redis);
    Ok(GuardPlace::Redis { url, redis, servers: section.servers.unwrap_or(NonZeroU32::MIN) })
}

fn limits(text: &str, section: &LimitsSection) -> Result<LimitSettings, ConfigFault> {
    Ok(LimitSettings {
        signed: listed(text, &section.signed)?,
        unsigned: listed(text, &section.unsigned)?,
        unsigned_by_address: listed(text, &section.unsigned_by_address)?,
        failures: listed(text, &section.failures)?,
        content_bytes: section.content_bytes.unwrap_or(CONTENT_BYTES),
    })
}

fn usage(section: &UsageSection, overrides: &Overrides) -> Option<UsageRetention> {
    let set =
        |retention, written: &Option<Text<Period>>, set: fn(UsageRetention, Duration) -> _| {
            written.as_ref().map_or(retention, |Text(period)| set(retention, period.get()))
        };
    let retention = set(UsageRetention::default(), &section.minutes, UsageRetention::minutes);
    let retention = set(retention, &section.hours, UsageRetention::hours);
    let retention = set(retention, &section.days, UsageRetention::days);
    overrides.usage.unwrap_or(section.record).then_some(retention)
}

fn public_paths(text: &str, written: Vec<Spanned<String>>) -> Result<Vec<String>, ConfigFault> {
    let paths = written.into_iter().map(|path| match path.get_ref().starts_with('/') {
        true => Ok(path.into_inner()),
        false => Err(fault_at(
            text,
            path.span(),
            "a public path starts with /",
            "write the whole path, like /health",
        )),
    });
    paths.collect()
}

/// Checks each route behind those before it, so that a fault has the line of the later of two.
fn routes(
    text: &str,
    sections: Vec<Spanned<RouteSection>>,
    content_bytes: NonZeroU64,
) -> Result<Vec<RouteSettings>, ConfigFault> {
    let mut routes: Vec<RouteSettings> = Vec::new();
    for section in sections {
        let span = section.get_ref().path.span();
        let scopes: Vec<Scope> = listed(text, &section.get_ref().scopes)?;
        let scopes = scopes.into_iter().collect();
        let settings = RouteSettings::new(section.into_inner(), scopes, content_bytes);
        let settings = settings.map_err(|fault| fault.at(text, &span))?;
        routes.push(settings);
        RouteTable::new(routes.iter().map(|route| route.to_route(ContentWay::Streamed))).map_err(
            |error| fault_at(text, span, error, "paths are written like /v1/orders/{id}"),
        )?;
    }
    Ok(routes)
}
