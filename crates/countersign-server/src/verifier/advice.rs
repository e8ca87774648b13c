//! Log lines that tell the operator how to fix a problem.

use countersign::{Misdirected, Rejection, Unserved};
use countersign_store::{Gate, KeyStore};
use http::{header::HOST, request::Parts};

use super::Verifier;
use crate::{
    refusal::{
        reason::{NO_ADDRESS, Reason, SentKey},
        unaccepted::Unaccepted,
    },
    telemetry,
};

/// The longest text of a caller in a log line, in bytes.
const LONGEST_HOST: usize = 100;

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// Logs the served origins.
    pub(super) fn announce(&self) {
        tracing::info!(
            origins = self.ingress.served(),
            "requests for these origins are verified; a request for another host is refused with 421"
        );
    }

    /// Counts and logs what the operator can change about a refusal. Each kind of advice is given once in 10 s at most, and
    /// that about a credential once for each.
    pub(super) fn advise(&self, head: &Parts, reason: &Reason) {
        let kind = match reason {
            Reason::Unaccepted(unaccepted) => {
                telemetry::count_unaccepted(&unaccepted.cause);
                return self.advise_on_unaccepted(unaccepted);
            }
            Reason::UnknownPrivateKey => "unknown private key",
            Reason::ApparentPrivateKey => "apparent private key",
            // A fault that strangers can bring about hides no other.
            Reason::Forwarded(forwarded) => forwarded.cure(),
            Reason::Unserved(Unserved::Version) => "version",
            Reason::Rejected(Rejection::Misdirected(Misdirected::NotOurs)) => "misdirected",
            Reason::NoClientAddress => "address",
            _ => return,
        };
        let Some(held_back) = self.log_pace.due(kind, None) else { return };
        match reason {
            Reason::UnknownPrivateKey => tracing::warn!(
                held_back,
                "a request has text that looks like a private key; no credential has this key"
            ),
            Reason::ApparentPrivateKey => {
                tracing::warn!(held_back, "a request has text that looks like a private key");
            }
            Reason::Forwarded(forwarded) => {
                tracing::warn!(
                    held_back,
                    "a request from a proxy was refused: {forwarded}; {}",
                    forwarded.cure()
                );
            }
            Reason::Unserved(Unserved::Version) => tracing::warn!(
                version = ?head.version,
                held_back,
                "a request was refused for its HTTP version; if a proxy in front sent it, as nginx does by default, put \
                 `proxy_http_version 1.1;` beside its `proxy_pass`"
            ),
            Reason::NoClientAddress => tracing::error!(held_back, "{}", NO_ADDRESS),
            _ => tracing::warn!(
                host = host(head),
                origins = self.ingress.served(),
                held_back,
                "a request for another host was refused; if clients or a proxy call this server by that name, add the origin to \
                 `Origins::new`, or have nginx pass the client's name on with `proxy_set_header Host $host;`"
            ),
        }
    }

    /// Counts and logs that the private key of a credential was sent.
    pub(super) fn advise_on_private_key(&self, sent: SentKey) {
        telemetry::count_private_key();
        let SentKey { key, credential } = sent;
        let Some(held_back) = self.log_pace.due("private key", Some(credential)) else { return };
        tracing::warn!(
            credential_id = credential.get(),
            held_back,
            "a private key was sent in a request, so others may have it: run `countersign key revoke {key}`"
        );
    }

    /// Logs why a registered publishable key was refused.
    pub(super) fn advise_on_unaccepted(&self, unaccepted: &Unaccepted) {
        let Unaccepted { cause, credential: Some(id) } = unaccepted else { return };
        let Some(held_back) = self.log_pace.due(cause.as_str(), Some(*id)) else { return };
        tracing::info!(
            credential_id = id.get(),
            cause = cause.as_str(),
            held_back,
            "a publishable key was refused: {cause}"
        );
    }
}

/// Returns the host that a request names.
fn host(head: &Parts) -> String {
    let named = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let named = named.or_else(|| head.headers.get(HOST).map(|host| host.as_bytes()));
    let named = named.unwrap_or_default();
    let shown = named.get(..LONGEST_HOST).unwrap_or(named);
    shown.escape_ascii().to_string()
}
