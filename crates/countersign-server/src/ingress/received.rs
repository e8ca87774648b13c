/// In the extensions of a request that came as a message over one of our own connections, and not as a value that a program
/// made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received;
