use std::{sync::Arc, time::Duration};

use countersign::Timestamp;

use super::{
    Registry,
    cursor::{Cursor, List, Place},
    damaged::{DamagedApplication, DamagedCredential},
    error::RegistryError,
    query::{Query, Row, Value},
    row::seconds,
    statements,
};
use crate::credential::{Credential, Stage, application::Application};

/// How many credentials a statement looks at, if it has to look at each.
const AT_A_TIME: i64 = 500_000;

/// A part of a list, and where the next part begins.
#[derive(Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries, at most as many as were asked for.
    pub entries: Vec<T>,
    /// Where the next page begins; `None` if this is the last page.
    pub next: Option<Cursor>,
}

/// A filter for a list of credentials: a credential has to match all conditions. Default: all credentials.
///
/// ```
/// use std::time::Duration;
///
/// use countersign_store::CredentialFilter;
///
/// const DAY: Duration = Duration::from_secs(24 * 3600);
/// // The keys of an application that expire within two weeks, for `Registry::page`.
/// let expiring = CredentialFilter::default().application("shop").expiring_within(14 * DAY);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialFilter {
    application: Option<String>,
    stage: Option<Stage>,
    search: Option<String>,
    never_expires: bool,
    unrestricted: bool,
    unused_for: Option<Duration>,
    due_after: Option<Duration>,
    expiring_within: Option<Duration>,
}

impl CredentialFilter {
    /// Lists the credentials of the application with this name.
    pub fn application(mut self, name: &str) -> Self {
        self.application = Some(name.to_owned());
        self
    }

    /// Lists credentials at this stage of their life.
    pub const fn stage(mut self, stage: Stage) -> Self {
        self.stage = Some(stage);
        self
    }

    /// Lists credentials with this text in the label or in the name of the application. Upper and lower case of A-Z are the
    /// same. The labels of all credentials are read, or of all those that the other filters leave: among a million, that takes
    /// half a second to two seconds.
    pub fn search(mut self, text: &str) -> Self {
        self.search = Some(text.to_owned());
        self
    }

    /// Lists credentials without an expiry.
    pub const fn never_expires(mut self) -> Self {
        self.never_expires = true;
        self
    }

    /// Lists credentials without restrictions.
    pub const fn unrestricted(mut self) -> Self {
        self.unrestricted = true;
        self
    }

    /// Lists credentials that were registered and last used before this time, and are not revoked. If uses have not been
    /// recorded for so long, the list is empty. The last use of all credentials is read, as by [`CredentialFilter::search`].
    pub const fn unused_for(mut self, time: Duration) -> Self {
        self.unused_for = Some(time);
        self
    }

    /// Lists credentials due for replacement: registered before this time, active, and not replaced yet.
    pub const fn due_after(mut self, age: Duration) -> Self {
        self.due_after = Some(age);
        self
    }

    /// Lists valid credentials that expire within this time.
    pub const fn expiring_within(mut self, time: Duration) -> Self {
        self.expiring_within = Some(time);
        self
    }

    fn conditions(&self, now: Timestamp) -> Conditions {
        let mut conditions = Conditions::default();
        match &self.application {
            // A range of the index on the application.
            Some(name) => conditions.add(statements::OF_APPLICATION, [name.as_str().into()]),
            None => conditions.add(statements::OF_NO_REMOVED_APPLICATION, []),
        }
        let at = seconds(now);
        if let Some(stage) = self.stage {
            let condition = match stage {
                Stage::Active => statements::ACTIVE,
                Stage::Retiring => statements::RETIRING,
                Stage::Quarantined => statements::QUARANTINED,
                Stage::Revoked => statements::REVOKED,
                Stage::Expired => statements::EXPIRED,
            };
            match stage {
                Stage::Active | Stage::Retiring | Stage::Quarantined => {
                    conditions.add(condition, []);
                    conditions.add(statements::NOT_EXPIRED, [at.into()]);
                }
                Stage::Revoked => conditions.add(condition, []),
                Stage::Expired => conditions.add(condition, [at.into()]),
            }
        }
        if let Some(text) = &self.search {
            conditions.add(statements::SEARCHED, [pattern(text).into()]);
        }
        if self.never_expires {
            conditions.add(statements::NEVER_EXPIRES, []);
        }
        if self.unrestricted {
            conditions.add(statements::UNRESTRICTED, []);
        }
        if let Some(time) = self.unused_for {
            conditions.add(statements::UNUSED_SINCE, [seconds(now.minus(time)).into()]);
        }
        if let Some(age) = self.due_after {
            conditions.add(statements::DUE_SINCE, [seconds(now.minus(age)).into(), at.into()]);
        }
        if let Some(time) = self.expiring_within {
            let until = seconds(now.plus(time));
            conditions.add(statements::EXPIRING_UNTIL, [at.into(), until.into()]);
        }
        conditions
    }

