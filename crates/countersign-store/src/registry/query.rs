//! Statements that are written once and run on both databases.

use std::sync::Arc;

#[cfg(feature = "sqlite")]
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};
#[cfg(feature = "postgres")]
use sqlx::{
    Postgres,
    postgres::{PgArguments, PgRow},
};
use zeroize::Zeroizing;

/// The schema of all tables, as statements name it. SQLite has no schemas: there the prefix is removed.
#[cfg(feature = "sqlite")]
const SCHEMA: &str = "countersign.";

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub(super) struct Query {
    text: String,
    values: Vec<Value>,
    /// What the statement reads in the place of [`ROWS`].
    rows: Option<Rows>,
}

/// Where a statement reads rows. Their columns are `column1`, `column2`, and so on.
pub(super) const ROWS: &str = "{rows}";

impl Query {
    /// Takes a statement in the SQL that both databases understand, with parameters `$1`, `$2`, and so on. Tables are named with
    /// their schema: `countersign.credential`. A text from outside is never part of a statement: bind it.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new(), rows: None }
    }

    /// Takes a statement that reads rows: `INSERT INTO … SELECT * FROM {rows} WHERE TRUE`. It has no other parameters.
    pub(super) fn over(text: impl Into<String>, rows: Rows) -> Self {
        Self { text: text.into(), values: Vec::new(), rows: Some(rows) }
    }

    /// Returns the query for the plan of this one.
    #[cfg(all(test, feature = "sqlite"))]
    pub(super) fn explained(mut self) -> Self {
        self.text.insert_str(0, "EXPLAIN QUERY PLAN ");
        self
    }

    /// Sets the next parameter.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

/// A parameter of a statement. `None` is `NULL`; a type goes with it, which PostgreSQL asks for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Zeroizing<Vec<u8>>>),
}

/// Rows, as one parameter of a statement.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    columns: Vec<Column>,
    len: usize,
}

#[derive(Clone, Debug)]
enum Column {
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

/// A field of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cell {
    Integer(i64),
    Text(Arc<str>),
}

impl From<i64> for Cell {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Rows {
    /// Takes rows, which all have the same columns.
    pub(super) fn of(rows: &[Vec<Cell>]) -> Self {
        let mut all = Self::default();
        rows.iter().for_each(|row| all.push(row));
        all
    }

    fn push(&mut self, row: &[Cell]) {
        for (at, cell) in row.iter().enumerate() {
            if self.len == 0 {
                self.columns.push(match cell {
                    Cell::Integer(_) => Column::Integers(Vec::new()),
                    Cell::Text(_) => Column::Texts(Vec::new()),
                });
            }
            match (self.columns.get_mut(at), cell) {
                (Some(Column::Integers(column)), Cell::Integer(integer)) => column.push(*integer),
                (Some(Column::Texts(column)), Cell::Text(text)) => column.push((**text).to_owned()),
                _ => debug_assert!(false, "all rows have the same columns"),
            }
        }
        self.len = self.len.saturating_add(1);
    }

    /// In SQLite: a parameter without a number for each field. SQLite looks for numbers one by one.
    #[cfg(feature = "sqlite")]
    fn on_sqlite(&self) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
        format!("(VALUES {}) AS v", vec![row.as_str(); self.len].join(", "))
    }

    /// In PostgreSQL: an array for each column, so that the statement is the same for any number of rows.
    #[cfg(feature = "postgres")]
    fn on_postgres(&self) -> String {
        let arrays = self.columns.iter().zip(1..).map(|(column, at)| match column {
            Column::Integers(_) => format!("${at}::bigint[]"),
            Column::Texts(_) => format!("${at}::text[]"),
        });
        let arrays: Vec<_> = arrays.collect();
        let names: Vec<_> = (1..=self.columns.len()).map(|at| format!("column{at}")).collect();
        format!("unnest({}) AS v ({})", arrays.join(", "), names.join(", "))
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(Some(integer))
    }
}

impl From<Option<i64>> for Value {
    fn from(integer: Option<i64>) -> Self {
        Self::Integer(integer)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Some(Zeroizing::new(bytes.to_vec())))
    }
}

impl From<Option<&[u8]>> for Value {
    fn from(bytes: Option<&[u8]>) -> Self {
        Self::Bytes(bytes.map(|bytes| Zeroizing::new(bytes.to_vec())))
    }
}

/// Whether PostgreSQL keeps a prepared statement for later.
#[cfg(feature = "postgres")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// The connection keeps it.
    Kept,
    /// Each statement is prepared anew: the next one may run on another connection of a pooler.
    Anew,
}

/// Sets the parameters of a query of sqlx.
macro_rules! bound {
    ($query:expr, $values:expr) => {
        $values.iter().fold($query, |query, value| match value {
            Value::Integer(integer) => query.bind(integer),
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes.as_ref().map(|bytes| bytes.as_slice())),
        })
    };
}

/// Returns the query of sqlx for a statement with its parameters.
#[cfg(feature = "sqlite")]
pub(super) fn on_sqlite(query: &Query) -> sqlx::query::Query<'_, sqlx::Sqlite, SqliteArguments> {
    let mut text = query.text.replace(SCHEMA, "");
    let Some(rows) = &query.rows else {
        return bound!(sqlx::query(AssertSqlSafe(text)), query.values);
    };
    text = text.replace(ROWS, &rows.on_sqlite());
    let mut statement = sqlx::query(AssertSqlSafe(text));
    for at in 0..rows.len {
        for column in &rows.columns {
            statement = match column {
                Column::Integers(column) => statement.bind(column.get(at)),
                Column::Texts(column) => statement.bind(column.get(at)),
            };
        }
    }
    statement
}

/// Returns the query of sqlx for a statement with its parameters.
#[cfg(feature = "postgres")]
pub(super) fn on_postgres(
    query: &Query,
    prepared: Prepared,
) -> sqlx::query::Query<'_, Postgres, PgArguments> {
    let is_kept = prepared == Prepared::Kept;
    let Some(rows) = &query.rows else {
        let statement = sqlx::query(AssertSqlSafe(query.text.clone()));
        return bound!(statement.persistent(is_kept), query.values);
    };
    let text = query.text.replace(ROWS, &rows.on_postgres());
    let statement = sqlx::query(AssertSqlSafe(text)).persistent(is_kept);
    rows.columns.iter().fold(statement, |statement, column| match column {
        Column::Integers(column) => statement.bind(column),
        Column::Texts(column) => statement.bind(column),
    })
}

/// A row of a result.
pub(super) enum Row {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(PgRow),
}

impl Row {
    /// Reads a column.
    pub(super) fn get<T: SqliteColumn + PostgresColumn>(
        &self,
        column: &str,
    ) -> Result<T, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

macro_rules! column {
    ($trait:ident, $database:ty, $feature:literal) => {
        #[doc = concat!("A type that is read from a column, if the feature `", $feature, "` is on.")]
        #[cfg(feature = $feature)]
        pub(super) trait $trait:
            for<'r> sqlx::Decode<'r, $database> + sqlx::Type<$database>
        {
        }

        #[cfg(feature = $feature)]
        impl<T: for<'r> sqlx::Decode<'r, $database> + sqlx::Type<$database>> $trait for T {}

        #[doc = "Any type."]
        #[cfg(not(feature = $feature))]
        pub(super) trait $trait {}

        #[cfg(not(feature = $feature))]
        impl<T> $trait for T {}
    };
}

column!(SqliteColumn, sqlx::Sqlite, "sqlite");
column!(PostgresColumn, sqlx::Postgres, "postgres");
