use std::{io, net::SocketAddr, path::PathBuf};

use countersign_server::{BadRoute, BadTls};
use countersign_store::{RegistryError, StoreError};

use crate::config::fault::ConfigFault;

/// Why a service cannot start, or cannot take a new configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigFault),
    /// A setting changed that a running service keeps.
    #[error("{0} has changed, which a reload cannot change")]
    Fixed(&'static str),
    /// The routes cannot be served together.
    #[error(transparent)]
    Routes(#[from] BadRoute),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] BadTls),
    /// The registry cannot be opened.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The replay guard cannot be used.
    #[error("the replay guard cannot be used")]
    Guard(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The fault.
        source: io::Error,
    },
    /// The control socket cannot be made.
    #[error("cannot make the control socket {}", path.display())]
    Control {
        /// The path of the socket.
        path: PathBuf,
        /// The fault.
        source: io::Error,
    },
    /// Another service uses the control socket.
    #[error("another service runs with the control socket {}", .0.display())]
    Running(PathBuf),
    /// Metrics cannot be recorded.
    #[error("metrics cannot be recorded: {0}")]
    Metrics(String),
    /// The system delivers no signals to this process.
    #[error("the system delivers no signals to this process")]
    Signals(#[source] io::Error),
}

impl ServiceError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &str {
        match self {
            Self::Config(fault) => fault.hint(),
            Self::Fixed(_) => "restart the service, or take the change back",
            Self::Routes(_) => "change the routes in the configuration",
            Self::Tls(_) => "name the files in [tls], or with --tls-certificate and --tls-key",
            Self::Registry(_) => "name the registry with --db",
            Self::Guard(_) => {
                "check that the registry can be written, or that the Redis runs and can be reached; a registry takes one service without Redis"
            }
            Self::Listen { .. } => {
                "end the program that has this address, or choose another with --listen and --operations"
            }
            Self::Control { .. } => {
                "choose another path with `control` in the configuration, in a folder that is yours"
            }
            Self::Running(_) => {
                "stop it first, or give this one another registry, or another path as `control`"
            }
            Self::Metrics(_) | Self::Signals(_) => "run one service in a process",
        }
    }
}
