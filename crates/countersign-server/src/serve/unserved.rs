//! Requests that no service gets, and responses that no client gets, since `serve` upgrades no connection, opens no tunnel and
//! hands on no head that is too large.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use hyper::{ext::Protocol, upgrade::OnUpgrade};

use crate::refusal::{Circumstances, reason::Reason, respond};

/// The refusal of a request that cannot be served, whatever the service would say.
///
/// Other protocols than WebSocket in `Upgrade` are ignored, as RFC 9110 §7.8 has it: curl offers `h2c` and goes on without.
pub(super) fn refuse<B>(request: &mut Request<B>, most: usize) -> Option<Response<Bytes>> {
    // Nobody waits for an upgrade that never comes.
    request.extensions_mut().remove::<OnUpgrade>();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let reason = if target > most {
        Reason::TargetTooLong { limit: most }
    } else if head_bytes(target, request.headers()) > most {
        Reason::HeadTooLarge { limit: most }
    } else if asks_for_websocket(request) {
        Reason::Upgrade
    } else {
        return None;
    };
    Some(refusal(reason, request.method(), request.version()))
}

/// What takes the place of a response after which the connection would speak another protocol.
pub(super) fn replace<B>(
    method: &Method,
    version: Version,
    response: &Response<B>,
) -> Option<Response<Bytes>> {
    let status = response.status();
    let upgrades = status == StatusCode::SWITCHING_PROTOCOLS
        || (*method == Method::CONNECT && status.is_success());
    if !upgrades {
        return None;
    }
    tracing::error!(
        %method, %status,
        "a service upgrades a connection or opens a tunnel, and `serve` does neither; use another listener for this service"
    );
    Some(refusal(Reason::Upgrade, method, version))
}

fn refusal(reason: Reason, method: &Method, version: Version) -> Response<Bytes> {
    respond(&reason.into(), &Circumstances::unknown(method, version))
}

/// RFC 6455 §4.1 and, over HTTP/2, RFC 8441 §4.
fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    if request.extensions().get::<Protocol>().is_some() {
        return true;
    }
    request.version() == Version::HTTP_11
        && *request.method() == Method::GET
        && lists(request.headers(), &header::CONNECTION, "upgrade")
        && lists(request.headers(), &header::UPGRADE, "websocket")
}

/// Whether a list has this token, in any case.
fn lists(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The bytes of target and fields.
fn head_bytes(target: usize, headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len().saturating_add(value.len()));
    fields.fold(target, usize::saturating_add)
}
