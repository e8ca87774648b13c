use clap::Args;
use countersign_store::{OwnLimits, Quota};

/// Limits of a key of its own.
#[derive(Args, Clone, Debug)]
pub(super) struct LimitArgs {
    /// A limit of signed requests, in place of the server's, like 600/1m, or 600/1m:50 with at most 50 at once; can be
    /// repeated
    #[arg(long = "limit-signed", value_name = "QUOTA")]
    pub(super) signed_limits: Vec<Quota>,
    /// A limit of unsigned reads, in place of the server's; can be repeated
    #[arg(long = "limit-reads", value_name = "QUOTA")]
    pub(super) read_limits: Vec<Quota>,
}

impl LimitArgs {
    pub(super) fn limits(self) -> OwnLimits {
        OwnLimits::default().signed(self.signed_limits).unsigned(self.read_limits)
    }
}
