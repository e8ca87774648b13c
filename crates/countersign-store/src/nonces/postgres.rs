pub(crate) mod not_claimed;

use std::time::Duration;

use countersign::{Claim, NonceUse, Timestamp};
use sha2::{Digest, Sha256};
use sqlx::{PgExecutor, PgPool, PgTransaction};

use self::not_claimed::NotClaimed;
use crate::{
    error::StoreError,
    limits::gate::unlimited,
    nonces::{NonceStore, Window, readiness::Readiness},
    postgres_schema,
};

/// Used nonces in PostgreSQL: a write and the claim of its nonce are committed together, or not at all.
///
/// Claim the nonce in the transaction of the write, and the write happens at most once for a signed request, whatever the replay
/// guard in front has lost:
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
/// A transaction that is rolled back gives its nonce back: the write did not happen.
///
/// `PostgresNonces` is also a [`NonceStore`] for several servers that share a database. Every claim is then a transaction of its
/// own, and a handler has no nonce left to claim: with both on one database, [`PostgresNonces::claim_in`] returns
/// [`NotClaimed::Replayed`].
///
/// A nonce belongs to the number of a credential. All servers on one database need the same number for the same key: one
/// registry, or copies of one.
#[derive(Clone, Debug)]
pub struct PostgresNonces {
    pool: PgPool,
    window: Window,
}

impl PostgresNonces {
    /// Makes the schema `countersign` in this database, or brings it up to date. A schema that is up to date is only read.
    ///
    /// A schema without a low-water mark may replace a lost one. So what could have been accepted by `now` is refused as too
    /// old, which is everything that is signed in the next `skew` + 1 s.
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

    /// Claims a nonce in the caller's transaction, which has to be one of this database: in one round trip, at every isolation
    /// level. While another transaction has claimed the same nonce and is not at its end, this waits for it.
    ///
    /// What is written in the same transaction is written at most once for each signed request.
    ///
    /// # Errors
    ///
    /// [`NotClaimed`]. The transaction is aborted then: nothing that was or will be written in it can be committed, and
    /// PostgreSQL takes a commit for a rollback without a word. Answer the error, rather than commit. Claim first: after a
    /// savepoint (a transaction begun in this one) no claim succeeds, it is [`NotClaimed::Unavailable`], since it could be
    /// rolled back with the savepoint alone. Whoever rolls back to the savepoint then can still commit what is outside of it.
    pub async fn claim_in(
        &self,
        transaction: &mut PgTransaction<'_>,
        used: &NonceUse,
        now: Timestamp,
    ) -> Result<(), NotClaimed> {
        claim(&mut **transaction, used, now).await
    }

    /// Forgets the nonces of signatures that are too old for every server, and returns how many. Call it every minute or so, from
    /// one of the servers or from all.
    ///
    /// It raises the low-water mark first, so a forgotten nonce is refused for ever, also if `now` is wrong.
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

/// Sets the low-water mark, unless it is set.
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

/// What stands for a use of a nonce in the table: bounded in size, and nothing that was sent.
///
/// It needs no key, which servers would have to share: whoever finds two of their own requests with one fingerprint, after
/// some 2^64 tries, has the second of them refused. It may never change, or servers of two versions would each accept a
/// request once.
fn fingerprint(used: &NonceUse) -> [u8; 16] {
    // Fixed lengths first, then the one that varies: two different uses never write the same bytes.
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

/// A time as a column holds it.
fn seconds(time: Timestamp) -> i64 {
    // A timestamp has at most 15 digits, which always fit.
    i64::try_from(time.unix()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use countersign::Nonce;

    use super::*;

    #[test]
    fn fingerprints_are_the_same_in_every_version_and_differ_with_every_part() {
        let used = |credential, created, nonce: &str| {
            NonceUse::new(credential, Timestamp::from_unix(created), nonce.parse().unwrap())
        };
        let nonce = Nonce::from_random([7; 16]);
        let first = used(1, 1_763_900_000, nonce.as_str());
        // SHA-256 of the two numbers as 8 bytes each and the nonce, its first half.
        let known = 0x03fb_493a_e1ac_b541_be3e_9943_977e_cb8d_u128;
        assert_eq!(u128::from_be_bytes(fingerprint(&first)), known);
        for other in [
            used(2, 1_763_900_000, nonce.as_str()),
            used(1, 1_763_900_001, nonce.as_str()),
            used(1, 1_763_900_000, "BwcHBwcHBwcHBwcHBwcHB="),
            used(1, 1_763_900_000, "BwcHBwcHBwcHBwcHBwcHBwA"),
        ] {
            assert_ne!(fingerprint(&other), fingerprint(&first), "{other:?}");
        }
    }
}
