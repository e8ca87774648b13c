use countersign::{KeyId, Timestamp};
use http::{Method, StatusCode};

use super::{span::Resolution, table::Subject};
use crate::usage::{
    call::{CallAccess, CallOutcome},
    client::Platform,
    place::AddressPrefix,
};

/// A query of usage: a range of time, filters, and dimensions that divide the counts.
///
/// Calls are counted in three ways: by route, method, outcome and status; by network; and by platform and product. A query
/// cannot combine these ways. Application, key and access are part of each.
///
/// ```
/// use countersign::Timestamp;
/// use countersign_store::{UsageDimension, UsageQuery, UsageStep};
///
/// let (from, to) = (Timestamp::from_unix(1_763_856_000), Timestamp::from_unix(1_763_942_400));
/// // The ten most frequent routes of an application.
/// UsageQuery::new(from, to).application("shop").group_by(UsageDimension::Route).limit(10);
/// // Its calls over time, by outcome.
/// UsageQuery::new(from, to)
///     .application("shop")
///     .group_by(UsageDimension::Outcome)
///     .step(UsageStep::Hour);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) groups: Vec<UsageDimension>,
    pub(super) step: Option<UsageStep>,
    pub(super) with_latencies: bool,
    pub(super) limit: Option<u32>,
    pub(super) application: Option<String>,
    pub(super) key: Option<KeyId>,
    /// Columns of the tables of counts, and the required texts.
    pub(super) filters: Vec<(UsageDimension, String)>,
    pub(super) refused: bool,
}

/// A dimension that divides the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UsageDimension {
    /// The name of the application. `None` for calls without a known key.
    Application,
    /// The publishable key. `None` for calls without a known key.
    Key,
    /// The label of the key. `None` for calls without a known key.
    Label,
    /// What the caller showed: `open`, `publishable` or `signed`.
    Access,
    /// The label of the route. `None` for routes that are counted together.
    Route,
    /// The method.
    Method,
    /// `passed`, or the code of the refusal.
    Outcome,
    /// The status of the response.
    Status,
    /// The platform.
    Platform,
    /// The product. `None` for unknown products, and for products that are counted together.
    Product,
    /// The network. `None` for unknown networks, and for networks that are counted together.
    Network,
}

/// The length of the intervals of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsageStep {
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days, in UTC.
    Day,
}

/// A query that cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUsageQuery {
    /// The query combines ways of counting.
    #[error(
        "networks, platforms and products, and routes with their outcomes are counted apart, and cannot be combined"
    )]
    Combined,
    /// The query asks for minutes of networks or programs, which are counted by the hour.
    #[error("networks, platforms and products are counted by the hour, not by the minute")]
    Minutes,
}

impl UsageQuery {
    /// Asks for all calls of a range, as one row. The range includes the time `from`, and not `to`.
    pub const fn new(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            groups: Vec::new(),
            step: None,
            with_latencies: false,
            limit: None,
            application: None,
            key: None,
            filters: Vec::new(),
            refused: false,
        }
    }

    /// Divides the counts. Further calls divide them further.
    pub fn group_by(mut self, dimension: UsageDimension) -> Self {
        self.groups.push(dimension);
        self
    }

    /// Divides the counts by time, too.
    pub const fn step(mut self, step: UsageStep) -> Self {
        self.step = Some(step);
        self
    }

    /// Asks for the latencies as well, which takes longer. They are counted with routes.
    pub const fn latencies(mut self) -> Self {
        self.with_latencies = true;
        self
    }

    /// Limits the number of rows: to the rows with the most calls, or, with a step, to the earliest.
    pub const fn limit(mut self, rows: u32) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Counts calls of the keys of an application.
    pub fn application(mut self, name: &str) -> Self {
        self.application = Some(name.to_owned());
        self
    }

    /// Counts calls of a key.
    pub const fn key(mut self, key: KeyId) -> Self {
        self.key = Some(key);
        self
    }

    /// Counts calls with this access.
    pub fn access(self, access: CallAccess) -> Self {
        self.only(UsageDimension::Access, access.as_str())
    }

    /// Counts calls of a route. An empty text is for the routes that are counted together.
    pub fn route(self, route: &str) -> Self {
        self.only(UsageDimension::Route, route)
    }

    /// Counts calls with this method.
    pub fn method(self, method: &Method) -> Self {
        self.only(UsageDimension::Method, method.as_str())
    }

    /// Counts calls with this outcome.
    pub fn outcome(self, outcome: CallOutcome) -> Self {
        self.only(UsageDimension::Outcome, outcome.as_str())
    }

    /// Counts calls that the verifier refused.
    pub const fn refused(mut self) -> Self {
        self.refused = true;
        self
    }

    /// Counts calls whose response had this status.
    pub fn status(self, status: StatusCode) -> Self {
        self.only(UsageDimension::Status, status.as_str())
    }

    /// Counts calls of this platform.
    pub fn platform(self, platform: Platform) -> Self {
        self.only(UsageDimension::Platform, platform.as_str())
    }

    /// Counts calls of a product.
    pub fn product(self, product: &str) -> Self {
        self.only(UsageDimension::Product, product)
    }

    /// Counts calls from a network.
    pub fn network(self, network: AddressPrefix) -> Self {
        self.only(UsageDimension::Network, &network.to_string())
    }

    fn only(mut self, dimension: UsageDimension, text: &str) -> Self {
        self.filters.push((dimension, text.to_owned()));
        self
    }

    /// Finds the way of counting that has every dimension of the query.
    pub(super) fn subject(&self) -> Result<Subject, BadUsageQuery> {
        let filtered = self.filters.iter().map(|(dimension, _)| *dimension);
        let all = self.groups.iter().copied().chain(filtered);
        let own = all.filter_map(UsageDimension::subject);
        let of_calls = (self.with_latencies || self.refused).then_some(Subject::Calls);
        let mut found = None;
        for subject in own.chain(of_calls) {
            if found.is_some_and(|found| found != subject) {
                return Err(BadUsageQuery::Combined);
            }
            found = Some(subject);
        }
        let subject = found.unwrap_or(Subject::Calls);
        if subject != Subject::Calls && self.step == Some(UsageStep::Minute) {
            return Err(BadUsageQuery::Minutes);
        }
        Ok(subject)
    }
}

impl UsageDimension {
    /// The only way of counting with this dimension; `None` if every way has it.
    const fn subject(self) -> Option<Subject> {
        match self {
            Self::Application | Self::Key | Self::Label | Self::Access => None,
            Self::Route | Self::Method | Self::Outcome | Self::Status => Some(Subject::Calls),
            Self::Platform | Self::Product => Some(Subject::Clients),
            Self::Network => Some(Subject::Places),
        }
    }

    /// The column in the tables of counts; `None` for a property of the credential.
    pub(super) const fn column(self) -> Option<&'static str> {
        match self {
            Self::Application | Self::Key | Self::Label => None,
            Self::Access => Some("access"),
            Self::Route => Some("route"),
            Self::Method => Some("method"),
            Self::Outcome => Some("outcome"),
            Self::Status => Some("status"),
            Self::Platform => Some("platform"),
            Self::Product => Some("product"),
            Self::Network => Some("prefix"),
        }
    }
}

impl UsageStep {
    pub(super) const fn resolution(self) -> Resolution {
        match self {
            Self::Minute => Resolution::Minute,
            Self::Hour => Resolution::Hour,
            Self::Day => Resolution::Day,
        }
    }
}
