use std::{error::Error, fmt, pin::Pin};

use countersign::PublishableKey;

/// A private key that this process does not have: in a KMS, an HSM, an agent, or another process.
///
/// Give it to [`Client::from_remote_key`](crate::Client::from_remote_key). The client asks it for one signature for each
/// attempt. The example `ssh_agent` signs through the agent of OpenSSH.
///
/// ```
/// use countersign_client::{Client, RemoteKey};
/// # use countersign::{PrivateKey, PublishableKey};
/// # struct Connection(PrivateKey);
/// # impl Connection {
/// #     async fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> { Ok(self.0.sign(bytes).to_vec()) }
/// # }
///
/// struct Kms {
///     connection: Connection,
///     key: PublishableKey,
/// }
///
/// impl RemoteKey for Kms {
///     fn publishable_key(&self) -> PublishableKey {
///         self.key
///     }
///
///     async fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
///         Ok(self.connection.sign(bytes).await?)
///     }
/// }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (connection, key) = (Connection(PrivateKey::ed25519(&[7; 32])), PrivateKey::ed25519(&[7; 32]).publishable_key());
/// let client = Client::from_remote_key(Kms { connection, key })?;
/// # Ok(())
/// # }
/// ```
pub trait RemoteKey: Send + Sync + 'static {
    /// The publishable half of the key, made from the public key that its holder shows.
    fn publishable_key(&self) -> PublishableKey;

    /// Has these bytes signed: the 64 bytes of an Ed25519 signature, or the 32 of HMAC-SHA256.
    ///
    /// The server counts the age of a signature from before this call: sign within a few seconds, with a timeout of your
    /// own. The client checks an Ed25519 signature before it sends the request.
    ///
    /// # Errors
    ///
    /// An error of yours. It becomes the source of [`Error::RemoteKey`](crate::Error::RemoteKey).
    fn sign(
        &self,
        bytes: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>, Box<dyn Error + Send + Sync>>> + Send;
}

type Signature<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<u8>, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// A [`RemoteKey`] whose type is forgotten, so that [`Client`](crate::Client) has no parameter.
pub(crate) trait HeldKey: Send + Sync {
    fn sign<'a>(&'a self, bytes: &'a [u8]) -> Signature<'a>;
}

impl<K: RemoteKey> HeldKey for K {
    fn sign<'a>(&'a self, bytes: &'a [u8]) -> Signature<'a> {
        Box::pin(RemoteKey::sign(self, bytes))
    }
}

impl fmt::Debug for dyn HeldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKey").finish_non_exhaustive()
    }
}
