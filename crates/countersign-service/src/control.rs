//! The socket on which a running service is asked to reload. Only its user can connect to it.

use std::{
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream as BlockingStream},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::error::ServiceError;

const RELOAD: &[u8; 7] = b"reload\n";
/// The response to a reload that was taken. Any other response is the reason why it was not.
const TAKEN: &str = "taken\n";
/// How long a peer may take to ask.
const ASK: Duration = Duration::from_secs(2);
/// How long a reload may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Asks for a reload. The outcome is sent back: the reason, if the old configuration stays.
pub(crate) type Asked = Option<oneshot::Sender<Result<(), String>>>;

/// The socket, which is removed at the end.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    listener: UnixListener,
}

impl Control {
    pub(crate) fn bind(path: &Path) -> Result<Self, ServiceError> {
        let failed = |source| ServiceError::Control { path: path.to_owned(), source };
        match BlockingStream::connect(path) {
            Ok(_) => return Err(ServiceError::Running(path.to_owned())),
            // A service that was killed leaves its socket.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Passes requests on for as long as the service runs.
    pub(crate) async fn listen(&self, asked: &mpsc::Sender<Asked>) {
        while let Ok((stream, _)) = self.listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                if let Err(error) = answer(stream, asked).await {
                    tracing::debug!(%error, "a control connection ended early");
                }
            });
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

async fn answer(mut stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let mut line = [0; RELOAD.len()];
    timeout(ASK, stream.read_exact(&mut line)).await??;
    if line != *RELOAD {
        return stream.write_all(b"unknown request\n").await;
    }
    let (sender, outcome) = oneshot::channel();
    drop(asked.send(Some(sender)).await);
    let text = match outcome.await {
        Ok(Ok(())) => TAKEN.to_owned(),
        Ok(Err(reason)) => reason,
        Err(_) => "the service stops".to_owned(),
    };
    stream.write_all(text.as_bytes()).await
}

/// Why a reload did not take place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReloaded {
    /// No service listens on the control socket.
    #[error("no service runs with the control socket {}", .0.display())]
    NotRunning(PathBuf),
    /// The service keeps its old configuration, for this reason.
    #[error("the service keeps its configuration: {0}")]
    Refused(String),
    /// The service did not respond.
    #[error("the service does not respond")]
    Silent(#[source] io::Error),
}

/// Asks the service with this control socket to reload its configuration, and waits until it has.
///
/// # Errors
///
/// [`NotReloaded`].
pub fn reload(control: &Path) -> Result<(), NotReloaded> {
    let mut stream = BlockingStream::connect(control)
        .map_err(|_| NotReloaded::NotRunning(control.to_owned()))?;
    let mut answer = String::new();
    let asked = stream
        .set_read_timeout(Some(ANSWER))
        .and_then(|()| stream.write_all(RELOAD))
        .and_then(|()| stream.read_to_string(&mut answer));
    match asked {
        Ok(_) if answer == TAKEN => Ok(()),
        Ok(_) if answer.is_empty() => Err(NotReloaded::Silent(ErrorKind::UnexpectedEof.into())),
        Ok(_) => Err(NotReloaded::Refused(answer)),
        Err(error) => Err(NotReloaded::Silent(error)),
    }
}
