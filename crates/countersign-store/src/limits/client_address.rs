use std::{fmt, net::IpAddr};

/// The address of a client: usually the peer of the socket, or the address that a trusted proxy forwards.
///
/// An IPv4 address in the form of IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
///
/// ```
/// use std::net::IpAddr;
///
/// use countersign_store::ClientAddress;
///
/// let here = ClientAddress::from("2001:db8::1".parse::<IpAddr>()?);
/// let neighbour = ClientAddress::from("2001:db8::2".parse::<IpAddr>()?);
/// assert_eq!(here.network(), neighbour.network()); // one client for limits
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Returns the IP address.
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// Returns the network under which limits count the client.
    pub const fn network(self) -> ClientNetwork {
        let network = match self.0 {
            IpAddr::V6(address) => {
                const NETWORK: u128 = u128::MAX << 64;
                IpAddr::V6(std::net::Ipv6Addr::from_bits(address.to_bits() & NETWORK))
            }
            v4 => v4,
        };
        ClientNetwork { network, senders: Senders::All }
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client as limits count it: an IPv4 address, or the /64 network of an IPv6 address, since a client has all addresses of its
/// network. Made by [`ClientAddress::network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNetwork {
    network: IpAddr,
    senders: Senders,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Senders {
    All,
    Browsers,
}

impl ClientNetwork {
    /// Returns the browsers of this client, as a client of their own. Any page can make browsers send requests, and these must
    /// not use up the budget of the client's other programs.
    pub const fn browsers(self) -> Self {
        Self { senders: Senders::Browsers, ..self }
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            IpAddr::V4(address) => address.fmt(f)?,
            IpAddr::V6(network) => write!(f, "{network}/64")?,
        }
        match self.senders {
            Senders::All => Ok(()),
            Senders::Browsers => f.write_str(" (browsers)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn addresses_that_one_client_has_are_in_one_network() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let same_network = address(one).network() == address(other).network();
            assert_eq!(same_network, same, "{one} {other}");
        }
    }

    #[test]
    fn an_address_is_exact_and_a_network_is_not() {
        for (text, exact, network) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ] {
            let address = address(text);
            assert_eq!(address.ip().to_string(), exact);
            assert_eq!(address.to_string(), exact);
            assert_eq!(address.network().to_string(), network);
            let browsers = address.network().browsers();
            assert_eq!(browsers.to_string(), format!("{network} (browsers)"));
            assert_ne!(browsers, address.network());
        }
    }
}
