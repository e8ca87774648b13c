//! Statements that are written once and run on both databases.

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
}

impl Query {
    /// Takes a statement in the SQL that both databases understand, with parameters `$1`, `$2`, and so on. Tables are named with
    /// their schema: `countersign.credential`. A text from outside is never part of a statement: bind it.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
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
    bound!(sqlx::query(AssertSqlSafe(query.text.replace(SCHEMA, ""))), query.values)
}

/// Returns the query of sqlx for a statement with its parameters.
#[cfg(feature = "postgres")]
pub(super) fn on_postgres(
    query: &Query,
    prepared: Prepared,
) -> sqlx::query::Query<'_, Postgres, PgArguments> {
    let statement = sqlx::query(AssertSqlSafe(query.text.clone()));
    bound!(statement.persistent(prepared == Prepared::Kept), query.values)
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
