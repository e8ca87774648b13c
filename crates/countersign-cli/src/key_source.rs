use std::{
    fs::{File, Metadata},
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;
use countersign::{
    AnyKeyFile, AnyPrivateKey, AnyVerifyingKey, KeyError, KeyFile, KeyId, Passphrase, PrivateKey,
    with_reasons,
};
use zeroize::Zeroizing;

use crate::{
    environment::{KEY_VARIABLE, PASSPHRASE_VARIABLE},
    failure::Failure,
    input::is_stdin,
};

const LARGEST: u64 = 64 * 1024;

/// The source of a key.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    File(PathBuf),
    Stdin,
    Descriptor(u32),
    Environment,
}

impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let descriptor = text.strip_prefix("fd:");
        match (text, descriptor.map(str::parse)) {
            ("", _) => Err("it is empty".to_owned()),
            ("-", _) => Ok(Self::Stdin),
            (_, Some(Ok(descriptor))) => Ok(Self::Descriptor(descriptor)),
            (_, Some(Err(_))) => Err("fd: is followed by the number of a descriptor".to_owned()),
            (file, None) => Ok(Self::File(file.into())),
        }
    }
}

/// The passphrase of an encrypted key file.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PassphraseSource {
    /// The file whose first line is the passphrase of an encrypted key [default: COUNTERSIGN_PASSPHRASE, or a prompt]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The options for the private key of the commands that sign.
#[derive(Args, Clone, Debug)]
pub(crate) struct PrivateKeyArgs {
    /// The private key's file; `-` is stdin, fd:N a descriptor [default: the text in COUNTERSIGN_KEY]
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl PrivateKeyArgs {
    /// Whether the key or its passphrase is read from stdin.
    pub(crate) fn is_stdin(&self) -> bool {
        self.key.as_deref().is_some_and(is_stdin_key) || self.passphrase.is_stdin()
    }

    /// Returns the descriptors of the key and its passphrase, which no other process needs.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = i32> {
        let passphrase = self.passphrase.passphrase_file.as_deref().and_then(Path::to_str);
        [self.key.as_deref(), passphrase].into_iter().flatten().filter_map(descriptor)
    }

    /// Adds a key that was named among curl's arguments.
    pub(crate) fn named_later(mut self, key: String) -> Result<Self, Failure> {
        match self.key.replace(key) {
            Some(_) => Err(two_keys()),
            None => Ok(self),
        }
    }

    /// Whether a key is given, by an argument or by the variable.
    pub(crate) fn is_given(&self) -> bool {
        self.key.is_some() || std::env::var_os(KEY_VARIABLE).is_some()
    }

    /// Reads the private key of a credential.
    pub(crate) fn read(&self) -> Result<PrivateKey, Failure> {
        self.source()?.read_private(&self.passphrase)
    }

    /// Reads a private key of any algorithm.
    pub(crate) fn read_any(&self) -> Result<AnyPrivateKey, Failure> {
        let source = self.source()?;
        let file = source.read_any(&self.passphrase)?;
        file.into_private().map_err(|error| source.unusable_of(Keys::Any, &error, "a private key"))
    }

    fn source(&self) -> Result<KeySource, Failure> {
        match &self.key {
            Some(text) => source(text),
            None if std::env::var_os(KEY_VARIABLE).is_some() => Ok(KeySource::Environment),
            None => Err(Failure::local(
                "no key is given",
                format!("add --key FILE, or set {KEY_VARIABLE}"),
            )),
        }
    }
}

/// Whether the text of a `--key` names stdin.
pub(crate) fn is_stdin_key(text: &str) -> bool {
    match text.parse() {
        Ok(KeySource::Stdin | KeySource::Descriptor(0)) => true,
        Ok(KeySource::File(file)) => file.to_str().is_some_and(is_stdin),
        _ => false,
    }
}

/// Returns the inherited descriptor that an argument names.
pub(crate) fn descriptor(text: &str) -> Option<i32> {
    let number = ["fd:", "/dev/fd/", "/proc/self/fd/"];
    number.into_iter().find_map(|prefix| text.strip_prefix(prefix))?.parse().ok()
}

/// Returns the failure for two keys with --key, of which only one can sign.
pub(crate) fn two_keys() -> Failure {
    Failure::local(
        "two keys are named with --key, and one signs",
        "leave one out; a --key of curl's own, for a TLS client certificate, goes with --cert",
    )
}

