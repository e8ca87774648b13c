/// What a server does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// It has no room for another connection.
    Full,
    Stopping,
}
