use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, TlsMode,
    aio::MultiplexedConnection,
    sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType},
};
use tokio::time::timeout;

use super::failure::Failure;

/// Longest time to connect to a server.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest time to ask sentinels and to connect to the primary that they name.
const ASK_SENTINELS: Duration = Duration::from_secs(5);

/// The address of a Redis or Valkey, and how to use it.
///
/// URLs are `redis://[user:password@]host[:port][/database]`, or `unix:///path` with `?db=…&user=…&pass=…`.
#[derive(Clone)]
pub struct Redis {
    pub(super) place: Place,
    pub(super) guard: String,
    pub(super) clock_error: Duration,
    pub(super) timeout: Duration,
    pub(super) connections: usize,
    pub(super) replicas: Option<Replicas>,
    pub(super) look_every: Duration,
}

/// The way to find the primary.
#[derive(Clone)]
pub(super) enum Place {
    /// One of these URLs or, in a cluster, the node that one of these nodes names.
    Nodes(Vec<ConnectionInfo>),
    /// These sentinels know the primary by the name of its service.
    Sentinels { service: String, sentinels: Vec<ConnectionInfo>, nodes: Nodes },
}

/// The settings of connections to the servers that sentinels name.
#[derive(Clone)]
pub(super) struct Nodes {
    tls: Option<TlsMode>,
    settings: RedisConnectionInfo,
}

/// The number of replicas that must have a claim before it counts, and the longest wait for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replicas {
    pub(super) at_least: u32,
    pub(super) within: Duration,
}

/// Why a description of a Redis is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRedis {
    /// The text is not a URL of a Redis. The error does not repeat it, since it may hold a password.
    #[error("it is not `redis://[user:password@]host[:port][/database]`, or TLS is not built in")]
    Url,
    /// No URL was given.
    #[error("no server is named; give the URL of at least one")]
    NoUrl,
    /// The name of a guard is invalid. Names are a part of keys in Redis.
    #[error("the name of a guard has 1 to 64 characters of A–Z, a–z, 0–9, `-`, `_` and `.`")]
    GuardName,
}

impl Redis {
    /// Uses one server, at a URL. If its host name moves to another server after a failure, connections follow it.
    ///
    /// # Errors
    ///
    /// [`BadRedis::Url`].
    pub fn single(url: &str) -> Result<Self, BadRedis> {
        Ok(Self::at(Place::Nodes(nodes([url])?)))
    }

    /// Uses the primary that sentinels know by the name of its service, such as `mymaster`. Give the URLs of the sentinels,
    /// with their passwords. Set the password of the Redis servers with [`credentials`](Self::credentials).
    ///
    /// # Errors
    ///
    /// [`BadRedis::Url`] and [`BadRedis::NoUrl`].
    pub fn sentinel<'a>(
        service: &str,
        urls: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, BadRedis> {
        let sentinels = nodes(urls)?;
        let secure = |one: &ConnectionInfo| matches!(one.addr(), ConnectionAddr::TcpTls { .. });
        let tls = sentinels.iter().any(secure).then_some(TlsMode::Secure);
        let nodes = Nodes { tls, settings: RedisConnectionInfo::default() };
        Ok(Self::at(Place::Sentinels { service: service.to_owned(), sentinels, nodes }))
    }

