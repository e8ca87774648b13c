//! The questions of Envoy over gRPC: the request is in the message of the question, and nowhere else.

use std::net::IpAddr;

use bytes::Bytes;
use countersign::REFUSAL;
use countersign_server::ServedBody;
use countersign_store::{ClientAddress, Gate, KeyStore};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            HeaderValue as SentValue, HeaderValueOption, header_value_option::HeaderAppendAction,
        },
        service::auth::v3::{
            CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            attribute_context::HttpRequest,
            authorization_server::{Authorization, AuthorizationServer},
            check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::rpc,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING},
    request::Parts,
};
use http_body_util::Full;
use tonic::{Code, Status, body::Body};
use tower_service::Service as _;

use super::{
    ForwardAuth,
    answer::HEADERS_TO_REMOVE,
    question::{
        BadQuestion, Question, REQUEST_ID, is_partial, names_one_request, read_method, read_target,
        refuse_forged, remove_told,
    },
    question_body::QuestionBody,
    refuse,
};
use crate::proxy::identity::is_reserved;

/// The fields by which Envoy frames a response itself.
const FRAMING: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// Answers a question of this listed proxy.
pub(super) async fn answer<K, G>(
    auth: ForwardAuth<K, G>,
    request: Request<ServedBody>,
    peer: IpAddr,
) -> Response<Body>
where
    K: KeyStore + Clone,
    G: Gate + Clone,
{
    let Ok(response) = AuthorizationServer::new(Checks { auth, peer }).call(request).await;
    response
}

/// Whether a request is Envoy's call. All others get a response of HTTP: gRPC answers 200 whatever its verdict is, which lets a request
/// pass at a proxy that asks over HTTP.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    request.version() == Version::HTTP_2
        && *request.method() == Method::POST
        && request.uri().path() == "/envoy.service.auth.v3.Authorization/Check"
        && kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// Makes a refusal one of gRPC.
pub(super) fn refuse_call(refusal: &Response<Bytes>, detail: &'static str) -> Response<Body> {
    let mut response = Status::permission_denied(detail).into_http();
    let code = refusal.headers().get(REFUSAL).cloned();
    response.headers_mut().extend(code.map(|code| (REFUSAL, code)));
    response
}

/// The service that Envoy calls.
struct Checks<K, G> {
    auth: ForwardAuth<K, G>,
    peer: IpAddr,
}

#[tonic::async_trait]
impl<K: KeyStore + Clone, G: Gate + Clone> Authorization for Checks<K, G> {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, Status> {
        let (metadata, extensions, check) = request.into_parts();
        // Of the proxy's own call: what its client sent is in the message.
        let mut ids =
            metadata.into_headers().get_all(REQUEST_ID).iter().cloned().collect::<Vec<_>>();
        let id = ids.pop().filter(|id| ids.is_empty() && names_one_request(id));
        let response = match read(check, extensions.get().copied()) {
            Ok((question, content)) => {
                self.auth.ask(Question { id, ..question }, content, self.peer).await
            }
            Err(bad) => refuse(self.auth.kind, bad),
        };
        Ok(tonic::Response::new(to_message(response)))
    }
}

