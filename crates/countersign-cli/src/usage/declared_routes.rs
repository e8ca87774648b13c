use std::{fs, path::Path};

use http::Method;
use serde_json::Value;

use crate::failure::Failure;

/// A route that a server declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeclaredRoute {
    /// Its method and path, as usage names it.
    pub(super) label: String,
    pub(super) access: String,
    pub(super) scopes: Vec<String>,
}

impl DeclaredRoute {
    /// Reads a file with the routes as a server prints them: the lines of a `RouteTable`, or the JSON of `countersign serve routes`.
    pub(super) fn read(file: &Path) -> Result<Vec<Self>, Failure> {
        let name = file.display();
        let text = fs::read_to_string(file).map_err(|error| {
            Failure::local(
                format!("cannot read {name}: {error}"),
                "name a file with the routes that the server prints: `println!(\"{}\", routes.table()?)`",
            )
        })?;
        if text.trim_start().starts_with('[') {
            let routes = serde_json::from_str(&text).ok();
            return routes.and_then(|routes| Self::of_json(&routes)).ok_or_else(|| {
                Failure::local(
                    format!("{name}: it is not a list of routes in JSON"),
                    "write one like [{\"method\":\"GET\",\"path\":\"/v1/orders\",\"access\":\"publishable\",\"scopes\":[]}]",
                )
            });
        }
        Self::parse(&text).map_err(|line| {
            Failure::local(
                format!("{name}: line {line} is not a route like `GET /v1/orders publishable`"),
                "write it as the server prints it: `println!(\"{}\", routes.table()?)`",
            )
        })
    }

    fn of_json(routes: &Value) -> Option<Vec<Self>> {
        let route = |route: &Value| {
            let member = |name: &str| route.get(name)?.as_str();
            let scopes = route.get("scopes")?.as_array()?.iter();
            Some(Self {
                label: format!("{} {}", member("method")?, member("path")?),
                access: member("access")?.to_owned(),
                scopes: scopes
                    .map(|scope| scope.as_str().map(str::to_owned))
                    .collect::<Option<_>>()?,
            })
        };
        routes.as_array()?.iter().map(route).collect()
    }

    /// Reads a route from each line; otherwise the number of a line that is none. The last line of a server's list, about all
    /// other routes, is no route.
    fn parse(text: &str) -> Result<Vec<Self>, usize> {
        let mut routes = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let mut words = line.split_whitespace();
            let (method, path) = match (words.next(), words.next()) {
                (None, _) | (Some("other"), Some("*")) => continue,
                (Some(method), Some(path)) if path.starts_with('/') => (method, path),
                _ => return Err(number),
            };
            // A method of any standard; a word in small letters is a typing error.
            let is_method = method.parse::<Method>().is_ok_and(|method| {
                method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
            });
            let access = words.next().filter(|_| is_method).ok_or(number)?;
            routes.push(Self {
                label: format!("{method} {path}"),
                access: access.to_owned(),
                scopes: words
                    .take_while(|word| !word.starts_with('('))
                    .map(str::to_owned)
                    .collect(),
            });
        }
        Ok(routes)
    }
}

#[cfg(test)]
mod tests {
    use countersign_server::{Route, RouteTable};
    use countersign_store::Scope;

    use super::*;

    #[test]
    fn the_routes_are_read_as_a_server_prints_them() {
        let cancel = Route::signed(Method::DELETE, "/v1/orders/{id}");
        let table = RouteTable::new([
            Route::read("/v1/orders"),
            cancel
                .scope(Scope::from_static("orders:write"))
                .scope(Scope::from_static("b"))
                .streamed(10),
            Route::insecure_open(Method::POST, "/v1/open"),
        ]);
        let printed = table.unwrap().to_string();
        let route = |label: &str, access: &str, scopes: &[&str]| DeclaredRoute {
            label: label.into(),
            access: access.into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        let expected = [
            route("GET /v1/orders", "publishable", &[]),
            route("DELETE /v1/orders/{id}", "signed", &["b", "orders:write"]),
            route("POST /v1/open", "open", &[]),
        ];
        assert_eq!(DeclaredRoute::parse(&printed).unwrap(), expected, "{printed}");
        for (text, line) in
            [("\n\nGET", 3), ("GET v1 open", 1), ("get /v1 open", 1), ("GET /v1", 1)]
        {
            assert_eq!(DeclaredRoute::parse(text), Err(line), "{text}");
        }
    }

    #[test]
    fn the_routes_are_read_from_json() {
        let text = r#"[{"method":"GET","path":"/v1/orders","access":"publishable","scopes":["a"],"cost":1}]"#;
        let read = DeclaredRoute::of_json(&serde_json::from_str(text).unwrap()).unwrap();
        let [route] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!(
            (route.label.as_str(), route.scopes.as_slice()),
            ("GET /v1/orders", &["a".into()][..])
        );
        for bad in ["[1]", "{}", r#"[{"method":"GET","path":"/","access":"open"}]"#] {
            assert_eq!(DeclaredRoute::of_json(&serde_json::from_str(bad).unwrap()), None, "{bad}");
        }
    }
}
