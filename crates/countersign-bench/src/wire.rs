//! The cost of refused requests for a server, beside their bytes on the wire.

use std::{collections::VecDeque, fs, net::SocketAddr, sync::mpsc, time::Duration};

use countersign::{Origins, PrivateKey, Window};
use countersign_server::{Verifier, serve};
use countersign_store::{MemoryKeys, MemoryNonces, State};
use http::{HeaderValue, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
};

use crate::{
    connection::Connection,
    figure::{Figure, Target},
    hostile,
    order::{NOW, Order, ed25519},
    post::plain,
    ratio::median,
};

/// How much of a server's time a refused request may take, beside an honest signed request of some 600 bytes. Much of both is
/// the connection and the verification.
const MOST: f64 = 3.0;

/// Each hostile request over HTTP/2 and HTTP/1.1, one after the other over a connection. The dearest come once more at the end.
pub(crate) fn figures(requests: usize) -> Vec<Figure> {
    let server = Server::start();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut figures = Vec::new();
    for protocol in [Protocol::Http2, Protocol::Http1] {
        let send = |order: &Order| runtime.block_on(measure(&server, protocol, order, requests));
        let honest = send(&Order::signed(known()));
        let name = protocol.name();
        let line = format!("{} bytes on the wire", honest.bytes);
        figures.push(
            Figure::new(
                format!("{name}: a signed request, which came before"),
                honest.micros(),
                "µs",
                None,
            )
            .detail(line),
        );
        let mut dearest: Option<(f64, String)> = None;
        for (what, order) in hostile::requests().into_iter().chain(on_the_wire()) {
            let cost = send(&order);
            let ratio = cost.micros() / honest.micros();
            let line = format!("{} bytes on the wire, {ratio:.2} x", cost.bytes);
            if dearest.as_ref().is_none_or(|(most, _)| ratio > *most) {
                dearest = Some((
                    ratio,
                    format!("{what}: {:.1} µs, {} bytes on the wire", cost.micros(), cost.bytes),
                ));
            }
            figures.push(
                Figure::new(format!("{name}: {what}"), cost.micros(), "µs", None).detail(line),
            );
        }
        let (ratio, line) = dearest.unwrap();
        let mark = Some(Target::AtMost(MOST));
        figures.push(
            Figure::new(format!("{name}: the dearest/a signed request"), ratio, "ratio", mark)
                .detail(line),
        );
    }
    figures
}

/// Requests that cost only their sending, before a signature is looked at: for HTTP/2 has an index of fields.
fn on_the_wire() -> Vec<(&'static str, Order)> {
    let lines = |name: &'static str, line: &str| {
        let mut order = Order::signed(ed25519());
        let line = line.repeat(2800 / line.len());
        for _ in 0..9 {
            order.headers.append(name, HeaderValue::from_str(&line).unwrap());
        }
        order
    };
    let mut unsigned = lines("cookie", "=;");
    unsigned.headers.remove("signature");
    unsigned.headers.remove("signature-input");
    let mut keys = Order::signed(ed25519());
    keys.headers.remove("signature");
    keys.headers.remove("signature-input");
    for _ in 0..180 {
        let longest = format!("sk_{}", "z".repeat(157));
        keys.headers.append(header::AUTHORIZATION, HeaderValue::from_str(&longest).unwrap());
    }
    let of_members = hostile::of_members().into_iter();
    let last = of_members.filter(|(what, _)| what.ends_with("on several lines"));
    last.chain([
        ("fields that nobody reads", lines("x-filler", "a")),
        ("cookies", lines("cookie", "=;")),
        ("cookies with what looks like keys", lines("cookie", "k_=k_;")),
        ("cookies without a signature", unsigned),
        ("what looks like private keys, without a signature", keys),
    ])
    .collect()
}

/// The key that the server knows; hostile requests have another.
fn known() -> PrivateKey {
    PrivateKey::ed25519(&[9; 32])
}

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

struct Cost {
    /// Of the last request: HTTP/2 has learnt its fields by then.
    bytes: usize,
    each: Duration,
}

impl Cost {
    fn micros(&self) -> f64 {
        self.each.as_secs_f64() * 1e6
    }
}

async fn measure(server: &Server, protocol: Protocol, order: &Order, requests: usize) -> Cost {
    const WARMING: usize = 20;
    const ROUNDS: usize = 11;
    let mut sender = Sender::open(protocol, server.address).await;
    let mut bytes = 0;
    for _ in 0..WARMING {
        bytes = sender.send(order).await;
    }
    // The median of some rounds, since whatever else the machine does is in some of them.
    let mut rounds = Vec::new();
    let in_a_round = requests.div_ceil(ROUNDS);
    for _ in 0..ROUNDS {
        let before = server.processor_time().await;
        for _ in 0..in_a_round {
            bytes = sender.send(order).await;
        }
        let used = server.processor_time().await - before;
        rounds.push(used / u32::try_from(in_a_round).unwrap());
    }
    Cost { bytes, each: median(rounds) }
}

enum Sender {
    Http1(SocketAddr, Connection),
    Http2(Http2),
}

impl Sender {
    async fn open(protocol: Protocol, address: SocketAddr) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1(address, Connection::open(address).await),
            Protocol::Http2 => Self::Http2(Http2::open(address).await),
        }
    }

    /// Sends a request without content, waits for its response, and returns the sent bytes.
    async fn send(&mut self, order: &Order) -> usize {
        match self {
            Self::Http1(address, connection) => {
                let bytes = http1(order);
                let (_, closes) = connection.send(&bytes).await;
                if closes {
                    *connection = Connection::open(*address).await;
                }
                bytes.len()
            }
            Self::Http2(connection) => connection.send(order).await,
        }
    }
}

