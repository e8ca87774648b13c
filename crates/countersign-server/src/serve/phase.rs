/// The phase of a server, which its connections watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The server has no room for another connection.
    Full,
    Stopping,
}
