use clap::Args;
use countersign::with_reasons;
use countersign_service::{ConfigSource, NotReloaded, ServiceError, reload};

use super::service_failure::service_failure;
use crate::{
    failure::{Exit, Failure},
    output::note,
};

/// Has the running service take its changed configuration, and says whether it did
///
/// Name the configuration as for the service: its registry or its `control` identify the service. The service keeps its
/// old configuration if the new one is wrong.
#[derive(Args, Debug)]
pub(super) struct Reload {}

impl Reload {
    pub(super) fn run(self, source: &ConfigSource) -> Result<Exit, Failure> {
        let config =
            source.load().map_err(|fault| service_failure(source, &ServiceError::from(fault)))?;
        match reload(config.control()) {
            Ok(()) => {
                note("the new configuration is in use");
                Ok(Exit::Done)
            }
            Err(error) => {
                let hint = match &error {
                    NotReloaded::NotRunning(_) => {
                        "start it with `countersign serve`, or name its configuration with --config"
                    }
                    NotReloaded::Refused(_) => {
                        "correct the configuration, and run it again; `countersign serve --check` checks a configuration without a service"
                    }
                    _ => "look into the log of the service",
                };
                Err(Failure::local(with_reasons(&error), hint))
            }
        }
    }
}
