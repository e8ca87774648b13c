use std::{
    fmt::Display,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    str::FromStr,
};

use http::Method;
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use super::{fault::ConfigFault, period::Period};
use crate::auth::proxy_kind::ProxyKind;

/// A configuration file as it is written. Values are parsed by their types; what concerns several values is checked later.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(super) listen: Option<SocketAddr>,
    pub(super) connections: Option<NonZeroU32>,
    pub(super) origins: Option<Spanned<Listed>>,
    pub(super) control: Option<PathBuf>,
    pub(super) public_paths: Vec<Spanned<String>>,
    pub(super) registry: RegistrySection,
    pub(super) guard: GuardSection,
    pub(super) tls: Option<Spanned<TlsSection>>,
    pub(super) proxies: Option<Spanned<ProxiesSection>>,
    pub(super) upstream: UpstreamSection,
    pub(super) auth: Option<AuthSection>,
    pub(super) limits: LimitsSection,
    pub(super) operations: OperationsSection,
    pub(super) usage: UsageSection,
    pub(super) routes: Vec<Spanned<RouteSection>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RegistrySection {
    pub(super) url: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GuardSection {
    pub(super) redis: Option<Spanned<String>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) servers: Option<NonZeroU32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxiesSection {
    pub(super) addresses: Listed,
    #[serde(default)]
    pub(super) fields: Fields,
    #[serde(default)]
    pub(super) host: HostIn,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fields {
    #[default]
    XForwarded,
    Forwarded,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum HostIn {
    #[default]
    Host,
    Forwarded,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UpstreamSection {
    pub(super) servers: Option<Spanned<Listed>>,
    pub(super) connections: Option<NonZeroU32>,
    pub(super) host: UpstreamHost,
    pub(super) connect_timeout: Option<Text<Period>>,
    pub(super) response_timeout: Option<Text<Period>>,
    pub(super) idle_timeout: Option<Text<Period>>,
    pub(super) keep_alive: Option<Text<Period>>,
    pub(super) health_path: Option<Spanned<String>>,
    pub(super) health_interval: Option<Text<Period>>,
    pub(super) sign_with: Option<Spanned<PathBuf>>,
    pub(super) sign_tag: Option<Spanned<String>>,
    pub(super) ca: Option<PathBuf>,
}

/// The `Host` that an upstream gets.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UpstreamHost {
    /// That of the origin that the client named.
    #[default]
    Origin,
    /// That of the upstream's own address.
    Upstream,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthSection {
    pub(super) from: Text<ProxyKind>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsSection {
    pub(super) signed: Listed,
    pub(super) unsigned: Listed,
    pub(super) unsigned_by_address: Listed,
    pub(super) failures: Listed,
    pub(super) content_bytes: Option<NonZeroU64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OperationsSection {
    pub(super) listen: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UsageSection {
    pub(super) record: bool,
    pub(super) minutes: Option<Text<Period>>,
    pub(super) hours: Option<Text<Period>>,
    pub(super) days: Option<Text<Period>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteSection {
    pub(super) method: Text<Method>,
    pub(super) path: Spanned<String>,
    pub(super) access: Option<RouteAccess>,
    #[serde(default)]
    pub(super) scopes: Listed,
    pub(super) rollout: Option<RouteRollout>,
    pub(super) content_bytes: Option<NonZeroU64>,
    pub(super) cost: Option<NonZeroU32>,
    #[serde(default)]
    pub(super) content: RouteContent,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RouteContent {
    #[default]
    Verified,
    CheckedBehind,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RouteAccess {
    Open,
    Publishable,
    Signed,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RouteRollout {
    Off,
    Observe,
    Enforce,
}

/// A list of texts, each with its place.
pub(super) type Listed = Vec<Spanned<String>>;

/// A value that is written as a text.
#[derive(Clone, Debug)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
    }
}

impl File {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigFault> {
        toml::from_str(text).map_err(|error| {
            let what = error.message().trim_end().replace('\n', " ");
            let fault =
                ConfigFault::new(what, "docs/reference/configuration.md lists all settings");
            match error.span() {
                Some(span) => fault.at(text, &span),
                None => fault,
            }
        })
    }
}
