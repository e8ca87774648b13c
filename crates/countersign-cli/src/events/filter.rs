use clap::{Args, builder::PossibleValuesParser, builder::TypedValueParser as _};
use countersign::{KeyId, Timestamp};
use countersign_store::{EventFilter, EventKind};

use crate::moment;

/// Which events are printed: those that match all options.
#[derive(Args, Clone, Debug)]
pub(super) struct FilterArgs {
    /// Only events of the keys of this application
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Only events of this key, by its publishable key or its JWK thumbprint
    // A thumbprint is base64url, which can begin with a hyphen.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: Option<KeyId>,
    /// Only events of this kind
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    kind: Option<EventKind>,
    /// Only events that happened at least once with a valid signature and a fresh nonce
    #[arg(long)]
    verified: bool,
    /// Only events that last happened at this time or later, like 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub(super) since: Option<Timestamp>,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> EventFilter {
        let mut filter = EventFilter::default();
        if let Some(name) = &self.app {
            filter = filter.application(name);
        }
        if let Some(key) = self.key {
            filter = filter.key(key);
        }
        if let Some(kind) = self.kind {
            filter = filter.kind(kind);
        }
        if self.verified {
            filter = filter.verified();
        }
        match self.since {
            Some(time) => filter.since(time),
            None => filter,
        }
    }
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = EventKind> {
    let names = EventKind::all().iter().map(|kind| kind.as_str());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<EventKind>())
}
