use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// Between a client and a server, changes the head of the first request of every connection.
#[derive(Debug)]
pub struct ChangingProxy {
    /// Where it listens.
    pub address: SocketAddr,
}

impl ChangingProxy {
    /// In front of the server at this address.
    pub async fn start(
        to: SocketAddr,
        change: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let change = Arc::new(change);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let change = Arc::clone(&change);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(client.read_u8().await.unwrap());
                    }
                    let head = change(std::str::from_utf8(&head).unwrap());
                    let mut server = TcpStream::connect(to).await.unwrap();
                    server.write_all(head.as_bytes()).await.unwrap();
                    drop(copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        Self { address }
    }
}
