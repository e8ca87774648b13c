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

    /// The table of applied migrations.
    pub(crate) const fn migrations(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "_sqlx_migrations",
            #[cfg(all(feature = "postgres", unix))]
            Self::Postgres(_) => "countersign.migration",
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

    /// Keeps all changes waiting, as a transaction of another program does, until what is given back is dropped.
    pub(crate) async fn hold(&self) -> Holder {
        match self {
            Self::Sqlite(_) => {
                let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                Holder::Sqlite(connection)
            }
            #[cfg(all(feature = "postgres", unix))]
            Self::Postgres(database) => {
                let mut connection = database.connect().await;
                let lock = "BEGIN; UPDATE countersign.last_change SET number = number";
                connection.execute(lock).await.unwrap();
                Holder::Postgres(connection)
            }
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

/// A transaction of another program.
pub(crate) enum Holder {
    Sqlite(SqliteConnection),
    #[cfg(all(feature = "postgres", unix))]
    Postgres(sqlx::PgConnection),
}

impl Holder {
    pub(crate) async fn end(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            #[cfg(all(feature = "postgres", unix))]
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}

#[cfg(all(feature = "postgres", unix))]
pub(crate) mod postgres {
    use std::sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    };

    use countersign_store::Registry;
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

    use crate::server::Postgres;

    /// A database of a test's own, on the server of all tests that run at the same time.
    pub(crate) struct Database {
        server: Arc<Postgres>,
        name: String,
    }

    impl Database {
        pub(crate) async fn create() -> Self {
            static DATABASES: AtomicUsize = AtomicUsize::new(0);
            let name = format!("registry{}", DATABASES.fetch_add(1, Ordering::Relaxed));
            let server = server();
            let mut connection = PgConnection::connect(&server.url()).await.unwrap();
            let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
            connection.execute(create).await.unwrap();
            connection.close().await.unwrap();
            Self { server, name }
        }

        pub(crate) fn name(&self) -> &str {
            &self.name
        }

        pub(crate) fn server(&self) -> &Postgres {
            &self.server
        }

        pub(crate) fn url(&self) -> String {
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

        pub(crate) async fn connect(&self) -> PgConnection {
            PgConnection::connect(&self.url()).await.unwrap()
        }

        pub(crate) async fn registry(&self) -> Registry {
            Registry::open_or_create(&self.url()).await.unwrap()
        }

        pub(crate) async fn raw(&self, statements: &str) -> Result<(), sqlx::Error> {
            let mut connection = PgConnection::connect(&self.url()).await?;
            connection.execute(AssertSqlSafe(statements.to_owned())).await?;
            connection.close().await
        }

        /// What a statement returns: one text.
        pub(crate) async fn ask(&self, statement: &str) -> String {
            let mut connection = self.connect().await;
            let statement = AssertSqlSafe(statement.to_owned());
            sqlx::query_scalar(statement).fetch_one(&mut connection).await.unwrap()
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
