use std::{
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use countersign::{PrivateKey, PublishableKey};
use tokio::{runtime::Handle, sync::Mutex};

use crate::{
    client::Client,
    key_in_use::KeyInUse,
    own_key::{
        OwnKey, Rotated,
        error::OwnKeyError,
        turn::{Confirmed, Turn},
    },
    signing::Signing,
};

/// The key of a rotating client.
#[derive(Debug)]
struct Rotating {
    own: OwnKey,
    /// The current signer.
    signing: RwLock<Arc<Signing>>,
    /// When the server was last asked whether the key is due. Held by the asking task.
    checked: Arc<Mutex<Option<Instant>>>,
    /// Held by a request in search of another key, after its own has ended.
    renewing: Mutex<()>,
}

impl Client {
    /// A client that rotates its key by itself, as its operator says.
    ///
    /// At most once an hour ([`OwnKey::check_every`]), and at the first request, the client asks the server beside a request whether
    /// its key is to be rotated (`HolderRoutes::rotation_age`), and rotates it as [`OwnKey::rotate`] does. From then on it signs with
    /// the new key. No request waits for the rotation. [`OwnKey::on_rotation`] tells you the outcome.
    ///
    /// If the server refuses a request since its key was revoked or has expired, the client looks for another key in the file, where
    /// this or another program may have put it, and signs anew. So programs with the same key file follow each other.
    ///
    /// All of this happens in the tokio runtime that sends the request. A layer (`Client::layer`) in a service of another runtime signs
    /// with its first key, and never rotates: make a client anew after [`OwnKey::rotate_if_due`] has rotated the key.
    ///
    /// # Errors
    ///
    /// As [`Client::from_encrypted_key_file`], and [`OwnKeyError::Secret`] for an HMAC secret.
    pub fn rotating(own: OwnKey) -> Result<Self, OwnKeyError> {
        let client = own.client_now()?;
        let rotating = Rotating::new(own, client.signing());
        Ok(client.with_key_in_use(Arc::new(rotating)))
    }
}

impl Rotating {
    fn new(own: OwnKey, signing: Arc<Signing>) -> Self {
        Self {
            own,
            signing: RwLock::new(signing),
            checked: Arc::default(),
            renewing: Mutex::default(),
        }
    }

    async fn check(&self) -> Result<Option<Rotated>, OwnKeyError> {
        let turn = Turn::begin(&self.own).await?;
        let (in_file, signing) = (turn.read().await?.key, self.signing().publishable_key());
        // This client signs with the next key if the server has confirmed it, and the file could not be replaced.
        if in_file.publishable_key() != signing && !turn.has_next(signing).await? {
            self.sign_with(in_file)?;
            return Ok(None);
        }
        match turn.replace_if_due().await? {
            Some(confirmed) => self.take(confirmed).map(Some),
            None => Ok(None),
        }
    }

    /// Signs with a confirmed key, also if it is not in the file yet.
    fn take(&self, confirmed: Confirmed) -> Result<Rotated, OwnKeyError> {
        let Confirmed { rotated, client, filed } = confirmed;
        self.sign_as(&client);
        filed.map(|()| rotated)
    }

    /// Takes the key in the file, or the new key of an unfinished rotation.
    async fn find_another(&self, ended: &PublishableKey) -> Result<Option<Rotated>, OwnKeyError> {
        // Another process may be about to replace the file.
        let turn = Turn::begin(&self.own).await?;
        let stored = turn.read().await?;
        if stored.key.publishable_key() != *ended {
            self.sign_with(stored.key)?;
            return Ok(None);
        }
        if !turn.has_begun().await? {
            return Ok(None);
        }
        self.take(turn.replace(stored).await?).map(Some)
    }

    fn sign_with(&self, key: PrivateKey) -> Result<(), OwnKeyError> {
        self.sign_as(&self.own.client(key)?);
        Ok(())
    }

    fn sign_as(&self, client: &Client) {
        *self.signing.write().unwrap_or_else(PoisonError::into_inner) = client.signing();
    }

    fn report(&self, outcome: &Result<Option<Rotated>, OwnKeyError>) {
        match outcome {
            Ok(None) => {}
            Ok(Some(rotated)) => (self.own.on_rotation)(Ok(rotated)),
            Err(error) => (self.own.on_rotation)(Err(error)),
        }
    }
}

impl KeyInUse for Rotating {
    fn signing(&self) -> Arc<Signing> {
        Arc::clone(&self.signing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the key rotated if it is due, once in an interval.
    fn look_after(self: Arc<Self>) {
        // Whoever has the lock is asking.
        let Ok(mut checked) = Arc::clone(&self.checked).try_lock_owned() else { return };
        if checked.is_some_and(|at| at.elapsed() < self.own.interval) {
            return;
        }
        // Outside of tokio, as in a service of another runtime, a key is rotated by whoever calls `OwnKey::rotate_if_due`.
        let Ok(runtime) = Handle::try_current() else { return };
        drop(runtime.spawn(async move {
            self.report(&self.check().await);
            *checked = Some(Instant::now());
        }));
    }

    fn renew<'k>(
        &'k self,
        ended: &'k PublishableKey,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'k>> {
        Box::pin(async {
            if Handle::try_current().is_err() {
                return false;
            }
            let _one_at_a_time = self.renewing.lock().await;
            if self.signing().publishable_key() == *ended {
                self.report(&self.find_another(ended).await);
            }
            self.signing().publishable_key() != *ended
        })
    }
}
