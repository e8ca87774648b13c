use std::str::FromStr;

use url::Url;
use zeroize::Zeroizing;

/// The address of a ClickHouse, taken apart.
#[derive(Debug)]
pub(super) struct Address {
    /// Scheme, host and port.
    pub(super) url: String,
    /// The whole address without user and password, for messages.
    pub(super) name: String,
    pub(super) database: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
}

/// The text is not the address of a ClickHouse. The error does not repeat it, since it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not `http[s]://[user:password@]host[:port]/database`")]
pub struct BadClickHouse;

impl FromStr for Address {
    type Err = BadClickHouse;

    fn from_str(text: &str) -> Result<Self, BadClickHouse> {
        let mut url: Url = text.parse().map_err(|_| BadClickHouse)?;
        let database = url.path().trim_matches('/').to_owned();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_plain = url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https")
            || !is_plain
            || database.is_empty()
            || !database.bytes().all(is_name)
        {
            return Err(BadClickHouse);
        }
        let decoded = |text: &str| {
            let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
            decoded.map(|text| text.into_owned()).map_err(|_| BadClickHouse)
        };
        let user = Some(url.username()).filter(|user| !user.is_empty()).map(decoded).transpose()?;
        let password = url.password().map(decoded).transpose()?.map(Zeroizing::new);
        url.set_username("").map_err(|()| BadClickHouse)?;
        url.set_password(None).map_err(|()| BadClickHouse)?;
        let name = url.to_string();
        url.set_path("");
        Ok(Self { url: url.to_string(), name, database, user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_its_password_is_not_in_its_name() {
        let address: Address = "https://sh%40p:p%2Fw@ch.test:8443/usage".parse().unwrap();
        assert_eq!(address.url, "https://ch.test:8443/");
        assert_eq!(address.name, "https://ch.test:8443/usage");
        assert_eq!(address.database, "usage");
        assert_eq!(address.user.as_deref(), Some("sh@p"));
        assert_eq!(address.password.as_ref().map(|password| password.as_str()), Some("p/w"));
        let plain: Address = "http://127.0.0.1:8123/default".parse().unwrap();
        assert_eq!((plain.user, plain.password), (None, None));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "clickhouse://host/usage",
            "http://host",
            "http://host/",
            "http://host/a/b",
            "http://host/a-b",
            "http://host/usage?x=1",
            "http://host/usage#x",
            "http://%ff@host/usage",
        ] {
            assert_eq!(text.parse::<Address>().map(drop), Err(BadClickHouse), "{text}");
        }
    }
}
