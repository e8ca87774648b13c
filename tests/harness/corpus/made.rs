//! How a case is made: from a request, by one change.

use countersign::{Nonce, PrivateKey, Timestamp};
use sha2::{Digest, Sha256};

use super::{
    case::{Case, Expect, Field, Group, Step},
    settings::USUAL,
};
use crate::{Bytes, Http2, NOW, Raw, key};

/// What a signed order covers.
pub(super) const ALL: &str =
    r#""@method" "@authority" "@path" "@query" "content-digest" "content-type""#;

/// Signs the requests of one step, always with the same nonce.
pub(super) struct Signing {
    nonce: Nonce,
    /// The nonce of the first step.
    first: Nonce,
}

impl Signing {
    fn new(case: &str, step: usize) -> Self {
        let nonce = |step: usize| {
            let hash = Sha256::digest(format!("{case}, step {step}"));
            Nonce::from_random(*hash.first_chunk().unwrap())
        };
        Self { nonce: nonce(step), first: nonce(0) }
    }

    /// With the nonce of the first step.
    pub(super) fn with_first_nonce(&self) -> Self {
        Self { nonce: self.first.clone(), first: self.first.clone() }
    }

    pub(super) fn sign(&self, request: Raw) -> Raw {
        self.sign_by(request, key(1))
    }

    pub(super) fn sign_by(&self, request: Raw, key: PrivateKey) -> Raw {
        request.signed_with(key, NOW, &self.nonce)
    }

    /// Signed this many seconds from now.
    pub(super) fn sign_at(&self, request: Raw, from_now: i64) -> Raw {
        let created = NOW.unix().checked_add_signed(from_now).unwrap();
        request.signed_with(key(1), Timestamp::from_unix(created), &self.nonce)
    }

    pub(super) fn order(&self) -> Raw {
        self.sign(Raw::order())
    }

    pub(super) fn read(&self) -> Raw {
        self.sign(Raw::read())
    }

    /// The list and the parameters of an order's signature.
    pub(super) fn params(&self) -> String {
        self.params_of(ALL)
    }

    pub(super) fn params_of(&self, list: &str) -> String {
        let nonce = &self.nonce;
        format!(
            r#"({list});created=1763900000;nonce="{nonce}";keyid="KEYID";alg="ed25519";tag="countersign""#
        )
    }

    /// A request that is signed over a list and parameters in which one part is replaced.
    pub(super) fn replaced_in(&self, request: Raw, from: &str, to: &str) -> Raw {
        let params = self.params();
        assert!(params.contains(from), "{from}");
        request.signed_as(&params.replacen(from, to, 1))
    }

    /// An order that is signed over a list and parameters in which one part is replaced.
    pub(super) fn replaced(&self, from: &str, to: &str) -> Raw {
        self.replaced_in(Raw::order(), from, to)
    }

    /// An order that is signed over all but one of its components.
    pub(super) fn uncovered(&self, name: &str) -> Raw {
        let params = self.params().replace(&format!("\"{name}\""), "").replace("  ", " ");
        Raw::order().signed_as(&params.replace("( ", "(").replace(" )", ")"))
    }

    /// An order without one of the parameters.
    pub(super) fn lacking(&self, parameter: &str) -> Raw {
        let params = self.params();
        let (before, rest) = params.split_once(&format!(";{parameter}=")).unwrap();
        let rest = rest.split_once(';').map(|(_, rest)| format!(";{rest}")).unwrap_or_default();
        Raw::order().signed_as(&format!("{before}{rest}"))
    }
}

/// A request in the versions in which it is sent.
pub(super) struct Sent {
    http1: Option<Vec<u8>>,
    http2: Option<Http2>,
    /// Whether there is content, as far as a head says.
    content: bool,
}

impl From<Raw> for Sent {
    fn from(raw: Raw) -> Self {
        let content = !raw.body.is_empty();
        Self { http1: Some(raw.bytes()), http2: Some(raw.http2()), content }
    }
}

/// What only HTTP/1.1 can say.
pub(super) fn http1(raw: Raw) -> Sent {
    Sent { http2: None, ..raw.into() }
}

/// Bytes that only HTTP/1.1 can have, with content behind the head.
pub(super) fn bytes(bytes: Vec<u8>) -> Sent {
    Sent { http1: Some(bytes), http2: None, content: true }
}

/// What only HTTP/2 can say.
pub(super) fn http2(raw: Raw, change: impl FnOnce(&mut Http2)) -> Sent {
    let mut http2 = raw.http2();
    change(&mut http2);
    Sent { http1: None, http2: Some(http2), content: !raw.body.is_empty() }
}

impl Sent {
    /// The same in HTTP/2, but for a change.
    pub(super) fn with_http2(self, raw: &Raw, change: impl FnOnce(&mut Http2)) -> Self {
        let mut http2 = raw.http2();
        change(&mut http2);
        Self { http2: Some(http2), ..self }
    }