/// Reads the text of a `--key`. Refuses a secret, which every user of this machine would see in the list of processes.
pub(crate) fn source(text: &str) -> Result<KeySource, Failure> {
    if is_key_text(text.trim()) && !Path::new(text).exists() {
        return Err(Failure::private_key_shown());
    }
    text.parse().map_err(|error| {
        Failure::local(format!("--key: {error}"), "name a key file, `-` for stdin, or fd:N")
    })
}

/// Returns the name of a key: its publishable key or, if it cannot be a credential, its JWK thumbprint.
pub(crate) fn name(key: &AnyVerifyingKey) -> String {
    match key {
        AnyVerifyingKey::Credential(key) => key.publishable_key().to_string(),
        key => {
            let thumbprint = key.thumbprint().map(KeyId::Thumbprint);
            thumbprint.map(|thumbprint| thumbprint.to_string()).unwrap_or_default()
        }
    }
}

/// The keys that a command can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    Credentials,
    /// Keys of every built-in algorithm.
    Any,
}

/// Whether the text is a key, not the name of a file. Even a broken JWK counts as a key.
fn is_key_text(text: &str) -> bool {
    PrivateKey::is_shown_in(text) || (text.starts_with('{') && text.contains(['"', ':']))
}

impl KeySource {
    /// Reads a private key.
    pub(crate) fn read_private(
        &self,
        passphrase: &PassphraseSource,
    ) -> Result<PrivateKey, Failure> {
        let file = self.read(passphrase)?;
        file.into_private().map_err(|error| self.unusable(&error, "a private key"))
    }

    /// Returns the passphrase of a private key, if it is encrypted. Refuses what is no private key of a credential.
    pub(crate) fn passphrase_of_private(
        &self,
        passphrase: &PassphraseSource,
    ) -> Result<Option<Passphrase>, Failure> {
        let (content, metadata) = self.content()?;
        match KeyFile::parse(&content, None) {
            Err(KeyError::Encrypted) => {
                self.require_private(metadata.as_ref())?;
                passphrase.read(self).map(Some)
            }
            _ => self.read_private(passphrase).map(|_| None),
        }
    }

    /// Reads the public half of any key file.
    pub(crate) fn read_verifying(
        &self,
        passphrase: &PassphraseSource,
    ) -> Result<AnyVerifyingKey, Failure> {
        let file = self.read_any(passphrase)?;
        file.into_verifying_key().map_err(|error| self.unusable_of(Keys::Any, &error, "a key"))
    }

    /// Reads a credential's key file of any form.
    pub(crate) fn read(&self, passphrase: &PassphraseSource) -> Result<KeyFile, Failure> {
        let is_private = |file: &KeyFile| matches!(file, KeyFile::Private(_));
        self.read_as(passphrase, Keys::Credentials, KeyFile::parse, is_private)
    }

    /// Reads a key file of any form and algorithm.
    pub(crate) fn read_any(&self, passphrase: &PassphraseSource) -> Result<AnyKeyFile, Failure> {
        let is_private =
            |file: &AnyKeyFile| matches!(file, AnyKeyFile::Private(_) | AnyKeyFile::PublicHalf(_));
        self.read_as(passphrase, Keys::Any, AnyKeyFile::parse, is_private)
    }

    fn read_as<F>(
        &self,
        passphrase: &PassphraseSource,
        keys: Keys,
        parse: fn(&[u8], Option<&Passphrase>) -> Result<F, KeyError>,
        is_private: fn(&F) -> bool,
    ) -> Result<F, Failure> {
        let (content, metadata) = self.content()?;
        let parsed = match parse(&content, None) {
            Err(KeyError::Encrypted) => {
                // Check the mode before asking for a passphrase.
                self.require_private(metadata.as_ref())?;
                parse(&content, Some(&passphrase.read(self)?))
            }
            parsed => parsed,
        };
        let file = parsed.map_err(|error| self.unusable_of(keys, &error, "a key"))?;
        if is_private(&file) {
            self.require_private(metadata.as_ref())?;
        }
        Ok(file)
    }

