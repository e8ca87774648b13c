//! The header fields that a handler gets, with the values that the signature covers.

use http::{HeaderMap, HeaderName, HeaderValue, header::COOKIE};

/// Makes the fields of a verified request those that its handler gets.
pub(super) fn hand_on(headers: &mut HeaderMap, hidden: &[HeaderName]) {
    trim(headers);
    join_cookies(headers);
    for name in hidden {
        headers.remove(name);
    }
}

/// Takes the outer white space off all fields, which is part of no value (RFC 9110 §5.5) and of no signature base. Over
/// HTTP/1.1 there is none; over HTTP/2 a handler would read another value than the one that was verified.
fn trim(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let trimmed = value.as_bytes().trim_ascii();
        if trimmed.len() == value.len() {
            continue;
        }
        if let Ok(mut other) = HeaderValue::from_bytes(trimmed) {
            other.set_sensitive(value.is_sensitive());
            *value = other;
        }
    }
}

/// Puts several `Cookie` fields together, as RFC 9113 §8.2.3 has it and as signature bases have them: a handler that reads the
/// first one alone would else read less than was signed.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
    if cookies.len() < 2 {
        return;
    }
    let sensitive = cookies.iter().any(|cookie| cookie.is_sensitive());
    let pieces: Vec<_> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
    if let Ok(mut whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        whole.set_sensitive(sensitive);
        headers.insert(COOKIE, whole);
    }
}
