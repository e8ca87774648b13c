//! Hides curl's arguments: every user of a machine can read the arguments of its processes, and curl's can hold
//! passwords, tokens and content.

use std::ffi::OsString;

use crate::failure::Failure;

/// Removes curl's arguments from the list of processes, as curl does with its passwords: replaces this process with a
/// process that reads the arguments from a file without a name. The arguments stay in the list off Unix, and if
/// `/dev/fd` is missing.
pub(super) fn conceal(arguments: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    #[cfg(unix)]
    return again::conceal(arguments);
    #[cfg(not(unix))]
    return Ok(arguments);
}

#[cfg(unix)]
mod again {
    use std::{
        env,
        ffi::{OsStr, OsString},
        fs::{self, File},
        io,
        os::unix::{ffi::OsStrExt, process::CommandExt},
        process::Command,
    };

    use crate::{
        curl::{child, private_file::PrivateFile},
        environment::CURL_ARGUMENTS_VARIABLE,
        failure::Failure,
    };

    pub(super) fn conceal(arguments: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
        if !arguments.is_empty() {
            // `start_again` returns only if it fails.
            drop(start_again(&arguments));
            return Ok(arguments);
        }
        let descriptor =
            env::var(CURL_ARGUMENTS_VARIABLE).ok().and_then(|number| number.parse().ok());
        let Some(descriptor) = descriptor else { return Ok(arguments) };
        let list = fs::read(format!("/dev/fd/{descriptor}")).map_err(|error| {
            Failure::local(
                format!("cannot read curl's arguments, which {CURL_ARGUMENTS_VARIABLE} says are in descriptor {descriptor}: {error}"),
                format!("unset {CURL_ARGUMENTS_VARIABLE}, which this command sets for itself, and run it again"),
            )
        })?;
        child::withhold(descriptor);
        let mut arguments: Vec<_> =
            list.split(|&byte| byte == 0).map(|one| OsStr::from_bytes(one).to_owned()).collect();
        // A NUL ends each argument.
        arguments.pop();
        Ok(arguments)
    }

    fn start_again(arguments: &[OsString]) -> io::Result<()> {
        let own: Vec<_> = env::args_os().collect();
        let kept = own.len().checked_sub(arguments.len()).and_then(|at| own.split_at_checked(at));
        let Some(([name, kept @ ..], concealed)) = kept else { return Ok(()) };
        if concealed != arguments {
            return Ok(());
        }
        let mut list = Vec::new();
        for argument in arguments {
            list.extend_from_slice(argument.as_bytes());
            list.push(0);
        }
        let file = PrivateFile::new(&list)?;
        // Without /dev/fd the arguments could not be read.
        drop(File::open(file.path())?);
        let mut again = Command::new(env::current_exe()?);
        again.arg0(name).args(kept).env(CURL_ARGUMENTS_VARIABLE, file.descriptor().to_string());
        Err(again.exec())
    }
}