    /// Returns the bytes and, if they come from a file, its metadata.
    pub(crate) fn content(&self) -> Result<(Zeroizing<Vec<u8>>, Option<Metadata>), Failure> {
        let path = match self {
            Self::Environment => {
                let text = std::env::var(KEY_VARIABLE).map_err(|_| {
                    Failure::local(
                        format!("{KEY_VARIABLE} is not set to text"),
                        "set it to the text of a key file, not to a file's name",
                    )
                })?;
                return Ok((Zeroizing::new(text.into_bytes()), None));
            }
            Self::Stdin => return Ok((self.read_bounded(std::io::stdin().lock())?, None)),
            Self::Descriptor(number) => PathBuf::from(format!("/dev/fd/{number}")),
            Self::File(path) => path.clone(),
        };
        let file = File::open(&path).map_err(|error| self.unreadable(&error))?;
        let metadata = file.metadata().map_err(|error| self.unreadable(&error))?;
        if metadata.is_dir() {
            return Err(Failure::local(
                format!("{self} is a directory"),
                "name the key file in it",
            ));
        }
        let content = self.read_bounded(file)?;
        let from_a_path = matches!(self, Self::File(_)) && metadata.is_file();
        Ok((content, from_a_path.then_some(metadata)))
    }

    fn read_bounded(&self, from: impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // Reserved at once, so that a growing buffer leaves no copy behind.
        let mut content = Zeroizing::new(Vec::with_capacity(128 * 1024));
        let read = from.take(LARGEST.saturating_add(1)).read_to_end(&mut content);
        let read = read.map_err(|error| self.unreadable(&error))?;
        if u64::try_from(read).is_ok_and(|read| read <= LARGEST) {
            return Ok(content);
        }
        Err(Failure::local(
            format!("{self} is larger than any key file"),
            "name the file that `countersign keygen` or openssl wrote",
        ))
    }

    fn unreadable(&self, error: &std::io::Error) -> Failure {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound if matches!(self, Self::Descriptor(_)) => {
                "open that descriptor for this command, as a shell does with `9< FILE` for fd:9"
            }
            std::io::ErrorKind::NotFound => {
                "name a key file that exists; `countersign keygen` makes one"
            }
            std::io::ErrorKind::PermissionDenied => {
                "run this as the user who owns the key file; where a group may read it, add this user to that group"
            }
            _ => "name a key file, `-` for stdin, or fd:N",
        };
        Failure::local(format!("cannot read {self}: {error}"), hint)
    }

    /// Returns why this source is no key of a credential of this kind.
    pub(crate) fn unusable(&self, error: &KeyError, wanted: &str) -> Failure {
        self.unusable_of(Keys::Credentials, error, wanted)
    }

    fn unusable_of(&self, keys: Keys, error: &KeyError, wanted: &str) -> Failure {
        let unusable = |hint: &str| {
            Failure::local(format!("cannot use {self} as {wanted}: {}", with_reasons(error)), hint)
        };
        let hint = match error {
            KeyError::Empty | KeyError::UnknownForm if matches!(self, Self::Environment) => {
                return unusable(&format!(
                    "set {KEY_VARIABLE} to the text of a key; a file's name is given with --key"
                ));
            }
            KeyError::Empty | KeyError::UnknownForm if !matches!(self, Self::File(_)) => {
                "send the text of a key there, as with `< FILE`, or name the file itself"
            }
            KeyError::Empty | KeyError::UnknownForm => {
                "name a file that `countersign keygen`, `openssl genpkey -algorithm ed25519` or `ssh-keygen -t ed25519` wrote"
            }
            KeyError::WrongKind { wanted: "a private key", .. } if wanted == "a private key" => {
                "name the private key's file: the one without .pub"
            }
            KeyError::WrongKind { .. } if cfg!(feature = "ecdsa") && keys == Keys::Any => {
                "name an Ed25519 key, an HMAC secret, or an ECDSA key on P-256 or P-384; `countersign keygen` makes the first two"
            }
            KeyError::WrongKind { .. } => {
                "name an Ed25519 key or an HMAC secret; `countersign keygen` makes either"
            }
            KeyError::WrongPassphrase => "check the passphrase",
            KeyError::Several => "put the key that you mean into a file of its own",
            KeyError::TooCostly => {
                "the key is good; where it can be opened, encrypt it with less work: `ssh-keygen -p -a 16 -f FILE`, or `openssl pkcs8 -topk8 -v2 aes256 -in OLD -out NEW`"
            }
            KeyError::UnreadCipher(_) => {
                "encrypt it with AES: `openssl pkcs8 -topk8 -v2 aes256 -in OLD -out NEW`, or `ssh-keygen -p -f FILE`"
            }
            KeyError::Encrypted => {
                return unusable(&set_passphrase());
            }
            KeyError::SecretLength(_) | KeyError::Guessable => {
                "make a secret with `countersign keygen --alg hmac-sha256`"
            }
            KeyError::Unproven(_) => "make it again with `countersign pubkey --prove KEYFILE`",
            KeyError::Mismatched | KeyError::Weak(_) | KeyError::Published(_) => {
                "make a new key with `countersign keygen`"
            }
            _ => {
                "copy it again from where it was made, or make a new key with `countersign keygen`"
            }
        };
        unusable(hint)
    }

    fn require_private(&self, metadata: Option<&Metadata>) -> Result<(), Failure> {
        let Some(metadata) = metadata else { return Ok(()) };
        let Some(open_to) = open_to_others(metadata) else { return Ok(()) };
        let file = crate::shell::quote(&self.to_string());
        let piped = format!("give `-` in place of its name, and `< {file}`");
        // Kubernetes and others mount secrets read-only, also for their owner.
        let hint = match metadata.permissions().readonly() {
            true => format!(
                "{piped}; where it is not mounted read-only, `chmod 600 {file}` does as well"
            ),
            false => format!("run `chmod 600 {file}`; if it is mounted read-only, {piped}"),
        };
        Err(Failure::local(format!("{self} is {open_to} by other users"), hint))
    }
}

