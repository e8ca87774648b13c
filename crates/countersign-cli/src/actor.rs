use clap::Args;
use countersign_store::Actor;

use crate::environment::ACTOR_VARIABLE;

/// The option that says who changes a registry.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ActorArg {
    /// Who makes a change, for the audit log [default: USER@HOST of this process; without $USER, `uid NUMBER@HOST`]
    #[arg(long, value_name = "TEXT", env = ACTOR_VARIABLE, hide_env_values = true, global = true)]
    actor: Option<Actor>,
}

impl ActorArg {
    /// Returns the named actor, or the user of this process at this machine. `None` if the environment names a user that the audit
    /// log does not take.
    pub(crate) fn actor(&self) -> Option<Actor> {
        self.actor.clone().or_else(|| format!("{}@{}", user(), host()).parse().ok())
    }
}

fn user() -> String {
    let variables = ["USER", "LOGNAME", "USERNAME"];
    let named = variables.iter().find_map(|name| std::env::var(name).ok());
    let named = named.filter(|name| !name.is_empty());
    #[cfg(unix)]
    return named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    #[cfg(not(unix))]
    named.unwrap_or_else(|| "unknown".to_owned())
}

fn host() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown".to_owned())
}
