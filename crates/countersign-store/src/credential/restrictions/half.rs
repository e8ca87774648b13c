/// The half of a key pair that a request uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The publishable key, in a request without a signature.
    Publishable,
    /// The private key, in a valid signature.
    Private,
}
