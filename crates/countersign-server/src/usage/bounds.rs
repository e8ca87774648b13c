//! How much is counted apart. Counts beyond a bound go into a row for all others, so that their sums stay right.

use std::time::Duration;

/// The default time between two flushes.
pub(super) const PACE: Duration = Duration::from_secs(5);
/// The longest time between two attempts to save a batch.
pub(super) const LONGEST_PACE: Duration = Duration::from_secs(60);
/// How long a sink may take for a batch, before the batch is saved again.
pub(super) const SAVE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stop waits for a sink.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How many keys of calls are held between two flushes.
pub(super) const CALLS: usize = 1 << 16;
/// How many pairs of credential and network are held.
pub(super) const PLACES: usize = 1 << 17;
/// How many networks are counted apart for each credential, hour and access.
pub(super) const PLACES_EACH: usize = 256;
/// How many pairs of credential and program are held.
pub(super) const CLIENTS: usize = 1 << 17;
/// How many programs are counted apart for each credential, hour and access.
pub(super) const CLIENTS_EACH: usize = 64;
/// How many kinds of events of credentials are held between two flushes.
pub(super) const EVENTS: usize = 1 << 14;
/// How many rows for all others are held of each table. Counts beyond are dropped.
pub(super) const SPILL: usize = 1 << 12;
/// How many distinct programs are known at a time.
pub(super) const AGENTS: usize = 1 << 12;
/// How many bytes of a `User-Agent` are read.
pub(super) const AGENT_BYTES: usize = 512;
/// The longest name of a product, in bytes.
pub(super) const PRODUCT_BYTES: usize = 64;
/// How many calls wait for the credential of the key that they named.
pub(super) const UNRESOLVED: usize = 1 << 10;
/// How long credentials of named keys are looked for, in each flush.
pub(super) const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
