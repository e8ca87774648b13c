use std::{
    io::{IsTerminal as _, stderr},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign::{Timestamp, Window};
use countersign_server::serve;
use countersign_store::MemoryNonces;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    connection::Connection,
    figure::{Figure, Target},
    order::{NOW, one_of_many},
    post::{Posts, verified_by},
    process::resident,
};

const CONNECTIONS: u64 = 16;
/// How many seconds pass by the benchmark's own clock, however long it takes: so that the first nonces are forgotten, after
/// 82 s, before a tenth of all was sent.
const SECONDS: u64 = 1000;
/// Of so many there is one of each kind that is refused.
const OF: u64 = 32;
const READ: &[u8] = b"GET /v1/orders HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
/// How often memory is looked at.
const LOOKS: u64 = 100;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// What memory a server and its clients, which are in the same process, have in use. Of 32 requests 31 are signed POSTs of 1 KiB
/// with a nonce of their own, of which one is sent a second time and one has other content than was signed; and one is without
/// any key.
///
/// From a tenth of them on as many nonces expire as come, so that what the guard has is as flat as all else has to be.
///
/// The requests are signed with so many keys in turn.
pub(crate) fn figures(requests: u64, keys: u32) -> Vec<Figure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let guard = MemoryNonces::volatile(Window::default(), NOW.minus(Duration::from_secs(3600)));
    let guard = Arc::new(guard.unwrap().share(10_000_000));
    let looks = runtime.unwrap().block_on(send_all(requests, keys, Arc::clone(&guard)));

    let of_all = |look: &Look| look.resident / MEBIBYTE;
    let beside = |look: &Look| (look.resident - look.of_guard) / MEBIBYTE;
    let from_tenth = looks.get(looks.len() / 10..).unwrap();
    let (first, last) = (from_tenth.first().unwrap(), from_tenth.last().unwrap());
    let most = |of: &dyn Fn(&Look) -> f64| from_tenth.iter().map(of).fold(0.0, f64::max);
    let grown = (last.resident - first.resident) / (last.sent - first.sent);
    vec![
        Figure::new("requests", last.sent, "", None),
        Figure::new("resident at a tenth", of_all(first), "MiB", None),
        Figure::new("resident at the end", of_all(last), "MiB", None),
        Figure::new("resident, most from a tenth on", most(&of_all), "MiB", None),
        Figure::new(
            "resident, the most by that at a tenth",
            most(&of_all) / of_all(first),
            "ratio",
            Some(Target::AtMost(1.05)),
        ),
        Figure::new("grown from a tenth on", grown, "B/req", None),
        Figure::new("of the replay guard at a tenth", first.of_guard / MEBIBYTE, "MiB", None),
        Figure::new("of the replay guard at the end", last.of_guard / MEBIBYTE, "MiB", None),
        Figure::new("nonces remembered at a tenth", first.nonces, "", None),
        Figure::new("nonces remembered at the end", last.nonces, "", None),
        Figure::new("without the guard's at a tenth", beside(first), "MiB", None),
        Figure::new("without the guard's at the end", beside(last), "MiB", None),
    ]
}

/// What is seen of memory when so many requests were answered.
struct Look {
    sent: f64,
    resident: f64,
    of_guard: f64,
    nonces: f64,
}

/// Sends all, and looks at memory on the way.
async fn send_all(requests: u64, keys: u32, guard: Arc<MemoryNonces>) -> Vec<Look> {
    let seconds = Arc::new(AtomicU64::new(0));
    let time = Arc::clone(&seconds);
    let now = move || NOW.plus(Duration::from_secs(time.load(Ordering::Relaxed)));
    let keys: Vec<_> = (0..keys).map(one_of_many).collect();
    let app = verified_by(&keys, Arc::clone(&guard), |verifier| verifier.clock(now));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, app, std::future::pending()));
    let posts: Arc<[_]> = keys.into_iter().map(Posts::new).collect();
    let of_a_connection = requests.div_ceil(SECONDS * CONNECTIONS);

    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address).await);
    }
    let (mut sent, mut looks) = (0, Vec::with_capacity(usize::try_from(LOOKS).unwrap()));
    for second in 0..SECONDS {
        seconds.store(second, Ordering::Relaxed);
        let mut senders = JoinSet::new();
        for (of_connection, connection) in (0..).zip(connections) {
            let (posts, now) = (Arc::clone(&posts), NOW.plus(Duration::from_secs(second)));
            let first = (second * CONNECTIONS + of_connection) * of_a_connection;
            senders.spawn(async move {
                let mut sender = Sender { address, connection, posts, now };
                for number in first..first + of_a_connection {
                    sender.send(number).await;
                }
                sender.connection
            });
        }
        connections = senders.join_all().await;
        sent += CONNECTIONS * of_a_connection;
        if (second + 1).is_multiple_of(SECONDS / LOOKS) {
            let (of_guard, nonces) = (guard.used_memory() as f64, guard.remembered() as f64);
            let look = Look { sent: sent as f64, resident: resident(), of_guard, nonces };
            show(&look, requests as f64);
            looks.push(look);
        }
    }
    serving.abort();
    looks
}

struct Sender {
    address: SocketAddr,
    connection: Connection,
    posts: Arc<[Posts]>,
    now: Timestamp,
}

impl Sender {
    /// What is refused with its content unread ends its connection, and the next one goes over another.
    async fn send(&mut self, number: u64) {
        let turn = usize::try_from(number).unwrap() % self.posts.len();
        let mut post = self.posts.get(turn).unwrap().bytes(self.now).to_vec();
        match number % OF {
            0 => {
                self.expect(&post, 201).await;
                self.expect(&post, 401).await;
            }
            1 => {
                *post.last_mut().unwrap() = b'y';
                self.expect(&post, 400).await;
            }
            2 => self.expect(READ, 401).await,
            _ => self.expect(&post, 201).await,
        }
    }

    async fn expect(&mut self, request: &[u8], status: u16) {
        let (found, closes) = self.connection.send(request).await;
        assert_eq!(found, status);
        if closes {
            self.connection = Connection::open(self.address).await;
        }
    }
}

/// Says on a terminal how far it is.
fn show(look: &Look, requests: f64) {
    if stderr().is_terminal() {
        let (part, resident) = (look.sent / requests * 100.0, look.resident / MEBIBYTE);
        let end = if part < 100.0 { '\r' } else { '\n' };
        eprint!("{part:3.0} %  {:9.0} requests  {resident:6.1} MiB{end}", look.sent);
    }
}
