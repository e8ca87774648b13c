//! Names of header fields as gateways to programs spell them: CGI, WSGI and PHP turn `-` and `_`, and some every other character
//! as well, into the same `_`.

use http::{HeaderMap, HeaderName};

/// Removes all fields for which `is_reserved` says so.
pub(super) fn remove_fields(headers: &mut HeaderMap, is_reserved: impl Fn(&HeaderName) -> bool) {
    let found: Vec<_> = headers.keys().filter(|name| is_reserved(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Whether a field begins with `prefix`, in any spelling.
pub(crate) fn begins_with(name: &HeaderName, prefix: &str) -> bool {
    let spelled = name.as_str().bytes().map(|byte| match byte.is_ascii_alphanumeric() {
        true => byte,
        false => b'-',
    });
    name.as_str().len() >= prefix.len() && spelled.zip(prefix.bytes()).all(|(a, b)| a == b)
}

/// Whether a field is called `whole`, in any spelling.
pub(super) fn is_spelled(name: &HeaderName, whole: &str) -> bool {
    name.as_str().len() == whole.len() && begins_with(name, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_every_spelling() {
        for name in ["countersign-scopes", "countersign_scopes", "countersign.scopes"] {
            assert!(begins_with(&HeaderName::from_static(name), "countersign-"), "{name}");
        }
        for name in ["countersign", "x-countersign-scopes", "countersigns-scopes"] {
            assert!(!begins_with(&HeaderName::from_static(name), "countersign-"), "{name}");
        }
        assert!(is_spelled(&HeaderName::from_static("x_real_ip"), "x-real-ip"));
        assert!(!is_spelled(&HeaderName::from_static("x_real_ip2"), "x-real-ip"));
    }
}
