//! Signs and verifies HTTP requests and responses: RFC 9421 signatures over RFC 9530 digests, with a strict policy.
//!
//! This crate is the protocol. It has no sockets, clock, threads or randomness: its caller brings them. Use it for a stack of
//! your own, such as a serverless function; for axum and tower there is `countersign-server`, and for reqwest `countersign-client`.
//!
//! ```
//! use countersign::{
//!     Claim, Content, Nonce, Origin, Policy, PrivateKey, RequestHead, Signer, Target, Timestamp, Unverified,
//! };
//! use http::{HeaderMap, Method, Uri};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = PrivateKey::ed25519(&[7; 32]); // 32 random bytes
//! let verifying_key = key.verifying_key();
//! let origin: Origin = "https://api.example.com".parse()?;
//! let (method, uri, content) = (Method::POST, Uri::from_static("/v1/orders"), b"{}");
//! let (target, now) = (Target::origin_form(&uri), Timestamp::from_unix(1_763_900_000));
//!
//! // The client signs: with the time, and a nonce of 16 random bytes.
//! let mut headers = HeaderMap::new();
//! let head = RequestHead { method: &method, target, origin: &origin, headers: &headers };
//! let fields = Signer::new(key).sign(&head, content, now, &Nonce::from_random([9; 16]))?;
//! fields.apply(&mut headers);
//!
//! // The server verifies. Each step returns the value that the next step needs, so no step can be left out.
//! let head = RequestHead { method: &method, target, origin: &origin, headers: &headers };
//! let request = Unverified::parse(head, Content::Present, &Policy::default(), now)?;
//! let request = request.ok_or("unsigned")?; // its `key_id()` says which key to look for
//! let authentic = request.verify(&verifying_key)?;
//! let claim = Claim::Fresh; // the reply of a replay guard to `authentic.nonce_use(credential)`
//! let mut check = authentic.redeem(claim)?.read();
//! check.update(content);
//! check.finish()?; // from here on the content is the signed content
//! # Ok(())
//! # }
//! ```
//!
//! [`ResponseSigner`] and [`UnverifiedResponse`] do the same for responses. Each is bound to its request.
//!
//! Without the server and client crates, as in a serverless function: [`Rejection::to_response`] makes the response to a
//! refused request, and [`Signer::sign_request`] signs an [`http::Request`]. For a key in a KMS, use [`RemoteSigner`].
//!
//! | feature | adds |
//! | --- | --- |
//! | `key-files` | `KeyFile` and `AnyKeyFile`: keys from PEM, PKCS#8, JWK and OpenSSH files, also encrypted |
//! | `ecdsa`, `rsa` | the other algorithms of RFC 9421, for tools that read the messages of others |

mod accept_signature;
mod algorithm;
mod bad_base;
mod base_difference;
mod byte_set;
mod canonical;
mod check;
mod code;
mod component;
mod content;
mod coverage;
mod dictionary;
mod digest;
mod field_name;
mod field_type;
mod key;
mod malformed;
mod message;
mod nonce;
mod origin;
mod parameter;
mod policy;
mod prepared_signature;
mod presented;
mod problem;
mod query_params;
mod reasons;
mod rejection;
mod remote_signer;
mod response;
mod served;
mod sign;
mod signature_base;
mod signature_input;
mod signer;
mod structured_field;
mod target;
mod timestamp;
mod trailers;
mod verify;
mod want_digest;
mod whole_seconds;
mod window;

pub use accept_signature::{ACCEPT_SIGNATURE, AcceptSignature, Unmeetable};
pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use bad_base::BadBase;
pub use base_difference::BaseDifference;
pub use check::Check;
pub use code::{Code, UnknownCode};
pub use component::{BadComponent, Component, Derived};
pub use content::{Content, is_read};
pub use digest::{
    BadDigest, ContentDigest, DigestAlgorithm, DigestCheck, DigestMismatch, RunningDigest,
};
pub use field_name::{
    CONDITIONAL_FIELDS, CONTENT_DIGEST, METHOD_OVERRIDES, REFUSAL, REPR_DIGEST, SIGNATURE,
    SIGNATURE_INPUT, TARGET_OVERRIDES, X_API_KEY,
};
pub use field_type::{FieldType, FieldTypes, UnknownFieldType};
#[cfg(feature = "rsa")]
pub use key::RsaPublicKey;
#[cfg(feature = "key-files")]
pub use key::{AnyKeyFile, KeyFile, Passphrase};
pub use key::{
    AnyPrivateKey, AnyVerifyingKey, BadServerKeys, BadSignature, Brand, KEY_DIRECTORY_PATH,
    KEY_DIRECTORY_TYPE, KeyError, KeyId, PrivateKey, ProvenKey, PublishableKey, ServerKeys, Signs,
    Verifies, VerifyingKey,
};
#[cfg(feature = "ecdsa")]
pub use key::{EcdsaPrivateKey, EcdsaPublicKey};
pub use malformed::Malformed;
pub use message::{Message, RequestHead, ResponseHead};
pub use nonce::{Claim, Nonce, NonceUse, NotANonce};
pub use origin::{BadOrigin, BadOrigins, Misdirected, Origin, Origins, Scheme, is_loopback};
pub use policy::{BadPolicy, Policy};
pub use prepared_signature::PreparedSignature;
pub use presented::{BadPresented, KeyLocations, Presented};
pub use problem::{Problem, RefusedRequest};
pub use reasons::with_reasons;
pub use rejection::{Rejection, Stale, Unmet};
pub use remote_signer::{PreparedRequest, RemoteSigner};
pub use response::{
    AuthenticResponse, IntactResponse, RESPONSE_TAG, ResponseContentCheck, ResponsePolicy,
    ResponseRejection, ResponseSigner, UnverifiedResponse,
};
pub use served::{METHODS, OLDEST_VERSION, Unserved, check_served};
pub use sign::{SignError, SignatureFields, SignatureParams, SignedFields, sign};
pub use signature_base::SignatureBase;
pub use signature_input::{LabelledSignature, SignatureInput};
pub use signer::Signer;
pub use target::{BadTarget, Target};
pub use timestamp::Timestamp;
pub use trailers::{SignedTrailer, check_trailers};
pub use verify::{Authentic, Candidate, Claimed, ContentCheck, Intact, Unverified};
pub use want_digest::{BadWant, WANT_CONTENT_DIGEST, WANT_REPR_DIGEST, WantDigest};
pub use whole_seconds::whole_seconds;
pub use window::Window;