    /// Uses a cluster, found by the URL of one or more of its nodes. A guard keeps all its data in one slot.
    ///
    /// # Errors
    ///
    /// [`BadRedis::Url`] and [`BadRedis::NoUrl`].
    pub fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, BadRedis> {
        Ok(Self::at(Place::Nodes(nodes(urls)?)))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            guard: "default".to_owned(),
            clock_error: Duration::from_secs(5),
            timeout: Duration::from_millis(250),
            connections: 2,
            replicas: None,
            look_every: Duration::from_secs(10),
        }
    }

    /// Sets the user and password of the servers. They replace the user and password in the URLs.
    pub fn credentials(mut self, user: Option<&str>, password: &str) -> Self {
        let log_in = |settings: &RedisConnectionInfo| {
            let settings = settings.clone().set_password(password);
            match user {
                Some(user) => settings.set_username(user),
                None => settings,
            }
        };
        match &mut self.place {
            Place::Nodes(nodes) => {
                for node in nodes {
                    *node = node.clone().set_redis_settings(log_in(node.redis_settings()));
                }
            }
            Place::Sentinels { nodes, .. } => nodes.settings = log_in(&nodes.settings),
        }
        self
    }

    /// Sets the name of the guard. Servers with the same name share a guard. Give services with different credentials
    /// different names. Default: `default`.
    ///
    /// # Errors
    ///
    /// [`BadRedis::GuardName`].
    pub fn guard(mut self, name: &str) -> Result<Self, BadRedis> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) {
            return Err(BadRedis::GuardName);
        }
        name.clone_into(&mut self.guard);
        Ok(self)
    }

    /// Sets how far the clocks of a server and of Redis may differ. With a larger difference signed requests are refused.
    /// Whole seconds, at least one. Default: 5 s.
    ///
    /// After a start without data, a restart or a failover of Redis, signed requests are refused for the skew, twice this
    /// error and one second more: 21 s by default.
    pub fn clock_error(mut self, most: Duration) -> Self {
        self.clock_error = Duration::from_secs(most.as_secs().max(1));
        self
    }

    /// Sets the timeout of a call to Redis. Default: 250 ms.
    pub fn timeout(mut self, longest: Duration) -> Self {
        self.timeout = longest;
        self
    }

    /// Sets the number of open connections; each carries many calls at a time. Default: 2. A number below 1 counts as 1.
    ///
    /// [`replicas`](Self::replicas) raises the number to 16, since a call that waits for replicas holds up the calls behind it.
    pub fn connections(mut self, number: usize) -> Self {
        self.connections = number.max(1);
        self
    }

    /// Waits for each claim until this many replicas have it, for at most this time (`WAIT`, in whole milliseconds, at least
    /// one). The wait adds to the [`timeout`](Self::timeout) of a call. If fewer replicas have the claim, the request is
    /// refused, and its nonce is spent. Default: no wait.
    ///
    /// A primary that is cut off accepts no claim if it needs more replicas than it can still reach. Acknowledged claims can
    /// still be lost; the guard notices the loss as it does without replicas.
    pub fn replicas(mut self, at_least: u32, within: Duration) -> Self {
        if self.replicas.is_none() {
            self.connections = self.connections.max(16);
        }
        self.replicas = Some(Replicas { at_least, within: within.max(Duration::from_millis(1)) });
        self
    }

    /// Sets the shortest time between two claims that also read the memory policy of Redis. Default: 10 s.
    pub fn look_every(mut self, time: Duration) -> Self {
        self.look_every = time;
        self
    }

    /// Returns the longest time that a claim may take.
    pub(super) fn patience(&self) -> Duration {
        let waits = self.replicas.map_or(Duration::ZERO, |replicas| replicas.within);
        self.timeout.saturating_add(waits)
    }
}

fn nodes<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Vec<ConnectionInfo>, BadRedis> {
    // The library's own error may repeat the URL, so it is not passed on.
    let nodes = urls.into_iter().map(|url| url.into_connection_info().map_err(|_| BadRedis::Url));
    let nodes: Vec<_> = nodes.collect::<Result<_, _>>()?;
    if nodes.is_empty() { Err(BadRedis::NoUrl) } else { Ok(nodes) }
}

/// Connects to one server.
pub(super) async fn connect(node: ConnectionInfo) -> Result<MultiplexedConnection, Failure> {
    connect_by(&Client::open(node)?).await
}

