//! What proxies say is read as if whatever stood before it did not: nothing that a client writes into `Forwarded` or
//! `X-Forwarded-*` moves its address or its host, and lines and elements are cut alike however they came.
//!
//! The input is text, a field a line: `f: …` for `Forwarded`, `x: …`, `h: …` and `p: …` for `X-Forwarded-For`, `-Host` and
//! `-Proto`, and `c: …` for what a client has put before all of them.
#![no_main]
#![allow(dead_code, reason = "a target needs a part of what it includes")]

use std::{net::IpAddr, sync::LazyLock};

use countersign::{Origin, Origins};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use order::in_time;

#[path = "../../../crates/countersign-server/src/ingress/forwarded.rs"]
mod forwarded;
#[path = "../../../crates/countersign-server/src/ingress/proxies.rs"]
mod proxies;

use proxies::{ForwardedFields, Proxies};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A proxy that is listed, and what it and a client that connects by itself are known by.
const PROXY: &str = "10.0.0.7";
const STRANGER: &str = "192.0.2.9";

fn listed(address: IpAddr) -> bool {
    let range: ipnet::IpNet = "10.0.0.0/24".parse().unwrap();
    range.contains(&address)
}

fn with(headers: &HeaderMap, name: &HeaderName, change: impl Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>) -> Option<HeaderMap> {
    let lines = headers.get_all(name).iter().map(|line| line.as_bytes().to_vec()).collect();
    let mut headers = headers.clone();
    headers.remove(name);
    for line in change(lines) {
        headers.append(name, HeaderValue::from_bytes(&line).ok()?);
    }
    Some(headers)
}

/// The addresses of `X-Forwarded-For`, read from its beginning.
fn addresses(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines: Vec<_> = headers.get_all(FOR).iter().map(HeaderValue::as_bytes).collect();
    let joined = lines.join(&b","[..]);
    let read = |element: &[u8]| {
        let text = std::str::from_utf8(element).ok()?.trim_matches([' ', '\t', '\r', '\n', '\x0c']);
        let port = |rest: &str| rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| !port.is_empty());
        match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) if port(rest) => address.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::from),
            Some(_) => None,
            None if text.matches(':').count() > 1 => text.parse().ok(),
            None => text.split(':').next()?.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::from),
        }
    };
    joined.split(|&byte| byte == b',').map(read).map(|found| found.map(|address| address.to_canonical())).collect()
}

/// Made before the first input: the order of what it compares is another in each process.
static ORIGINS: LazyLock<Origins> = LazyLock::new(|| {
    let origins = ["https://api.example.com", "https://[2001:db8::1]:8443"];
    Origins::new(origins.map(|origin| origin.parse::<Origin>().unwrap())).unwrap()
});

fuzz_target!(init: { LazyLock::force(&ORIGINS); }, |data: &[u8]| {
    let mut headers = HeaderMap::new();
    let mut client = None;
    for line in data.split(|&byte| byte == b'\n') {
        let Some((kind, value)) = line.split_at_checked(3) else { continue };
        let name = match kind {
            b"f: " => FORWARDED,
            b"x: " => FOR,
            b"h: " => HOST,
            b"p: " => PROTO,
            b"c: " => {
                client = Some(value.to_vec());
                continue;
            }
            _ => continue,
        };
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        headers.append(name, value);
    }
    let origins: &Origins = &ORIGINS;
    let (proxy, stranger): (IpAddr, IpAddr) = (PROXY.parse().unwrap(), STRANGER.parse().unwrap());

    for (fields, name) in [(ForwardedFields::Forwarded, FORWARDED), (ForwardedFields::XForwarded, FOR)] {
        let proxies = Proxies::new(["10.0.0.0/24".parse().unwrap()], fields).unwrap();
        let address = |headers: &HeaderMap| proxies.client_address(proxy, headers);
        let origin = |headers: &HeaderMap| {
            proxies.origin(proxy, headers, origins).map(|found| found.map(ToString::to_string))
        };
        let (found, host) = in_time(data.len(), || (address(&headers), origin(&headers)));

        // Whoever is not listed is believed nothing.
        assert_eq!(proxies.client_address(stranger, &headers), Ok(stranger));
        assert_eq!(proxies.origin(stranger, &headers, origins), Ok(None));

        // What stands before the client's address was written by nobody who is believed.
        if let (Ok(found), Some(client)) = (found, &client)
            && !listed(found)
        {
            let line_before = with(&headers, &name, |lines| [vec![client.clone()], lines].concat());
            let before = |mut lines: Vec<Vec<u8>>| {
                if let Some(first) = lines.first_mut() {
                    *first = [client, &b", "[..], first].concat();
                }
                lines
            };
            for spoofed in [line_before, with(&headers, &name, before)].into_iter().flatten() {
                assert_eq!(address(&spoofed), Ok(found), "{spoofed:?}");
                assert_eq!(origin(&spoofed), host, "{spoofed:?}");
            }
        }

        // One proxy more, or a line in the place of a comma, changes nothing.
        let more = if name == FORWARDED { &b"for=10.0.0.8"[..] } else { &b"10.0.0.8"[..] };
        if headers.contains_key(&name) {
            let one_more = with(&headers, &name, |lines| [lines, vec![more.to_vec()]].concat()).unwrap();
            let appended = with(&headers, &name, |mut lines| {
                let last = lines.last_mut().unwrap();
                last.extend([&b", "[..], more].concat());
                lines
            });
            for farther in [one_more, appended.unwrap()] {
                assert_eq!(address(&farther), found, "{farther:?}");
                assert_eq!(origin(&farther), host, "{farther:?}");
            }
        }

        // An address that was read is read again, as a proxy writes it.
        if let Ok(found) = found {
            let written = match (found, name == FORWARDED) {
                (IpAddr::V4(found), true) => format!("for={found}"),
                (IpAddr::V6(found), true) => format!("For=\"[{found}]:443\""),
                (found, false) => found.to_string(),
            };
            let again = HeaderMap::from_iter([(name.clone(), written.parse().unwrap())]);
            assert_eq!(address(&again), Ok(found), "{written}");
        }

        if fields == ForwardedFields::XForwarded {
            // As read from the other end.
            let read = addresses(&headers);
            let last = read.iter().rev().find(|one| one.is_none_or(|address| !listed(address)));
            match found {
                Ok(found) => assert_eq!(last.copied().flatten().or(read[0]), Some(found)),
                Err(_) if headers.contains_key(FOR) => {
                    // The reference takes ports that are none.
                    let port = data.contains(&b':');
                    assert!(port || matches!(last, Some(None)), "{read:?}");
                }
                Err(_) => {}
            }
            // All that is said of host and scheme agrees, in whatever order it is said.
            if let Ok(Some(origin_found)) = &host {
                let reversed = |mut lines: Vec<Vec<u8>>| {
                    lines.reverse();
                    lines
                };
                let other = with(&headers, &HOST, reversed).unwrap();
                let other = with(&other, &PROTO, reversed).unwrap();
                assert_eq!(origin(&other), host, "{other:?}");
                let expected: Origin = origin_found.parse().unwrap();
                let texts = |name| {
                    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap());
                    lines.flat_map(|line| line.split(',').map(str::trim)).collect::<Vec<_>>()
                };
                for one in texts(HOST) {
                    assert_eq!(Origin::new(expected.scheme(), one).as_ref(), Ok(&expected), "{one}");
                }
                assert!(texts(PROTO).iter().all(|one| one.eq_ignore_ascii_case("https")));
            }
        }
    }
});
