//! Whole lists, as pages of any size return them.

use std::sync::Arc;

use countersign_store::{
    Application, ApplicationFilter, Credential, CredentialFilter, DamagedApplication,
    DamagedCredential, Registry, RegistryError,
};

use crate::life::NOW;

/// All applications, by name.
pub(crate) async fn applications(
    registry: &Registry,
) -> Result<Vec<Result<Application, Box<DamagedApplication>>>, RegistryError> {
    let all = ApplicationFilter::default();
    Ok(registry.page_of_applications(&all, None, u32::MAX).await?.entries)
}

/// The credentials of an application, or of all applications.
pub(crate) async fn credentials(
    registry: &Registry,
    application: Option<&str>,
) -> Result<Vec<Result<Arc<Credential>, Box<DamagedCredential>>>, RegistryError> {
    let all = CredentialFilter::default();
    let filter = application.map_or(all.clone(), |name| all.application(name));
    Ok(registry.page(&filter, None, u32::MAX, NOW).await?.entries)
}
