//! Verifies signed requests before a handler runs.

mod access;
mod caller;
mod content;
#[cfg(feature = "axum")]
mod extract;
mod layer;
mod publishable;
mod refusal;
#[cfg(feature = "serve")]
mod serve;
mod verifier;

pub use access::Access;
pub use caller::{Caller, Proof};
#[cfg(feature = "axum")]
pub use extract::{Publishable, Signed, SignedBy};
pub use layer::{RequireSigned, RequireSignedService, VerifierLayer, VerifierService};
pub use publishable::KeyLocations;
#[cfg(feature = "serve")]
pub use serve::serve;
pub use verifier::Verifier;
