use std::num::NonZeroU32;

use tokio::net::TcpListener;

/// Where [`serve`](crate::serve) takes connections from, and how many.
///
/// Made of a `TcpListener` alone, it takes 1,000 connections at a time, without TLS.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    pub(super) connections: NonZeroU32,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::Tls>,
}

const CONNECTIONS: NonZeroU32 = NonZeroU32::new(1_000).unwrap();

impl Listener {
    /// The most connections that are open at once. Default: 1,000.
    ///
    /// When one more comes, it waits for a place, and connections whose requests are all answered are closed to make one.
    pub fn connections(mut self, most: NonZeroU32) -> Self {
        self.connections = most;
        self
    }

    /// Speaks TLS, and nothing without it. Default: no TLS, for a server behind a proxy that ends it.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: super::Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self {
            socket,
            connections: CONNECTIONS,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}
