pub(crate) mod not_claimed;

use std::time::Duration;

use countersign::{Claim, NonceUse, Timestamp, Window};
use sha2::{Digest, Sha256};
use sqlx::{PgExecutor, PgPool, PgTransaction};

use self::not_claimed::NotClaimed;
use crate::{
    error::StoreError,
    limits::gate::unlimited,
    nonces::{NonceStore, readiness::Readiness},
    postgres_schema,
};

/// Used nonces in PostgreSQL: a write and the claim of its nonce are committed together, or not at all.
///
/// Claim the nonce in the transaction of the write. The write then happens at most once for a signed request, even if the
/// replay guard in front has lost its nonces:
///
/// ```no_run
/// use countersign::NonceUse;
/// use countersign_store::{NotClaimed, PostgresNonces, StoreError, system_time};
/// use sqlx::PgPool;
///
/// async fn pay(pool: &PgPool, nonces: &PostgresNonces, used: &NonceUse) -> Result<(), NotClaimed> {
///     let unavailable = |error| StoreError::because("the payment cannot be written", error);
///     let mut transaction = pool.begin().await.map_err(unavailable)?;
///     nonces.claim_in(&mut transaction, used, system_time()).await?;
///     let write = sqlx::query("UPDATE account SET cents = cents - 100 WHERE id = 7");
///     write.execute(&mut *transaction).await.map_err(unavailable)?;
///     Ok(transaction.commit().await.map_err(unavailable)?)
/// }
/// ```
///
/// A rollback frees the nonce: the write did not happen.
///
/// `PostgresNonces` is also a [`NonceStore`] for several servers that share a database. Every claim is then a transaction of
/// its own, and leaves no nonce for a handler to claim: with both on one database, [`PostgresNonces::claim_in`] returns
/// [`NotClaimed::Replayed`].
///
/// A nonce belongs to the number of a credential. So all servers on one database need the same number for the same key: share
/// one registry, or copies of one registry.
#[derive(Clone, Debug)]
pub struct PostgresNonces {
    pool: PgPool,
    window: Window,
}

impl PostgresNonces {
    /// Creates the schema `countersign` in this database, or brings it up to date. A schema that is up to date is only read.
    ///
    /// A schema without a low-water mark may replace a lost schema. In this case every signature that could have been accepted
    /// by `now` is refused as too old, and so is every signature made in the next `skew` + 1 s.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database cannot be reached or changed, or was changed by a newer version.
    pub async fn prepare(pool: PgPool, window: Window, now: Timestamp) -> Result<Self, StoreError> {
        postgres_schema::prepare(&pool).await?;
        let first_mark = now.plus(window.skew()).plus(Duration::from_secs(1));
        let unset = |error| StoreError::because("the low-water mark cannot be set", error);
        set_first_mark(&pool, first_mark).await.map_err(unset)?;
        Ok(Self { pool, window })
    }

    /// Claims a nonce in the caller's transaction, which must be on this database. Takes one round trip, at every isolation
    /// level. If another open transaction has claimed the same nonce, waits until that transaction ends.
    ///
    /// Every write in the same transaction happens at most once for each signed request.
    ///
    /// # Errors
    ///
    /// [`NotClaimed`]. The transaction is then aborted: none of its writes can be committed, and PostgreSQL silently turns a
    /// commit into a rollback. So return the error instead of committing.
    ///
    /// Claim first. After a savepoint (a transaction begun in this one) every claim fails with [`NotClaimed::Unavailable`],
    /// since the claim could be rolled back with the savepoint alone. If you then roll back to the savepoint, you can still
    /// commit the writes outside of it.
    pub async fn claim_in(
        &self,
        transaction: &mut PgTransaction<'_>,
        used: &NonceUse,
        now: Timestamp,
    ) -> Result<(), NotClaimed> {
        claim(&mut **transaction, used, now).await
    }

    /// Forgets the nonces of signatures that are too old for every server, and returns their number. Call it every minute or
    /// so, from one of the servers or from all.
    ///
    /// Raises the low-water mark first, so that a forgotten nonce is refused for ever, even if `now` is wrong.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails. The next call forgets these nonces too.
    pub async fn forget(&self, now: Timestamp) -> Result<u64, StoreError> {
        let failed = "used nonces cannot be forgotten";
        let forgotten: i64 = sqlx::query_scalar("SELECT countersign.forget($1)")
            .bind(seconds(now.minus(self.window.lifetime())))
            .fetch_one(&self.pool)
            .await
            .map_err(|error| StoreError::because(failed, error))?;
        u64::try_from(forgotten).map_err(|error| StoreError::because(failed, error))
    }
}

