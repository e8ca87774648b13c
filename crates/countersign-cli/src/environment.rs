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

/// The variables that can lead to a secret: no other program gets them.
pub(crate) const ALL: [&str; 6] = [
    KEY_VARIABLE,
    PASSPHRASE_VARIABLE,
    DB_VARIABLE,
    MASTER_KEY_VARIABLE,
    PREVIOUS_MASTER_KEY_VARIABLE,
    CURL_ARGUMENTS_VARIABLE,
];
