//! Two services on one PostgreSQL and one Redis.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use crate::{
    desk::Desk,
    served::{ORIGIN, Served, signed_order},
    upstream::{PATIENCE, Upstream},
};

/// A `redis-server` on a free port, until it is dropped.
struct Redis {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Redis {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        for _ in 0..20 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let mut child = Command::new("redis-server")
                .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""])
                .current_dir(folder.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(address).is_ok() {
                    return Self { child, address, _folder: folder };
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        panic!("no redis-server could be started");
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Makes the mark of the guard one of long ago, so that it accepts at once.
    fn settle(&self) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"HSET {countersign:default}:mark low_water 0\r\n").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer[..2], b":0");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_replay_and_a_revocation_hold_at_both_of_two_services() {
    let desk = Desk::with_database();
    let key = desk.run(["keygen", "--out", "id.key"]).done().trim().to_owned();
    let (redis, upstream) = (Redis::start(), Upstream::well());
    let start = |name: &str| {
        let config = format!("{name}.toml");
        desk.write(&config, format!("control = \"{name}.sock\"\n[guard]\nservers = 2\n"), 0o600);
        let (url, redis) = (upstream.url(), redis.url());
        let arguments =
            ["--config", &config, "--upstream", &url, "--origin", ORIGIN, "--redis", &redis];
        Served::with(&desk, &arguments)
    };
    // The first connection makes the guard; services that connect later find it settled.
    start("first").kill();
    redis.settle();
    let (first, second) = (start("first"), start("second"));
    let order = signed_order(&desk, "a book", "");
    let response = first.send(&order);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(second.send(&order).code(), "signature-replayed");
    // One that is killed loses nothing of it.
    first.kill();
    let first = start("first");
    assert_eq!(first.send(&order).code(), "signature-replayed");
    assert_eq!(first.read(&key, "").status, 200);
    assert_eq!(second.read(&key, "").status, 200);
    desk.run(["key", "revoke", &key]).done();
    for served in [&first, &second] {
        let begun = Instant::now();
        while served.read(&key, "").status == 200 {
            assert!(begun.elapsed() < PATIENCE, "the revocation takes no effect");
        }
    }
}
