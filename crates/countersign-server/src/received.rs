/// In the extensions of a request that came as a message over one of our own connections, and not as a value that a program
/// made.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "our own connections put it there"))]
pub(crate) struct Received;
