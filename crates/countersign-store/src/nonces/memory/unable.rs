use crate::error::StoreError;

/// Why a claim cannot be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unable {
    Full,
    Ahead,
    Ended,
}

impl From<Unable> for StoreError {
    fn from(unable: Unable) -> Self {
        Self::new(match unable {
            Unable::Full => "the replay guard is full",
            Unable::Ahead => "the claim is for a time that is still to come",
            Unable::Ended => "the replay guard has ended",
        })
    }
}
