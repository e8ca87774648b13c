use countersign::Nonce;

use crate::failure::Failure;

/// Fills the buffer with random bytes from the system.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes).map_err(|error| {
        Failure::local(
            format!("the system gives no random bytes: {error}"),
            "try again; early in a machine's start this can take a moment",
        )
    })
}

/// Returns 16 random bytes.
pub(crate) fn bytes() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Returns a nonce of 16 random bytes.
pub(crate) fn nonce() -> Result<Nonce, Failure> {
    bytes().map(Nonce::from_random)
}
