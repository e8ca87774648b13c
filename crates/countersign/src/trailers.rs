use http::HeaderMap;

use crate::{
    code::Code,
    field_name::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT},
};

/// The trailers of a request have a field that is for the head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature and digest fields do not belong in trailers")]
pub struct SignedTrailer;

impl SignedTrailer {
    /// The code of the refusal.
    pub const fn code(self) -> Code {
        Code::BadRequest
    }
}

/// Checks the trailers of a signed request. A server hands none of them to its handler, since no signature covers them.
///
/// # Errors
///
/// [`SignedTrailer`] if `Signature`, `Signature-Input` or `Content-Digest` is among them: another hop may merge trailers into
/// the head (RFC 9110 §6.5.1), and would change what was verified.
pub fn check_trailers(trailers: &HeaderMap) -> Result<(), SignedTrailer> {
    let misplaced = [SIGNATURE, SIGNATURE_INPUT, CONTENT_DIGEST];
    match misplaced.iter().any(|name| trailers.contains_key(name)) {
        true => Err(SignedTrailer),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn the_fields_of_a_signature_are_for_the_head_alone() {
        let trailers = |name: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static("a"))])
        };
        for name in ["signature", "signature-input", "content-digest"] {
            assert_eq!(check_trailers(&trailers(name)), Err(SignedTrailer), "{name}");
        }
        for name in ["expires", "repr-digest", "server-timing"] {
            assert_eq!(check_trailers(&trailers(name)), Ok(()), "{name}");
        }
        assert_eq!(check_trailers(&HeaderMap::new()), Ok(()));
    }
}
