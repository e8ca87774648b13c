use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};

use super::{
    activity::Activity,
    pace::{TooSlow, Wait},
};

/// How long a socket outlives what was said on it.
const LINGER: Duration = Duration::from_secs(2);
/// How much of what still comes is read meanwhile.
const MOST: u64 = 64 * 1024;

/// The socket of a connection. It fails when its peer is too slow to take what is sent, and is given back when whoever
/// served it is done.
///
/// A socket that is closed with content unread resets its connection, and the answer can be lost with it. So a refusal
/// whose request has content leaves the peer some time to read it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Option<TcpStream>,
    back: Option<oneshot::Sender<TcpStream>>,
    wait: Wait,
    activity: Arc<Activity>,
}

/// How much the system takes for a peer beyond what is on its way.
#[cfg(any(target_os = "android", target_os = "linux"))]
const AHEAD: u32 = 64 * 1024;
/// After how long a silence the peer's system is asked whether it is there, how often then, and how long it has to say so.
#[cfg(any(target_os = "android", target_os = "linux"))]
const SILENCE: Duration = Duration::from_secs(20);
#[cfg(any(target_os = "android", target_os = "linux"))]
const PROBE: Duration = Duration::from_secs(5);
#[cfg(any(target_os = "android", target_os = "linux"))]
const GONE: Duration = Duration::from_secs(40);

/// Sets a connection up for answers that its peer may be slow to take, or is not there to take.
pub(super) fn set_up(stream: &TcpStream) -> io::Result<()> {
    // An answer in several frames would wait for the peer's acknowledgement of the first.
    stream.set_nodelay(true)?;
    // Otherwise the system takes some MiB, and says that there is room again when a third of that is gone, which looks like a
    // peer that takes nothing.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    {
        let socket = socket2::SockRef::from(stream);
        socket.set_tcp_notsent_lowat(AHEAD)?;
        // A PING frame would be answered behind all of what the peer has not read.
        let alive = socket2::TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE);
        socket.set_tcp_keepalive(&alive)?;
        socket.set_tcp_user_timeout(Some(GONE))?;
    }
    Ok(())
}

impl Socket {
    /// The socket to serve, and what to await when that is done.
    pub(super) fn new(
        stream: TcpStream,
        activity: Arc<Activity>,
    ) -> (Self, impl Future<Output = ()>) {
        let (back, given_back) = oneshot::channel::<TcpStream>();
        let linger = async move {
            let Ok(mut stream) = given_back.await else { return };
            let until_gone = async {
                stream.shutdown().await?;
                let mut rest = stream.take(MOST);
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
                match rest.limit() {
                    // There is more than is worth reading; that the peer goes cannot be seen any more.
                    0 => std::future::pending().await,
                    _ => io::Result::Ok(()),
                }
            };
            // Whether the time is up or the peer is gone, it is over now.
            drop(timeout(LINGER, until_gone).await);
        };
        let (stream, back) = (Some(stream), Some(back));
        (Self { stream, back, wait: Wait::default(), activity }, linger)
    }

    /// Writes, if the peer is not too slow for it.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match write(Pin::new(stream), context) {
            Poll::Ready(written) => {
                if self.wait.is_on() {
                    self.activity.unblock();
                }
                self.wait.moved(*written.as_ref().unwrap_or(&0));
                Poll::Ready(written)
            }
            Poll::Pending => {
                self.activity.block();
                let too_slow = self.wait.poll_too_slow(context);
                too_slow.map(|()| {
                    self.reset();
                    Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow))
                })
            }
        }
    }

    /// Lets go of the connection without waiting for the peer to take what the system still holds for it.
    fn reset(&mut self) {
        if let Some(stream) = self.stream.take()
            && let Err(error) = stream.set_zero_linger()
        {
            tracing::debug!(%error, "a connection is gone already");
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // If nobody waits for it any more, it is closed here.
            drop(back.send(stream));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, |stream, context| stream.poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_finds_out_that_a_peer_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        set_up(&stream).unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENCE);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(GONE));
    }
}
