//! Sends the cases, and says what came of them.

use std::{fmt, net::SocketAddr};

use serde::Serialize;

use super::{Case, Corpus, Expect, Field, Settings, Step, settings::USUAL};
use crate::{Answer, End, Outcome, Service, exchange_http1, exchange_http2};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS and without asking first.
    Http2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        })
    }
}

/// What came of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The row of the table of bad inputs, if there is one.
    pub row: Option<u16>,
    /// The case.
    pub name: String,
    /// Over which version of HTTP it was sent.
    pub protocol: Protocol,
    /// What is expected of its last step.
    pub expected: String,
    /// What was otherwise; absent where all is as expected.
    pub wrong: Option<String>,
}

/// Runs a case on a server of its own, or on one that is there already. Nothing for a case that is not for this version of
/// HTTP, or not for that server.
pub async fn run(
    corpus: &Corpus,
    case: &Case,
    protocol: Protocol,
    against: Option<SocketAddr>,
) -> Option<Run> {
    let sendable = |step: &Step| match protocol {
        Protocol::Http1 => step.http1.is_some(),
        Protocol::Http2 => step.http2.is_some(),
    };
    let moves = case.server != USUAL || case.steps.iter().any(|step| step.clock != 0);
    if !case.steps.iter().all(sendable) || against.is_some() && moves {
        return None;
    }
    let server = match against {
        Some(address) => Server::There(address),
        None => Server::Own(corpus.settings.start(&case.server).await),
    };
    let mut wrong = None;
    for (at, step) in case.steps.iter().enumerate() {
        if let Err(otherwise) = run_step(&server, &corpus.settings, step, protocol).await {
            let ordinal = if case.steps.len() > 1 { format!("step {at}: ") } else { String::new() };
            wrong = Some(format!("{ordinal}{otherwise}"));
            break;
        }
    }
    let expected = case.steps.last().map(|step| step.expect.to_string()).unwrap_or_default();
    Some(Run { row: case.row, name: case.name.clone(), protocol, expected, wrong })
}

enum Server {
    Own(Service),
    There(SocketAddr),
}

async fn run_step(
    server: &Server,
    settings: &Settings,
    step: &Step,
    protocol: Protocol,
) -> Result<(), String> {
    let (address, service) = match server {
        Server::Own(service) => (service.address, Some(service)),
        Server::There(address) => (*address, None),
    };
    let handled = service.map(Service::handled);
    if let Some(service) = service {
        service.clock.set(step.clock);
    }
    let outcome = match (protocol, &step.http1, &step.http2) {
        (Protocol::Http1, Some(pieces), _) => {
            let bytes: Vec<_> = pieces.iter().flat_map(|piece| piece.0.clone()).collect();
            exchange_http1(address, &bytes).await
        }
        (Protocol::Http2, _, Some(request)) => exchange_http2(address, request).await,
        _ => return Err("it cannot be sent".to_owned()),
    };
    let given_up = step.http2.as_ref().is_some_and(|request| request.end == End::Reset);
    let seen = check(&step.expect, &outcome, protocol, given_up);
    seen.map_err(|seen| format!("{seen} instead of {}", step.expect))?;
    if let Outcome::Answer(answer) = &outcome
        && step.expect.code.is_some()
    {
        check_refusal(answer, settings)?;
    }
    if let (Some(service), Some(before)) = (service, handled) {
        let ran = service.handled().saturating_sub(before);
        if ran != usize::from(step.expect.handler) {
            return Err(format!("handlers ran {ran} times"));
        }
    }
    Ok(())
}

/// What is not as expected.
fn check(
    expect: &Expect,
    outcome: &Outcome,
    protocol: Protocol,
    given_up: bool,
) -> Result<(), String> {
    let answer = match (outcome, expect.status) {
        (Outcome::Answer(answer), Some(_)) => answer,
        (Outcome::StreamError(_) | Outcome::ConnectionError(_) | Outcome::Closed, None) => {
            return Ok(());
        }
        (Outcome::Nothing, None) if given_up => return Ok(()),
        (Outcome::Answer(answer), None) => return Err(told(answer)),
        (other, _) => return Err(format!("{other:?}")),
    };
    let code = Some(answer.code()).filter(|code| !code.is_empty());
    if (Some(answer.status), &code) != (expect.status, &expect.code) {
        return Err(told(answer));
    }
    for (name, field) in &expect.headers {
        // RFC 9113 §8.2.2: HTTP/2 has no such field.
        if name == "connection" && protocol == Protocol::Http2 {
            continue;
        }
        let value = answer.get(name);
        let right = match field {
            Field::There(there) => value.is_some() == *there,
            Field::Exactly(text) => value == Some(text),
        };
        if !right {
            return Err(format!("{}, {name}: {value:?}", told(answer)));
        }
    }
    Ok(())
}

fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.code()).trim_end().to_owned()
}

/// What every refusal looks like, whatever its reason.
fn check_refusal(answer: &Answer, settings: &Settings) -> Result<(), String> {
    let expect = |holds: bool, what: &str| {
        if holds { Ok(()) } else { Err(format!("{}: {what}: {answer:?}", told(answer))) }
    };
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let kind = format!("urn:countersign:problem:{}", answer.code());
    expect(answer.get("content-type") == Some("application/problem+json"), "content-type")?;
    expect(answer.get("cache-control") == Some("no-store"), "cache-control")?;
    expect(problem["type"] == kind && problem["status"] == answer.status, "type and status")?;
    let request_id = problem["request_id"].as_str();
    expect(request_id.is_some() && request_id == answer.get("x-request-id"), "request id")?;
    for member in ["title", "detail", "hint"] {
        expect(problem[member].as_str().is_some_and(|text| !text.is_empty()), member)?;
    }
    expect(answer.get("date").is_some(), "date")?;
    let told = |name| answer.get(name).is_some();
    let unauthorized = answer.status == 401;
    expect(told("www-authenticate") == unauthorized, "www-authenticate")?;
    let asked = answer.get("accept-signature");
    let whole = r#"("@method" "@authority" "@path" "@query""#;
    expect(asked.is_some_and(|asked| asked.contains(whole)) == unauthorized, "accept-signature")?;
    expect(told("allow") == (answer.status == 405), "allow")?;
    let unsupported = answer.code() == "digest-unsupported";
    expect(told("want-content-digest") == unsupported, "want-content-digest")?;
    for key in &settings.keys {
        expect(!answer.body.contains(&key.private_text()), "a secret")?;
    }
    Ok(())
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.code) {
            (Some(status), Some(code)) => write!(f, "{status} {code}"),
            (Some(status), None) => write!(f, "{status}"),
            (None, _) => f.write_str("no answer"),
        }
    }
}
