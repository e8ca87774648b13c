//! Every condition under which RFC 9421 §2.5 has no signature base, each one change away from a message that has one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use countersign::{
    BadBase, BadComponent, Candidate, FieldType, FieldTypes, Malformed, Message, Origin, Rejection,
    RequestHead, ResponseHead, Target,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use proptest::prelude::*;

const TYPES: FieldTypes<'_> = FieldTypes::with(&[
    ("example-dict", FieldType::Dictionary),
    ("example-list", FieldType::List),
    ("example-item", FieldType::Item),
]);

/// A request or response as it is varied.
struct Exchange {
    uri: Uri,
    origin: Origin,
    request: HeaderMap,
    response: HeaderMap,
    trailers: HeaderMap,
    request_trailers: HeaderMap,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
enum View {
    Request,
    Response,
    /// With the request at hand.
    Answer,
}
use View::{Answer, Request, Response};

impl Exchange {
    fn new() -> Self {
        let fields = [
            ("example-dict", "a=1,  b=2;x, c=(a   b), a=3"),
            ("example-list", "a,  b;q=1.0, (c  d)"),
            ("example-item", "\"x\";a;b=2"),
            ("x-plain", "value"),
            ("x-empty", ""),
            ("x-lines", "one"),
            ("x-lines", " two "),
            ("x-tab", "a\tb"),
            ("priority", "u=1, i"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers.append("x-obs", HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap());
        let mut trailers = HeaderMap::new();
        trailers.insert("expires", HeaderValue::from_static("never"));
        Self {
            uri: "/path?a=1&b=2&twice=1&twice=2".parse().unwrap(),
            origin: "https://example.com".parse().unwrap(),
            request: headers.clone(),
            response: headers,
            request_trailers: [(
                HeaderName::from_static("expires"),
                HeaderValue::from_static("once"),
            )]
            .into_iter()
            .collect(),
            trailers,
        }
    }

    /// The base of these components, or why there is none.
    fn base(mut self, view: View, components: &str) -> Result<String, Malformed> {
        let headers = match view {
            Request => &mut self.request,
            Response | Answer => &mut self.response,
        };
        headers.insert("signature-input", format!("sig=({components})").parse().unwrap());
        headers.insert("signature", HeaderValue::from_static("sig=:AA==:"));
        let request = RequestHead {
            method: &Method::GET,
            target: Target::origin_form(&self.uri),
            origin: &self.origin,
            headers: &self.request,
        };
        let response = ResponseHead { status: StatusCode::OK, headers: &self.response };
        let message = match view {
            Request => Message::from(request),
            Response => Message::from(response),
            Answer => Message::from(response)
                .with_request(request)
                .with_request_trailers(&self.request_trailers),
        };
        let message = message.with_field_types(TYPES).with_trailers(&self.trailers);
        match Candidate::select(&message, None) {
            Ok(candidate) => {
                let base = candidate.signature_base().as_str();
                let (lines, _) = base.rsplit_once("\"@signature-params\": ").unwrap();
                Ok(lines.to_owned())
            }
            Err(Rejection::Malformed(malformed)) => Err(malformed),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn each_component_has_its_value() {
    let table = [
        (Request, r#""@method""#, "GET"),
        (Request, r#""@query-param";name="b""#, "2"),
        (Request, r#""x-plain""#, "value"),
        (Request, r#""x-empty""#, ""),
        (Request, r#""x-lines""#, "one, two"),
        (Request, r#""x-tab""#, "a\tb"),
        (Request, r#""x-lines";bs"#, ":b25l:, :dHdv:"),
        (Request, r#""x-obs";bs"#, ":Y2Fmw6k=:"),
        (Request, r#""x-empty";bs"#, "::"),
        (Request, r#""example-dict";sf"#, "a=3, b=2;x, c=(a b)"),
        (Request, r#""example-list";sf"#, "a, b;q=1.0, (c d)"),
        (Request, r#""example-item";sf"#, "\"x\";a;b=2"),
        (Request, r#""example-dict";key="a""#, "3"),
        (Request, r#""example-dict";key="b""#, "2;x"),
        (Request, r#""example-dict";sf;key="c""#, "(a b)"),
        (Request, r#""priority";key="i""#, "?1"),
        (Request, r#""signature";key="sig""#, ":AA==:"),
        (Request, r#""expires";tr"#, "never"),
        (Response, r#""@status""#, "200"),
        (Response, r#""expires";tr"#, "never"),
        (Answer, r#""@method";req"#, "GET"),
        (Answer, r#""@query-param";name="b";req"#, "2"),
        (Answer, r#""@query-param";req;name="b""#, "2"),
        (Answer, r#""example-dict";key="b";req"#, "2;x"),
        (Answer, r#""x-lines";req;bs"#, ":b25l:, :dHdv:"),
        (Answer, r#""expires";req;tr"#, "once"),
        (Answer, r#""expires";tr"#, "never"),
    ];
    for (view, component, value) in table {
        let base = Exchange::new().base(view, component);
        assert_eq!(base.as_deref(), Ok(&*format!("{component}: {value}\n")), "{view:?}");
    }
}

#[test]
fn a_member_is_of_the_field_that_its_component_names() {
    let mut exchange = Exchange::new();
    for (headers, field) in [
        (&mut exchange.request, "a=1, b=2"),
        (&mut exchange.response, "a=3, b=4"),
        (&mut exchange.trailers, "a=5, b=6"),
    ] {
        headers.insert("example-dict", HeaderValue::from_static(field));
        headers.insert("priority", HeaderValue::from_static("a=7"));
    }
    let lines = [
        (r#""example-dict";key="a";req"#, "1"),
        (r#""example-dict";key="a""#, "3"),
        (r#""example-dict";key="a";tr"#, "5"),
        (r#""priority";key="a""#, "7"),
        (r#""example-dict";key="b";tr"#, "6"),
        (r#""example-dict";key="b""#, "4"),
        (r#""example-dict";key="b";req"#, "2"),
    ];
    let base = exchange.base(Answer, &lines.map(|(component, _)| component).join(" "));
    let expected = lines.map(|(component, value)| format!("{component}: {value}\n")).concat();
    assert_eq!(base, Ok(expected));
}

#[test]
fn what_a_message_does_not_have_is_never_taken_as_empty() {
    let absent = |component: &str| BadBase::Absent(component.to_owned());
    let inapplicable = |component: &str| BadBase::NotApplicable(component.to_owned());
    let unstructured = |component: &str| BadBase::NotStructured(component.to_owned());
    type Reason<'r> = &'r dyn Fn(&str) -> BadBase;
    let table: [(View, &str, Reason<'_>); 26] = [
        (Request, r#""x-absent""#, &absent),
        (Request, r#""x-absent";bs"#, &absent),
        (Request, r#""signature";key="other""#, &absent),
        (Request, r#""example-dict";key="d""#, &absent),
        (Request, r#""@query-param";name="c""#, &absent),
        (Request, r#""@query-param";name="%61""#, &absent),
        (Request, r#""x-plain";tr"#, &absent),
        (Response, r#""x-plain";tr"#, &absent),
        (Answer, r#""x-plain";req;tr"#, &absent),
        (Answer, r#""x-absent";req"#, &absent),
        (Request, r#""@status""#, &inapplicable),
        (Request, r#""@method";req"#, &inapplicable),
        (Request, r#""x-plain";req"#, &inapplicable),
        (Response, r#""@method""#, &inapplicable),
        (Response, r#""@method";req"#, &inapplicable),
        (Response, r#""x-plain";req"#, &inapplicable),
        (Request, r#""expires";req;tr"#, &inapplicable),
        (Response, r#""expires";req;tr"#, &inapplicable),
        (Answer, r#""@method""#, &inapplicable),
        (Answer, r#""@status";req"#, &inapplicable),
        (Request, r#""x-plain";sf"#, &unstructured),
        (Request, r#""x-plain";key="a""#, &unstructured),
        (Request, r#""example-list";key="a""#, &unstructured),
        (Request, r#""example-item";key="a""#, &unstructured),
        (Request, r#""@query-param";name="twice""#, &|it| BadBase::Ambiguous(it.to_owned())),
        (Request, r#""x-obs""#, &|it| BadBase::Unprintable(it.to_owned())),
    ];
    for (view, component, reason) in table {
        let base = Exchange::new().base(view, component);
        assert_eq!(base, Err(Malformed::Base(reason(component))), "{view:?}");
    }
    let fields = [("example-dict", "a=1,"), ("example-item", "a, b"), ("example-list", "(a")];
    for (name, value) in fields {
        let mut exchange = Exchange::new();
        exchange.request.insert(name, HeaderValue::from_static(value));
        let component = format!("\"{name}\";sf");
        let base = exchange.base(Request, &component);
        assert_eq!(base, Err(Malformed::Base(unstructured(&component))));
    }
}

#[test]
fn a_signature_is_looked_for_in_trailers_only_where_the_head_has_none() {
    let fields = |components: &str| {
        HeaderMap::from_iter([
            (
                HeaderName::from_static("signature-input"),
                format!("sig=({components})").parse().unwrap(),
            ),
            (HeaderName::from_static("signature"), HeaderValue::from_static("sig=:AA==:")),
        ])
    };
    let (in_head, in_trailers) = (fields("\"@status\""), fields(""));
    let (none, unpaired) = (HeaderMap::new(), {
        let mut unpaired = in_head.clone();
        unpaired.remove("signature");
        unpaired
    });
    let components = |headers: &HeaderMap, trailers: &HeaderMap| {
        let head = ResponseHead { status: StatusCode::OK, headers };
        let message = Message::from(head).with_trailers(trailers);
        Candidate::select(&message, None).map(|candidate| candidate.components().len())
    };
    let malformed = Err(Rejection::Malformed(Malformed::UnpairedLabel));
    let table = [
        (&in_head, &none, Ok(1)),
        (&in_head, &in_trailers, Ok(1)),
        (&none, &in_trailers, Ok(0)),
        (&none, &none, Err(Rejection::Required)),
        (&unpaired, &in_trailers, malformed.clone()),
        (&none, &unpaired, malformed),
    ];
    for (headers, trailers, expected) in table {
        assert_eq!(components(headers, trailers), expected, "{headers:?} {trailers:?}");
    }
}

#[test]
fn an_identifier_that_rfc_9421_rules_out_has_no_base() {
    use BadComponent::{Contradiction, FieldName, NotAString, UnknownDerived, UnknownParameter};
    let twice = Malformed::DuplicateComponent;
    let table = [
        (r#""@method" "@method""#, twice.clone()),
        (r#""priority";sf;key="u" "priority";key="u";sf"#, twice),
        (r#""x-plain";other"#, UnknownParameter.into()),
        (r#""x-plain";sf;sf"#, UnknownParameter.into()),
        (r#""x-plain";bs;sf"#, Contradiction.into()),
        (r#""x-plain";bs;key="a""#, Contradiction.into()),
        (r#""x-plain";bs=?0"#, Contradiction.into()),
        (r#""priority";key=u"#, Contradiction.into()),
        (r#""x-plain";name="a""#, Contradiction.into()),
        (r#""@method";tr"#, Contradiction.into()),
        (r#""@query-param""#, Contradiction.into()),
        (r#""@signature-params""#, UnknownDerived.into()),
        (r#""@unknown""#, UnknownDerived.into()),
        (r#""X-Plain""#, FieldName.into()),
        (r#""x-plain ""#, FieldName.into()),
        (r#""""#, FieldName.into()),
        ("x-plain", NotAString.into()),
        ("1", NotAString.into()),
    ];
    for (components, reason) in table {
        assert_eq!(Exchange::new().base(Request, components), Err(reason), "{components}");
    }
    assert!(Exchange::new().base(Request, r#""priority" "priority";sf"#).is_ok(), "two readings");
}

/// What is covered of a request, in the reading of RFC 9421: lines joined, outer white space gone.
type Covered = (String, Vec<Option<String>>);

/// Values that try to look like the lines of a base.
fn value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a"),
        Just(", "),
        Just(","),
        Just("\": "),
        Just("\"x-b\": a"),
        Just("\t"),
        Just(" "),
        Just("\\"),
        Just(";bs"),
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn request() -> impl Strategy<Value = (String, Vec<Vec<String>>)> {
    let lines = proptest::collection::vec(value(), 0..3);
    ("(/[ab]{0,2})(\\?[ab&=]{1,3})?", proptest::collection::vec(lines, 3))
}

fn base_and_view((target, fields): (String, Vec<Vec<String>>)) -> (Option<String>, Covered) {
    let names = ["x-a", "x-b", "x-c"];
    let mut exchange = Exchange::new();
    exchange.uri = target.parse().unwrap();
    let mut view = Vec::new();
    for (name, lines) in names.into_iter().zip(fields) {
        let trimmed: Vec<_> = lines.iter().map(|line| line.trim_matches([' ', '\t'])).collect();
        view.push((!lines.is_empty()).then(|| trimmed.join(", ")));
        for line in &lines {
            exchange.request.append(name, HeaderValue::from_str(line).unwrap());
        }
    }
    let components = r#""@path" "@query" "x-a" "x-b" "x-c""#;
    (exchange.base(Request, components).ok(), (target, view))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn two_messages_that_differ_in_what_is_covered_have_different_bases(
        one in request(),
        other in request(),
    ) {
        let ((one, one_view), (other, other_view)) = (base_and_view(one), base_and_view(other));
        let complete = one_view.1.iter().all(Option::is_some);
        prop_assert_eq!(one.is_some(), complete, "what is absent has no base");
        if let (Some(one), Some(other)) = (one, other) {
            prop_assert_eq!(one == other, one_view == other_view);
        }
    }
}
