//! Requests that are refused, made to cost as much as they can.

use countersign::{Nonce, Policy, SignatureParams};
use http::{HeaderName, HeaderValue};

use crate::order::{NOW, Order, ed25519};

const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// A policy by which members of `Priority` are read, which the default one refuses.
pub(crate) fn reading_members() -> Policy {
    Policy::default().allow_members_of([PRIORITY])
}

/// Each with what it is, for a policy that reads members.
pub(crate) fn of_members() -> Vec<(&'static str, Order)> {
    vec![
        ("members of a dictionary", dictionary_members()),
        ("a member that repeats", repeating("a,", 1000, 1)),
        ("a member that repeats, with a parameter", repeating("a;b,", 1000, 1)),
        ("a member that repeats, with parameters that repeat", repeating("a;b;c;b;c;b,", 1000, 1)),
        ("a member with many parameters", one_member()),
        ("a member that repeats, in a field that is too long", repeating("a;b,", 3200, 1)),
        ("a member that repeats, on several lines", repeating("a;b,", 3200, 8)),
    ]
}

/// Each with what it is, for the default policy.
pub(crate) fn requests() -> Vec<(&'static str, Order)> {
    let mut forged = Order::signed(ed25519());
    let digits = "A".repeat(86);
    forged.headers.insert("signature", text(&format!("sig=:{digits}==:")));
    vec![
        ("a forged signature", forged),
        ("32 components", many_components()),
        ("query parameters", query_params("a")),
        ("query parameters that are nearly covered", query_params("z")),
        ("query parameters that repeat", query_params("z0")),
        ("query parameters that are encoded", query_params("%7a")),
        ("query parameters that repeat and are encoded", query_params("%7a%30")),
        ("a query that is covered six times over", query_six_times()),
        ("a query that is covered twice over", query_twice()),
        ("a member of a dictionary that is none of a signature", repeating("a;b,", 3200, 1)),
        ("a member of another signature", another_signature()),
        ("a large field", large_field()),
        ("7 other signatures", many_labels()),
        ("many parameters", with_input(&(0..2000).map(|at| format!(";p{at}")).collect::<String>())),
        ("one long string", with_input(&format!(";keyid=\"{}\"", "\\\\".repeat(3900)))),
        ("many inner lists", with_input(&", a=()".repeat(1300))),
        ("commas", with_input(&",".repeat(7900))),
        ("components that are ruled out", with_components(&"\"A\" ".repeat(2000))),
        ("equal components", with_components(&"\"a\" ".repeat(2000))),
        ("a long digest field", long_digest()),
    ]
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap()
}

/// Our own signature, with this behind it.
fn with_input(more: &str) -> Order {
    let mut order = Order::signed(ed25519());
    let own = order.headers.get("signature-input").unwrap().to_str().unwrap().to_owned();
    let room = 8000usize.saturating_sub(own.len());
    let more = more.get(..room.min(more.len())).unwrap();
    order.headers.insert("signature-input", text(&format!("{own}{more}")));
    order
}

fn with_components(components: &str) -> Order {
    let mut order = Order::signed(ed25519());
    let components = components.get(..components.len().min(7600)).unwrap();
    let input = format!("sig=({components});created=1763900000;tag=\"countersign\"");
    order.headers.insert("signature-input", text(&input));
    order
}

/// A signature whose base is as expensive as one can be, under a key that nobody knows.
fn sign(mut order: Order, components: Vec<countersign::Component<'_>>) -> Order {
    let key = ed25519();
    let key_id = key.publishable_key().to_string();
    let nonce = Nonce::from_random([9; 16]);
    let params = SignatureParams {
        label: "sig",
        components,
        created: Some(NOW),
        expires: None,
        nonce: Some(nonce.as_str()),
        key_id: Some(&key_id),
        algorithm: Some(key.algorithm()),
        tag: Some("countersign"),
    };
    let fields = countersign::sign(&order.head().into(), &key, &params).unwrap();
    fields.apply(&mut order.headers);
    order
}

fn many_components() -> Order {
    let mut order = unsigned();
    let mut names =
        vec!["@method".to_owned(), "@authority".into(), "@path".into(), "@query".into()];
    names.extend(["content-digest".into(), "content-type".into()]);
    for at in 0..26 {
        let name = format!("x-{at}");
        order.headers.insert(HeaderName::try_from(&name).unwrap(), text(&"v".repeat(900)));
        names.push(name);
    }
    sign(order, names.iter().map(|name| name.parse().unwrap()).collect())
}

