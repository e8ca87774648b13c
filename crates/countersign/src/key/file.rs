use zeroize::Zeroizing;

use super::{KeyError, PrivateKey, PublishableKey, VerifyingKey};

/// What opens an encrypted key file. Wiped on drop, and prints nothing.
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// The key in a file, whatever the file's form.
#[derive(Debug)]
pub enum KeyFile {
    /// A private key.
    Private(PrivateKey),
    /// A public key.
    Public(VerifyingKey),
    /// The publishable key of an HMAC secret, which only names it.
    Named(PublishableKey),
}
