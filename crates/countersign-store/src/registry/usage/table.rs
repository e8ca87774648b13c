use super::span::Resolution;

/// A table of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Its name, without the schema.
    pub(super) name: &'static str,
    pub(super) subject: Subject,
    pub(super) resolution: Resolution,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Calls,
    Places,
    Clients,
}

/// The columns in which calls are counted by their duration.
pub(super) const LATENCIES: [&str; 13] = [
    "latency_0",
    "latency_1",
    "latency_2",
    "latency_3",
    "latency_4",
    "latency_5",
    "latency_6",
    "latency_7",
    "latency_8",
    "latency_9",
    "latency_10",
    "latency_11",
    "latency_12",
];

/// The columns of counts, beside those.
pub(super) const SUMS: [&str; 4] = ["calls", "bytes_in", "bytes_out", "duration"];

impl Subject {
    /// The columns of the key, in the order in which SQLite keeps the rows.
    pub(super) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Calls => &["at", "credential", "route", "method", "access", "outcome", "status"],
            Self::Places => &["at", "credential", "access", "prefix"],
            Self::Clients => &["at", "credential", "access", "platform", "product"],
        }
    }

    pub(super) fn counts(self) -> Vec<&'static str> {
        match self {
            Self::Calls => SUMS.into_iter().chain(LATENCIES).collect(),
            Self::Places | Self::Clients => vec!["calls"],
        }
    }

    /// The finest resolution.
    pub(super) const fn finest(self) -> Resolution {
        match self {
            Self::Calls => Resolution::Minute,
            Self::Places | Self::Clients => Resolution::Hour,
        }
    }
}

impl Table {
    /// All tables of counts, in the order in which they are written.
    pub(super) const ALL: [Self; 7] = [
        Self::of(Subject::Calls, Resolution::Minute),
        Self::of(Subject::Calls, Resolution::Hour),
        Self::of(Subject::Calls, Resolution::Day),
        Self::of(Subject::Places, Resolution::Hour),
        Self::of(Subject::Places, Resolution::Day),
        Self::of(Subject::Clients, Resolution::Hour),
        Self::of(Subject::Clients, Resolution::Day),
    ];

    /// The table of a subject in a resolution. Places and clients are counted by the hour at the finest.
    pub(super) const fn of(subject: Subject, resolution: Resolution) -> Self {
        let name = match (subject, resolution) {
            (Subject::Calls, Resolution::Minute) => "usage_call_minute",
            (Subject::Calls, Resolution::Hour) => "usage_call_hour",
            (Subject::Calls, Resolution::Day) => "usage_call_day",
            (Subject::Places, Resolution::Minute | Resolution::Hour) => "usage_place_hour",
            (Subject::Places, Resolution::Day) => "usage_place_day",
            (Subject::Clients, Resolution::Minute | Resolution::Hour) => "usage_client_hour",
            (Subject::Clients, Resolution::Day) => "usage_client_day",
        };
        Self { name, subject, resolution }
    }

    /// Adds rows of counts to what is there.
    pub(super) fn add(self) -> String {
        let (name, keys, counts) =
            (self.name, self.subject.keys().join(", "), self.subject.counts());
        let sums =
            counts.iter().map(|count| format!("{count} = {name}.{count} + excluded.{count}"));
        let sums = sums.collect::<Vec<_>>().join(", ");
        format!(
            "INSERT INTO countersign.{name} ({keys}, {}) SELECT * FROM {{rows}} WHERE TRUE
             ON CONFLICT ({keys}) DO UPDATE SET {sums}",
            counts.join(", ")
        )
    }
}