    /// Returns the list of this filter: the credentials in the order of its index.
    const fn list(&self) -> List {
        match self.stage {
            _ if self.due_after.is_some() => List::CredentialsByCreation,
            _ if self.expiring_within.is_some() => List::CredentialsByExpiry,
            Some(Stage::Expired) => List::CredentialsByExpiry,
            Some(Stage::Retiring) => List::CredentialsByEnd,
            Some(Stage::Active | Stage::Quarantined | Stage::Revoked) | None => List::Credentials,
        }
    }

    /// Whether it looks at every credential, for lack of an index.
    const fn looks_at_all(&self) -> bool {
        (self.search.is_some() || self.unused_for.is_some())
            && self.application.is_none()
            && matches!(self.list(), List::Credentials)
    }

    fn query(&self, after: Place, up_to: Option<i64>, limit: i64, now: Timestamp) -> Query {
        let mut conditions = self.conditions(now);
        // Nothing of these lists lies before, and a walk of the index begins here.
        let now = Place { time: seconds(now), number: i64::MAX };
        let Place { time, number } = match self.list() {
            List::CredentialsByEnd => after.max(now),
            List::CredentialsByExpiry if self.expiring_within.is_some() => after.max(now),
            _ => after,
        };
        let place = [time.into(), number.into()];
        let order = match self.list() {
            List::CredentialsByCreation => {
                conditions.add(statements::AFTER_CREATION, place);
                statements::IN_ORDER_OF_CREATION
            }
            List::CredentialsByExpiry => {
                conditions.add(statements::AFTER_EXPIRY, place);
                statements::IN_ORDER_OF_EXPIRY
            }
            List::CredentialsByEnd => {
                conditions.add(statements::AFTER_END, place);
                statements::IN_ORDER_OF_END
            }
            List::Credentials | List::Applications | List::Events => {
                conditions.add(statements::AFTER_NUMBER, [number.into()]);
                statements::IN_ORDER_OF_NUMBER
            }
        };
        if let Some(number) = up_to {
            conditions.add(statements::UP_TO_NUMBER, [number.into()]);
        }
        conditions.query(statements::PAGE_OF_CREDENTIALS, order, limit)
    }
}

/// A filter for a list of applications: an application has to match all conditions. Default: all applications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationFilter {
    environment: Option<String>,
    search: Option<String>,
}

impl ApplicationFilter {
    /// Lists applications with this environment.
    pub fn environment(mut self, environment: &str) -> Self {
        self.environment = Some(environment.to_owned());
        self
    }

    /// Lists applications with this text in the name, the contact or the notes. Upper and lower case of A-Z are the same.
    pub fn search(mut self, text: &str) -> Self {
        self.search = Some(text.to_owned());
        self
    }

    fn query(&self, after: Option<i64>, limit: i64) -> Query {
        let mut conditions = Conditions::default();
        if let Some(environment) = &self.environment {
            conditions.add(statements::IN_ENVIRONMENT, [environment.as_str().into()]);
        }
        if let Some(text) = &self.search {
            conditions.add(statements::SEARCHED_APPLICATION, [pattern(text).into()]);
        }
        if let Some(after) = after {
            conditions.add(statements::AFTER_APPLICATION, [after.into()]);
        }
        conditions.query(statements::PAGE_OF_APPLICATIONS, statements::IN_ORDER_OF_NAME, limit)
    }
}

