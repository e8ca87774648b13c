//! Statements that are written once and run on both databases.

use sqlx::{AssertSqlSafe, Row as _};
#[cfg(feature = "postgres")]
use sqlx::{PgConnection, Postgres, pool::PoolConnection, postgres::PgRow};
#[cfg(feature = "sqlite")]
use sqlx::{SqliteConnection, sqlite::SqliteRow};
use zeroize::Zeroizing;

#[cfg(feature = "postgres")]
use super::postgres::{patience, reader::Reader};

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

/// A connection that runs statements.
#[derive(Debug)]
pub(super) enum Session<'c> {
    #[cfg(feature = "sqlite")]
    Sqlite(&'c mut SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(&'c mut PoolConnection<Postgres>, Prepared),
    /// Outside of changes.
    #[cfg(feature = "postgres")]
    PostgresReader(&'c Reader),
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

/// Runs a query with a method of sqlx, on whichever database the session is.
macro_rules! run {
    ($session:expr, $query:expr, $method:ident, $reader:expr) => {{
        let Query { text, values } = $query;
        match $session {
            #[cfg(feature = "sqlite")]
            Session::Sqlite(connection) => {
                let query = sqlx::query(AssertSqlSafe(text.replace(SCHEMA, "")));
                bound!(query, values).$method(&mut **connection).await.map(Into::into)
            }
            #[cfg(feature = "postgres")]
            Session::Postgres(connection, prepared) => {
                on_postgres!(connection, *prepared, text, values, $method)
            }
            #[cfg(feature = "postgres")]
            Session::PostgresReader(reader) => $reader(reader, Query { text, values }).await,
        }
    }};
}

/// Runs a query with a method of sqlx on a connection of PostgreSQL.
#[cfg(feature = "postgres")]
macro_rules! on_postgres {
    ($connection:expr, $prepared:expr, $text:expr, $values:expr, $method:ident) => {{
        let query = sqlx::query(AssertSqlSafe($text)).persistent($prepared == Prepared::Kept);
        let reply = bound!(query, $values).$method(&mut ***$connection);
        let reply = patience::for_reply(reply).await;
        if matches!(reply, Err(sqlx::Error::Io(_))) {
            $connection.close_on_drop();
        }
        reply.map(Into::into)
    }};
}

/// Runs a statement to its end on a connection of PostgreSQL outside of the pool, and returns its rows. After an error the
/// connection may be of no use.
#[cfg(feature = "postgres")]
pub(super) async fn rows_of(
    connection: &mut PgConnection,
    prepared: Prepared,
    query: Query,
) -> Result<Vec<Row>, sqlx::Error> {
    let Query { text, values } = query;
    let query = sqlx::query(AssertSqlSafe(text)).persistent(prepared == Prepared::Kept);
    let rows = patience::for_reply(bound!(query, values).fetch_all(connection)).await?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

/// Runs a statement to its end on a connection of PostgreSQL, and returns its rows.
#[cfg(feature = "postgres")]
pub(super) async fn rows(
    connection: &mut PoolConnection<Postgres>,
    prepared: Prepared,
    query: Query,
) -> Result<Vec<Row>, sqlx::Error> {
    let Query { text, values } = query;
    let connection = &mut &mut *connection;
    let rows: Result<Rows, sqlx::Error> =
        on_postgres!(connection, prepared, text, values, fetch_all);
    rows.map(|Rows(rows)| rows)
}

impl Session<'_> {
    /// Runs a statement in a transaction, and returns the number of rows that it changed.
    pub(super) async fn execute(&mut self, query: Query) -> Result<u64, sqlx::Error> {
        #[cfg(feature = "postgres")]
        let reader = async |_: &Reader, _| {
            Err(sqlx::Error::Protocol("a statement that writes is run in a transaction".into()))
        };
        let done: Result<RowsAffected, sqlx::Error> = run!(self, query, execute, reader);
        done.map(|RowsAffected(rows)| rows)
    }

    /// Runs a statement to its end, and returns its rows.
    pub(super) async fn fetch_all(&mut self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        #[cfg(feature = "postgres")]
        let reader = async |reader: &Reader, query| reader.rows(query).await.map(Rows);
        let rows: Result<Rows, sqlx::Error> = run!(self, query, fetch_all, reader);
        rows.map(|Rows(rows)| rows)
    }

    /// Runs a statement to its end, and returns its first row.
    pub(super) async fn fetch_optional(
        &mut self,
        query: Query,
    ) -> Result<Option<Row>, sqlx::Error> {
        // SQLite commits a statement only when its last row was fetched.
        Ok(self.fetch_all(query).await?.into_iter().next())
    }

    /// Runs a statement that returns a row.
    pub(super) async fn fetch_one(&mut self, query: Query) -> Result<Row, sqlx::Error> {
        self.fetch_optional(query).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

struct RowsAffected(u64);
struct Rows(Vec<Row>);

#[cfg(feature = "sqlite")]
impl From<sqlx::sqlite::SqliteQueryResult> for RowsAffected {
    fn from(result: sqlx::sqlite::SqliteQueryResult) -> Self {
        Self(result.rows_affected())
    }
}

#[cfg(feature = "sqlite")]
impl From<Vec<SqliteRow>> for Rows {
    fn from(rows: Vec<SqliteRow>) -> Self {
        Self(rows.into_iter().map(Row::Sqlite).collect())
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::postgres::PgQueryResult> for RowsAffected {
    fn from(result: sqlx::postgres::PgQueryResult) -> Self {
        Self(result.rows_affected())
    }
}

#[cfg(feature = "postgres")]
impl From<Vec<PgRow>> for Rows {
    fn from(rows: Vec<PgRow>) -> Self {
        Self(rows.into_iter().map(Row::Postgres).collect())
    }
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
