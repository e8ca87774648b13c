use std::{net::IpAddr, str::FromStr};

use clap::{Args, ValueEnum};
use countersign::{Code, KeyId};
use countersign_store::{AddressPrefix, CallAccess, CallOutcome, Platform, UsageQuery};
use http::{Method, StatusCode};

/// Which calls are counted: those that match all options.
#[derive(Args, Clone, Debug)]
pub(super) struct FilterArgs {
    /// Only calls of the keys of this application
    #[arg(long, value_name = "NAME", global = true)]
    pub(super) app: Option<String>,
    /// Only calls of this key, by its publishable key or its JWK thumbprint
    // A thumbprint is base64url, which can begin with a hyphen.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, global = true)]
    pub(super) key: Option<KeyId>,
    /// Only calls that showed this
    #[arg(long, value_name = "ACCESS", global = true)]
    access: Option<AccessArg>,
    /// Only calls of this route, like 'GET /v1/orders/{id}'; '' for those without a declaration
    #[arg(long, value_name = "ROUTE", global = true)]
    route: Option<String>,
    /// Only calls with this method
    #[arg(long, value_name = "METHOD", global = true)]
    method: Option<Method>,
    /// Only calls with this outcome: passed, refused, or the code of a refusal like signature-invalid
    #[arg(long, value_name = "OUTCOME", global = true)]
    outcome: Option<OutcomeArg>,
    /// Only calls whose response had this status
    #[arg(long, value_name = "STATUS", global = true)]
    status: Option<StatusCode>,
    /// Only calls of this platform, as the client says
    #[arg(long, value_name = "PLATFORM", global = true)]
    platform: Option<PlatformArg>,
    /// Only calls of this product, like okhttp, as the client says
    #[arg(long, value_name = "NAME", global = true)]
    product: Option<String>,
    /// Only calls from this network or the network of this address: a /24 of IPv4, a /48 of IPv6
    #[arg(long, value_name = "ADDRESS", global = true)]
    network: Option<NetworkArg>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccessArg {
    Open,
    Publishable,
    Signed,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PlatformArg {
    Ios,
    Android,
    Browser,
    Server,
    Other,
}

#[derive(Clone, Copy, Debug)]
enum OutcomeArg {
    Refused,
    One(CallOutcome),
}

#[derive(Clone, Copy, Debug)]
struct NetworkArg(AddressPrefix);

impl FilterArgs {
    /// Adds the filters to a query.
    pub(super) fn apply(&self, mut query: UsageQuery) -> UsageQuery {
        if let Some(name) = &self.app {
            query = query.application(name);
        }
        if let Some(key) = self.key {
            query = query.key(key);
        }
        if let Some(access) = self.access {
            query = query.access(match access {
                AccessArg::Open => CallAccess::Open,
                AccessArg::Publishable => CallAccess::Publishable,
                AccessArg::Signed => CallAccess::Signed,
            });
        }
        if let Some(route) = &self.route {
            query = query.route(route);
        }
        if let Some(method) = &self.method {
            query = query.method(method);
        }
        match self.outcome {
            Some(OutcomeArg::Refused) => query = query.refused(),
            Some(OutcomeArg::One(outcome)) => query = query.outcome(outcome),
            None => {}
        }
        if let Some(status) = self.status {
            query = query.status(status);
        }
        if let Some(platform) = self.platform {
            query = query.platform(match platform {
                PlatformArg::Ios => Platform::Ios,
                PlatformArg::Android => Platform::Android,
                PlatformArg::Browser => Platform::Browser,
                PlatformArg::Server => Platform::Server,
                PlatformArg::Other => Platform::Other,
            });
        }
        if let Some(product) = &self.product {
            query = query.product(product);
        }
        match self.network {
            Some(NetworkArg(network)) => query.network(network),
            None => query,
        }
    }

    /// Whether it selects by what is counted by the hour, without outcomes and bytes.
    pub(super) const fn is_by_hour(&self) -> bool {
        self.platform.is_some() || self.product.is_some() || self.network.is_some()
    }

    /// Whether all calls have the same outcome.
    pub(super) const fn has_outcome(&self) -> bool {
        self.outcome.is_some()
    }
}

impl FromStr for OutcomeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refused" => Ok(Self::Refused),
            "passed" => Ok(Self::One(CallOutcome::Passed)),
            code => match code.parse::<Code>() {
                Ok(code) => Ok(Self::One(CallOutcome::Refused(code))),
                Err(error) => Err(format!("{error}; an outcome is passed, refused or such a code")),
            },
        }
    }
}

impl FromStr for NetworkArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let refused = || "a network is like 203.0.113.0/24 or 2001:db8::/48".to_owned();
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let prefix = AddressPrefix::of(address);
        let counted = if address.to_canonical().is_ipv4() { "24" } else { "48" };
        match length {
            Some(length) if length != counted => Err(refused()),
            _ => Ok(Self(prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_as_it_is_counted() {
        for (text, shown) in [
            ("203.0.113.0/24", Some("203.0.113.0/24")),
            ("203.0.113.7", Some("203.0.113.0/24")),
            ("2001:db8:1::/48", Some("2001:db8:1::/48")),
            ("2001:db8:1:2::3", Some("2001:db8:1::/48")),
            ("203.0.113.0/16", None),
            ("2001:db8::/32", None),
            ("example.com", None),
            ("", None),
        ] {
            let read = text.parse::<NetworkArg>().ok().map(|network| network.0.to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
        }
    }
}