/// Conditions of a statement, of fixed texts alone.
#[derive(Debug, Default)]
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition with its values `?1`, `?2` and so on.
    fn add<const N: usize>(&mut self, condition: &'static str, values: [Value; N]) {
        let mut text = condition.to_owned();
        // The last first, so that ?1 is not found in ?10.
        for at in (1..=N).rev() {
            let number = self.values.len().saturating_add(at);
            text = text.replace(&format!("?{at}"), &format!("${number}"));
        }
        self.text.push_str(" AND ");
        self.text.push_str(&text);
        self.values.extend(values);
    }

    fn query(self, select: &str, order: &str, limit: i64) -> Query {
        let Self { text, values } = self;
        let number = values.len().saturating_add(1);
        let text = format!("{select}{text} {order} LIMIT ${number}");
        values.into_iter().fold(Query::new(text), Query::bind).bind(limit)
    }
}

/// Returns the pattern of a search: the text anywhere, with no character of special meaning.
fn pattern(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let text = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{text}%")
}

impl Registry {
    /// Returns a page of the credentials that match a filter: at most `limit` of them, from the beginning or from the
    /// [next](Page::next) place of another page. A damaged row is an error in its place, and hides no other
    /// credential.
    ///
    /// The order is that of registration. Credentials that expire within a time, have expired, or are retiring are in the order
    /// of their expiry.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`] for the application of the filter, [`RegistryError::Cursor`], or an error of the database.
    pub async fn page(
        &self,
        filter: &CredentialFilter,
        from: Option<Cursor>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Page<Result<Arc<Credential>, Box<DamagedCredential>>>, RegistryError> {
        if let Some(name) = &filter.application {
            self.require_application(name).await?;
        }
        let list = filter.list();
        let after = Cursor::place_in(from, list)?.unwrap_or(Place::START);
        let rows = match filter.looks_at_all() {
            true => self.looked_through(filter, after.number, one_more(limit), now).await?,
            false => self.rows(filter.query(after, None, one_more(limit), now)).await?,
        };
        page_of(list, rows, limit, |row| self.shared.listed(row))
    }

    /// Returns the first rows of a filter that looks at every credential, in several statements. None of them takes longer the
    /// more credentials there are.
    async fn looked_through(
        &self,
        filter: &CredentialFilter,
        mut after: i64,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Row>, RegistryError> {
        let mut rows = Vec::new();
        loop {
            let wanted = limit.saturating_sub(i64::try_from(rows.len()).unwrap_or(i64::MAX));
            if wanted <= 0 {
                return Ok(rows);
            }
            let up_to = after.saturating_add(AT_A_TIME);
            let query = filter.query(Place::of_number(after), Some(up_to), wanted, now);
            rows.extend(self.rows(query).await?);
            let next = self.rows(Query::new(statements::NEXT_CREDENTIAL).bind(up_to)).await?;
            match next.first().map(|row| row.get::<Option<i64>>("id")).transpose()?.flatten() {
                Some(next) => after = next.saturating_sub(1),
                None => return Ok(rows),
            }
        }
    }

    /// Returns a page of the applications that match a filter, by name: at most `limit` of them, from the beginning or from
    /// the [next](Page::next) place of another page. A damaged row that matches is an error in its place, and hides no other
    /// application.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Cursor`], or an error of the database.
    pub async fn page_of_applications(
        &self,
        filter: &ApplicationFilter,
        from: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Result<Application, Box<DamagedApplication>>>, RegistryError> {
        let after = Cursor::place_in(from, List::Applications)?.map(|place| place.number);
        let rows = self.rows(filter.query(after, one_more(limit))).await?;
        page_of(List::Applications, rows, limit, |row| {
            Application::read(row).map_err(|error| DamagedApplication::of(row, error))
        })
    }

    /// Returns the number of credentials of all applications, without removed applications.
    ///
    /// # Errors
    ///
    /// An error of the database.
    pub async fn number_of_credentials(&self) -> Result<u64, RegistryError> {
        let rows = self.rows(Query::new(statements::COUNT_CREDENTIALS)).await?;
        let count = rows.first().ok_or(sqlx::Error::RowNotFound)?.get::<i64>("count")?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn rows(&self, query: Query) -> Result<Vec<Row>, RegistryError> {
        let mut connection = self.shared.database.connection().await?;
        Ok(connection.session().fetch_all(query).await?)
    }

    /// Returns an error if there is no application with this name. A damaged application is there.
    pub(super) async fn require_application(&self, name: &str) -> Result<(), RegistryError> {
        match self.application(name).await {
            Ok(_) | Err(RegistryError::DamagedApplication { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Makes a page of its rows, and of the row behind them.
fn page_of<T>(
    list: List,
    mut rows: Vec<Row>,
    limit: u32,
    read: impl Fn(&Row) -> T,
) -> Result<Page<T>, RegistryError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_last = rows.len() <= limit;
    rows.truncate(limit);
    let next = match rows.last() {
        Some(last) if !is_last => Some(Cursor::new(list, place(list, last)?)),
        _ => None,
    };
    Ok(Page { entries: rows.iter().map(read).collect(), next })
}

/// Returns the place of a row in a list.
fn place(list: List, row: &Row) -> Result<Place, RegistryError> {
    let time = match list {
        List::CredentialsByCreation => row.get("created_at")?,
        List::CredentialsByExpiry | List::CredentialsByEnd => {
            row.get::<Option<i64>>("expires_at")?.unwrap_or(i64::MAX)
        }
        List::Credentials | List::Applications | List::Events => i64::MIN,
    };
    Ok(Place { time, number: row.get("id")? })
}

/// An additional row tells whether there is another page.
fn one_more(limit: u32) -> i64 {
    i64::from(limit).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

    #[test]
    fn a_search_is_for_its_text_and_for_no_pattern() {
        assert_eq!(pattern("Ana's 100%_\\"), r"%ana's 100\%\_\\%");
    }

    #[test]
    fn the_numbers_of_values_go_on_through_all_conditions() {
        let filter = CredentialFilter::default()
            .application("shop")
            .stage(Stage::Retiring)
            .due_after(Duration::from_secs(1))
            .search("x");
        let text = format!("{:?}", filter.query(Place::START, Some(5), 101, NOW));
        for number in 1..=9 {
            assert!(text.contains(&format!("${number}")), "{number} {text}");
        }
        assert!(!text.contains("$10") && !text.contains('?'), "{text}");
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn each_filter_walks_a_range_of_an_index_in_the_order_of_its_list() {
        let folder = tempfile::TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Registry::open_or_create(&url).await.unwrap();
        let plan = async |query: Query| {
            let rows = registry.rows(query.explained()).await.unwrap();
            let steps = rows.iter().map(|row| row.get::<String>("detail").unwrap());
            steps.collect::<Vec<_>>().join("\n")
        };
        let all = CredentialFilter::default;
        let of_one = all().application("shop").unrestricted().unused_for(Duration::ZERO);
        let of = |filter: CredentialFilter| filter.query(Place::START, None, 101, NOW);
        let by_state = "SEARCH c USING INDEX credential_state (state=? AND id>?)";
        let plans = [
            (of(all()), "SEARCH c USING INTEGER PRIMARY KEY (rowid>?)"),
            (of(of_one), "SEARCH c USING INDEX credential_application (application_id=? AND id>?)"),
            (of(all().stage(Stage::Active)), by_state),
            (of(all().stage(Stage::Quarantined)), by_state),
            (of(all().stage(Stage::Revoked)), by_state),
            (
                of(all().stage(Stage::Retiring)),
                "SEARCH c USING INDEX credential_retiring (state=? AND <expr>>?)",
            ),
            (of(all().stage(Stage::Expired)), "SEARCH c USING INDEX credential_expiry"),
            (of(all().expiring_within(Duration::ZERO)), "SEARCH c USING INDEX credential_expiry"),
            (of(all().due_after(Duration::ZERO)), "SEARCH c USING INDEX credential_due"),
            (of(all().never_expires()), "USING INDEX credential_never_expires"),
            (of(all().unrestricted()), "USING INDEX credential_unrestricted"),
            (
                all().search("x").query(Place::START, Some(100), 101, NOW),
                "SEARCH c USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            ),
            (
                ApplicationFilter::default().search("x").query(Some(7), 101),
                "SEARCH application USING INDEX application_name (name>?)",
            ),
            (
                ApplicationFilter::default().environment("x").query(Some(7), 101),
                "SEARCH application USING INDEX application_environment (environment=? AND name>?)",
            ),
        ];
        for (query, expected) in plans {
            let text = format!("{query:?}");
            let plan = plan(query).await;
            assert!(plan.contains(expected), "{text}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{text}\n{plan}");
        }
    }
}
