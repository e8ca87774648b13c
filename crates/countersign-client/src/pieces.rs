use std::{
    collections::VecDeque,
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::Bytes;
use countersign::{ContentDigest, DigestAlgorithm, RunningDigest};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead as _, ReadBuf};

use crate::error::Error;

/// How much of a file is in memory at a time, for each request.
const BUFFER: usize = 256 * 1024;

/// A part of the content of a request, in memory or in a file.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Bytes(Bytes),
    File(PathBuf),
}

/// Content whose digest is known, and that can be sent any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    pieces: Arc<[Measured]>,
    length: u64,
    digest: ContentDigest,
}

#[derive(Clone, Debug)]
enum Measured {
    Bytes(Bytes),
    File { path: PathBuf, stamp: Stamp },
}

/// The state of a file when its digest was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    /// `None` on a system without such times.
    modified: Option<SystemTime>,
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Pieces {
    /// Reads all files once, and makes the digest. It blocks.
    pub(crate) fn measure(pieces: Vec<Piece>) -> Result<Self, Error> {
        let mut digest = RunningDigest::new([DigestAlgorithm::Sha256]);
        let mut total: u64 = 0;
        let mut measured = Vec::with_capacity(pieces.len());
        let mut buffer = vec![0; BUFFER];
        for piece in pieces {
            let (piece, length) = match piece {
                Piece::Bytes(bytes) => {
                    digest.update(&bytes);
                    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    (Measured::Bytes(bytes), length)
                }
                Piece::File(path) => {
                    let unreadable = |source| Error::File { path: path.clone(), source };
                    let (mut file, stamp) = open(&path).map_err(unreadable)?;
                    let length = digest_file(&mut file, &mut digest, &mut buffer);
                    let length = length.map_err(unreadable)?;
                    if length != stamp.length {
                        return Err(Error::FileChanged { path });
                    }
                    (Measured::File { path, stamp }, length)
                }
            };
            total = total.saturating_add(length);
            measured.push(piece);
        }
        Ok(Self { pieces: measured.into(), length: total, digest: digest.finish() })
    }

    pub(crate) const fn digest(&self) -> &ContentDigest {
        &self.digest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The content for one attempt. Opens all files, which blocks for a moment.
    pub(crate) fn to_body(&self) -> Result<reqwest::Body, Error> {
        let mut pieces = VecDeque::with_capacity(self.pieces.len());
        for piece in &*self.pieces {
            pieces.push_back(match piece {
                Measured::Bytes(bytes) => Sending::Bytes(bytes.clone()),
                Measured::File { path, stamp } => {
                    let unreadable = |source| Error::File { path: path.clone(), source };
                    let (file, now) = open(path).map_err(unreadable)?;
                    if now != *stamp {
                        return Err(Error::FileChanged { path: path.clone() });
                    }
                    let file = tokio::fs::File::from_std(file);
                    Sending::File { file, path: path.clone(), left: stamp.length }
                }
            });
        }
        Ok(reqwest::Body::wrap(PiecesBody { pieces, buffer: Vec::new(), left: self.length }))
    }
}

/// A file that is open for reading, and can be read again.
fn open(path: &Path) -> io::Result<(File, Stamp)> {
    let mut options = File::options();
    options.read(true);
    // To open a pipe with a name would otherwise wait for a process that writes. It changes nothing for a regular file.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file, so it cannot be read a second time; read it into memory, and send that with `RequestBuilder::body`",
        ));
    }
    Ok((file, Stamp::from(&metadata)))
}

fn digest_file(file: &mut File, digest: &mut RunningDigest, buffer: &mut [u8]) -> io::Result<u64> {
    let mut length: u64 = 0;
    loop {
        let read = match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(length);
        }
        digest.update(buffer.get(..read).unwrap_or_default());
        length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

enum Sending {
    Bytes(Bytes),
    File { file: tokio::fs::File, path: PathBuf, left: u64 },
}

/// The content of one attempt.
struct PiecesBody {
    pieces: VecDeque<Sending>,
    /// Empty, or of the length of `BUFFER`.
    buffer: Vec<u8>,
    left: u64,
}

impl Body for PiecesBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            let piece = match this.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Sending::Bytes(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    this.pieces.pop_front();
                    bytes
                }
                Some(Sending::File { file, path, left }) => {
                    this.buffer.resize(BUFFER, 0);
                    let mut buffer = ReadBuf::new(&mut this.buffer);
                    if let Err(error) = ready!(Pin::new(file).poll_read(context, &mut buffer)) {
                        this.pieces.clear();
                        return Poll::Ready(Some(Err(error)));
                    }
                    let read = Bytes::copy_from_slice(buffer.filled());
                    let length = u64::try_from(read.len()).unwrap_or(u64::MAX);
                    // A file that grows or shrinks is no longer the content that was signed.
                    let rest = left.checked_sub(length);
                    let Some(rest) = rest.filter(|&rest| !read.is_empty() || rest == 0) else {
                        let changed = Error::FileChanged { path: path.clone() };
                        this.pieces.clear();
                        return Poll::Ready(Some(Err(io::Error::other(changed))));
                    };
                    *left = rest;
                    if read.is_empty() {
                        this.pieces.pop_front();
                    }
                    read
                }
            };
            if piece.is_empty() {
                continue;
            }
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            this.left = this.left.saturating_sub(length);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
