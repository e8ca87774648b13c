use std::{sync::Arc, time::Duration};

use countersign::Timestamp;

use super::{
    Registry,
    cursor::{Cursor, List},
    damaged::{DamagedApplication, DamagedCredential},
    error::RegistryError,
    query::{Query, Value},
    row::seconds,
    statements,
};
use crate::credential::{Credential, Stage, application::Application};

/// A part of a list, and where the next part begins.
#[derive(Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries, at most as many as were asked for.
    pub entries: Vec<T>,
    /// Where the next page begins; `None` if this is the last page.
    pub next: Option<Cursor>,
}

/// Which credentials are listed: those that match every filter that is set. Default: all.
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

    /// Lists credentials that are at this stage of their life.
    pub const fn stage(mut self, stage: Stage) -> Self {
        self.stage = Some(stage);
        self
    }

    /// Lists credentials with this text in the label or in the name of the application. Upper and lower case of A-Z are the
    /// same.
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
    /// recorded for so long, none is listed.
    pub const fn unused_for(mut self, time: Duration) -> Self {
        self.unused_for = Some(time);
        self
    }

    /// Lists credentials that are to be replaced: registered before this time, active, and not replaced yet.
    pub const fn due_after(mut self, age: Duration) -> Self {
        self.due_after = Some(age);
        self
    }

    /// Lists credentials that are valid, and expire within this time.
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
        match self.stage {
            None => {}
            Some(Stage::Revoked) => conditions.add(statements::IN_STATE, ["revoked".into()]),
            Some(Stage::Expired) => conditions.add(statements::EXPIRED, [at.into()]),
            Some(stage) => {
                conditions.add(statements::IN_STATE, [stage.as_str().into()]);
                conditions.add(statements::NOT_EXPIRED, [at.into()]);
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

    fn query(&self, after: i64, limit: i64, now: Timestamp) -> Query {
        let mut conditions = self.conditions(now);
        conditions.add(statements::AFTER_CREDENTIAL, [after.into()]);
        conditions.query(statements::PAGE_OF_CREDENTIALS, statements::IN_ORDER_OF_NUMBER, limit)
    }
}

/// Which applications are listed: those that match every filter that is set. Default: all.
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
    /// Adds a condition, in which `?1`, `?2` and so on are its values.
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
    /// Returns a page of the credentials that match a filter, the oldest first: at most `limit` of them, from the beginning or
    /// from the [next](Page::next) place of another page. A damaged row that matches is an error in its place, and hides no
    /// other credential.
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
        let after = Cursor::number_in(from, List::Credentials)?.unwrap_or(0);
        let query = filter.query(after, one_more(limit), now);
        let read = |row: &_| match Credential::read(row, self.shared.master_keys()) {
            Ok(credential) => Ok(Arc::new(credential)),
            Err(error) => Err(DamagedCredential::of(row, error)),
        };
        self.page_of(List::Credentials, query, limit, read).await
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
        let after = Cursor::number_in(from, List::Applications)?;
        let query = filter.query(after, one_more(limit));
        let read =
            |row: &_| Application::read(row).map_err(|error| DamagedApplication::of(row, error));
        self.page_of(List::Applications, query, limit, read).await
    }

    async fn page_of<T>(
        &self,
        list: List,
        query: Query,
        limit: u32,
        read: impl Fn(&super::query::Row) -> T,
    ) -> Result<Page<T>, RegistryError> {
        let mut connection = self.shared.database.connection().await?;
        let mut rows = connection.session().fetch_all(query).await?;
        drop(connection);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_last = rows.len() <= limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(last) if !is_last => Some(Cursor::new(list, last.get("id")?)),
            _ => None,
        };
        Ok(Page { entries: rows.iter().map(read).collect(), next })
    }

    /// Returns an error if there is no application with this name. One that is damaged is there.
    pub(super) async fn require_application(&self, name: &str) -> Result<(), RegistryError> {
        match self.application(name).await {
            Ok(_) | Err(RegistryError::DamagedApplication { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// One row more than is asked for tells whether there is another page.
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
        let text = format!("{:?}", filter.query(5, 101, NOW));
        for number in 1..=8 {
            assert!(text.contains(&format!("${number}")), "{number} {text}");
        }
        assert!(!text.contains("$9") && !text.contains('?'), "{text}");
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn a_page_of_an_application_is_a_range_of_its_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Registry::open_or_create(&url).await.unwrap();
        let plan = async |query: Query| {
            let mut connection = registry.shared.database.connection().await.unwrap();
            let rows = connection.session().fetch_all(query.explained()).await.unwrap();
            let steps = rows.iter().map(|row| row.get::<String>("detail").unwrap());
            steps.collect::<Vec<_>>().join("\n")
        };
        let all = CredentialFilter::default();
        let of_one = all.clone().application("shop").unrestricted().unused_for(Duration::ZERO);
        let plans = [
            (all.query(0, 101, NOW), "SEARCH c USING INTEGER PRIMARY KEY (rowid>?)"),
            (
                of_one.query(0, 101, NOW),
                "SEARCH c USING INDEX credential_application (application_id=? AND id>?)",
            ),
            (
                ApplicationFilter::default().search("x").query(Some(7), 101),
                "SEARCH application USING INDEX application_name (name>?)",
            ),
        ];
        for (query, expected) in plans {
            let plan = plan(query).await;
            assert!(plan.contains(expected), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
