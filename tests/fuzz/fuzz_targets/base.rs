//! A base has one line for each component, all of it printable, and two messages with one base are alike in what is
//! covered.
#![no_main]

use countersign::{Candidate, FieldType, FieldTypes, Message};
use http::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use order::{Order, in_time};

const TYPES: FieldTypes<'_> = FieldTypes::with(&[
    ("x-dictionary", FieldType::Dictionary),
    ("x-list", FieldType::List),
    ("x-item", FieldType::Item),
]);

fuzz_target!(|data: (&str, [&[u8]; 5], &str)| {
    let (components, values, target) = data;
    let names = ["x-dictionary", "x-list", "x-item", "x-plain", "x-plain"];
    let mut order = Order::signed();
    let mut size = components.len() + target.len();
    for (name, value) in names.into_iter().zip(values) {
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        size += value.len();
        order.headers.append(HeaderName::from_static(name), value);
    }
    if let Ok(uri) = target.parse() {
        order.uri = uri;
    }
    let Ok(input) = HeaderValue::from_str(&format!("sig=({components})")) else { return };
    order.headers.insert("signature-input", input);
    order.headers.insert("signature", HeaderValue::from_static("sig=:AA==:"));
    let base = |order: &Order| {
        let message = Message::from(order.head()).with_field_types(TYPES);
        let candidate = Candidate::select(&message, None).ok()?;
        let base = candidate.signature_base().as_str().to_owned();
        Some((
            base,
            countersign::SignatureInput::all(&order.headers).ok()?[0]
                .input
                .components()
                .ok()?
                .len(),
        ))
    };
    let Some((text, lines)) = in_time(size, || base(&order)) else { return };
    assert_eq!(text.lines().count(), lines + 1, "{text}");
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n')));
    // One more byte in a covered value is another base.
    if text.contains("\"x-plain\": ") {
        order.headers.append("x-plain", HeaderValue::from_static("more"));
        assert_ne!(base(&order).map(|(text, _)| text), Some(text));
    }
});
