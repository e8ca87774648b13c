use std::sync::Arc;

use countersign::{PublishableKey, VerifyingKey};
use countersign_store::{Credential, DamagedCredential, Standing};
use serde_json::{Value, json};

use crate::{moment, printable::one_line, shell::quote};

/// A private key that was found.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) line: u64,
    /// In characters, from 1.
    pub(super) column: u64,
    pub(super) form: Form,
    /// The public half of an Ed25519 key; of an HMAC key the same secret.
    pub(super) key: VerifyingKey,
}

/// The form in which a private key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `sk_…`
    Text,
    /// A block with `-----BEGIN … PRIVATE KEY-----`.
    Pem,
}

impl Form {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Pem => "pem",
        }
    }
}

/// A credential of a registry, or what can be read of it.
pub(super) type Listed = Result<Arc<Credential>, Arc<DamagedCredential>>;

/// What a registry has of a key that was found.
#[derive(Debug)]
pub(super) enum Registered {
    Unknown,
    /// The private key is that of a credential, with its label, application and state.
    Credential {
        label: String,
        application: String,
        state: &'static str,
    },
    /// An HMAC key that names a credential, and has another secret than that.
    OtherSecret,
    /// The credential cannot be used: its row is damaged, or sealed with a master key that is not given.
    Unusable,
}

impl Registered {
    pub(super) fn of(listed: Option<Listed>, finding: &Finding) -> Self {
        match listed {
            None => Self::Unknown,
            Some(Ok(credential)) if credential.key != finding.key => Self::OtherSecret,
            Some(Ok(credential)) => Self::Credential {
                label: credential.label.to_string(),
                application: credential.application.name.to_string(),
                state: match credential.standing(moment::now()) {
                    Standing::Active => "active",
                    Standing::Quarantined => "quarantined",
                    Standing::Expired => "expired",
                    Standing::Revoked => "revoked",
                },
            },
            Some(Err(_)) => Self::Unusable,
        }
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Credential { .. } => "credential",
            Self::OtherSecret => "other-secret",
            Self::Unusable => "unusable",
        }
    }
}

impl Finding {
    pub(super) fn publishable_key(&self) -> PublishableKey {
        self.key.publishable_key()
    }

    /// Describes it in a line. Never has the private key.
    pub(super) fn line(&self, file: &str, registered: Option<&Registered>, db: &str) -> String {
        let Self { line, column, .. } = self;
        let key = self.publishable_key();
        let command =
            |name: &str| format!("`countersign key {name} {}{db}`", quote(&key.to_string()));
        let told = match registered {
            None => String::new(),
            Some(Registered::Unknown) => ", which is not in this registry".to_owned(),
            Some(Registered::Credential { label, application, state: "revoked" }) => {
                format!(", {label:?} of {application}, which is revoked")
            }
            Some(Registered::Credential { label, application, state }) => {
                format!(", {label:?} of {application}, which is {state}: {}", command("revoke"))
            }
            Some(Registered::OtherSecret) => {
                ", which has another secret in this registry".to_owned()
            }
            Some(Registered::Unusable) => {
                format!(", which is in this registry and cannot be read: {}", command("show"))
            }
        };
        format!("{}:{line}:{column}: private key of {key}{told}", one_line(file))
    }

    /// Describes it as a JSON object.
    pub(super) fn object(&self, file: &str, registered: Option<&Registered>) -> Value {
        let credential = match registered {
            Some(Registered::Credential { label, application, state }) => {
                json!({ "label": label, "application": application, "state": state })
            }
            _ => Value::Null,
        };
        json!({
            "file": file,
            "line": self.line,
            "column": self.column,
            "form": self.form.as_str(),
            "alg": self.key.algorithm().as_str(),
            "publishable_key": self.publishable_key().to_string(),
            "registered": registered.map(Registered::as_str),
            "credential": credential,
        })
    }
}
