//! The fields in which an upstream reads who calls. A client's own are removed in every spelling, and all of them are always set.

use std::sync::LazyLock;

use countersign::PublishableKey;
use countersign_server::{Caller, Proof};
use http::{HeaderMap, HeaderName, HeaderValue};
use quick_cache::sync::Cache;

use super::spelling::{begins_with, remove_fields};

/// No client gets a field with this beginning through to an upstream.
const RESERVED: &str = "countersign-";
const APPLICATION: HeaderName = HeaderName::from_static("countersign-application");
const CREDENTIAL: HeaderName = HeaderName::from_static("countersign-credential");
const ACCESS: HeaderName = HeaderName::from_static("countersign-access");
const SCOPES: HeaderName = HeaderName::from_static("countersign-scopes");

/// The texts of the keys that called last. A text has a checksum and is in base 58, which takes longer than looking up its key.
static TEXTS: LazyLock<Cache<PublishableKey, HeaderValue>> = LazyLock::new(|| Cache::new(4_096));

/// The names of the identity fields.
pub(crate) const FIELDS: [HeaderName; 4] = [APPLICATION, CREDENTIAL, ACCESS, SCOPES];

/// Whether no client gets this field through to an upstream.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    begins_with(name, RESERVED)
}

/// Replaces the identity fields with those of the caller. Without a known caller all are empty, and the access is `open`.
pub(crate) fn set_identity(headers: &mut HeaderMap, caller: Option<&Caller>) {
    remove_fields(headers, is_reserved);
    let empty = || HeaderValue::from_static("");
    let value = |text: &str| HeaderValue::try_from(text).unwrap_or_else(|_| empty());
    let [application, credential, access, scopes] = match caller {
        Some(caller) => {
            let credential = caller.credential();
            let access = match caller.proof() {
                Proof::Signed => "signed",
                Proof::Publishable => "publishable",
            };
            let scopes = match credential.scopes.is_empty() {
                true => empty(),
                false => value(&credential.scopes.to_string()),
            };
            [
                value(caller.application().name.as_str()),
                text_of(credential.key.publishable_key()).unwrap_or_else(empty),
                HeaderValue::from_static(access),
                scopes,
            ]
        }
        None => [empty(), empty(), HeaderValue::from_static("open"), empty()],
    };
    headers.insert(APPLICATION, application);
    headers.insert(CREDENTIAL, credential);
    headers.insert(ACCESS, access);
    headers.insert(SCOPES, scopes);
}

/// Returns the text of a key. Only keys of callers come here, so that strangers do not fill the cache.
fn text_of(key: PublishableKey) -> Option<HeaderValue> {
    if let Some(text) = TEXTS.get(&key) {
        return Some(text);
    }
    let text = HeaderValue::try_from(key.to_string()).ok()?;
    TEXTS.insert(key, text.clone());
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sets_no_identity_field_in_any_spelling() {
        let mut headers = HeaderMap::new();
        let forged = ["countersign-application", "countersign_scopes", "countersign.credential"];
        for name in forged.into_iter().chain(["countersign-other"]) {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("forged"));
        }
        set_identity(&mut headers, None);
        assert_eq!(headers.len(), FIELDS.len());
        assert_eq!(headers[ACCESS], "open");
        for name in [APPLICATION, CREDENTIAL, SCOPES] {
            assert_eq!(headers[name], "");
        }
    }
}
