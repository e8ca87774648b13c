pub(crate) mod credential;
pub(crate) mod error;
mod lock;
mod place;
pub(crate) mod turn;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countersign::{
    Algorithm, Code, Passphrase, PrivateKey, PublishableKey, Timestamp, is_loopback,
};
use reqwest::{IntoUrl, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::json;

use self::{
    credential::{OwnCredential, RotationAnswer},
    error::OwnKeyError,
    turn::{Confirmed, Turn},
};
use crate::{
    authenticity::Authenticity, client::Client, error::Error, key_source::KeySource,
    refusal::Refusal, reread::Reread,
};

/// How much of a response is read.
const MOST: usize = 64 * 1024;
const OVERLAP: Duration = Duration::from_secs(24 * 3600);
const INTERVAL: Duration = Duration::from_secs(3600);

/// The key of this program in its file, and the endpoint of a server where the holder of a key rotates and revokes it alone
/// (`HolderRoutes` of `countersign-server`).
///
/// ```no_run
/// use countersign_client::OwnKey;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let own = OwnKey::new("shop.key", "https://api.example.com/v1/key")?;
/// let rotated = own.rotate().await?;
/// println!("{} takes over from {}", rotated.new, rotated.old);
/// # Ok(())
/// # }
/// ```
///
/// A rotation can be broken off at any point, by a crash as well, and run again: the new key is on the disk, in `FILE.next`, before
/// the server learns of it, and the key file is replaced, in one step, after the server has confirmed it. Until then the old key
/// stays where it is. Afterwards it is kept nowhere: the new one is good at once, and a copy of the old one would be good for its
/// finder until the overlap ends. Processes that have the old key in memory go on with it for that long.
///
/// The new file has the form of the old one: PEM, PEM encrypted with the same passphrase, or one line `sk_…`. In place of a JWK or an
/// OpenSSH file there is PEM afterwards. Its mode is 0600, and it belongs to the user who runs this. `FILE.pub` is replaced as well.
/// Programs that rotate the same file wait for each other, by a lock on `FILE.lock`, which stays there.
///
/// An encrypted file is encrypted anew by scrypt with the parameters of [`PrivateKey::encrypt_pkcs8_pem`], whatever the old file had: if
/// you hardened it by a slower function or a higher cost, it is weaker after a rotation. Then harden the new file again, or keep the
/// key where no passphrase protects it, as in a keyring.
///
/// The file has to be in a folder where it can be replaced. A file that is mounted by itself, as into a container, is
/// [`OwnKeyError::Irreplaceable`], before the server is asked for anything: mount its folder.
#[derive(Clone)]
pub struct OwnKey {
    file: PathBuf,
    endpoint: Url,
    overlap: Duration,
    passphrase: Option<Arc<Passphrase>>,
    make_client: Arc<MakeClient>,
    pub(crate) interval: Duration,
    pub(crate) on_rotation: Arc<OnRotation>,
}

type MakeClient = dyn Fn(PrivateKey) -> Result<Client, Error> + Send + Sync;
type OnRotation = dyn Fn(Result<&Rotated, &OwnKeyError>) + Send + Sync;

/// A rotation that is done: the key file holds the new key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotated {
    /// The key that took over.
    pub new: PublishableKey,
    /// The key that was replaced.
    pub old: PublishableKey,
    /// When the old key ends, by the server's clock. `None` if it had ended before this run, which only found that out.
    pub old_ends_at: Option<Timestamp>,
}

/// The outcome of a revocation by the holder.
#[derive(Clone, Debug)]
pub enum OwnRevocation {
    /// The key is revoked now.
    Revoked(Box<OwnCredential>),
    /// The key had been revoked before, by whomever.
    WasRevoked,
}

