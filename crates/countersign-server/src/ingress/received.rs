/// Marks a request as received over a connection of this crate's server, not made by a program. Kept in the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received;
