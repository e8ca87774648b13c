use std::{fmt, str::FromStr};

/// A kind of proxy that asks before it hands a request on. It decides which fields of a question tell method, target and host of
/// the request: those that the printed configuration sets, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// nginx with `auth_request`.
    Nginx,
    /// Traefik with `ForwardAuth`.
    Traefik,
    /// Caddy with `forward_auth`.
    Caddy,
    /// Envoy with `ext_authz` over gRPC, for which this crate needs its feature `envoy-grpc`.
    Envoy,
    /// Envoy with `ext_authz` over HTTP.
    EnvoyHttp,
}

/// The text is not the name of a kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a kind of proxy is nginx, traefik, caddy, envoy or envoy-http")]
pub struct UnknownProxyKind;

impl ProxyKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Nginx, Self::Traefik, Self::Caddy, Self::Envoy, Self::EnvoyHttp];

    /// Returns the name, as in `nginx`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
            Self::EnvoyHttp => "envoy-http",
        }
    }

    /// Whether this build answers questions of this kind.
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Nginx | Self::Traefik | Self::Caddy | Self::EnvoyHttp => true,
            Self::Envoy => cfg!(feature = "envoy-grpc"),
        }
    }

    /// Whether a question comes with the content of the request.
    pub(crate) const fn passes_content(self) -> bool {
        match self {
            Self::Nginx | Self::Caddy => false,
            Self::Traefik | Self::Envoy | Self::EnvoyHttp => true,
        }
    }

    /// Whether a question has an id that the proxy made for its request, whatever the client sent.
    pub(crate) const fn names_requests(self) -> bool {
        match self {
            Self::Nginx | Self::Caddy | Self::Envoy | Self::EnvoyHttp => true,
            Self::Traefik => false,
        }
    }

    /// Whether the proxy takes the fields out of the request that an answer names.
    pub(crate) const fn removes_fields(self) -> bool {
        match self {
            Self::Nginx | Self::Traefik | Self::Caddy => false,
            Self::Envoy | Self::EnvoyHttp => true,
        }
    }
}

impl FromStr for ProxyKind {
    type Err = UnknownProxyKind;

    fn from_str(text: &str) -> Result<Self, UnknownProxyKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownProxyKind)
    }
}

impl fmt::Display for ProxyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
