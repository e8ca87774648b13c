//! A server behind `countersign serve`, which responds as a test has it, byte by byte.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

/// How long a test waits for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A request as the upstream got it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Request line and fields, each line without its end.
    pub(crate) head: Vec<String>,
    pub(crate) content: Vec<u8>,
    /// Whether the content came to its end.
    pub(crate) whole: bool,
}

impl Received {
    pub(crate) fn line(&self) -> &str {
        &self.head[0]
    }

    /// The values of a field, one for each line.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head[1..].iter().filter_map(|line| line.split_once(':'));
        fields
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    received: Receiver<Received>,
}

/// Responds to requests on one connection.
type Respond = fn(&mut TcpStream, &Received) -> std::io::Result<()>;

impl Upstream {
    /// Answers each request with 200 and `well`.
    pub(crate) fn well() -> Self {
        Self::start(|stream, _| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Own: 1\r\n\r\nwell")
        })
    }

    /// Answers each request with these bytes, and closes the connection.
    pub(crate) fn bytes(bytes: &'static [u8]) -> Self {
        Self::serve(move |stream, _| {
            stream.write_all(bytes)?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        })
    }

    pub(crate) fn start(respond: Respond) -> Self {
        Self::serve(respond)
    }

    /// Answers the head of each request with these bytes, and reads no content.
    pub(crate) fn early(bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (_, received) = channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                answer_head(&mut stream, bytes);
                // Until the proxy has read the response: closing with unread content would reset the connection.
                drop(stream.shutdown(std::net::Shutdown::Write));
                thread::spawn(move || stream.read_to_end(&mut Vec::new()));
            }
        });
        Self { address, received }
    }

    /// Answers the head of each request with these bytes, and then neither reads nor closes the connection.
    pub(crate) fn stuck(bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (_, received) = channel();
        thread::spawn(move || {
            let mut held = Vec::new();
            for mut stream in listener.incoming().flatten() {
                answer_head(&mut stream, bytes);
                held.push(stream);
            }
        });
        Self { address, received }
    }

    /// Answers the head of each request with this much content, which it sends while it reads the content of the request. Says when
    /// nobody takes any more of it.
    pub(crate) fn talkative(length: usize) -> (Self, Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        let (full, is_full) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mut writer, full) = (stream.try_clone().unwrap(), full.clone());
                let mut reader = BufReader::new(stream);
                // The head has come, at least in part.
                reader.fill_buf().unwrap();
                thread::spawn(move || talk(&mut writer, length, &full));
                drop(receive(&mut reader).map(|received| sender.send(received)));
            }
        });
        (Self { address, received }, is_full)
    }

    pub(crate) fn serve<F>(respond: F) -> Self
    where
        F: Fn(&mut TcpStream, &Received) -> std::io::Result<()> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, respond) = (sender.clone(), respond.clone());
                thread::spawn(move || serve_connection(stream, &sender, respond));
            }
        });
        Self { address, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request that it got.
    pub(crate) fn next(&self) -> Received {
        self.received.recv_timeout(PATIENCE).unwrap()
    }

    /// The requests that it got and that were not taken yet.
    pub(crate) fn all(&self) -> Vec<Received> {
        self.received.try_iter().collect()
    }

    /// Nothing came that was not taken with [`next`](Self::next).
    pub(crate) fn has_nothing(&self) -> bool {
        self.received.try_recv().is_err()
    }
}

/// Reads the head of a request, and nothing behind it, and writes these bytes.
fn answer_head(stream: &mut TcpStream, bytes: &[u8]) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    stream.write_all(bytes).unwrap();
}

/// Writes a response. Whenever nobody has taken any of it for a while, says so.
fn talk(stream: &mut TcpStream, length: usize, full: &Sender<()>) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let response = [head.as_bytes(), &vec![b'y'; length]].concat();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut rest = &response[..];
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => drop(full.send(())),
            Err(_) => return,
        }
    }
}

fn serve_connection<F>(mut stream: TcpStream, sender: &Sender<Received>, respond: F)
where
    F: Fn(&mut TcpStream, &Received) -> std::io::Result<()>,
{
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(received) = receive(&mut reader) {
        drop(sender.send(received.clone()));
        if !received.whole || respond(&mut stream, &received).is_err() {
            break;
        }
    }
}

fn receive(reader: &mut impl BufRead) -> Option<Received> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end_matches(['\r', '\n']) {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let mut received = Received { head, content: Vec::new(), whole: true };
    if let Some(length) = received.values("content-length").first() {
        let length: u64 = length.parse().unwrap();
        reader.take(length).read_to_end(&mut received.content).ok()?;
        received.whole = u64::try_from(received.content.len()).unwrap() == length;
    } else if received.values("transfer-encoding") == ["chunked"] {
        received.whole = chunks(reader, &mut received.content).is_some();
    }
    Some(received)
}

fn chunks(reader: &mut impl BufRead, content: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = u64::from_str_radix(line.trim_end(), 16).ok()?;
        let before = content.len();
        reader.take(length).read_to_end(content).ok()?;
        let read = content.len().checked_sub(before)?;
        (u64::try_from(read).unwrap() == length).then_some(())?;
        reader.read_line(&mut line).ok()?;
        if length == 0 {
            return Some(());
        }
    }
}
