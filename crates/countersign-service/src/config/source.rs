use std::{fs, io::ErrorKind, path::PathBuf};

use super::{ServiceConfig, fault::ConfigFault, file::File, overrides::Overrides};

/// Where the configuration of a service comes from. It is read again at a reload.
///
/// ```
/// use countersign_service::{ConfigSource, Overrides};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let overrides = Overrides {
///     origins: vec!["https://api.example.com".parse()?],
///     upstreams: vec!["http://127.0.0.1:3000".parse()?],
///     ..Overrides::default()
/// };
/// let config = ConfigSource { file: None, overrides }.load()?;
/// assert_eq!(config.listen().to_string(), "127.0.0.1:8080");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The TOML file, if there is one.
    pub file: Option<PathBuf>,
    /// What replaces the settings of the file.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// Reads the configuration, and checks all of it that can be checked without the network.
    ///
    /// # Errors
    ///
    /// [`ConfigFault`].
    pub fn load(&self) -> Result<ServiceConfig, ConfigFault> {
        let Some(path) = &self.file else {
            return ServiceConfig::resolve("", File::default(), &self.overrides);
        };
        let text = fs::read_to_string(path).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::NotFound => "name the configuration with --config FILE",
                ErrorKind::InvalidData => "write the configuration as TOML, in UTF-8",
                _ => "make the file readable for this user",
            };
            ConfigFault::new(format!("it cannot be read: {error}"), hint).in_file(path)
        })?;
        let resolved = File::parse(&text)
            .and_then(|file| ServiceConfig::resolve(&text, file, &self.overrides));
        resolved.map_err(|fault| fault.in_file(path))
    }
}