/// Reads the request that Envoy asks about. Its fields are those of `header_map`, each line by itself: in `headers` lines are joined
/// in another way than signatures join them, and some bytes are replaced.
fn read(
    check: CheckRequest,
    peer: Option<ClientAddress>,
) -> Result<(Question, QuestionBody), BadQuestion> {
    let sent = check.attributes.and_then(|attributes| attributes.request?.http);
    let sent = sent.ok_or(BadQuestion::Missing("HTTP request"))?;
    let HttpRequest { method, path, host, header_map, headers, body, raw_body, .. } = sent;
    if !headers.is_empty() {
        return Err(BadQuestion::Malformed("`headers`; set `encode_raw_headers: true`"));
    }
    if !body.is_empty() {
        return Err(BadQuestion::Malformed("`body`; set `pack_as_bytes: true`"));
    }
    let lines = header_map.ok_or(BadQuestion::Missing("`header_map`"))?.headers;
    let pseudo = [(":method", &method), (":path", &path), (":authority", &host), ("host", &host)];
    let mut fields = HeaderMap::new();
    for SentValue { key, raw_value, .. } in lines {
        if let Some((_, told)) = pseudo.iter().find(|(name, _)| *name == key) {
            if told.as_bytes() != raw_value {
                return Err(BadQuestion::Malformed("pseudo-header field"));
            }
        } else if !key.starts_with(':') {
            let name = HeaderName::from_bytes(key.as_bytes());
            let name = name.map_err(|_| BadQuestion::Unreadable("field name"))?;
            let value = HeaderValue::from_maybe_shared(Bytes::from(raw_value));
            let value = value.map_err(|_| BadQuestion::Unreadable("field value"))?;
            let added = fields.try_append(name, value);
            added.map_err(|_| BadQuestion::Unreadable("number of fields"))?;
        }
    }
    if host.is_empty() {
        return Err(BadQuestion::Missing("`host`"));
    }
    let host = HeaderValue::try_from(host).map_err(|_| BadQuestion::Unreadable("host"))?;
    let told = |text: &str| HeaderValue::from_str(text);
    let told_method = told(&method).map_err(|_| BadQuestion::Unreadable("method"))?;
    let told_target = told(&path).map_err(|_| BadQuestion::Target)?;
    refuse_forged(&fields, &told_method, &told_target)?;
    remove_told(&mut fields);
    let kept = kept_content(&fields, &raw_body)?;
    fields.insert(HOST, host);
    let mut head: Parts = Request::new(()).into_parts().0;
    head.method = read_method(method.as_bytes())?;
    head.uri = read_target(path.as_bytes())?;
    head.headers = fields;
    if let Some(peer) = peer {
        head.extensions.insert(peer);
    }
    let content = QuestionBody::Inside(Full::new(Bytes::from(raw_body)));
    Ok((Question { head, kept, id: None, is_refused: false }, content))
}

/// Returns the least length of content that Envoy did not pass, or not all of it; `None` if all of it came, or there is none.
fn kept_content(fields: &HeaderMap, passed: &[u8]) -> Result<Option<u64>, BadQuestion> {
    let passed = u64::try_from(passed.len()).unwrap_or(u64::MAX);
    if is_partial(fields) {
        return Ok(Some(passed));
    }
    let malformed = BadQuestion::Malformed("content-length");
    let mut announced = fields.get_all(CONTENT_LENGTH).iter();
    let (first, None) = (announced.next(), announced.next()) else { return Err(malformed) };
    let Some(length) = first else { return Ok(None) };
    let digits = length.as_bytes().iter().all(u8::is_ascii_digit);
    let length = length.to_str().ok().and_then(|length| length.parse().ok()).filter(|_| digits);
    let length: u64 = length.ok_or(malformed)?;
    Ok((length != passed).then_some(length))
}

/// Makes the message of an answer.
fn to_message(response: Response<Bytes>) -> CheckResponse {
    let (head, content) = response.into_parts();
    let (code, answer) = match head.status {
        StatusCode::OK => {
            let removed = head.headers.get(HEADERS_TO_REMOVE).and_then(|names| names.to_str().ok());
            let removed = removed.map(|names| names.split(',').map(str::to_owned).collect());
            let answer = OkHttpResponse {
                headers: lines(&head.headers, is_reserved),
                headers_to_remove: removed.unwrap_or_default(),
                ..OkHttpResponse::default()
            };
            (Code::Ok, HttpResponse::OkResponse(answer))
        }
        status => {
            let answer = DeniedHttpResponse {
                status: Some(HttpStatus { code: status.as_u16().into() }),
                headers: lines(&head.headers, |name| !FRAMING.contains(name)),
                body: String::from_utf8_lossy(&content).into_owned(),
            };
            (Code::PermissionDenied, HttpResponse::DeniedResponse(answer))
        }
    };
    CheckResponse {
        status: Some(rpc::Status { code: code.into(), ..rpc::Status::default() }),
        http_response: Some(answer),
        ..CheckResponse::default()
    }
}

/// Returns lines of a message that replace those that the client, or Envoy, has of the same name.
fn lines(fields: &HeaderMap, is_sent: impl Fn(&HeaderName) -> bool) -> Vec<HeaderValueOption> {
    let names = fields.keys().filter(|name| is_sent(name));
    let lines = names.flat_map(|name| {
        fields.get_all(name).iter().enumerate().map(move |(at, value)| {
            let action = match at {
                0 => HeaderAppendAction::OverwriteIfExistsOrAdd,
                _ => HeaderAppendAction::AppendIfExistsOrAdd,
            };
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            HeaderValueOption {
                header: Some(SentValue {
                    key: name.as_str().to_owned(),
                    value,
                    ..SentValue::default()
                }),
                append_action: action.into(),
                ..HeaderValueOption::default()
            }
        })
    });
    lines.collect()
}
