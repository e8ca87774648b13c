use clap::Args;
use countersign_service::{ConfigSource, ContentCheck, RouteSettings, ServiceError};
use serde_json::{Value, json};

use super::service_failure::service_failure;
use crate::{
    failure::{Exit, Failure},
    output::{print, print_line},
    table::columns,
};

/// Lists the routes of the configuration, and their requirements
#[derive(Args, Debug)]
pub(super) struct Routes {}

impl Routes {
    pub(super) fn run(self, source: &ConfigSource, json: bool) -> Result<Exit, Failure> {
        let config =
            source.load().map_err(|fault| service_failure(source, &ServiceError::from(fault)))?;
        if json {
            let routes: Vec<_> = config.routes().iter().map(object).collect();
            print_line(Value::from(routes))?;
            return Ok(Exit::Done);
        }
        let mut rows: Vec<_> = config.routes().iter().map(row).collect();
        rows.push(["GET", "*", "publishable", "", "enforce", "", ""].map(str::to_owned));
        rows.push(["other", "*", "signed", "", "enforce", "", ""].map(str::to_owned));
        let heading = ["METHOD", "PATH", "ACCESS", "SCOPES", "ROLLOUT", "CONTENT", "COST"];
        print(columns(heading, &rows))?;
        Ok(Exit::Done)
    }
}

fn row(route: &RouteSettings) -> [String; 7] {
    [
        route.method().to_string(),
        route.path().to_owned(),
        route.access().to_string(),
        route.scopes().to_string(),
        route.rollout().as_str().to_owned(),
        route.content_bytes().to_string(),
        route.cost().to_string(),
    ]
}

fn object(route: &RouteSettings) -> Value {
    let scopes: Vec<_> = route.scopes().iter().map(|scope| scope.as_str()).collect();
    json!({
        "method": route.method().as_str(),
        "path": route.path(),
        "access": route.access().to_string(),
        "scopes": scopes,
        "rollout": route.rollout().as_str(),
        "content_bytes": route.content_bytes(),
        "cost": route.cost(),
        "content": match route.content() {
            ContentCheck::Verified => "verified",
            ContentCheck::CheckedBehind => "checked-behind",
        },
    })
}
