use clap::Args;
use countersign::Timestamp;
use countersign_store::{
    ApplicationFilter, CredentialFilter, Cursor, EventFilter, Page, Registry, RegistryError,
    UsageEvent,
};

use crate::{application, credential, output::note};

/// The part of a list that is printed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PageArgs {
    /// Print at most so many [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: Option<u32>,
    /// Go on behind the page before, which told this place
    #[arg(long, value_name = "PLACE")]
    after: Option<Cursor>,
}

/// Everything, from the beginning.
pub(crate) const ALL: PageArgs = PageArgs { limit: None, after: None };

/// How many entries are asked for at a time.
const AT_A_TIME: u32 = 1000;

/// A part of a list.
pub(crate) type Part<T> = (Vec<T>, Option<Cursor>);

impl PageArgs {
    /// Whether a part of the list was asked for.
    pub(crate) const fn is_limited(self) -> bool {
        self.limit.is_some()
    }

    /// Asks for keys.
    pub(crate) async fn credentials(
        self,
        registry: &Registry,
        filter: &CredentialFilter,
        now: Timestamp,
    ) -> Result<Part<credential::Listed>, RegistryError> {
        self.collect(async |from, limit| registry.page(filter, from, limit, now).await).await
    }

    /// Asks for applications.
    pub(crate) async fn applications(
        self,
        registry: &Registry,
        filter: &ApplicationFilter,
    ) -> Result<Part<application::Listed>, RegistryError> {
        self.collect(async |from, limit| registry.page_of_applications(filter, from, limit).await)
            .await
    }

    /// Asks for events.
    pub(crate) async fn events(
        self,
        registry: &Registry,
        filter: &EventFilter,
    ) -> Result<Part<UsageEvent>, RegistryError> {
        self.collect(async |from, limit| registry.events(filter, from, limit).await).await
    }

    async fn collect<T>(
        self,
        ask: impl AsyncFn(Option<Cursor>, u32) -> Result<Page<T>, RegistryError>,
    ) -> Result<Part<T>, RegistryError> {
        let (mut entries, mut from) = (Vec::new(), self.after);
        loop {
            let page = ask(from, self.limit.unwrap_or(AT_A_TIME)).await?;
            entries.extend(page.entries);
            match page.next {
                Some(next) if self.limit.is_none() => from = Some(next),
                next => return Ok((entries, next)),
            }
        }
    }
}

/// Says how the next page is printed.
pub(crate) fn note_next(next: Option<Cursor>) {
    if let Some(next) = next {
        note(format_args!("there are more: run it again with --after {next}"));
    }
}