async fn connect_by(client: &Client) -> Result<MultiplexedConnection, Failure> {
    // Each call has its own timeout.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// Asks the sentinels where the primary is, and connects to it.
pub(super) async fn connect_by_sentinels(
    service: &str,
    sentinels: &[ConnectionInfo],
    nodes: &Nodes,
) -> Result<MultiplexedConnection, Failure> {
    let mut node =
        SentinelNodeConnectionInfo::default().set_redis_connection_info(nodes.settings.clone());
    if let Some(tls) = nodes.tls {
        node = node.set_tls_mode(tls);
    }
    let primary = SentinelServerType::Master;
    let client = SentinelClient::build(sentinels.to_vec(), service.to_owned(), Some(node), primary);
    let mut client = client?;
    let connected = async { connect_by(&client.async_get_client().await?).await };
    let connected = timeout(ASK_SENTINELS, connected).await;
    connected.unwrap_or(Err(Failure::TimedOut(ASK_SENTINELS)))
}

/// Returns the cluster node at `host:port`, as another node named it.
pub(super) fn redirected(from: &ConnectionInfo, address: &str) -> Option<ConnectionInfo> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let to = match from.addr().clone() {
        ConnectionAddr::TcpTls { host: same, insecure, tls_params, .. } => {
            let host = if host.is_empty() { same } else { host.into() };
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        ConnectionAddr::Tcp(same, _) if host.is_empty() => ConnectionAddr::Tcp(same, port),
        _ => ConnectionAddr::Tcp(host.into(), port),
    };
    Some(from.clone().set_addr(to))
}

impl fmt::Debug for Redis {
    /// Prints addresses without users and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Place::Nodes(nodes) | Place::Sentinels { sentinels: nodes, .. }) = &self.place;
        let addresses: Vec<_> = nodes.iter().map(|node| node.addr().to_string()).collect();
        f.debug_struct("Redis")
            .field("addresses", &addresses)
            .field("guard", &self.guard)
            .field("clock_error", &self.clock_error)
            .field("timeout", &self.timeout)
            .field("connections", &self.connections)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_neither_printed_nor_repeated() {
        let single = Redis::single("redis://me:s3cret@127.0.0.1:7000/2").unwrap();
        let sentinel = Redis::sentinel("main", ["redis://:s3cret@127.0.0.1:7001"]).unwrap();
        let sentinel = sentinel.credentials(Some("me"), "s3cret");
        for redis in [single, sentinel] {
            let printed = format!("{redis:?} {redis:#?}");
            assert!(printed.contains("127.0.0.1:700") && !printed.contains("s3cret"), "{printed}");
        }
        for url in ["postgres://me:s3cret@host/db", "redis://me:s3cret@host/db", "s3cret", ""] {
            assert_eq!(Redis::single(url).unwrap_err(), BadRedis::Url, "{url}");
        }
        assert_eq!(Redis::cluster([]).unwrap_err(), BadRedis::NoUrl);
    }

    #[test]
    fn a_guard_has_a_name_that_keys_can_be_made_of() {
        let redis = Redis::single("redis://127.0.0.1").unwrap();
        for name in ["default", "orders-eu.2_A"] {
            assert_eq!(redis.clone().guard(name).unwrap().guard, name);
        }
        for name in ["", "a}b", "a b", "a:b", "ä", &"a".repeat(65)] {
            assert_eq!(redis.clone().guard(name).unwrap_err(), BadRedis::GuardName, "{name}");
        }
    }

    #[test]
    fn a_cluster_names_another_node_and_nothing_else_about_it() {
        let from = "redis://me:s3cret@one:7000".into_connection_info().unwrap();
        for (address, expected) in [
            ("two:7001", Some("two:7001")),
            (":7001", Some("one:7001")),
            ("2001:db8::1:7001", Some("2001:db8::1:7001")),
            ("two", None),
            ("two:port", None),
        ] {
            let to = redirected(&from, address);
            assert_eq!(to.as_ref().map(|to| to.addr().to_string()).as_deref(), expected);
            assert!(to.is_none_or(|to| to.redis_settings().password() == Some("s3cret")));
        }
    }
}