impl OwnKey {
    /// Takes the file of a private key, and the URL of the endpoint, such as `https://api.example.com/v1/key`.
    ///
    /// # Errors
    ///
    /// [`OwnKeyError::PlainHttp`] unless the URL is one of `https` or of this machine; [`OwnKeyError::UserInfo`] if it holds a
    /// password; [`Error::Http`] if it is no URL.
    pub fn new(file: impl AsRef<Path>, endpoint: impl IntoUrl) -> Result<Self, OwnKeyError> {
        let mut endpoint = endpoint.into_url().map_err(Error::from)?;
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(OwnKeyError::UserInfo);
        }
        let is_here = is_loopback(endpoint.host_str().unwrap_or_default());
        if endpoint.scheme() != "https" && !(endpoint.scheme() == "http" && is_here) {
            return Err(OwnKeyError::PlainHttp);
        }
        let path = endpoint.path().trim_end_matches('/').to_owned();
        endpoint.set_path(&path);
        endpoint.set_query(None);
        endpoint.set_fragment(None);
        Ok(Self {
            file: file.as_ref().to_owned(),
            endpoint,
            overlap: OVERLAP,
            passphrase: None,
            make_client: Arc::new(Client::new),
            interval: INTERVAL,
            on_rotation: Arc::new(|_| {}),
        })
    }

    /// Sets for how long the old key is valid beside the new one. Default: 24 hours. The server has a limit.
    pub const fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap;
        self
    }

    /// Sets the passphrase of an encrypted key file. The new key is encrypted with the same one.
    pub fn passphrase(mut self, passphrase: Passphrase) -> Self {
        self.passphrase = Some(Arc::new(passphrase));
        self
    }

    /// Sets how a client is made of a key: other timeouts, proxies or certificates, a tag, verified responses. Default:
    /// [`Client::new`].
    pub fn client_with(
        mut self,
        make: impl Fn(PrivateKey) -> Result<Client, Error> + Send + Sync + 'static,
    ) -> Self {
        self.make_client = Arc::new(make);
        self
    }

    /// Sets how long a [rotating client](Client::rotating) waits before it asks again whether its key is to be rotated. Default: one
    /// hour.
    pub const fn check_every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Calls this after each rotation of a [rotating client](Client::rotating), and after each attempt that failed: for your log. A
    /// client whose rotation fails goes on with its key.
    pub fn on_rotation(
        mut self,
        act: impl Fn(Result<&Rotated, &OwnKeyError>) + Send + Sync + 'static,
    ) -> Self {
        self.on_rotation = Arc::new(act);
        self
    }

    /// Replaces the key by a new one, at the server and in the file. Finishes a rotation that an earlier run has begun.
    ///
    /// # Errors
    ///
    /// [`OwnKeyError`]; run it again. A refusal with the code `key-conflict` is final: the key was replaced by another that is not in
    /// this file, by somebody else or from a copy of the file.
    pub async fn rotate(&self) -> Result<Rotated, OwnKeyError> {
        let turn = Turn::begin(self).await?;
        turn.replace(turn.read().await?).await?.in_file()
    }

    /// Replaces the key if the server says that it is time, or if an earlier run has begun. Returns `None` otherwise.
    ///
    /// # Errors
    ///
    /// As [`OwnKey::rotate`].
    pub async fn rotate_if_due(&self) -> Result<Option<Rotated>, OwnKeyError> {
        Turn::begin(self).await?.replace_if_due().await?.map(Confirmed::in_file).transpose()
    }

    /// Asks the server for the credential of the key.
    ///
    /// # Errors
    ///
    /// [`OwnKeyError`].
    pub async fn credential(&self) -> Result<OwnCredential, OwnKeyError> {
        self.ask(&self.client(self.read().await?)?).await
    }

    /// Revokes the key for ever, for a reason of at most 200 characters. The file stays.
    ///
    /// Whoever else has the private key can revoke it as well. That does no harm: it is what its holder would do.
    ///
    /// # Errors
    ///
    /// [`OwnKeyError`]; the key may be revoked all the same.
    pub async fn revoke(&self, reason: Option<&str>) -> Result<OwnRevocation, OwnKeyError> {
        let client = self.client(self.read().await?)?;
        let content = json!({ "reason": reason });
        let response = client.post(self.route("revocation")).json(&content).send().await?;
        match of_endpoint(&client, response).await {
            Ok(credential) => Ok(OwnRevocation::Revoked(Box::new(credential))),
            Err(OwnKeyError::Refused(refusal)) if refusal.code == Code::KeyRevoked => {
                Ok(OwnRevocation::WasRevoked)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the key in the file, of any algorithm.
    async fn read(&self) -> Result<PrivateKey, OwnKeyError> {
        let (file, passphrase) = (self.file.clone(), self.passphrase.clone());
        blocking(move || Ok(KeySource::from(&file).read(passphrase.as_deref())?)).await
    }

    /// Makes a client of the key in the file.
    pub(crate) fn client_now(&self) -> Result<Client, OwnKeyError> {
        let key = KeySource::from(&self.file).read(self.passphrase.as_deref())?;
        match key.algorithm() {
            Algorithm::HmacSha256 => Err(OwnKeyError::Secret),
            _ => self.client(key),
        }
    }

    pub(crate) fn client(&self, key: PrivateKey) -> Result<Client, OwnKeyError> {
        Ok((self.make_client)(key)?)
    }

    async fn ask(&self, client: &Client) -> Result<OwnCredential, OwnKeyError> {
        let response = client.get(self.endpoint.clone()).send().await?;
        of_endpoint(client, response).await
    }

    async fn ask_for_rotation(
        &self,
        client: &Client,
        proof: &str,
    ) -> Result<RotationAnswer, OwnKeyError> {
        let content = json!({ "public_key": proof, "overlap_seconds": self.overlap.as_secs() });
        let response = client.post(self.route("rotation")).json(&content).send().await?;
        of_endpoint(client, response).await
    }

    fn route(&self, name: &str) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}/{name}", self.endpoint.path().trim_end_matches('/')));
        url
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnKey")
            .field("file", &self.file)
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

/// Reads the answer of the endpoint. Nothing is done because of a response that could be anyone's: a forged confirmation would cost
/// the key.
async fn of_endpoint<T: DeserializeOwned>(
    client: &Client,
    response: Response,
) -> Result<T, OwnKeyError> {
    if client.authenticity(&response) == Authenticity::Unauthenticated {
        return Err(OwnKeyError::Unauthenticated);
    }
    let response = Refusal::check(response).await;
    let response = response.map_err(|refusal| OwnKeyError::Refused(Box::new(refusal)))?;
    let status = response.status();
    let (_, body) = http::Response::from(response).into_parts();
    let content = Reread::begin(body, MOST).await.content();
    let answer = content.and_then(|content| serde_json::from_slice(&content).ok());
    answer.filter(|_| status.is_success()).ok_or(OwnKeyError::NoEndpoint(status))
}

/// Does what takes a while, as reading an encrypted key does, beside the tasks of the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OwnKeyError> + Send + 'static,
) -> Result<T, OwnKeyError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Runtime(io::Error::from(error)))?
}
