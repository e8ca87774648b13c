use std::sync::Arc;

use countersign::{Code, PrivateKey, PublishableKey};

use super::{
    OwnKey, Rotated, blocking,
    credential::RotationAnswer,
    error::OwnKeyError,
    lock::Lock,
    place::{Place, StoredKey, proof},
};
use crate::{client::Client, unsigned::origin};

/// The time in which no other process changes the key file.
pub(crate) struct Turn<'o> {
    own: &'o OwnKey,
    place: Place,
    lock: Arc<Lock>,
}

/// The key that is to take over.
struct Next {
    key: PrivateKey,
    found: Found,
}

/// A rotation that the server has confirmed.
pub(crate) struct Confirmed {
    pub(crate) rotated: Rotated,
    /// A client of the key that took over.
    pub(crate) client: Client,
    /// Whether the key file has it. Otherwise `FILE.next` has.
    pub(crate) filed: Result<(), OwnKeyError>,
}

impl Confirmed {
    /// Returns the rotation if the key file has the new key.
    pub(crate) fn in_file(self) -> Result<Rotated, OwnKeyError> {
        self.filed.map(|()| self.rotated)
    }
}

/// Whether the server may know the next key already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// An earlier run has made it.
    Before,
    MadeNow,
}

impl<'o> Turn<'o> {
    pub(crate) async fn begin(own: &'o OwnKey) -> Result<Self, OwnKeyError> {
        let file = own.file.clone();
        let place = blocking(move || Place::of(&file)).await?;
        let lock = Arc::new(Lock::acquire(place.key()).await?);
        Ok(Self { own, place, lock })
    }

    /// Works on the files. The turn lasts as long as that, even if nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place, &OwnKey) -> Result<T, OwnKeyError> + Send + 'static,
    ) -> Result<T, OwnKeyError> {
        let (own, place, lock) = (self.own.clone(), self.place.clone(), Arc::clone(&self.lock));
        blocking(move || {
            let outcome = work(&place, &own);
            drop(lock);
            outcome
        })
        .await
    }

    /// Reads the key in use.
    pub(crate) async fn read(&self) -> Result<StoredKey, OwnKeyError> {
        self.blocking(|place, own| place.read(own.passphrase.as_deref())).await
    }

    /// Replaces the key in use. Each step can be the last of this run, and the next run goes on from there.
    pub(crate) async fn replace(&self, current: StoredKey) -> Result<Confirmed, OwnKeyError> {
        // 1. The next key is on the disk before anyone else learns of it.
        let (current, next) = self
            .blocking(move |place, own| {
                let passphrase = own.passphrase.as_deref();
                let next = match place.read_next(passphrase, &current.key)? {
                    Some(key) => Next { key, found: Found::Before },
                    None => {
                        let key = place.make_next(current.form, passphrase)?;
                        Next { key, found: Found::MadeNow }
                    }
                };
                Ok((current, next))
            })
            .await?;
        let proof = proof(&next.key)?;
        let (client, found) = (self.own.client(next.key)?, next.found);
        // 2. The server lets it take over.
        let rotated = self.register(current.key, &client, found, &proof).await?;
        // 3. It is confirmed, so that the old key is needed no more.
        let filed = self.blocking(move |place, _| place.take_next_into_use(&proof)).await;
        Ok(Confirmed { rotated, client, filed })
    }

    /// Has the server let the next key take over. A server does that once, and confirms it as often as it is asked.
    async fn register(
        &self,
        current: PrivateKey,
        next: &Client,
        found: Found,
        proof: &str,
    ) -> Result<Rotated, OwnKeyError> {
        let (old, new) = (current.publishable_key(), next.publishable_key());
        let client = self.own.client(current)?;
        let refused = match self.own.ask_for_rotation(&client, proof).await {
            Ok(RotationAnswer { new: confirmed, old: replaced, old_ends_at }) => {
                let is_ours = confirmed.publishable_key == new && replaced.publishable_key == old;
                return match is_ours {
                    true => Ok(Rotated { new, old, old_ends_at }),
                    false => Err(OwnKeyError::NoEndpoint(http::StatusCode::OK)),
                };
            }
            Err(OwnKeyError::Refused(refusal)) => refusal,
            Err(error) => return Err(error),
        };
        // The old key may have ended since an earlier run, and that run may have come as far as this.
        let is_dead =
            matches!(refused.code, Code::KeyRevoked | Code::KeyExpired | Code::SignatureInvalid);
        if is_dead && found == Found::Before {
            match self.own.ask(next).await {
                Ok(credential) if credential.publishable_key == new => {
                    return Ok(Rotated { new, old, old_ends_at: None });
                }
                // It is the refusal of the old key that says what is the matter.
                Ok(_) | Err(OwnKeyError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(OwnKeyError::Refused(refused))
    }

    /// Replaces the key in use if the server says that it is time, or if an earlier run has begun.
    pub(crate) async fn replace_if_due(&self) -> Result<Option<Confirmed>, OwnKeyError> {
        if !self.has_begun().await? {
            let client = self.own.client(self.read().await?.key)?;
            let credential = self.own.ask(&client).await?;
            let now = client.clock.now(&origin(&self.own.endpoint)?).time;
            if credential.rotate_after.is_none_or(|time| time > now) {
                return Ok(None);
            }
        }
        self.replace(self.read().await?).await.map(Some)
    }

    /// Whether an earlier run has made this key as the next one.
    pub(crate) async fn has_next(&self, key: PublishableKey) -> Result<bool, OwnKeyError> {
        self.blocking(move |place, own| {
            let passphrase = own.passphrase.as_deref();
            let current = place.read(passphrase)?.key;
            let next = place.read_next(passphrase, &current)?;
            Ok(next.is_some_and(|next| next.publishable_key() == key))
        })
        .await
    }

    /// Whether an earlier run has made the next key.
    pub(crate) async fn has_begun(&self) -> Result<bool, OwnKeyError> {
        self.blocking(|place, _| place.has_next()).await
    }
}