fn http1(order: &Order) -> Vec<u8> {
    let target = order.uri.path_and_query().unwrap();
    let mut bytes = format!("{} {target} HTTP/1.1\r\n", order.method).into_bytes();
    for (name, value) in &order.headers {
        if name == header::CONTENT_LENGTH {
            continue;
        }
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend(piece);
        }
    }
    bytes.extend(b"\r\n");
    bytes
}

/// A server on a thread of its own, so that its time is apart from its clients' time.
struct Server {
    address: SocketAddr,
    handle: Handle,
}

impl Server {
    fn start() -> Self {
        let (started, start) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                started.send(Self { address, handle: Handle::current() }).unwrap();
                let keys = MemoryKeys::default();
                keys.insert(harness::credential(1, &known(), State::Active)).unwrap();
                let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
                let guard =
                    MemoryNonces::volatile(Window::default(), NOW.minus(Duration::from_secs(3600)));
                let verifier = Verifier::new(origins, keys, guard.unwrap()).clock(|| NOW);
                serve(listener, plain().layer(verifier.layer()), std::future::pending()).await;
            });
        });
        start.recv().unwrap()
    }

    /// The processor time of its thread. Zero if the system does not say.
    async fn processor_time(&self) -> Duration {
        let asked = self.handle.spawn(async {
            let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
            let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            Duration::from_nanos(nanos.unwrap_or(0))
        });
        asked.await.unwrap()
    }
}

/// An HTTP/2 connection (RFC 9113) whose fields go into the index of its peer (RFC 7541) as far as they fit.
struct Http2 {
    stream: TcpStream,
    next: u32,
    /// The newest first.
    index: VecDeque<(Vec<u8>, Vec<u8>)>,
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// The default size of an index (RFC 9113 §6.5.2).
const INDEX: usize = 4096;

impl Http2 {
    async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        // Room for all responses, so that nothing else has to be sent.
        bytes.extend(frame(8, 0, 0, &0x7fff_0000u32.to_be_bytes()));
        stream.write_all(&bytes).await.unwrap();
        Self { stream, next: 1, index: VecDeque::new() }
    }

    async fn send(&mut self, order: &Order) -> usize {
        let id = self.next;
        self.next += 2;
        let mut block = Vec::new();
        let target = order.uri.path_and_query().unwrap().as_str();
        let host = order.headers.get(header::HOST).unwrap().as_bytes();
        let pseudo: [(&str, &[u8]); 4] = [
            (":method", order.method.as_str().as_bytes()),
            (":scheme", b"https"),
            (":authority", host),
            (":path", target.as_bytes()),
        ];
        for (name, value) in pseudo {
            self.field(&mut block, name, value);
        }
        for (name, value) in &order.headers {
            if ![header::HOST, header::CONTENT_LENGTH].contains(name) {
                self.field(&mut block, name.as_str(), value.as_bytes());
            }
        }
        let mut bytes = Vec::new();
        let pieces: Vec<_> = block.chunks(16_384).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let (kind, ends) = if at == 0 { (1, END_STREAM) } else { (9, 0) };
            let flags = if at + 1 == pieces.len() { END_HEADERS } else { 0 };
            bytes.extend(frame(kind, ends | flags, id, piece));
        }
        self.stream.write_all(&bytes).await.unwrap();
        self.wait(id).await;
        bytes.len()
    }

    /// A field as its place in the index, or as it is, and then in the index if it finds room.
    fn field(&mut self, block: &mut Vec<u8>, name: &str, value: &[u8]) {
        let known = self.index.iter().position(|(n, v)| n == name.as_bytes() && v == value);
        if let Some(at) = known {
            number(block, 0x80, 7, 62 + at);
            return;
        }
        let size = |name: usize, value: usize| name + value + 32;
        let used: usize = self.index.iter().map(|(n, v)| size(n.len(), v.len())).sum();
        if used + size(name.len(), value.len()) <= INDEX {
            block.push(0x40);
            self.index.push_front((name.into(), value.into()));
        } else {
            block.push(0);
        }
        for text in [name.as_bytes(), value] {
            number(block, 0, 7, text.len());
            block.extend(text);
        }
    }

    /// Reads up to the end of the response.
    async fn wait(&mut self, id: u32) {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.unwrap();
            let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
            let length = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).unwrap();
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.unwrap();
            let stream = u32::from_be_bytes([s0, s1, s2, s3]);
            match kind {
                4 if flags & ACK == 0 => {
                    self.stream.write_all(&frame(4, ACK, 0, &[])).await.unwrap();
                }
                // A reset, as of fields that are more than the server takes, ends it as well.
                0 | 1 if stream == id && flags & END_STREAM == END_STREAM => return,
                3 if stream == id => return,
                7 => panic!("the server ends the connection: {payload:?}"),
                _ => {}
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// RFC 7541 §5.1.
fn number(block: &mut Vec<u8>, flags: u8, bits: u32, number: usize) {
    let most = (1usize << bits) - 1;
    if number < most {
        block.push(flags | u8::try_from(number).unwrap());
        return;
    }
    block.push(flags | u8::try_from(most).unwrap());
    let mut rest = number - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}
