use std::{error::Error, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use countersign::{KeyId, Timestamp};
use tokio::time::timeout;

use super::{
    Registry,
    cache::{Age, Cached, Lookup},
    error::RegistryError,
    flights::{Flight, Seat},
    query::Query,
    shared::Shared,
    statements,
};
use crate::{credential::Credential, error::StoreError, key_store::KeyStore};

/// The longest time that a lookup takes.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long a request waits for a row to be read again whose entry it may use.
const REFRESH: Duration = Duration::from_secs(1);

impl KeyStore for Registry {
    async fn find(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Arc<Credential>>, StoreError> {
        match self.shared.cache.get(id, now) {
            Cached::Entry(found, Age::Young) => Ok(found),
            Cached::Entry(found, Age::Due) => {
                // It goes on by itself, and whoever asks next has its result.
                drop(self.shared.look_up(id, now));
                Ok(found)
            }
            Cached::Entry(found, Age::Old) => self.read_again(id, now, found).await,
            Cached::Missing => self.shared.look_up(id, now)?.landed().await,
        }
    }

    fn used(&self, credential: &Credential, now: Timestamp) {
        self.note_use(credential.id, now);
    }
}

impl Registry {
    /// Looks a key up whose entry may be used if the database does not answer.
    async fn read_again(
        &self,
        id: &KeyId,
        now: Timestamp,
        found: Option<Arc<Credential>>,
    ) -> Result<Option<Arc<Credential>>, StoreError> {
        let Ok(flight) = self.shared.look_up(id, now) else { return Ok(found) };
        let patience = match self.shared.cache.contact().is_late() {
            true => Duration::ZERO,
            false => REFRESH,
        };
        if let Ok(Ok(read)) = timeout(patience, flight.clone().landed()).await {
            return Ok(read);
        }
        match self.shared.cache.get(id, now) {
            Cached::Entry(found, _) => Ok(found),
            // It was changed meanwhile, or is no longer confirmed.
            Cached::Missing => flight.landed().await,
        }
    }
}

impl Shared {
    /// Looks a key up in the database, unless another caller does so already. The lookup goes on if nobody waits for it any
    /// more: a client that hangs up costs no connection.
    fn look_up(self: &Arc<Self>, id: &KeyId, now: Timestamp) -> Result<Flight, StoreError> {
        self.follow();
        let lookup = self.cache.lookup(now);
        let (flight, landing) = match self.flights.join(id, lookup.generation()) {
            Seat::Passenger(flight) => return Ok(flight),
            Seat::Pilot(flight, landing) => (flight, landing),
            Seat::Full => {
                metrics::counter!("countersign_registry_lookups_total", "outcome" => "refused")
                    .increment(1);
                return Err(StoreError::new("too many keys are being looked up"));
            }
        };
        let (shared, id) = (Arc::clone(self), *id);
        tokio::spawn(async move {
            let landed = shared.read(&id, lookup).await;
            let outcome = match &landed {
                Ok(Some(_)) => "known",
                Ok(None) => "unknown",
                Err(_) => "failed",
            };
            metrics::counter!("countersign_registry_lookups_total", "outcome" => outcome)
                .increment(1);
            landing.land(landed.map_err(Arc::new));
        });
        Ok(flight)
    }

    /// Reads the credential of a key, and keeps it in the cache.
    async fn read(
        &self,
        id: &KeyId,
        lookup: Lookup,
    ) -> Result<Option<Arc<Credential>>, RegistryError> {
        let statement = match id {
            KeyId::Publishable(_) => statements::CREDENTIAL_OF_KEY,
            KeyId::Thumbprint(_) => statements::CREDENTIAL_OF_THUMBPRINT,
        };
        let query = || Query::new(statement).bind(id.to_string());
        let mut fetch = pin!(timeout(PATIENCE, self.readers.fetch_optional(query)));
        // Sends the statement. The database works on it while the key is checked here.
        let sent = poll_fn(|context| Poll::Ready(fetch.as_mut().poll(context))).await;
        let key = match self.cache.last_read(id) {
            Some(last_read) => Some(last_read.key.clone()),
            None => self.early_check.key(id),
        };
        let row = match sent {
            Poll::Ready(row) => row,
            Poll::Pending => fetch.await,
        };
        let row = row.map_err(|_| sqlx::Error::PoolTimedOut)??;
        if row.is_some() {
            self.early_check.found();
        }
        let read = row
            .as_ref()
            .map(|row| Credential::read_with_key(row, self.master_keys(), key.as_ref()));
        let credential = match read.transpose() {
            Ok(credential) => credential.map(Arc::new),
            // A key that cannot be used counts as an unknown key.
            Err(RegistryError::Sealed { source, .. }) => {
                self.unopened.refuse(id, source);
                None
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn Error,
                    %id,
                    "a registered key is refused, since its row is damaged: `countersign key show` names the damage"
                );
                None
            }
        };
        self.cache.put(id, credential.clone(), lookup);
        Ok(credential)
    }
}
