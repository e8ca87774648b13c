use std::error::Error;

/// The error of a store that failed. The request is then refused with 503, never accepted.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StoreError {
    what: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// Makes an error from a description of the failed operation.
    pub const fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    /// Makes an error with a cause.
    pub fn because(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, source: Some(source.into()) }
    }
}
