use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An element of `Forwarded` (RFC 7239 §4): a proxy's description of the request that it received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Element<'h> {
    /// `for`: the sender of the request.
    pub(super) node: Option<&'h str>,
    /// `host`: the `Host` field of the request.
    pub(super) host: Option<&'h str>,
    /// `proto`: the scheme of the request.
    pub(super) proto: Option<&'h str>,
    by: Option<&'h str>,
}

impl<'h> Element<'h> {
    /// Parses an element. Refuses quoted-pairs: no proxy needs them.
    pub(super) fn parse(element: &'h [u8]) -> Option<Self> {
        let mut rest = std::str::from_utf8(element).ok().filter(|text| !text.is_empty())?;
        let mut parsed = Self::default();
        while !rest.is_empty() {
            if let Some(next) = rest.strip_prefix(';') {
                rest = next;
                continue;
            }
            let (name, after) = rest.split_once('=').filter(|(name, _)| is_token(name))?;
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').filter(|(value, _)| is_plain(value))?,
                None => {
                    let end = after.find(';').unwrap_or(after.len());
                    after.split_at_checked(end).filter(|(value, _)| is_token(value))?
                }
            };
            if !(after.is_empty() || after.starts_with(';')) {
                return None;
            }
            rest = after;
            let place = match name.to_ascii_lowercase().as_str() {
                "for" => &mut parsed.node,
                "host" => &mut parsed.host,
                "proto" => &mut parsed.proto,
                "by" => &mut parsed.by,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(parsed)
    }
}

/// Whether a text is a token (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(in_token)
}

/// Whether a text may stand between quotation marks without escapes.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t') && byte != b'\\')
}

/// Returns the address of a node (RFC 7239 §6). Refuses `unknown` and names like `_hidden`: this server cannot tell whether they
/// are a proxy.
pub(super) fn node_address(node: &str) -> Option<IpAddr> {
    let (address, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
            (address.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let (address, port) =
                node.split_once(':').map_or((node, None), |(address, port)| (address, Some(port)));
            (address.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    port.is_none_or(is_port).then_some(address)
}

fn is_port(port: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(in_name),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Parses an element of `X-Forwarded-For`, which no standard defines: like a node, and IPv6 also without brackets.
pub(super) fn address(element: &str) -> Option<IpAddr> {
    let bare = element.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    bare.or_else(|| node_address(element))
}
