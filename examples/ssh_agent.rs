//! Signs through another process and never sees the key: the agent of OpenSSH holds it, unlocked once by its user.
//!
//! ```console
//! $ ssh-add shop_key                                      # of `ssh-keygen -t ed25519`
//! $ countersign pubkey shop_key.pub                       # its publishable key, which the service knows
//! $ cargo run --features client --example ssh_agent -- pk_… http://127.0.0.1:8080/v1/orders
//! ```
//!
//! A KMS or an HSM takes the place of the agent in the same way, as a `RemoteKey` of yours.

use std::{
    env,
    error::Error,
    io,
    path::{Path, PathBuf},
};

use countersign::{PublishableKey, VerifyingKey};
use countersign_client::{Client, Refusal, RemoteKey};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// The messages of the agent's protocol (draft-ietf-sshm-ssh-agent).
const LIST: u8 = 11;
const LISTED: u8 = 12;
const SIGN: u8 = 13;
const SIGNED: u8 = 14;
/// No agent responds with more.
const MOST: usize = 256 * 1024;
const ED25519: &[u8] = b"ssh-ed25519";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A key that an agent holds.
struct AgentKey {
    socket: PathBuf,
    key: PublishableKey,
    /// The public key as the agent names it.
    name: Vec<u8>,
}

impl AgentKey {
    /// Finds the key among those that the agent holds.
    async fn find(socket: PathBuf, key: PublishableKey) -> Outcome<Self> {
        let listed = ask(&socket, LIST, &[], LISTED).await?;
        let mut rest = listed.get(4..).ok_or_else(unexpected)?; // behind the number of keys
        while !rest.is_empty() {
            let (name, _comment) = (take(&mut rest)?, take(&mut rest)?);
            let mut parts = name;
            if take(&mut parts)? == ED25519 {
                let public = VerifyingKey::ed25519(take(&mut parts)?.try_into()?)?;
                if public.publishable_key() == key {
                    return Ok(Self { socket, key, name: name.to_vec() });
                }
            }
        }
        Err("the agent does not hold this key; `ssh-add` gives it to the agent".into())
    }
}

impl RemoteKey for AgentKey {
    fn publishable_key(&self) -> PublishableKey {
        self.key
    }

    async fn sign(&self, bytes: &[u8]) -> Outcome<Vec<u8>> {
        let mut request = Vec::new();
        push(&mut request, &self.name)?;
        push(&mut request, bytes)?;
        request.extend([0; 4]); // no flags
        let signed = ask(&self.socket, SIGN, &request, SIGNED).await?;
        let mut signature = take(&mut &*signed)?;
        match take(&mut signature)? {
            ED25519 => Ok(take(&mut signature)?.to_vec()),
            _ => Err(unexpected().into()),
        }
    }
}

/// Sends the agent a message, and returns the content of its response.
async fn ask(socket: &Path, message: u8, content: &[u8], wanted: u8) -> Outcome<Vec<u8>> {
    let mut request = Vec::new();
    push(&mut request, &[&[message], content].concat())?;
    let mut agent = UnixStream::connect(socket).await?;
    agent.write_all(&request).await?;
    let length = usize::try_from(agent.read_u32().await?)?;
    if length > MOST {
        return Err(unexpected().into());
    }
    let mut response = vec![0; length];
    agent.read_exact(&mut response).await?;
    match response.split_first() {
        Some((kind, content)) if *kind == wanted => Ok(content.to_vec()),
        _ => Err("the agent refuses".into()),
    }
}

/// Adds a string with its length before it (RFC 4251 §5).
fn push(to: &mut Vec<u8>, string: &[u8]) -> Result<(), std::num::TryFromIntError> {
    to.extend(u32::try_from(string.len())?.to_be_bytes());
    to.extend_from_slice(string);
    Ok(())
}

/// Takes a string from the front.
fn take<'a>(from: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let (length, rest) = from.split_first_chunk().ok_or_else(unexpected)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| unexpected())?;
    let (string, rest) = rest.split_at_checked(length).ok_or_else(unexpected)?;
    *from = rest;
    Ok(string)
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the agent says what its protocol does not have")
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [key, url] = arguments.as_slice() else {
        return Err("ssh_agent PUBLISHABLE_KEY URL".into());
    };
    let socket =
        env::var_os("SSH_AUTH_SOCK").ok_or("no agent is running: SSH_AUTH_SOCK is not set")?;
    let client = Client::from_remote_key(AgentKey::find(socket.into(), key.parse()?).await?)?;
    let response = client.post(url).json(&json!({ "item": "book" })).send().await?;
    let response = Refusal::check(response).await?.error_for_status()?;
    println!("{} {}", response.status().as_u16(), response.text().await?);
    Ok(())
}
