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

/// How long a socket stays open after the connection was served.
const LINGER: Duration = Duration::from_secs(2);
/// How many bytes are read meanwhile.
const MOST: u64 = 64 * 1024;

/// The socket of a connection. It fails when its peer takes sent bytes too slowly. Dropping it gives the `TcpStream` back.
///
/// A socket that is closed with unread content resets its connection, and the response can be lost with it. So after a refusal of
/// a request with content, the peer has some time to read the refusal.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Option<TcpStream>,
    back: Option<oneshot::Sender<TcpStream>>,
    wait: Wait,
    activity: Arc<Activity>,
}

/// How many unsent bytes the system buffers for a peer.
#[cfg(any(target_os = "android", target_os = "linux"))]
const AHEAD: u32 = 64 * 1024;
/// The keepalive times: the silence before the first probe, the time between probes, and the time after which a silent peer
/// counts as gone.
#[cfg(any(target_os = "android", target_os = "linux"))]
const SILENCE: Duration = Duration::from_secs(20);
#[cfg(any(target_os = "android", target_os = "linux"))]
const PROBE: Duration = Duration::from_secs(5);
#[cfg(any(target_os = "android", target_os = "linux"))]
const GONE: Duration = Duration::from_secs(40);

/// Prepares a connection for a peer that takes responses slowly, or is gone.
pub(super) fn set_up(stream: &TcpStream) -> io::Result<()> {
    // Otherwise a response in several frames would wait for the peer's acknowledgement of the first frame.
    stream.set_nodelay(true)?;
    // Otherwise the system buffers some MiB, and reports room only after a third of them is sent. A slow peer would look like a
    // stopped peer.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    {
        let socket = socket2::SockRef::from(stream);
        socket.set_tcp_notsent_lowat(AHEAD)?;
        // The response to a PING frame would wait behind all bytes that the peer has not read.
        let alive = socket2::TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE);
        socket.set_tcp_keepalive(&alive)?;
        socket.set_tcp_user_timeout(Some(GONE))?;
    }
    Ok(())
}

impl Socket {
    /// Returns the socket to serve, and a future to await after serving.
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
                    // There are more bytes than are worth reading, so the end of the connection can no longer be seen.
                    0 => std::future::pending().await,
                    _ => io::Result::Ok(()),
                }
            };
            // The connection ends either way: the time is up, or the peer is gone.
            drop(timeout(LINGER, until_gone).await);
        };
        let (stream, back) = (Some(stream), Some(back));
        (Self { stream, back, wait: Wait::default(), activity }, linger)
    }

    /// Writes, unless the peer is too slow.
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

    /// Closes the connection at once. Does not wait for the peer to take the bytes that the system still buffers.
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
            // If the future was dropped, the socket is closed here.
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
