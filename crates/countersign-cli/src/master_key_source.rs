use std::io::ErrorKind;

use countersign::with_reasons;
use countersign_store::{
    BadMasterKey, BadMasterKeySource, MasterKey, MasterKeyError, MasterKeySource,
};

use crate::{environment::MASTER_KEY_VARIABLE, failure::Failure, shell::quote};

/// Returns the source that an argument names, or the variable without an argument.
pub(crate) fn named(argument: Option<&str>, variable: &str) -> Result<MasterKeySource, Failure> {
    match argument {
        None => Ok(MasterKeySource::Variable(variable.to_owned())),
        Some("-") => Ok(MasterKeySource::Descriptor(0)),
        Some(text) => text.parse().map_err(|error| match error {
            BadMasterKeySource::IsKey => Failure::local(
                "a key on the command line can be read by every user of this machine, and in its history",
                format!(
                    "put the master key into a file of mode 600 and name that, or set {MASTER_KEY_VARIABLE}; every user may have read \
                     this one, so replace it"
                ),
            ),
            error => Failure::local(error, "name a file, `-` for stdin, fd:N or env:NAME"),
        }),
    }
}

/// Reads a master key.
pub(crate) fn read(source: &MasterKeySource) -> Result<MasterKey, Failure> {
    source.read().map_err(|error| failure(&error))
}

fn failure(error: &MasterKeyError) -> Failure {
    let hint = match error {
        MasterKeyError::NotSet(name) => {
            format!("set {name} to the text of a master key, or name the master key's file")
        }
        MasterKeyError::Unreadable(MasterKeySource::Descriptor(_), _) => {
            "open that descriptor for this command, as a shell does with `9< FILE` for fd:9".into()
        }
        MasterKeyError::Unreadable(_, error) => match error.kind() {
            ErrorKind::NotFound => {
                "name a file that exists; `countersign master-key generate` makes one".into()
            }
            ErrorKind::PermissionDenied => "run this as the user who owns that file".into(),
            _ => "name the master key's file, `-` for stdin, fd:N or env:NAME".into(),
        },
        MasterKeyError::Exposed { file, .. } => {
            let file = quote(&file.display().to_string());
            format!(
                "run `chmod 600 {file}`; if it is mounted read-only, give `-` in place of its name, and `< {file}`"
            )
        }
        MasterKeyError::Bad(_, BadMasterKey::PrivateKey) => {
            "name the master key's file; `countersign master-key generate` makes one".into()
        }
        MasterKeyError::Bad(_, BadMasterKey::Guessable) => {
            "make a random one with `countersign master-key generate`".into()
        }
        MasterKeyError::Bad(_, BadMasterKey::Hex) => {
            "write it with `xxd -r -p FILE | base64`, or make another with `countersign master-key generate`".into()
        }
        MasterKeyError::Bad(MasterKeySource::Variable(name), _) => format!(
            "set {name} to the text of a master key, which `countersign master-key generate` writes into a file"
        ),
        _ => "copy it again from where it was made: one line of 44 characters, as `countersign master-key generate` writes it"
            .into(),
    };
    Failure::local(with_reasons(error), hint)
}
