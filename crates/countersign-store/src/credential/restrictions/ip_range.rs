use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// A range of addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IpRange(IpNet);

impl IpRange {
    /// Parses an address, or a range in CIDR form (RFC 4632 §3.1). Bits after the prefix have to be 0: `192.0.2.7/24` could
    /// mean one address or all of them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let range = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().ok()?,
        };
        // Client addresses are compared as IPv4 if they are IPv4-mapped, and would never be in an IPv4-mapped range.
        let is_mapped = range.addr().to_canonical() != range.addr();
        (range.trunc() == range && !is_mapped).then_some(Self(range))
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_the_addresses_with_its_prefix() {
        for (range, address, expected) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.1", true),
            ("192.0.2.0/24", "::192.0.2.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::1", "2001:db8::2", false),
            ("2001:db8::/48", "2001:db8:0:ffff::1", true),
            ("2001:db8::/48", "2001:db8:1::1", false),
        ] {
            let range = IpRange::parse(range).unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), expected, "{range} {address}");
        }
    }

    #[test]
    fn what_is_no_range_or_may_be_meant_otherwise_is_refused() {
        for text in [
            "192.0.2.7/24",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2",
            "192.0.2.0/255.255.255.0",
            "192.0.2.01",
            " 192.0.2.0/24",
            "2001:db8::1/64",
            "2001:db8::/129",
            "::ffff:192.0.2.0/120",
            "::ffff:192.0.2.1",
            "shop.example",
        ] {
            assert_eq!(IpRange::parse(text), None, "{text}");
        }
    }
}
