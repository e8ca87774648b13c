//! Of all requests that are one signed request with something changed, none verifies.
#![no_main]

use http::{HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use order::{Order, in_time};

fuzz_target!(|data: (u8, u16, &[u8])| {
    let (what, at, bytes) = data;
    let mut order = Order::signed();
    let names = ["signature-input", "signature", "content-digest", "content-type"];
    match what {
        0..=127 => {
            let name = HeaderName::from_static(names[usize::from(what) % names.len()]);
            let mut value = order.headers[&name].as_bytes().to_vec();
            let at = usize::from(at) % value.len();
            let end = (at + bytes.len()).min(value.len());
            value.splice(at..end, bytes.iter().copied());
            let Ok(value) = HeaderValue::from_bytes(&value) else { return };
            order.headers.insert(name, value);
        }
        128..=191 => {
            let Ok(uri) = http::Uri::try_from(bytes) else { return };
            order.uri = uri;
        }
        192..=223 => {
            let Ok(method) = Method::from_bytes(bytes) else { return };
            order.method = method;
        }
        _ => {
            let Some(origin) = str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()) else {
                return;
            };
            order.origin = origin;
        }
    }
    let signed = Order::signed();
    let same = order.headers == signed.headers
        && order.method == signed.method
        && order.uri.path_and_query() == signed.uri.path_and_query()
        && order.origin.authority() == signed.origin.authority();
    let verdict = in_time(bytes.len() + 1024, || order.verify());
    assert_eq!(matches!(verdict, Ok(Some(_))), same, "{order:?}");
});
