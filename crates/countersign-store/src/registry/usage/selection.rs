use super::{
    span::Span,
    table::{LATENCIES, SUMS, Subject, Table},
    usage_query::{UsageDimension, UsageQuery},
};
use crate::registry::{
    query::{Query, Value},
    row::seconds,
};

/// The statement of a query of usage.
///
/// The rows of each span are first added up by the beginning of the table's key, as far as the query needs it. SQLite reads them
/// in that order, and sorts nothing; what is then joined and sorted is a fraction of them.
#[derive(Debug)]
pub(super) struct Selection<'q> {
    query: &'q UsageQuery,
    subject: Subject,
    /// Whether the database finds rows by a list of times much faster than by a range: SQLite, whose keys begin with the time.
    lists_times: bool,
    values: Vec<Value>,
}

impl<'q> Selection<'q> {
    pub(super) const fn new(query: &'q UsageQuery, subject: Subject, lists_times: bool) -> Self {
        Self { query, subject, lists_times, values: Vec::new() }
    }

    /// Makes the statement. Its columns are `at`, if there is a step; `group0`, `group1` and so on; the sums; and `last`.
    pub(super) fn over(mut self, spans: &[Span]) -> Query {
        let query = self.query;
        let parts: Vec<_> = spans.iter().map(|span| self.part(span)).collect();
        let mut columns = Vec::new();
        if let Some(step) = query.step {
            let seconds = step.resolution().seconds();
            columns.push(format!("u.at / {seconds} * {seconds} AS at"));
        }
        for (number, dimension) in query.groups.iter().enumerate() {
            columns.push(format!("{} AS group{number}", expression(*dimension)));
        }
        let groups: Vec<_> = (1..=columns.len()).map(|at| at.to_string()).collect();
        columns.extend(self.sums().map(|sum| format!("CAST(SUM(u.{sum}) AS bigint) AS {sum}")));
        columns.push("MAX(u.last) AS last".to_owned());
        let mut text =
            format!("SELECT {} FROM ({}) u", columns.join(", "), parts.join(" UNION ALL "));
        if query.groups.iter().any(|dimension| dimension.column().is_none()) {
            text.push_str(
                " LEFT JOIN countersign.credential c ON c.id = u.credential
                  LEFT JOIN countersign.application a ON a.id = c.application_id",
            );
        }
        if !groups.is_empty() {
            text.push_str(&format!(" GROUP BY {}", groups.join(", ")));
        }
        let order = match query.step {
            Some(_) => "at, calls DESC",
            None => "calls DESC",
        };
        let order = std::iter::once(order.to_owned());
        let order = order.chain((0..query.groups.len()).map(|number| format!("group{number}")));
        let order = order.collect::<Vec<_>>().join(", ");
        text.push_str(&format!(" HAVING COUNT(*) > 0 ORDER BY {order}"));
        if let Some(limit) = query.limit {
            let limit = self.bind(i64::from(limit));
            text.push_str(&format!(" LIMIT {limit}"));
        }
        self.values.into_iter().fold(Query::new(text), Query::bind)
    }

    fn sums(&self) -> impl Iterator<Item = &'static str> + use<> {
        let sums = match self.subject {
            Subject::Calls => SUMS.len(),
            Subject::Places | Subject::Clients => 1,
        };
        let latencies = if self.query.with_latencies { LATENCIES.len() } else { 0 };
        SUMS.into_iter().take(sums).chain(LATENCIES.into_iter().take(latencies))
    }

    /// Adds up the rows of a span.
    fn part(&mut self, span: &Span) -> String {
        let query = self.query;
        let keys = self.subject.keys();
        let groups: Vec<_> = query.groups.iter().filter_map(|group| group.column()).collect();
        let needs = |key: &&str| match *key {
            "at" => query.step.is_some(),
            "credential" => query.groups.iter().any(|group| group.column().is_none()),
            key => groups.contains(&key),
        };
        // The beginning of the key, up to the last column that is needed.
        let until = keys.iter().rposition(needs).map_or(1, |last| last.saturating_add(1));
        let beginning = keys.get(..until).unwrap_or_default().join(", ");
        let sums: Vec<_> = self.sums().map(|sum| format!("SUM({sum}) AS {sum}")).collect();
        let conditions = self.conditions(span);
        let Table { name, .. } = Table::of(self.subject, span.resolution);
        format!(
            "SELECT {beginning}, {}, MAX(at) AS last FROM countersign.{name} WHERE {conditions} GROUP BY {beginning}",
            sums.join(", ")
        )
    }

    fn conditions(&mut self, span: &Span) -> String {
        let query = self.query;
        let (from, to) = (self.bind(seconds(span.from)), self.bind(seconds(span.to)));
        let mut conditions = vec![format!("at >= {from}"), format!("at < {to}")];
        if let Some(name) = &query.application {
            let name = self.bind(name.as_str());
            conditions.push(format!(
                "credential IN (SELECT c.id FROM countersign.credential c
                 JOIN countersign.application a ON a.id = c.application_id
                 WHERE a.name = {name} AND a.removed_at IS NULL)"
            ));
        }
        if let Some(key) = &query.key {
            let column = match key {
                countersign::KeyId::Publishable(_) => "publishable_key",
                countersign::KeyId::Thumbprint(_) => "thumbprint",
            };
            let key = self.bind(key.to_string());
            conditions.push(format!(
                "credential IN (SELECT id FROM countersign.credential WHERE {column} = {key})"
            ));
        }
        if self.lists_times && conditions.len() > 2 {
            let seconds = span.resolution.seconds();
            conditions.push(format!(
                "at IN (WITH RECURSIVE period(at) AS
                    (SELECT {from} UNION ALL SELECT at + {seconds} FROM period WHERE at + {seconds} < {to})
                 SELECT at FROM period)"
            ));
        }
        for (dimension, text) in &query.filters {
            let Some(column) = dimension.column() else { continue };
            let text = match dimension {
                // A column of numbers.
                UsageDimension::Status => self.bind(text.parse::<i64>().unwrap_or_default()),
                _ => self.bind(text.as_str()),
            };
            conditions.push(format!("{column} = {text}"));
        }
        if query.refused {
            conditions.push("outcome <> 'passed'".to_owned());
        }
        conditions.join(" AND ")
    }

    /// Adds a parameter, and returns its place in the text.
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }
}

/// What a dimension is in the joined rows, as a text.
fn expression(dimension: UsageDimension) -> String {
    match (dimension, dimension.column()) {
        (UsageDimension::Application, _) => "a.name".to_owned(),
        (UsageDimension::Key, _) => "c.publishable_key".to_owned(),
        (UsageDimension::Label, _) => "c.label".to_owned(),
        (UsageDimension::Status, _) => "CAST(u.status AS text)".to_owned(),
        // Empty for what has no name.
        (_, Some(column)) => format!("NULLIF(u.{column}, '')"),
        (_, None) => "NULL".to_owned(),
    }
}
