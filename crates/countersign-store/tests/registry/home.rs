use countersign_store::Registry;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};
use tempfile::TempDir;

/// Where a registry is: a database of its own.
pub(crate) enum Home {
    Sqlite(TempDir),
    #[cfg(all(feature = "postgres", unix))]
    Postgres(postgres::Database),
}

impl Home {
    pub(crate) async fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap())
    }

    #[cfg(all(feature = "postgres", unix))]
    pub(crate) async fn postgres() -> Self {
        Self::Postgres(postgres::Database::create().await)
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => {
                format!("sqlite:{}", folder.path().join("registry.db").display())
            }
            #[cfg(all(feature = "postgres", unix))]
            Self::Postgres(database) => database.url(),
        }
    }

    pub(crate) async fn registry(&self) -> Registry {
        Registry::open_or_create(&self.url()).await.unwrap()
    }

    /// Everything that a thief of the database gets: the bytes of all files, or the rows of all tables as `pg_dump` writes them.
    pub(crate) async fn loot(&self) -> Vec<u8> {
        match self {
            Self::Sqlite(folder) => {
                let files = std::fs::read_dir(folder.path()).unwrap();
                files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
            }
            #[cfg(all(feature = "postgres", unix))]
            Self::Postgres(database) => database.dump().await.into_bytes(),
        }
    }

    /// Runs statements past the registry. Tables are named with their schema, `countersign.credential`.
    pub(crate) async fn raw(&self, statements: &str) {
        self.try_raw(statements).await.unwrap();
    }

    pub(crate) async fn try_raw(&self, statements: &str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => {
                let statements = statements.replace("countersign.", "");
                let mut connection = SqliteConnection::connect(&self.url()).await?;
                connection.execute(AssertSqlSafe(statements)).await?;
                connection.close().await
            }
            #[cfg(all(feature = "postgres", unix))]
            Self::Postgres(database) => database.raw(statements).await,
        }
    }
}

#[cfg(all(feature = "postgres", unix))]
mod postgres {
    use std::sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    };

    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

    use crate::server::Postgres;

    /// A database of a test's own, on the server of all tests that run at the same time.
    pub(crate) struct Database {
        server: Arc<Postgres>,
        name: String,
    }

    impl Database {
        pub(super) async fn create() -> Self {
            static DATABASES: AtomicUsize = AtomicUsize::new(0);
            let name = format!("registry{}", DATABASES.fetch_add(1, Ordering::Relaxed));
            let server = server();
            let mut connection = PgConnection::connect(&server.url()).await.unwrap();
            let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
            connection.execute(create).await.unwrap();
            connection.close().await.unwrap();
            Self { server, name }
        }

        pub(super) fn url(&self) -> String {
            self.server.url_of(&self.name)
        }

        pub(super) async fn dump(&self) -> String {
            let mut connection = PgConnection::connect(&self.url()).await.unwrap();
            let tables = ["application", "credential", "audit_entry", "last_change"];
            let mut dump = String::new();
            for table in tables {
                let rows = format!("SELECT t::text FROM countersign.{table} t");
                let rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(rows));
                dump.extend(rows.fetch_all(&mut connection).await.unwrap());
            }
            connection.close().await.unwrap();
            dump
        }

        pub(super) async fn raw(&self, statements: &str) -> Result<(), sqlx::Error> {
            let mut connection = PgConnection::connect(&self.url()).await?;
            connection.execute(AssertSqlSafe(statements.to_owned())).await?;
            connection.close().await
        }
    }

    /// The server of all tests that run at the same time; the last of them stops it.
    fn server() -> Arc<Postgres> {
        static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(|| Arc::new(Postgres::start()));
        *shared = Arc::downgrade(&server);
        server
    }
}

/// Makes two tests of each story: on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($($story:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::$story(crate::home::Home::sqlite().await).await;
            })*
        }

        #[cfg(all(feature = "postgres", unix))]
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::$story(crate::home::Home::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both;
