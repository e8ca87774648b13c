use countersign::SignError;

/// Why a response cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsignable {
    #[error(transparent)]
    Content(#[from] Ungathered),
    #[error(transparent)]
    Head(#[from] SignError),
}

/// Why the content of a response cannot be gathered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ungathered {
    #[error("it has more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("it did not end in time")]
    Timeout,
    #[error("it broke off")]
    Broken,
    #[error("it has trailers, which no signature covers")]
    Trailers,
}
