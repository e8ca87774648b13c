//! The names of the environment variables that this command reads.

/// The text of a key: the private key that signs, or the key to verify with.
pub(crate) const KEY_VARIABLE: &str = "COUNTERSIGN_KEY";
/// The passphrase of an encrypted key file.
pub(crate) const PASSPHRASE_VARIABLE: &str = "COUNTERSIGN_PASSPHRASE";
/// The registry, as `--db` names it.
pub(crate) const DB_VARIABLE: &str = "COUNTERSIGN_DB";
/// Who makes a change in a registry, as `--actor` names them.
pub(crate) const ACTOR_VARIABLE: &str = "COUNTERSIGN_ACTOR";
/// The text of the master key that seals the HMAC secrets in a registry.
pub(crate) const MASTER_KEY_VARIABLE: &str = "COUNTERSIGN_MASTER_KEY";
/// The text of the master key that the master key replaced.
pub(crate) const PREVIOUS_MASTER_KEY_VARIABLE: &str = "COUNTERSIGN_PREVIOUS_MASTER_KEY";
/// The descriptor of the file that holds curl's arguments. `countersign curl` sets it for itself.
pub(crate) const CURL_ARGUMENTS_VARIABLE: &str = "COUNTERSIGN_CURL_ARGUMENTS";
/// The configuration of `countersign serve`, as `--config` names it.
pub(crate) const CONFIG_VARIABLE: &str = "COUNTERSIGN_CONFIG";
/// The services to forward to, as `--upstream` names them, with commas between them.
pub(crate) const UPSTREAMS_VARIABLE: &str = "COUNTERSIGN_UPSTREAM";
/// The origins of the service, as `--origin` names them, with commas between them.
pub(crate) const ORIGINS_VARIABLE: &str = "COUNTERSIGN_ORIGIN";
/// The address that the service listens on.
pub(crate) const LISTEN_VARIABLE: &str = "COUNTERSIGN_LISTEN";
/// The Redis of replay guard and limits. It can hold a password.
pub(crate) const REDIS_VARIABLE: &str = "COUNTERSIGN_REDIS";
/// The certificate chain of the service.
pub(crate) const TLS_CERTIFICATE_VARIABLE: &str = "COUNTERSIGN_TLS_CERTIFICATE";
/// The private key of that certificate: its file.
pub(crate) const TLS_KEY_VARIABLE: &str = "COUNTERSIGN_TLS_KEY";
/// The trusted proxies in front of the service, with commas between them.
pub(crate) const PROXIES_VARIABLE: &str = "COUNTERSIGN_PROXY";
/// The address of health checks and metrics.
pub(crate) const OPERATIONS_VARIABLE: &str = "COUNTERSIGN_OPERATIONS";
/// The least level of the service's messages.
pub(crate) const LOG_VARIABLE: &str = "COUNTERSIGN_LOG";
/// Whether the service records usage, as `--usage` says.
pub(crate) const USAGE_VARIABLE: &str = "COUNTERSIGN_USAGE";

/// The variables that can lead to a secret: no other program gets them.
pub(crate) const ALL: [&str; 7] = [
    KEY_VARIABLE,
    PASSPHRASE_VARIABLE,
    DB_VARIABLE,
    MASTER_KEY_VARIABLE,
    PREVIOUS_MASTER_KEY_VARIABLE,
    CURL_ARGUMENTS_VARIABLE,
    REDIS_VARIABLE,
];
