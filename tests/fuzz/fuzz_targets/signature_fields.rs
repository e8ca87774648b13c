//! What is read of signature fields is written the same, and what is written is read the same.
#![no_main]

use countersign::{Candidate, SignatureInput};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use order::{Order, in_time};

fuzz_target!(|data: (&[u8], &[u8])| {
    let (input, signature) = data;
    let (Ok(input), Ok(signature)) =
        (HeaderValue::from_bytes(input), HeaderValue::from_bytes(signature))
    else {
        return;
    };
    let size = input.len() + signature.len();
    let mut order = Order::signed();
    order.headers.insert("signature-input", input);
    order.headers.insert("signature", signature);
    // Nothing that is not our own signature verifies.
    let verdict = in_time(size, || order.verify());
    assert!(!matches!(verdict, Ok(Some(_))) || order.headers == Order::signed().headers);

    let Ok(signatures) = SignatureInput::all(&order.headers) else { return };
    for one in &signatures {
        let Ok(params) = one.input.signature_params() else { continue };
        let text = format!("{}={params}", one.input.label());
        let mut headers = HeaderMap::new();
        headers.insert("signature-input", text.parse().unwrap());
        headers.insert("signature", format!("{}=:AA==:", one.input.label()).parse().unwrap());
        let again = SignatureInput::all(&headers).unwrap();
        assert_eq!(again[0].input.components(), one.input.components());
        assert_eq!(again[0].input.signature_params().as_deref(), Ok(&*params));
        assert_eq!(again[0].input.created(), one.input.created());
        for key in ["nonce", "keyid", "alg", "tag"] {
            assert_eq!(again[0].input.string(key), one.input.string(key));
        }
        let candidate = Candidate::select(&order.head().into(), Some(one.input.label()));
        if let Ok(candidate) = candidate {
            assert!(candidate.signature_base().as_str().ends_with(&*params));
        }
    }
});