impl NonceStore for PostgresNonces {
    async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        match claim(&self.pool, used, now).await {
            Ok(()) => Ok(Claim::Fresh),
            Err(NotClaimed::Replayed) => Ok(Claim::Replayed),
            Err(NotClaimed::TooOld { retry_after }) => Ok(Claim::TooOld { retry_after }),
            Err(NotClaimed::Conflict(error) | NotClaimed::Unavailable(error)) => Err(error),
        }
    }
}

unlimited!(PostgresNonces);

impl Readiness for PostgresNonces {
    async fn ready_at(&self, _: Timestamp) -> Result<Timestamp, StoreError> {
        let failed = "the low-water mark of the used nonces cannot be read";
        let mark: Option<i64> =
            sqlx::query_scalar("SELECT last_value FROM countersign.low_water_mark WHERE is_called")
                .fetch_optional(&self.pool)
                .await
                .map_err(|error| StoreError::because(failed, error))?;
        let mark =
            mark.ok_or(StoreError::new("the low-water mark of the used nonces is not set"))?;
        let mark = u64::try_from(mark).map_err(|error| StoreError::because(failed, error))?;
        Ok(Timestamp::from_unix(mark))
    }
}

/// Sets the low-water mark, unless it is already set.
async fn set_first_mark(pool: &PgPool, mark: Timestamp) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let is_set: bool = sqlx::query_scalar("SELECT is_called FROM countersign.low_water_mark")
        .fetch_one(&mut *connection)
        .await?;
    if is_set {
        return Ok(());
    }
    let mut transaction = postgres_schema::begin_alone(&mut connection).await?;
    sqlx::query(
        "SELECT setval('countersign.low_water_mark', $1) FROM countersign.low_water_mark
         WHERE NOT is_called",
    )
    .bind(seconds(mark))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

async fn claim(
    executor: impl PgExecutor<'_>,
    used: &NonceUse,
    now: Timestamp,
) -> Result<(), NotClaimed> {
    sqlx::query("SELECT countersign.claim($1, $2)")
        .bind(seconds(used.created()))
        .bind(fingerprint(used).as_slice())
        .execute(executor)
        .await
        .map_err(|error| NotClaimed::of(error, now))?;
    Ok(())
}

/// Hashes a use of a nonce for the table. The hash has a bounded size, and contains nothing that the caller sent.
///
/// The hash needs no secret key, which servers would have to share. A caller that finds two of its own requests with one
/// fingerprint, after some 2^64 tries, only gets the second of them refused. The hash may never change, or servers of two
/// versions would each accept a request once.
fn fingerprint(used: &NonceUse) -> [u8; 16] {
    // Fields of fixed length first, then the nonce, whose length varies: two different uses never hash the same bytes.
    let hash = Sha256::new()
        .chain_update(used.credential().to_be_bytes())
        .chain_update(used.created().unix().to_be_bytes())
        .chain_update(used.nonce().as_str())
        .finalize();
    let mut fingerprint = [0; 16];
    for (to, from) in fingerprint.iter_mut().zip(hash) {
        *to = from;
    }
    fingerprint
}

/// Returns a time as a column stores it.
fn seconds(time: Timestamp) -> i64 {
    // A timestamp has at most 15 digits, which always fit.
    i64::try_from(time.unix()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nonces::fingerprint_key::tests::uses;

    #[test]
    fn fingerprints_are_the_same_in_every_version_and_differ_with_every_part() {
        let (first, others) = uses();
        // The first half of the SHA-256 of the two numbers, as 8 bytes each, and of the nonce.
        let known = 0x03fb_493a_e1ac_b541_be3e_9943_977e_cb8d_u128;
        assert_eq!(u128::from_be_bytes(fingerprint(&first)), known);
        for other in others {
            assert_ne!(fingerprint(&other), fingerprint(&first), "{other:?}");
        }
    }
}