/// With a digest, and without a signature.
fn unsigned() -> Order {
    let mut order = Order::signed(ed25519());
    order.headers.remove("signature");
    order.headers.remove("signature-input");
    order
}

fn fixed() -> Vec<countersign::Component<'static>> {
    let names = ["@method", "@authority", "@path", "@query", "content-digest", "content-type"];
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// As many parameters as can be covered, and a query full of others.
fn query_params(other: &str) -> Order {
    let mut order = unsigned();
    let names: Vec<_> = (0..26).map(|at| format!("z{at}")).collect();
    let mut signed = order.clone();
    signed.uri = format!("/?{}", names.join("&")).parse().unwrap();
    let mut components = fixed();
    components.extend(names.iter().map(|name| countersign::Component::query_param(name)));
    let fillers = format!("&{other}").repeat(7800 / (other.len() + 1));
    order.uri = format!("{}{fillers}", signed.uri).parse().unwrap();
    order.headers = sign(signed, components).headers;
    order
}

/// Three components have all of it, and a parameter whose value is written three times as long as it came.
fn query_six_times() -> Order {
    let mut order = unsigned();
    order.uri = format!("/?z={}", "!".repeat(7800)).parse().unwrap();
    let mut components = fixed();
    components.extend(["@target-uri", "@request-target"].map(|name| name.parse().unwrap()));
    components.push(countersign::Component::query_param("z"));
    sign(order, components)
}

/// As long a target as can be covered twice.
fn query_twice() -> Order {
    let mut order = unsigned();
    order.uri = format!("/?z={}", "!".repeat(7800)).parse().unwrap();
    let mut components = fixed();
    components.push("@target-uri".parse().unwrap());
    sign(order, components)
}

/// One member that is covered, and that a field has again and again.
fn repeating(member: &str, bytes: usize, lines: usize) -> Order {
    let mut order = unsigned();
    let line = member.repeat(bytes / member.len());
    for _ in 0..lines {
        order.headers.append(PRIORITY, text(line.trim_end_matches(',')));
    }
    let mut components = fixed();
    components.push("\"priority\";key=\"a\"".parse().unwrap());
    sign(order, components)
}

fn one_member() -> Order {
    let mut order = unsigned();
    let parameters: String = (0..200).map(|at| format!(";p{at}")).collect();
    order.headers.insert(PRIORITY, text(&format!("a{parameters}")));
    let mut components = fixed();
    components.push("\"priority\";key=\"a\"".parse().unwrap());
    sign(order, components)
}

/// As many components as fit, in a signature that another one covers.
fn another_signature() -> Order {
    let mut order = unsigned();
    let components = "\"x\" ".repeat(1700);
    order.headers.insert("signature-input", text(&format!("other=({})", components.trim_end())));
    order.headers.insert("signature", text("other=:AAAA:"));
    let mut components = fixed();
    components.push("\"signature-input\";key=\"other\"".parse().unwrap());
    sign(order, components)
}

fn large_field() -> Order {
    let mut order = unsigned();
    order.headers.insert("idempotency-key", text(&"v".repeat(24 * 1024)));
    let mut components = fixed();
    components.push("idempotency-key".parse().unwrap());
    sign(order, components)
}

/// As many members as can be covered, of one long field.
fn dictionary_members() -> Order {
    let mut order = unsigned();
    let names: Vec<_> = (0..26).map(|at| format!("k{at}")).collect();
    let fillers: String = (0..190).map(|at| format!(",f{at}")).collect();
    order.headers.insert("priority", text(&format!("{}{fillers}", names.join(","))));
    let mut components = fixed();
    let members = names.iter().map(|name| format!("\"priority\";key=\"{name}\""));
    components.extend(members.map(|member| member.parse().unwrap()));
    sign(order, components)
}

fn many_labels() -> Order {
    let mut order = Order::signed(ed25519());
    for at in 0..7 {
        let components = "\"x\" ".repeat(100);
        order
            .headers
            .append("signature-input", text(&format!("s{at}=({})", components.trim_end())));
        order.headers.append("signature", text(&format!("s{at}=:{}:", "AAAA".repeat(100))));
    }
    order
}

fn long_digest() -> Order {
    let mut order = Order::signed(ed25519());
    let members: Vec<_> = (0..15).map(|at| format!("d{at}=:{}:", "AAAA".repeat(500))).collect();
    order.headers.insert("content-digest", text(&members.join(", ")));
    order
}
