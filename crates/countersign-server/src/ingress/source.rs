use std::net::IpAddr;

use countersign_store::ClientAddress;
use http::request::Parts;

use super::Ingress;
use crate::refusal::reason::Reason;

/// Where a request came from.
pub(crate) struct Source {
    /// The peer of the connection.
    pub(crate) peer: Option<IpAddr>,
    /// Why the proxies' fields do not tell the client's address.
    pub(crate) client: Result<(), Box<Reason>>,
}

impl Ingress {
    /// Puts the address of the client into the extensions, in place of its proxy's. Removes the address if the client's is unknown:
    /// then only open paths are served.
    pub(crate) fn locate(&self, head: &mut Parts) -> Source {
        let peer = head.extensions.get::<ClientAddress>().map(|address| address.ip());
        let client = match self.client_address(peer, &head.headers) {
            Ok(address) => {
                if let Some(address) = address {
                    head.extensions.insert(ClientAddress::from(address));
                }
                Ok(())
            }
            Err(reason) => {
                head.extensions.remove::<ClientAddress>();
                Err(Box::new(reason))
            }
        };
        Source { peer, client }
    }
}
