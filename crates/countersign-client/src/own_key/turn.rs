use std::sync::Arc;

use countersign::{Code, PrivateKey, PublishableKey};

use super::{
    OwnKey, Rotated, blocking,
    credential::RotationAnswer,
    error::OwnKeyError,
    lock::Lock,
    place::{Place, StoredKey, proof},
};
use crate::unsigned::origin;

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
    pub(crate) async fn replace(&self, current: StoredKey) -> Result<Rotated, OwnKeyError> {
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
        let (proof, new) = (proof(&next.key)?, next.key.publishable_key());
        // 2. The server lets it take over.
        let rotated = self.register(current.key, next, &proof, new).await?;
        // 3. It is confirmed, so that the old key is needed no more.
        self.blocking(move |place, _| place.take_next_into_use(&proof)).await?;
        Ok(rotated)
    }

    /// Has the server let the next key take over. A server does that once, and confirms it as often as it is asked.
    async fn register(
        &self,
        current: PrivateKey,
        next: Next,
        proof: &str,
        new: PublishableKey,
    ) -> Result<Rotated, OwnKeyError> {
        let old = current.publishable_key();
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
        if is_dead && next.found == Found::Before {
            match self.own.ask(&self.own.client(next.key)?).await {
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
    pub(crate) async fn replace_if_due(&self) -> Result<Option<Rotated>, OwnKeyError> {
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

    /// Whether an earlier run has made the next key.
    pub(crate) async fn has_begun(&self) -> Result<bool, OwnKeyError> {
        self.blocking(|place, _| place.has_next()).await
    }
}
