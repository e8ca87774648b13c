use std::time::Duration;

use clap::ValueEnum;
use countersign_store::{UsageDimension, UsageStep};

/// By what calls are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Dimension {
    /// The application
    #[value(alias = "app")]
    Application,
    /// The publishable key
    #[value(alias = "credential")]
    Key,
    /// The label of the key
    Label,
    /// What the caller showed: open, publishable or signed
    Access,
    /// The declared route
    Route,
    /// The method
    Method,
    /// passed, or the code of the refusal
    Outcome,
    /// The status of the response
    Status,
    /// ios, android, browser, server or other, as the client says
    Platform,
    /// The library or browser, as the client says
    Product,
    /// The /24 of an IPv4 address, the /48 of an IPv6 address
    Network,
}

/// How long the parts of a time are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Step {
    Minute,
    Hour,
    Day,
}

impl Dimension {
    /// Its name in JSON and CSV.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Key => "key",
            Self::Label => "label",
            Self::Access => "access",
            Self::Route => "route",
            Self::Method => "method",
            Self::Outcome => "outcome",
            Self::Status => "status",
            Self::Platform => "platform",
            Self::Product => "product",
            Self::Network => "network",
        }
    }

    pub(super) const fn asked(self) -> UsageDimension {
        match self {
            Self::Application => UsageDimension::Application,
            Self::Key => UsageDimension::Key,
            Self::Label => UsageDimension::Label,
            Self::Access => UsageDimension::Access,
            Self::Route => UsageDimension::Route,
            Self::Method => UsageDimension::Method,
            Self::Outcome => UsageDimension::Outcome,
            Self::Status => UsageDimension::Status,
            Self::Platform => UsageDimension::Platform,
            Self::Product => UsageDimension::Product,
            Self::Network => UsageDimension::Network,
        }
    }

    /// What a table says where there is no value.
    pub(super) const fn without_value(self) -> &'static str {
        match self {
            Self::Application | Self::Key | Self::Label => "(no known key)",
            Self::Route
            | Self::Access
            | Self::Method
            | Self::Outcome
            | Self::Status
            | Self::Platform
            | Self::Product
            | Self::Network => "(other)",
        }
    }

    /// Whether it is counted by the hour, without outcomes and bytes.
    pub(super) const fn is_by_hour(self) -> bool {
        matches!(self, Self::Platform | Self::Product | Self::Network)
    }
}

impl Step {
    pub(super) const fn asked(self) -> UsageStep {
        match self {
            Self::Minute => UsageStep::Minute,
            Self::Hour => UsageStep::Hour,
            Self::Day => UsageStep::Day,
        }
    }

    pub(super) const fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// The step whose parts of a range are neither many nor few. Minutes are kept for 2 days, hours for 90.
    pub(super) fn of(range: super::range::Range, is_by_hour: bool) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        let since = Duration::from_secs(range.now.unix().saturating_sub(range.from.unix()));
        let (short, long) = (HOUR.saturating_mul(3), HOUR.saturating_mul(24 * 7));
        if !is_by_hour && range.length() <= short && since < HOUR.saturating_mul(47) {
            Self::Minute
        } else if range.length() <= long && since < HOUR.saturating_mul(24 * 89) {
            Self::Hour
        } else {
            Self::Day
        }
    }
}
