use countersign::with_reasons;
use countersign_service::{ConfigSource, ServiceError};

use crate::{
    failure::{Exit, Failure},
    registry_args,
};

/// Tells why a service cannot run, or its configuration cannot be used.
pub(super) fn service_failure(source: &ConfigSource, error: &ServiceError) -> Failure {
    let local = || Failure::local(with_reasons(error), error.hint());
    match error {
        ServiceError::Registry(error) => {
            let config = source.load();
            let url = config.as_ref().map(|config| config.registry()).unwrap_or_default();
            registry_args::failure(url, error)
        }
        ServiceError::Guard(_) => Failure::new(Exit::Server, with_reasons(error), error.hint()),
        _ => local(),
    }
}
