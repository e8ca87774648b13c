use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use countersign::{
    Claim, Content, Origin, Policy, PrivateKey, REFUSAL, RequestHead, Target, Timestamp, Unverified,
};
use countersign_client::Client;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::{net::TcpListener, sync::Barrier};

const FAR: &str = "api.example.com";
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

pub(crate) fn key() -> PrivateKey {
    PrivateKey::ed25519(&[7; 32])
}

pub(crate) fn client() -> Client {
    Client::new(key()).unwrap().clock(|| NOW)
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: Parts,
    pub(crate) content: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Verifies it as a server at `time` would; gives the nonce.
    pub(crate) fn verify(&self, time: Timestamp) -> String {
        let origin: Origin = format!("http://{}", self.header("host")).parse().unwrap();
        let head = RequestHead {
            method: &self.head.method,
            target: Target::origin_form(&self.head.uri),
            origin: &origin,
            headers: &self.head.headers,
        };
        let content = if self.content.is_empty() { Content::Absent } else { Content::Present };
        let request = Unverified::parse(head, content, &Policy::default(), time).unwrap().unwrap();
        let authentic = request.verify(&key().verifying_key()).unwrap();
        let nonce = authentic.nonce_use(1).nonce().to_string();
        let mut check = authentic.redeem(Claim::Fresh).unwrap().read();
        check.update(&self.content);
        check.finish().unwrap();
        nonce
    }
}

type Answer = Arc<dyn Fn(&Received, usize) -> Response + Send + Sync>;

/// A server that keeps what it received, and answers as it is told.
pub(crate) struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    pub(crate) async fn start(
        answer: impl Fn(&Received, usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::that_waits_for(1, answer).await
    }

    /// One that answers the first so many requests when all of them are there.
    pub(crate) async fn that_waits_for(
        together: usize,
        answer: impl Fn(&Received, usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let state = Receiving {
            answer: Arc::new(answer),
            received: Arc::clone(&received),
            together,
            gate: Arc::new(Barrier::new(together)),
        };
        let app = Router::new().fallback(receive).with_state(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, received }
    }

    pub(crate) async fn that_accepts() -> Self {
        Self::start(|_, _| StatusCode::CREATED.into_response()).await
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// The same under a name that is not this machine's, where anyone on the way could answer.
    pub(crate) fn far_url(&self, target: &str) -> String {
        format!("http://{FAR}:{}{target}", self.address.port())
    }

    /// A client that finds the server at [`Server::far_url`].
    pub(crate) fn far_client(&self) -> Client {
        let (name, address) = self.far_resolved();
        client().http(reqwest::Client::builder().resolve(name, address)).unwrap()
    }

    /// The name in [`Server::far_url`], and its address.
    pub(crate) fn far_resolved(&self) -> (&'static str, SocketAddr) {
        (FAR, self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

#[derive(Clone)]
struct Receiving {
    answer: Answer,
    received: Arc<Mutex<Vec<Received>>>,
    together: usize,
    gate: Arc<Barrier>,
}

async fn receive(State(state): State<Receiving>, request: Request) -> Response {
    let (head, content) = request.into_parts();
    let request = Received { head, content: content.collect().await.unwrap().to_bytes() };
    let number = {
        let mut received = state.received.lock().unwrap();
        received.push(request.clone());
        received.len()
    };
    if number <= state.together {
        state.gate.wait().await;
    }
    (state.answer)(&request, number)
}

pub(crate) fn redirect(status: StatusCode, location: &str) -> Response {
    (status, [(header::LOCATION, location)]).into_response()
}

pub(crate) fn refusal(code: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let problem = serde_json::json!({
        "type": format!("urn:countersign:problem:{code}"),
        "code": code, "detail": "why", "hint": "what to do", "request_id": "r1",
    });
    let mut response = (StatusCode::UNAUTHORIZED, problem.to_string()).into_response();
    let problem = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, problem);
    response.headers_mut().insert(REFUSAL, code.parse().unwrap());
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// Content that comes in pieces, so that nothing says how long it is. The last may be where it breaks off.
pub(crate) struct Pieces {
    pieces: VecDeque<io::Result<Bytes>>,
    /// What came before a piece that breaks off is sent first.
    sent: bool,
}

impl Pieces {
    pub(crate) fn of(text: &str, last: Option<io::Error>) -> Body {
        let pieces = text.as_bytes().chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece)));
        Body::new(Self { pieces: pieces.chain(last.map(Err)).collect(), sent: false })
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if matches!(self.pieces.front(), Some(Err(_))) && !std::mem::replace(&mut self.sent, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.pieces.pop_front().map(|piece| piece.map(Frame::data)))
    }
}
