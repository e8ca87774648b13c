use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::registry::{error::RegistryError, query::Prepared};

/// The parameters of an address. The driver logs any other with its value, which may be a password under a misspelt name.
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
];

/// The address of a registry in PostgreSQL.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) options: PgConnectOptions,
    pub(crate) prepared: Prepared,
    /// `postgres://USER@HOST:PORT/DATABASE`: no password, no parameters.
    pub(crate) name: String,
    /// The address, without its password.
    pub(crate) without_password: String,
}

impl Address {
    /// Whether an address is one of PostgreSQL.
    pub(crate) fn is_named_by(url: &str) -> bool {
        url.starts_with("postgres://") || url.starts_with("postgresql://")
    }

    pub(crate) fn parse(text: &str) -> Result<Self, RegistryError> {
        let mut url: Url = text.parse().map_err(|_| RegistryError::UnsupportedUrl)?;
        // A password with one of these characters ends early, and its rest would be shown as host or database.
        let path = url.path().strip_prefix('/').unwrap_or_default();
        if path.contains(['@', '/', ':']) || url.fragment().is_some() {
            return Err(RegistryError::UnsupportedUrl);
        }
        let mut prepared = Prepared::Kept;
        for (name, value) in url.query_pairs() {
            if !PARAMETERS.contains(&&*name) {
                return Err(RegistryError::UnsupportedParameter);
            }
            if name == "statement-cache-capacity" && value == "0" {
                prepared = Prepared::Anew;
            }
        }
        let options: PgConnectOptions =
            text.parse().map_err(|_| RegistryError::UnsupportedParameter)?;
        // A pooler refuses connections with this setting, which only numbers with a fraction need.
        let mut options = options.extra_float_digits(None);
        if options.get_application_name().is_none() {
            options = options.application_name("countersign");
        }
        let name = name(&options);
        // Fails without a host, and then there is no password either.
        url.set_password(None).unwrap_or_default();
        Ok(Self { options, prepared, name, without_password: url.into() })
    }
}

fn name(options: &PgConnectOptions) -> String {
    let user = options.get_username();
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    // Without a database, that of the user's name.
    let database = options.get_database().unwrap_or(user);
    format!("postgres://{user}@{host}/{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_password_and_takes_only_parameters_that_are_known() {
        let name = |url| Address::parse(url).map(|address| address.name).ok();
        for (url, expected) in [
            ("postgres://ana:secret@db.example/keys", "postgres://ana@db.example:5432/keys"),
            ("postgresql://ana:secret@db.example:6543/keys", "postgres://ana@db.example:6543/keys"),
            ("postgres://ana@db.example/", "postgres://ana@db.example:5432/ana"),
            (
                "postgres:///keys?host=/run/postgresql&user=ana&sslmode=disable",
                "postgres://ana@/run/postgresql/keys",
            ),
        ] {
            assert_eq!(name(url).as_deref(), Some(expected), "{url}");
        }
        for url in [
            "postgres://ana@db.example/keys?passwort=secret",
            "postgres://ana@db.example/keys?password=secret",
            "postgres://ana@db.example/keys?sslmode=perhaps",
            "postgres://ana@db.example:port/keys",
            // Passwords whose characters are not percent-encoded.
            "postgres://ana:s@cret/x@db.example/keys",
            "postgres://ana:12/secret@db.example/keys",
            "postgres://ana:12#secret@db.example/keys",
            "postgres://ana:12?secret@db.example/keys",
            "postgres://ana:sec/ret@db.example/keys",
        ] {
            assert_eq!(name(url), None, "{url}");
        }
    }

    #[test]
    fn an_address_is_written_again_without_its_password() {
        for (url, expected) in [
            ("postgres://ana:s%40cret@db.example/keys", "postgres://ana@db.example/keys"),
            (
                "postgres://ana@db.example/keys?sslmode=disable",
                "postgres://ana@db.example/keys?sslmode=disable",
            ),
            (
                "postgres://localhost/keys?host=/run/a%20b",
                "postgres://localhost/keys?host=/run/a%20b",
            ),
            ("postgres://ana:se@cret@db.example/keys", "postgres://ana@db.example/keys"),
        ] {
            assert_eq!(Address::parse(url).unwrap().without_password, expected, "{url}");
        }
    }

    #[test]
    fn statements_are_prepared_anew_where_the_address_asks_for_it() {
        let prepared = |url| Address::parse(url).unwrap().prepared;
        assert_eq!(prepared("postgres://a@b/c"), Prepared::Kept);
        assert_eq!(prepared("postgres://a@b/c?statement-cache-capacity=100"), Prepared::Kept);
        assert_eq!(prepared("postgres://a@b/c?statement-cache-capacity=0"), Prepared::Anew);
    }
}
