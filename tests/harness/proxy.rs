use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

/// Between a client and a database, counts how often the client had to wait for an answer: a round trip each.
#[derive(Debug)]
pub struct CountingProxy {
    /// Of one in front of Redis.
    port: u16,
    trips: Arc<AtomicU64>,
}

impl CountingProxy {
    /// In front of the Redis at this port.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let trips = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&trips);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&counted)));
            }
        });
        Self { port, trips }
    }

    /// In a folder, in front of the PostgreSQL whose socket is in another one.
    pub fn at_socket(folder: &Path, to: &Path) -> Self {
        const SOCKET: &str = ".s.PGSQL.5432";
        let listener = UnixListener::bind(folder.join(SOCKET)).unwrap();
        let to = to.join(SOCKET);
        let trips = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&trips);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = UnixStream::connect(&to).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&counted)));
            }
        });
        Self { port: 0, trips }
    }

    /// The URL of one in front of Redis.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How often there was one.
    pub fn trips(&self) -> u64 {
        self.trips.load(Ordering::SeqCst)
    }
}

async fn carry(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut server: impl AsyncRead + AsyncWrite + Unpin,
    trips: Arc<AtomicU64>,
) {
    let (mut up, mut down) = ([0; 65536], [0; 65536]);
    let mut waiting = false;
    loop {
        tokio::select! {
            Ok(length) = client.read(&mut up) => {
                if length == 0 || server.write_all(&up[..length]).await.is_err() {
                    return;
                }
                waiting = true;
            }
            Ok(length) = server.read(&mut down) => {
                if std::mem::take(&mut waiting) {
                    trips.fetch_add(1, Ordering::SeqCst);
                }
                if length == 0 || client.write_all(&down[..length]).await.is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}
