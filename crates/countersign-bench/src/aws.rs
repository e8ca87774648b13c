//! The same request signed by aws-sigv4, which is HMAC-SHA256 all through.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign as sigv4},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use http::Request;

use crate::order::{CONTENT, NOW, Order};

/// What signs.
pub(crate) fn identity() -> Identity {
    Credentials::new("pk", "a secret of some forty characters, no less", None, None, "bench").into()
}

/// Signs a request and adds the fields.
pub(crate) fn sign(order: &Order, identity: &Identity) -> Request<()> {
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(identity)
        .region("eu")
        .name("orders")
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.unix()))
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let uri = format!("{}{}", order.origin, order.uri);
    let fields = order.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let signable =
        SignableRequest::new(order.method.as_str(), &uri, fields, SignableBody::Bytes(CONTENT));
    let (instructions, _) = sigv4(signable.unwrap(), &params).unwrap().into_parts();
    let mut request = Request::new(());
    *request.headers_mut() = order.headers.clone();
    instructions.apply_to_request_http1x(&mut request);
    request
}
