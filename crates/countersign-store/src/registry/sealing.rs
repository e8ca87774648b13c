//! Sealing HMAC secrets: when a key is registered, when a registry with plain secrets is opened with a master key, and when one
//! master key replaces another.

use countersign::{KeyId, PublishableKey, Timestamp, VerifyingKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    Registry,
    audit::act::{Act, ActSubject, Action},
    change::{Change, Transaction},
    error::RegistryError,
    options::PlainSecrets,
    query::{Query, Row},
    session::Session,
    shared::Shared,
    statements,
};
use crate::{
    credential::CredentialId,
    master_key::{MasterKey, MasterKeyId, MasterKeys},
    sealed_secret::{NotOpened, SealedSecret},
};

/// How many secrets are sealed in a transaction, without other changes.
const BATCH: u32 = 100;

/// The result of a batch of [`Registry::rewrap`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrapped {
    /// The number of secrets that this batch sealed with the current master key.
    pub moved: u64,
    /// The credentials with damaged rows. Their secrets cannot be opened, and stay as they are.
    pub damaged: Vec<CredentialId>,
}

/// Where the next batch of [`Registry::rewrap`] begins. Starts at the oldest secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewrapBatch {
    kind: Kind,
    after: i64,
    size: u32,
}

/// The secrets to seal with the current master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    OfPreviousKey,
}

impl RewrapBatch {
    /// Starts at the oldest secret. Takes the number of secrets in a batch, from 1 to 10,000; `None` for the default of 100.
    /// While a batch is sealed, the registry makes no other change.
    pub fn first(size: Option<u32>) -> Self {
        let size = size.unwrap_or(BATCH).clamp(1, 10_000);
        Self { kind: Kind::Plain, after: 0, size }
    }
}

impl Registry {
    /// Seals a batch of secrets with the current master key: plain secrets, and secrets of the previous master key.
    ///
    /// Returns the result, and the next batch; `None` at the end. Can be stopped between batches and in a batch, and run again
    /// from the first batch. Several programs can do it at the same time.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NoMasterKey`], or an error of the database; the batch is left as it was.
    pub async fn rewrap(
        &self,
        batch: RewrapBatch,
        now: Timestamp,
    ) -> Result<(Rewrapped, Option<RewrapBatch>), RegistryError> {
        let done = self.make(Rewrap { batch, now }).await?;
        if done.1.is_none() {
            self.shared.erase_remnants().await;
        }
        Ok(done)
    }

    /// Returns how many plain secrets the opening of this registry sealed.
    pub fn sealed_now(&self) -> u64 {
        self.shared.sealed_now.get().copied().unwrap_or(0)
    }

    /// Whether the registry was opened with a master key.
    pub fn has_master_key(&self) -> bool {
        self.shared.master_keys().is_some()
    }

    /// Seals plain secrets, and logs secrets that stay plain or cannot be opened.
    pub(super) async fn settle_secrets(
        &self,
        plain: PlainSecrets,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let shared = &self.shared;
        let (mut sealed, mut damaged) = (0_u64, Vec::new());
        if shared.has_plain_secrets().await? {
            match (shared.master_keys(), plain) {
                (Some(keys), PlainSecrets::Seal) => {
                    let mut next = Some(RewrapBatch::first(None));
                    while let Some(batch @ RewrapBatch { kind: Kind::Plain, .. }) = next {
                        let (done, after) = self.make(Rewrap { batch, now }).await?;
                        sealed = sealed.saturating_add(done.moved);
                        damaged.extend(done.damaged);
                        next = after;
                    }
                    tracing::info!(
                        registry = shared.name,
                        master_key = %keys.current().id(),
                        sealed,
                        ?damaged,
                        "sealed the plain HMAC secrets of the registry; copies of it that were made before still have them"
                    );
                }
                (_, _) if shared.file.is_some() => tracing::warn!(
                    registry = shared.name,
                    "HMAC secrets lie in the registry as they are, and who reads its file or a copy can sign: give a master key"
                ),
                (_, _) => tracing::warn!(
                    registry = shared.name,
                    "HMAC secrets lie in the registry as they are, and who reads the database, a replica or a dump can sign: give a \
                     master key"
                ),
            }
        }
        shared.sealed_now.get_or_init(|| sealed);
        shared.erase_remnants().await;
        shared.tell_of_missing_keys().await
    }
}

impl Shared {
    /// Erases remnants of secrets that were plain before. If that fails, the next program that opens the registry does it.
    async fn erase_remnants(&self) {
        if let Err(error) = self.database.erase_remnants().await {
            tracing::warn!(
                registry = self.name,
                error = &error as &dyn std::error::Error,
                "bytes of HMAC secrets that were plain before may be left in the registry's file: restart this when no other \
                 program uses it"
            );
        }
    }
}

