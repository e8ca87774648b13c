//! Stores for applications, credentials, nonces, limits and usage: in memory, SQLite, PostgreSQL, Redis and ClickHouse.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use countersign::{PrivateKey, ProvenKey, Timestamp, Window};
//! use countersign_store::{MemoryNonces, NewCredential, Registry};
//!
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("registry.db");
//! # let (url, now) = (format!("sqlite:{}", file.display()), Timestamp::from_unix(1_763_900_000));
//! let registry = Arc::new(Registry::open_or_create(&url).await?); // `sqlite:FILE`
//! let nonces = MemoryNonces::durable(Window::default(), Arc::clone(&registry), now).await?;
//!
//! // The content of the `.pub` file, which the holder of the key sends.
//! let proof = ProvenKey::proof(&PrivateKey::ed25519(&[7; 32]))?;
//! registry.add_application("shop", "live", now).await?;
//! let key = ProvenKey::from_proof(&proof)?;
//! let credential = registry.add_credential(NewCredential::new("shop", "laptop", &key), now).await?;
//! assert_eq!(credential.label, "laptop");
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
//! ```
//!
//! Two traits ask one atomic question each: [`KeyStore::find`] asks for the credential of a key, and [`NonceStore::claim`] whether
//! a nonce is fresh. [`MemoryKeys`] and [`MemoryNonces`] answer in one process, and [`Registry`] keeps credentials in an SQLite
//! file or, with the feature `postgres`, in PostgreSQL. There `PostgresNonces` claims a nonce in the transaction in which a handler writes.
//!
//! A [`Credential`] has [`Scopes`], which say what it may do, and [`Restrictions`], which say where it may be used.
//!
//! A [`Gate`] holds the budgets and the replay guard that a request of a known caller has to pass. The replay guards of this
//! crate are gates without limits, and [`Limited`] puts [`Limits`] in front of a guard. With the feature `redis`, `RedisNonces`
//! and `RedisGate` serve several servers. [`Readiness`] tells when a guard begins to accept signed requests.
//!
//! | feature | adds |
//! | --- | --- |
//! | `sqlite` (on) | [`Registry`] in an SQLite file |
//! | `postgres`, `postgres-tls` | the registry in PostgreSQL, and `PostgresNonces` for writes that happen once |
//! | `redis` | `RedisNonces` and `RedisGate`: a guard and limits that several servers share |
//! | `registry-text` | the registry as a TOML text, for version control |
//! | `clickhouse` | usage in ClickHouse |

mod credential;
mod enforcement;
mod error;
mod held_keys;
mod key_store;
mod limits;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod master_key;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod migrations;
mod nonces;
#[cfg(feature = "postgres")]
mod postgres_schema;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod registry;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sealed_secret;
mod system_time;
mod telemetry;
mod usage;

// The public interface is:
#[cfg(feature = "redis")]
pub use crate::redis::{
    gate::RedisGate,
    nonces::RedisNonces,
    server::{BadRedis, Redis},
};
pub use credential::{
    Credential, CredentialId, Stage, Standing, State, UnknownState,
    application::{Application, ApplicationName, Contact, Environment, Notes},
    label::Label,
    name::BadName,
    reason::Reason,
    restrictions::{
        Restriction, Restrictions,
        allowed::BadRestriction,
        half::Half,
        kind::{RestrictionKind, UnknownKind},
    },
    rotation::{Made, NotReplaced, Rotation},
    scope::{BadScope, Scope, Scopes},
};
pub use enforcement::Enforcement;
pub use error::StoreError;
pub use held_keys::{HeldKeys, NotHandedOver};
pub use key_store::{KeyStore, memory::MemoryKeys};
pub use limits::{
    Budget, Limits, OverLimit, QuotaLeft, Verdict,
    client_address::{ClientAddress, ClientNetwork},
    gate::{Gate, GateVerdict, NoClientAddress, Unlimited},
    limited::Limited,
    memory_budget::MemoryBudget,
    own_limits::OwnLimits,
    quota::{BadQuota, BadWindow, Quota},
};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use master_key::{
    MasterKey, MasterKeyId, MasterKeys,
    bad_master_key::BadMasterKey,
    source::{BadMasterKeySource, MasterKeyError, MasterKeySource},
};
#[cfg(feature = "postgres")]
pub use nonces::postgres::{PostgresNonces, not_claimed::NotClaimed};
pub use nonces::{
    NonceStore,
    ceiling::{Ceiling, Owner},
    memory::{MemoryNonces, Volatile},
    readiness::Readiness,
};
#[cfg(feature = "postgres")]
pub use registry::postgres::failure::ServerError;
#[cfg(feature = "sqlite")]
pub use registry::sqlite::file::FileError;
#[cfg(all(feature = "registry-text", any(feature = "postgres", feature = "sqlite")))]
pub use registry::text::{
    RegistryText,
    bad_registry_text::BadRegistryText,
    plan::{Plan, PlanOptions, Step, Unlisted},
};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use registry::{
    Registry,
    actor::Actor,
    applications::ApplicationSettings,
    audit::{
        act::{Action, UnknownAction},
        entry::AuditEntry,
        filter::AuditFilter,
        hash::AuditHash,
        head::{AuditHead, BadAuditHead},
        report::{AuditFinding, AuditReport},
    },
    credential_settings::CredentialSettings,
    credentials::Revocation,
    cursor::{BadCursor, Cursor},
    damaged::{DamagedApplication, DamagedCredential},
    error::{RegistryError, Subject},
    new_credential::NewCredential,
    options::RegistryOptions,
    page::{ApplicationFilter, CredentialFilter, Page},
    rotation::Replacement,
    sealing::{RewrapBatch, Rewrapped},
    secrets::{MasterKeyRole, SealedSecrets, Secrets},
    usage::{
        counts::{Usage, UsageRow},
        event_feed::{EventFeed, EventNews},
        event_watch::{EventHandler, EventResponse, EventWatch},
        events::{EventFilter, UsageEvent},
        pruning::UsagePruned,
        response::UsageResponse,
        usage_query::{BadUsageQuery, UsageDimension, UsageQuery, UsageStep},
    },
};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use sealed_secret::NotOpened;
pub use system_time::{SystemClock, system_time};
pub use telemetry::describe_metrics;
#[cfg(feature = "clickhouse")]
pub use usage::clickhouse::{ClickHouse, address::BadClickHouse};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use usage::retention::UsageRetention;
pub use usage::{
    UsageSink,
    batch::UsageBatch,
    call::{CallAccess, CallCount, CallKey, CallOutcome, RouteLabel},
    client::{ClientKey, Platform},
    event::{EventCount, EventKey, EventKind, UnknownEventKind},
    latency::LatencyHistogram,
    place::{AddressPrefix, PlaceKey},
};
