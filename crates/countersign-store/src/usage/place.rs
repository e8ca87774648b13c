use std::{fmt, net::IpAddr};

use countersign::Timestamp;

use super::call::CallAccess;
use crate::credential::CredentialId;

/// The place of calls: an hour, a credential and a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlaceKey {
    /// The hour in which the calls began: its first second.
    pub hour: Timestamp,
    /// `None` if the caller named no key that is known.
    pub credential: Option<CredentialId>,
    /// `None` for networks beyond those that are counted apart, and where no address is known.
    pub prefix: Option<AddressPrefix>,
    /// A network counts as a credential's own, and raises events, only where the signature was valid.
    pub access: CallAccess,
}

/// The network of a client: the /24 of an IPv4 address, or the /48 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressPrefix(IpAddr);

impl AddressPrefix {
    /// The network of an address. An IPv4 address in IPv6 form counts as IPv4.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                IpAddr::from([a, b, c, 0])
            }
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
            }
        })
    }
}

impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = if self.0.is_ipv4() { 24 } else { 48 };
        write!(f, "{}/{length}", self.0)
    }
}
