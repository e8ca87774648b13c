use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering},
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::server::Postgres;

/// A database of a test's own, on the PostgreSQL server of all tests that run at the same time.
pub(crate) struct Database {
    server: Arc<Postgres>,
    name: String,
}

impl Database {
    pub(crate) fn create() -> Self {
        static DATABASES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("registry{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let server = server();
        run(&server.url(), &format!("CREATE DATABASE {name}"));
        Self { server, name }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        self.server.url_of(&self.name)
    }

    /// Runs statements past the registry.
    pub(crate) fn raw(&self, statements: &str) {
        run(&self.url(), statements);
    }

    /// Runs statements one after the other, as psql does.
    pub(crate) fn raw_each(&self, statements: &str) {
        let (first, rest) = statements.split_once(';').unwrap();
        run_each(&self.url(), &[first, rest]);
    }
}

fn run(url: &str, statements: &str) {
    run_each(url, &[statements]);
}

fn run_each(url: &str, statements: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        for statement in statements {
            connection.execute(AssertSqlSafe((*statement).to_owned())).await.unwrap();
        }
        connection.close().await.unwrap();
    });
}

/// The server of all tests that run at the same time; the last of them stops it.
fn server() -> Arc<Postgres> {
    static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let server = shared.upgrade().unwrap_or_else(|| Arc::new(Postgres::start()));
    *shared = Arc::downgrade(&server);
    server
}

/// Makes two tests of each story about a registry with the application `shop`: in SQLite and in PostgreSQL.
macro_rules! on_both {
    ($($story:ident)*) => {
        mod on_sqlite {
            $(#[test]
            fn $story() {
                super::$story(&crate::desk::Desk::with_registry());
            })*
        }

        mod on_postgres {
            $(#[test]
            fn $story() {
                super::$story(&crate::desk::Desk::with_postgres_registry());
            })*
        }
    };
}
pub(crate) use on_both;
