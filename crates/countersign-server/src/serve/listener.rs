use std::num::NonZeroU32;

use tokio::net::TcpListener;

/// The socket on which [`serve`](crate::serve) accepts connections, with its settings.
///
/// A listener made from a `TcpListener` alone accepts 1,000 connections at a time, without TLS.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use countersign_server::Listener;
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let socket = TcpListener::bind("127.0.0.1:0").await?;
/// let listener = Listener::from(socket).connections(NonZeroU32::new(5_000).unwrap());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    pub(super) connections: NonZeroU32,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::Tls>,
}

const CONNECTIONS: NonZeroU32 = NonZeroU32::new(1_000).unwrap();

impl Listener {
    /// Sets the most connections that are open at once. Default: 1,000.
    ///
    /// If another connection arrives, it waits for a place. To make room, connections without open requests are closed.
    pub fn connections(mut self, most: NonZeroU32) -> Self {
        self.connections = most;
        self
    }

    /// Accepts only TLS connections. Default: no TLS, for a server behind a proxy that ends TLS.
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