    pub(super) fn only_http2(self) -> Self {
        Self { http1: None, ..self }
    }
}

/// A case in the making.
pub(super) struct Draft(Case);

/// A valid case.
pub(super) fn valid<S: Into<Sent>>(
    name: &str,
    request: impl FnOnce(&Signing) -> S,
    expect: Expect,
) -> Draft {
    let case = Case {
        row: None,
        name: name.to_owned(),
        from: None,
        server: USUAL.to_owned(),
        steps: Vec::new(),
    };
    Draft(case).then(0, request, expect)
}

/// A case of a row of the table, one change away from a valid one.
pub(super) fn row<S: Into<Sent>>(
    row: u16,
    name: &str,
    from: &str,
    request: impl FnOnce(&Signing) -> S,
    expect: Expect,
) -> Draft {
    let mut draft = extra(name, from, request, expect);
    draft.0.row = Some(row);
    draft
}

/// A case that the table has no row for, one change away from a valid one.
pub(super) fn extra<S: Into<Sent>>(
    name: &str,
    from: &str,
    request: impl FnOnce(&Signing) -> S,
    expect: Expect,
) -> Draft {
    let mut draft = valid(name, request, expect);
    draft.0.from = Some(from.to_owned());
    draft
}

impl Draft {
    /// On another server than the usual one.
    pub(super) fn on(mut self, server: &str) -> Self {
        self.0.server = server.to_owned();
        self
    }

    /// And then another request, at this time.
    pub(super) fn then<S: Into<Sent>>(
        mut self,
        clock: i64,
        request: impl FnOnce(&Signing) -> S,
        expect: Expect,
    ) -> Self {
        let Case { name, steps, .. } = &mut self.0;
        let Sent { http1, http2, content } = request(&Signing::new(name, steps.len())).into();
        let expect = expect.closing_after(content);
        steps.push(Step { clock, http1: http1.map(pieces), http2, expect });
        self
    }

    /// And then the very same once more, at this time.
    pub(super) fn again(mut self, clock: i64, expect: Expect) -> Self {
        let first = self.0.steps[0].clone();
        let content = first.http2.as_ref().is_some_and(|request| !request.body.is_empty());
        let expect = expect.closing_after(content);
        self.0.steps.push(Step { clock, expect, ..first });
        self
    }

    /// With a header that the answers to all steps have to have.
    pub(super) fn telling(mut self, name: &str, value: &str) -> Self {
        for step in &mut self.0.steps {
            step.expect.headers.insert(name.to_owned(), Field::Exactly(value.to_owned()));
        }
        self
    }
}

pub(super) fn group(name: &str, drafts: impl IntoIterator<Item = Draft>) -> Group {
    Group { group: name.to_owned(), cases: drafts.into_iter().map(|draft| draft.0).collect() }
}

/// By lines, for readers.
fn pieces(bytes: Vec<u8>) -> Vec<Bytes> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(Bytes::from).collect()
}

/// What a handler answers.
pub(super) fn accepted(status: u16) -> Expect {
    let kept = ("cache-control".to_owned(), Field::Exactly("no-store".to_owned()));
    Expect { status: Some(status), code: None, headers: [kept].into(), handler: true }
}

/// What is answered instead of running a handler.
pub(super) fn refused(status: u16, code: &str) -> Expect {
    let told: &[&str] = match (status, code) {
        (401, "signature-stale") => &["www-authenticate", "accept-signature", "date"],
        (401, _) => &["www-authenticate", "accept-signature"],
        (405, _) => &["allow"],
        (429 | 503, _) => &["retry-after"],
        (_, "digest-unsupported") => &["want-content-digest"],
        _ => &[],
    };
    let headers = told.iter().map(|name| ((*name).to_owned(), Field::There(true))).collect();
    Expect { status: Some(status), code: Some(code.to_owned()), headers, handler: false }
}

pub(super) fn malformed() -> Expect {
    refused(400, "signature-malformed")
}

pub(super) fn policy() -> Expect {
    refused(401, "signature-policy")
}

pub(super) fn invalid() -> Expect {
    refused(401, "signature-invalid")
}

/// What the HTTP library answers itself, before anything of a verifier runs.
pub(super) fn not_http(status: u16) -> Expect {
    Expect { status: Some(status), ..Expect::default() }
}

/// No answer at all: the HTTP library resets the stream or closes the connection, or the sender gave up.
pub(super) fn unanswered() -> Expect {
    Expect::default()
}

impl Expect {
    /// Content that nobody reads, and a head that says two things, must not be taken for the next request (HTTP/1.1).
    fn closing_after(mut self, content: bool) -> Self {
        let ambiguous = ["bad-request", "header-too-large", "uri-too-long", "method-not-allowed"];
        let refused = self.code.as_deref();
        if refused.is_some_and(|code| content || ambiguous.contains(&code)) {
            self.headers.insert("connection".to_owned(), Field::Exactly("close".to_owned()));
        }
        self
    }
}
