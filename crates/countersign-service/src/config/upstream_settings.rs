use std::{num::NonZeroU32, path::PathBuf};

use http::uri::PathAndQuery;
use toml::Spanned;

use super::{
    fault::ConfigFault,
    fault_at,
    file::{Listed, Text, UpstreamHost, UpstreamSection},
    listed,
    overrides::Overrides,
    period::Period,
    upstream_address::UpstreamAddress,
};

const CONNECTIONS: NonZeroU32 = NonZeroU32::new(256).unwrap();

/// The servers that a service forwards to, and how it speaks to them.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamSettings {
    pub(crate) servers: Vec<UpstreamAddress>,
    /// To each server.
    pub(crate) connections: NonZeroU32,
    pub(crate) host: UpstreamHost,
    pub(crate) connect_timeout: Period,
    pub(crate) response_timeout: Period,
    pub(crate) idle_timeout: Period,
    pub(crate) keep_alive: Period,
    pub(crate) health: Option<HealthCheck>,
    pub(crate) sign: Option<HopKey>,
    /// The roots of the servers' certificates, as PEM; those of the system unless it is set.
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) path: PathAndQuery,
    pub(crate) interval: Period,
}

/// The key that signs the requests to upstream servers.
#[derive(Clone, Debug)]
pub(crate) struct HopKey {
    pub(crate) file: PathBuf,
    pub(crate) tag: Option<String>,
}

impl UpstreamSettings {
    /// The defaults, for these servers.
    pub(crate) fn of(servers: Vec<UpstreamAddress>) -> Self {
        Self {
            servers,
            connections: CONNECTIONS,
            host: UpstreamHost::default(),
            connect_timeout: Period::seconds(5),
            response_timeout: Period::seconds(60),
            idle_timeout: Period::seconds(60),
            // Node closes idle connections after 5 s.
            keep_alive: Period::seconds(4),
            health: None,
            sign: None,
            ca: None,
        }
    }

    /// Puts the servers of the overrides over those of the file, and checks the whole.
    pub(super) fn resolve(
        text: &str,
        section: UpstreamSection,
        overrides: &Overrides,
    ) -> Result<Self, ConfigFault> {
        let defaults = Self::of(servers(text, section.servers, overrides)?);
        let period = |written: Option<Text<Period>>, default| match written {
            Some(Text(period)) => period,
            None => default,
        };
        let health = match section.health_path {
            Some(path) => Some(HealthCheck {
                path: health_path(text, &path)?,
                interval: period(section.health_interval, Period::seconds(5)),
            }),
            None => None,
        };
        let sign = section.sign_with.map(|file| HopKey {
            file: file.into_inner(),
            tag: section.sign_tag.map(Spanned::into_inner),
        });
        Ok(Self {
            connections: section.connections.unwrap_or(defaults.connections),
            host: section.host,
            connect_timeout: period(section.connect_timeout, defaults.connect_timeout),
            response_timeout: period(section.response_timeout, defaults.response_timeout),
            idle_timeout: period(section.idle_timeout, defaults.idle_timeout),
            keep_alive: period(section.keep_alive, defaults.keep_alive),
            health,
            sign,
            ca: section.ca,
            ..defaults
        })
    }
}

fn servers(
    text: &str,
    written: Option<Spanned<Listed>>,
    overrides: &Overrides,
) -> Result<Vec<UpstreamAddress>, ConfigFault> {
    const HINT: &str = "add --upstream http://127.0.0.1:3000, or `servers` in [upstream]";
    match (overrides.upstreams.is_empty(), written) {
        (false, _) => Ok(overrides.upstreams.clone()),
        (true, Some(servers)) => {
            let span = servers.span();
            let servers: Vec<UpstreamAddress> = listed(text, &servers.into_inner())?;
            match servers.is_empty() {
                true => Err(fault_at(text, span, "no upstream is named", HINT)),
                false => Ok(servers),
            }
        }
        (true, None) => Err(ConfigFault::new("no upstream is named", HINT)),
    }
}

fn health_path(text: &str, written: &Spanned<String>) -> Result<PathAndQuery, ConfigFault> {
    let path = Some(written.get_ref()).filter(|path| path.starts_with('/'));
    path.and_then(|path| path.parse().ok()).ok_or_else(|| {
        let what = "a health path is the path of a URL";
        fault_at(text, written.span(), what, "write it like /health")
    })
}
