use std::error::Error;

/// A store cannot answer. What asked is then refused with 503, never waved through.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StoreError {
    what: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error that says what could not be done.
    pub const fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    /// An error that another one caused.
    pub fn because(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, source: Some(source.into()) }
    }
}
