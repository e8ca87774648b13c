use std::path::PathBuf;

use clap::Args;
use countersign::{Code, with_reasons};
use countersign_client::{Error, OwnKey, OwnKeyError, Refusal};
use http::StatusCode;

use crate::{
    failure::{Exit, Failure},
    key_source::{self, KeySource, PassphraseSource},
    shell::quote,
};

/// The options of the commands by which the holder of a key asks a server to change it.
#[derive(Args, Debug)]
pub(super) struct OwnKeyArgs {
    /// The private key's file
    #[arg(long, value_name = "FILE")]
    key: String,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Where the server lets the holders of keys change them, like https://api.example.com/v1/key
    url: String,
}

impl OwnKeyArgs {
    /// Returns the key and its endpoint. Reads the passphrase if the file needs one.
    pub(super) fn own_key(&self) -> Result<OwnKey, Failure> {
        let source = key_source::source(&self.key)?;
        let KeySource::File(file) = &source else {
            return Err(Failure::local(
                "a key that is replaced or revoked by its holder is in a file",
                "name its file with --key",
            ));
        };
        let own = OwnKey::new(file, self.url.as_str()).map_err(|error| match error {
            OwnKeyError::Client(_) => Failure::local(
                "the URL cannot be read",
                "write it like https://api.example.com/v1/key",
            ),
            error => self.failure(&error),
        })?;
        Ok(match source.passphrase_of_private(&self.passphrase)? {
            Some(passphrase) => own.passphrase(passphrase),
            None => own,
        })
    }

    pub(super) fn file(&self) -> PathBuf {
        PathBuf::from(&self.key)
    }

    /// Asks the server.
    pub(super) fn ask<T>(
        &self,
        question: impl AsyncFnOnce(OwnKey) -> Result<T, OwnKeyError>,
    ) -> Result<T, Failure> {
        let own = self.own_key()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::cannot_start(&error))?;
        runtime.block_on(question(own)).map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &OwnKeyError) -> Failure {
        let text = with_reasons(error);
        let hint = match error {
            OwnKeyError::PlainHttp => {
                "use a URL of https://, or run this on the machine of the server"
            }
            OwnKeyError::UserInfo => "leave them out of the URL: the key is proof enough",
            OwnKeyError::File { .. } => {
                "let this user write in the folder of the key file, make room on the disk if it is full, and run this again"
            }
            OwnKeyError::Irreplaceable { .. } => {
                "if the file is mounted by itself, as into a container, mount its folder instead; if `lsattr` shows an `i`, remove that; then run this again"
            }
            OwnKeyError::Owner { .. } => "run this as the owner of the key file",
            OwnKeyError::Busy { .. } => "wait until that process has ended, and run this again",
            OwnKeyError::Secret => {
                "ask the operator of the service to replace it by a new key of yours"
            }
            OwnKeyError::Next { .. } => {
                "give the passphrase that the key file had in that run; if the file is damaged, ask the operator which of your keys is registered, and move the file away if it is not that one"
            }
            OwnKeyError::Refused(refusal) => return refused(refusal),
            OwnKeyError::Unauthenticated => {
                return Failure::new(
                    Exit::Server,
                    "a proxy answers for this machine, so that the response could be anyone's",
                    "set NO_PROXY=localhost,127.0.0.1,::1, or use a URL of https://",
                );
            }
            OwnKeyError::NoEndpoint(_) => {
                return Failure::new(
                    Exit::Server,
                    text,
                    "ask the operator of the service at which URL the holders of keys can change them",
                );
            }
            OwnKeyError::Client(Error::Http(_)) => {
                return Failure::new(
                    Exit::Server,
                    text,
                    "check the URL and the network, and run this again: it goes on where it was",
                );
            }
            OwnKeyError::Client(Error::Key { source, .. }) => {
                return KeySource::File(self.file()).unusable(source, "a private key");
            }
            OwnKeyError::Client(Error::KeyFileMode { path }) => {
                let file = quote(&path.display().to_string());
                return Failure::local(
                    format!("{} is open to other users", path.display()),
                    format!("run `chmod 600 {file}`"),
                );
            }
            _ => "run this again: it goes on where it was",
        };
        Failure::local(text, hint)
    }
}

/// Returns the failure for a refusal of the server.
fn refused(refusal: &Refusal) -> Failure {
    let exit = match refusal.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT => Exit::Refused,
        StatusCode::TOO_MANY_REQUESTS => Exit::Limited,
        _ => Exit::Server,
    };
    let hint = match refusal.code {
        Code::KeyConflict => {
            "ask the operator of the service which keys are yours; if nobody of yours made the key that took over, have both revoked"
        }
        Code::KeyRevoked | Code::KeyExpired => {
            "make a new key with `countersign keygen`, and have the service's operator register it; this one has ended"
        }
        Code::SignatureInvalid => {
            "is the key registered there? `countersign pubkey FILE` prints its name, and the operator registers its .pub file"
        }
        _ => refusal.hint.as_str(),
    };
    Failure::new(exit, format!("the server refused: {}: {}", refusal.code, refusal.detail), hint)
}
