use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A connection that is kept, over which one request is sent after the other.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::with_capacity(4096) }
    }

    /// Sends a request, reads the response to its end, and gives its status and whether the server closes the connection.
    pub(crate) async fn send(&mut self, request: &[u8]) -> (u16, bool) {
        self.stream.write_all(request).await.unwrap();
        self.read.clear();
        loop {
            let length = self.stream.read_buf(&mut self.read).await.unwrap();
            assert!(length > 0, "a connection that was closed without a response");
            if let Some(response) = parse(&self.read) {
                return response;
            }
        }
    }
}

/// The status of a response that is there to its end.
fn parse(read: &[u8]) -> Option<(u16, bool)> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let head = match response.parse(read).unwrap() {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return None,
    };
    let field = |name: &str| {
        let mut fields = response.headers.iter();
        fields.find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    let length = field("content-length").map_or("0", |text| std::str::from_utf8(text).unwrap());
    let length: usize = length.parse().unwrap();
    let closes = field("connection") == Some(b"close");
    (read.len() >= head + length).then(|| (response.code.unwrap(), closes))
}