/// Returns what other users can do with a file.
#[cfg(unix)]
fn open_to_others(metadata: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::PermissionsExt;
    match metadata.permissions().mode() {
        mode if mode & 0o044 != 0 => Some("readable"),
        mode if mode & 0o022 != 0 => Some("writable"),
        mode if mode & 0o011 != 0 => Some("executable"),
        _ => None,
    }
}

#[cfg(not(unix))]
fn open_to_others(_: &Metadata) -> Option<&'static str> {
    None
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("the key on stdin"),
            Self::Descriptor(number) => write!(f, "descriptor {number}"),
            Self::Environment => f.write_str(KEY_VARIABLE),
        }
    }
}

impl PassphraseSource {
    /// Whether the passphrase is read from stdin.
    pub(crate) fn is_stdin(&self) -> bool {
        self.passphrase_file.as_deref().and_then(Path::to_str).is_some_and(is_stdin)
    }

    fn read(&self, of: &KeySource) -> Result<Passphrase, Failure> {
        if let Some(file) = &self.passphrase_file {
            return from_file(file);
        }
        if let Ok(text) = std::env::var(PASSPHRASE_VARIABLE) {
            return Ok(passphrase(Zeroizing::new(text)));
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::local(
                format!(
                    "{of} is encrypted with a passphrase, and there is no terminal to ask for it"
                ),
                set_passphrase(),
            ));
        }
        let typed = rpassword::prompt_password(format!("Passphrase of {of}: "));
        let typed = typed.map_err(|error| {
            Failure::local(
                format!("cannot ask for the passphrase of {of}: {error}"),
                set_passphrase(),
            )
        })?;
        Ok(passphrase(Zeroizing::new(typed)))
    }
}

fn set_passphrase() -> String {
    format!("set {PASSPHRASE_VARIABLE}, or name a file with --passphrase-file")
}

fn from_file(file: &Path) -> Result<Passphrase, Failure> {
    // The message does not show the name, which may be the passphrase itself.
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::local(
            format!("cannot read the file that --passphrase-file names: {error}"),
            "name a text file whose first line is the passphrase",
        )
    };
    let mut opened = File::open(file).map_err(|error| unreadable(&error))?;
    let metadata = opened.metadata().map_err(|error| unreadable(&error))?;
    if metadata.is_file()
        && let Some(open_to) = open_to_others(&metadata)
    {
        return Err(Failure::local(
            format!("the file that --passphrase-file names is {open_to} by other users"),
            format!(
                "run `chmod 600` on it; if it is mounted read-only, set {PASSPHRASE_VARIABLE}=\"$(head -n 1 FILE | tr -d '\\r')\""
            ),
        ));
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    opened.read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    Ok(passphrase(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())))
}

fn passphrase(text: Zeroizing<String>) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec())
}