/// Seals the secret of a key, if it has one, in the row of its credential.
pub(super) async fn seal(
    row: &Row,
    key: &VerifyingKey,
    keys: &MasterKeys,
    session: &mut Session<'_>,
) -> Result<(), RegistryError> {
    let id = CredentialId::new(row.get("id")?);
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce).map_err(|error| RegistryError::Database(error.into()))?;
    let Some(sealed) = SealedSecret::seal(keys.current(), id, key, nonce) else { return Ok(()) };
    let sealed = sealed.to_bytes();
    let query = Query::new(statements::SEAL_SECRET).bind(sealed.as_slice()).bind(id.get());
    session.execute(query).await?;
    Ok(())
}

struct Rewrap {
    batch: RewrapBatch,
    now: Timestamp,
}

impl Change for Rewrap {
    type Outcome = (Rewrapped, Option<RewrapBatch>);

    async fn apply(self, transaction: &mut Transaction) -> Result<Self::Outcome, RegistryError> {
        let Self { batch, now } = self;
        let keys = transaction.master_keys().ok_or(RegistryError::NoMasterKey)?;
        let size = i64::from(batch.size);
        let query = match batch.kind {
            Kind::Plain => Query::new(statements::PLAIN_SECRETS).bind(batch.after).bind(size),
            Kind::OfPreviousKey => {
                let previous = keys.previous().map(MasterKey::id);
                let Some(previous) = previous.filter(|&id| id != keys.current().id()) else {
                    return Ok((Rewrapped::default(), None));
                };
                let query =
                    Query::new(statements::SEALED_SECRETS).bind(previous.as_bytes().as_slice());
                query.bind(batch.after).bind(size)
            }
        };
        let rows = transaction.session().fetch_all(query).await?;
        let mut done = Rewrapped::default();
        let mut last = None;
        for row in &rows {
            let id = CredentialId::new(row.get("id")?);
            last = Some(id.get());
            let Ok((key, from)) = opened(row, id, &keys) else {
                done.damaged.push(id);
                continue;
            };
            seal(row, &key, &keys, &mut transaction.session()).await?;
            done.moved = done.moved.saturating_add(1);
            let application = row.get::<Option<String>>("name")?;
            transaction.record(Act {
                at: now,
                action: Action::RewrapKey,
                subject: ActSubject {
                    application: application.and_then(|name| name.parse().ok()),
                    key: Some(KeyId::Publishable(key.publishable_key())),
                },
                before: Some(described(from)),
                after: Some(described(Some(keys.current().id()))),
            });
        }
        if batch.kind == Kind::Plain && done.moved > 0 {
            transaction.note_remnants().await?;
        }
        let next = match (last, batch.kind) {
            (Some(after), kind) => Some(RewrapBatch { kind, after, ..batch }),
            (None, Kind::Plain) => {
                Some(RewrapBatch { kind: Kind::OfPreviousKey, after: 0, ..batch })
            }
            (None, Kind::OfPreviousKey) => None,
        };
        Ok((done, next))
    }
}

/// Describes for the audit log how a secret lies in the registry.
fn described(master_key: Option<MasterKeyId>) -> Value {
    json!({ "sealed_with": master_key.map(|id| id.to_string()) })
}

/// Opens the secret of a row, and returns the id of its master key.
fn opened(
    row: &Row,
    id: CredentialId,
    keys: &MasterKeys,
) -> Result<(VerifyingKey, Option<MasterKeyId>), NotOpened> {
    let damaged = |_| NotOpened::Damaged;
    let plain = row.get::<Option<Vec<u8>>>("hmac_secret").map_err(damaged)?.map(Zeroizing::new);
    let sealed = row.get::<Option<Vec<u8>>>("sealed_secret").map_err(damaged)?;
    let publishable: String = row.get("publishable_key").map_err(damaged)?;
    let publishable: PublishableKey = publishable.parse().map_err(|_| NotOpened::Damaged)?;
    match (plain, sealed) {
        (Some(secret), None) => {
            let name = publishable.as_bytes().try_into().map_err(|_| NotOpened::Damaged)?;
            let key = VerifyingKey::hmac_sha256(name, &secret).map_err(|_| NotOpened::Damaged)?;
            Ok((key, None))
        }
        (None, Some(sealed)) => {
            let sealed = SealedSecret::parse(&sealed)?;
            Ok((sealed.open(Some(keys), id, &publishable)?, Some(sealed.master_key())))
        }
        (Some(_), Some(_)) | (None, None) => Err(NotOpened::Damaged),
    }
}
