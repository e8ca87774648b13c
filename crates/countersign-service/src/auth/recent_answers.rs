use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use countersign::{SIGNATURE, SIGNATURE_INPUT};
use http::{HeaderValue, Response, request::Parts};
use sha2::{Digest as _, Sha256};
use tokio::{sync::OnceCell, time::Instant};

/// How long an answer is given again.
const KEPT: Duration = Duration::from_secs(5);
/// The most answers that are kept. Those above it are forgotten early, and a second question is then answered as a replay.
const MOST: usize = 20_000;

/// What makes two questions the same: the proxy, its own name for the request, and what was signed. It is a hash, since each question
/// leaves one, and strangers choose the lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AskedBefore([u8; 32]);

impl AskedBefore {
    /// What makes this question of a proxy the same as another, if `request_id` is the proxy's own.
    pub(super) fn new(proxy: IpAddr, request_id: &HeaderValue, head: &Parts) -> Self {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        };
        add(proxy.to_string().as_bytes());
        add(request_id.as_bytes());
        add(head.method.as_str().as_bytes());
        add(head.uri.to_string().as_bytes());
        for name in [SIGNATURE, SIGNATURE_INPUT] {
            for line in head.headers.get_all(&name) {
                add(name.as_str().as_bytes());
                add(line.as_bytes());
            }
        }
        Self(hash.finalize().into())
    }
}

/// The answers of the last seconds. Proxies ask again about the same request: nginx to get the whole response of a refusal.
#[derive(Debug, Default)]
pub(crate) struct RecentAnswers {
    kept: Mutex<Kept>,
}

type Cell = Arc<OnceCell<Response<Bytes>>>;

#[derive(Debug, Default)]
struct Kept {
    cells: HashMap<AskedBefore, Cell>,
    oldest: VecDeque<(Instant, AskedBefore)>,
}

impl RecentAnswers {
    /// Returns the answer that was given before, or is being made; or else makes it.
    pub(super) async fn get_or_ask(
        &self,
        asked: AskedBefore,
        ask: impl Future<Output = Response<Bytes>>,
    ) -> Response<Bytes> {
        let cell = self.cell(asked);
        cell.get_or_init(|| ask).await.clone()
    }

    /// Returns the answer that was given before.
    pub(super) fn get(&self, asked: &AskedBefore) -> Option<Response<Bytes>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.cells.get(asked)?.get().cloned()
    }

    fn cell(&self, asked: AskedBefore) -> Cell {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { cells, oldest } = &mut *kept;
        while let Some((since, _)) = oldest.front()
            && (since.elapsed() >= KEPT || oldest.len() > MOST)
        {
            if let Some((_, forgotten)) = oldest.pop_front() {
                cells.remove(&forgotten);
            }
        }
        if let Some(cell) = cells.get(&asked) {
            return Arc::clone(cell);
        }
        let cell = Cell::default();
        cells.insert(asked, Arc::clone(&cell));
        oldest.push_back((Instant::now(), asked));
        cell
    }
}
