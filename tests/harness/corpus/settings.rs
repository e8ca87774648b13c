//! What a server needs for the corpus: its keys, its clock, its limits.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign::{Algorithm, Policy, PrivateKey, PublishableKey, Window};
use countersign_store::{MemoryKeys, MemoryNonces, State};
use serde::{Deserialize, Serialize};

use super::ACTIVE_HMAC;
use crate::{Counted, NOW, Service, credential, key, service::ORIGINS};

/// The set-up that most cases are sent to.
pub(super) const USUAL: &str = "usual";
/// One that takes 1,000 bytes of content.
pub(super) const SMALL: &str = "small";
/// One that waits for content for 200 ms.
pub(super) const IMPATIENT: &str = "impatient";
/// One whose replay guard has just started, and remembers nothing.
pub(super) const COLD: &str = "cold";
/// One that remembers two nonces of each key.
pub(super) const SPARING: &str = "sparing";

/// How the servers are set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the clock stands, in seconds since 1970, unless a step moves it.
    pub clock: u64,
    /// The origins that are served.
    pub origins: Vec<String>,
    /// The policy.
    pub policy: PolicySettings,
    /// The keys that signed, registered or not.
    pub keys: Vec<KeySettings>,
    /// What differs between the servers.
    pub servers: BTreeMap<String, ServerSettings>,
}

/// What a signature has to prove, where it differs between services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// The tag.
    pub tag: String,
    /// How old a signature may be, in seconds.
    pub max_age: u64,
    /// How far clocks may differ, in seconds.
    pub skew: u64,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Its number, by which the tests call it.
    pub number: u8,
    /// Its key id, which is also the publishable key.
    pub keyid: String,
    /// As in RFC 9421 §6.2.
    pub algorithm: String,
    /// The seed of an Ed25519 key, or the secret; in base64.
    pub secret: String,
    /// What is known of it.
    pub state: KeyState,
}

/// What a server knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It may sign.
    Active,
    /// It may no more.
    Revoked,
    /// Its time is over.
    Expired,
    /// It may read, without signing.
    Quarantined,
    /// Nothing.
    Unregistered,
}

/// What differs between the servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// When the replay guard started, in seconds from the clock of the settings. It remembers nothing from before.
    pub guard_started: i64,
    /// How many nonces of one key it remembers; absent for more than are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonces_per_key: Option<usize>,
    /// The most content that is taken, in bytes.
    pub content_limit: usize,
    /// The longest that content may take to arrive, in milliseconds.
    pub content_timeout_ms: u64,
}

/// A server that was started.
#[derive(Debug)]
pub struct Started {
    /// The server.
    pub service: Service,
    /// How often its replay guard was asked.
    pub claims: Arc<AtomicUsize>,
}

impl Settings {
    /// The settings for which the cases are made.
    pub(super) fn made() -> Self {
        let policy = Policy::default();
        let states = [
            (1, KeyState::Active),
            (2, KeyState::Revoked),
            (3, KeyState::Expired),
            (4, KeyState::Quarantined),
            (5, KeyState::Active),
            (9, KeyState::Unregistered),
        ];
        let ed25519 = states.map(|(number, state)| KeySettings {
            number,
            keyid: key(number).publishable_key().to_string(),
            algorithm: Algorithm::Ed25519.to_string(),
            secret: STANDARD.encode([number; 32]),
            state,
        });
        let hmac = KeySettings {
            number: ACTIVE_HMAC,
            keyid: super::hmac().publishable_key().to_string(),
            algorithm: Algorithm::HmacSha256.to_string(),
            secret: STANDARD.encode([ACTIVE_HMAC; 32]),
            state: KeyState::Active,
        };
        let usual = ServerSettings {
            guard_started: -3600,
            nonces_per_key: None,
            content_limit: 1 << 20,
            content_timeout_ms: 30_000,
        };
        let servers = [
            (USUAL, usual.clone()),
            (SMALL, ServerSettings { content_limit: 1000, ..usual.clone() }),
            (IMPATIENT, ServerSettings { content_timeout_ms: 200, ..usual.clone() }),
            (COLD, ServerSettings { guard_started: 0, ..usual.clone() }),
            (SPARING, ServerSettings { nonces_per_key: Some(2), ..usual }),
        ];
        Self {
            clock: NOW.unix(),
            origins: ORIGINS.map(str::to_owned).into(),
            policy: PolicySettings {
                tag: policy.selected_tag().to_owned(),
                max_age: policy.max_age().as_secs(),
                skew: policy.skew().as_secs(),
            },
            keys: ed25519.into_iter().chain([hmac]).collect(),
            servers: servers.map(|(name, server)| (name.to_owned(), server)).into(),
        }
    }

    /// Starts one of the servers.
    ///
    /// # Panics
    ///
    /// If the settings are none that this harness can make.
    pub async fn start(&self, server: &str) -> Started {
        assert_eq!(
            (self.clock, self.origins.as_slice()),
            (NOW.unix(), &ORIGINS.map(str::to_owned)[..])
        );
        let server = &self.servers[server];
        let seconds = |seconds| Duration::from_secs(seconds);
        let policy = Policy::default().tag(&self.policy.tag).unwrap();
        let policy =
            policy.window(seconds(self.policy.max_age), seconds(self.policy.skew)).unwrap();
        let started = NOW.unix().checked_add_signed(server.guard_started).unwrap();
        let started = countersign::Timestamp::from_unix(started);
        let nonces = MemoryNonces::volatile(Window::from(&policy), started).unwrap();
        let nonces = match server.nonces_per_key {
            Some(share) => nonces.share(share),
            None => nonces,
        };
        let (nonces, claims) = Counted::new(nonces);
        let service = Service::start_with(self.keys(), nonces, |verifier| {
            verifier
                .policy(policy)
                .content_limit(server.content_limit)
                .content_timeout(Duration::from_millis(server.content_timeout_ms))
        })
        .await;
        Started { service, claims }
    }

    fn keys(&self) -> MemoryKeys {
        let keys = MemoryKeys::default();
        for settings in &self.keys {
            let state = match settings.state {
                KeyState::Active => State::Active,
                KeyState::Revoked => State::Revoked,
                // Which keys have expired is said by `credential`.
                KeyState::Expired => State::Active,
                KeyState::Quarantined => State::Quarantined,
                KeyState::Unregistered => continue,
            };
            keys.insert(credential(settings.number.into(), &settings.private_key(), state))
                .unwrap();
        }
        keys
    }
}

impl KeySettings {
    /// The private key as text, which no answer may hold.
    pub(super) fn private_text(&self) -> String {
        self.private_key().expose_text().to_string()
    }

    fn private_key(&self) -> PrivateKey {
        let secret = STANDARD.decode(&self.secret).unwrap();
        let public: PublishableKey = self.keyid.parse().unwrap();
        let key = match public.algorithm() {
            Algorithm::HmacSha256 => {
                PrivateKey::hmac_sha256(public.as_bytes().try_into().unwrap(), &secret).unwrap()
            }
            _ => PrivateKey::ed25519(secret.as_slice().try_into().unwrap()),
        };
        assert_eq!(key.publishable_key(), public, "key {}", self.number);
        key
    }
}
