use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};

/// What becomes of a connection when the client sends its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Cut before the server has it.
    CutBefore,
    /// Cut when the server has carried it out, before the client has the reply.
    CutAfter,
    /// Silent: nothing passes any more, and nothing is closed.
    SilentBefore,
    /// Silent as soon as the server has it.
    SilentAfter,
}

/// Between a registry and PostgreSQL: harms the first connections that commit after it is told to.
pub(crate) struct Relay {
    port: u16,
    faults: Arc<AtomicUsize>,
}

impl Relay {
    /// In front of the server whose socket is in this folder.
    pub(crate) async fn start(folder: &Path, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(AtomicUsize::new(0));
        let (left, socket) = (Arc::clone(&faults), folder.join(".s.PGSQL.5432"));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, socket.clone(), fault, Arc::clone(&left)));
            }
        });
        Self { port, faults }
    }

    /// Harms so many of the next commits.
    pub(crate) fn harm(&self, commits: usize) {
        self.faults.store(commits, Ordering::SeqCst);
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

async fn carry(mut client: TcpStream, socket: PathBuf, fault: Fault, faults: Arc<AtomicUsize>) {
    let Ok(mut server) = UnixStream::connect(socket).await else { return };
    let (mut up, mut down) = ([0; 65536], [0; 65536]);
    let mut harmed = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let sent = match read {
                    Ok(length @ 1..) => up.get(..length).unwrap(),
                    _ => return,
                };
                let commits = sent.windows(7).any(|bytes| bytes == b"COMMIT\0");
                let take = |left: usize| left.checked_sub(1);
                harmed |= commits
                    && faults.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
                match fault {
                    Fault::CutBefore if harmed => return,
                    Fault::SilentBefore if harmed => return std::future::pending().await,
                    Fault::CutBefore
                    | Fault::SilentBefore
                    | Fault::CutAfter
                    | Fault::SilentAfter => {}
                }
                if server.write_all(sent).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let sent = match read {
                    Ok(length @ 1..) => down.get(..length).unwrap(),
                    _ => return,
                };
                match fault {
                    Fault::CutAfter if harmed => return,
                    Fault::SilentAfter if harmed => return std::future::pending().await,
                    Fault::CutBefore
                    | Fault::SilentBefore
                    | Fault::CutAfter
                    | Fault::SilentAfter => {}
                }
                if client.write_all(sent).await.is_err() {
                    return;
                }
            }
        }
    }
}
