use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use countersign::{Algorithm, KeyError, KeyFile, Passphrase, PrivateKey, ProvenKey};
use zeroize::Zeroizing;

use super::error::OwnKeyError;
use crate::{error::Error, key_source::KeySource};

/// A key file, and what is beside it during a rotation.
///
/// | file | holds |
/// | --- | --- |
/// | `FILE` | the key in use; replaced at once, so that it is whole at any time |
/// | `FILE.next` | the next key, from before it is registered until it is in use |
/// | `FILE.pub` | the public half and its proof |
#[derive(Clone, Debug)]
pub(super) struct Place {
    key: PathBuf,
}

/// The form of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Pem,
    EncryptedPem,
    /// One line, `sk_…`.
    Text,
}

/// A key, and the form of its file.
#[derive(Debug)]
pub(crate) struct StoredKey {
    pub(crate) key: PrivateKey,
    pub(super) form: Form,
}

impl Place {
    /// Finds the file itself if this is a link to it: a link is not replaced.
    pub(super) fn of(file: &Path) -> Result<Self, OwnKeyError> {
        let key = fs::canonicalize(file).map_err(failed(file))?;
        Ok(Self { key })
    }

    pub(super) fn key(&self) -> &Path {
        &self.key
    }

    fn next(&self) -> PathBuf {
        self.key.with_added_extension("next")
    }

    /// Reads the key in use.
    pub(super) fn read(&self, passphrase: Option<&Passphrase>) -> Result<StoredKey, OwnKeyError> {
        let key = KeySource::from(&self.key).read(passphrase)?;
        if key.algorithm() == Algorithm::HmacSha256 {
            return Err(OwnKeyError::Secret);
        }
        let content = Zeroizing::new(fs::read(&self.key).map_err(failed(&self.key))?);
        let text = str::from_utf8(&content).unwrap_or_default().trim();
        let form = match KeyFile::parse(&content, None) {
            Err(KeyError::Encrypted) => Form::EncryptedPem,
            _ if text.parse::<PrivateKey>().is_ok() => Form::Text,
            _ => Form::Pem,
        };
        Ok(StoredKey { key, form })
    }

    /// Whether an earlier run left a next key.
    pub(super) fn has_next(&self) -> Result<bool, OwnKeyError> {
        let path = self.next();
        path.try_exists().map_err(failed(&path))
    }

    /// Reads the next key, if an earlier run left one.
    pub(super) fn read_next(
        &self,
        passphrase: Option<&Passphrase>,
        current: &PrivateKey,
    ) -> Result<Option<PrivateKey>, OwnKeyError> {
        if !self.has_next()? {
            return Ok(None);
        }
        let path = self.next();
        let key = KeySource::from(&path)
            .read(passphrase)
            .map_err(|error| OwnKeyError::Next { path: path.clone(), source: Box::new(error) })?;
        // The same key is in use, so that nothing is lost.
        if key.publishable_key() == current.publishable_key() {
            fs::remove_file(&path).map_err(failed(&path))?;
            return Ok(None);
        }
        Ok(Some(key))
    }

    /// Makes the next key and writes it to the disk, before anyone else learns of it. Fails if the key file cannot be replaced.
    pub(super) fn make_next(
        &self,
        form: Form,
        passphrase: Option<&Passphrase>,
    ) -> Result<PrivateKey, OwnKeyError> {
        self.require_replaceable(|file, link| fs::hard_link(file, link))?;
        let seed = random()?;
        let key = PrivateKey::ed25519(&seed);
        let unwritable = |source| Error::Key { from: KeySource::File(self.next()), source };
        let content = match (form, passphrase) {
            (Form::Text, _) => {
                let mut line = Zeroizing::new(String::with_capacity(256));
                line.push_str(&key.expose_text());
                line.push('\n');
                line
            }
            (Form::EncryptedPem, Some(passphrase)) => {
                key.encrypt_pkcs8_pem(passphrase, *random()?).map_err(unwritable)?
            }
            (Form::EncryptedPem, None) => return Err(unwritable(KeyError::Encrypted).into()),
            (Form::Pem, _) => key.expose_pkcs8_pem().map_err(unwritable)?,
        };
        self.write(&self.next(), 0o600, content.as_bytes())?;
        Ok(key)
    }

    /// Puts the next key, which is registered, in the place of the key in use.
    pub(super) fn take_next_into_use(&self, proof: &str) -> Result<(), OwnKeyError> {
        self.write(&self.key.with_added_extension("pub"), 0o644, proof.as_bytes())?;
        fs::rename(self.next(), &self.key).map_err(self.irreplaceable())?;
        self.sync_folder()
    }

    /// Tries whether another file can take the place of the key file.
    ///
    /// A second name can be given to just those files that can be replaced: no mount point, no file that may not be changed.
    /// Nothing is copied then. On a file system without second names, the key file is replaced by a copy of itself.
    fn require_replaceable(
        &self,
        link: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), OwnKeyError> {
        let part = self.next().with_added_extension("part");
        remove(&part)?;
        match link(&self.key, &part) {
            Ok(()) => remove(&part),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::CrossesDevices
                        | io::ErrorKind::ResourceBusy
                        | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Err(self.irreplaceable()(error))
            }
            Err(_) => self.replace_by_copy(&part),
        }
    }

    fn replace_by_copy(&self, part: &Path) -> Result<(), OwnKeyError> {
        let content = Zeroizing::new(fs::read(&self.key).map_err(failed(&self.key))?);
        self.write_whole(part, 0o600, &content)?;
        let replaced = fs::rename(part, &self.key).map_err(self.irreplaceable());
        if replaced.is_err() {
            remove(part)?;
        }
        replaced
    }

    fn irreplaceable(&self) -> impl Fn(io::Error) -> OwnKeyError + use<> {
        let path = self.key.clone();
        move |source| OwnKeyError::Irreplaceable { path: path.clone(), source }
    }

    /// Writes a file so that it is there as a whole, or not at all.
    fn write(&self, path: &Path, mode: u32, content: &[u8]) -> Result<(), OwnKeyError> {
        let part = path.with_added_extension("part");
        self.write_whole(&part, mode, content)?;
        fs::rename(&part, path).map_err(failed(path))?;
        self.sync_folder()
    }

    /// Writes a file, and has it on the disk. A file that cannot be written is removed.
    fn write_whole(&self, part: &Path, mode: u32, content: &[u8]) -> Result<(), OwnKeyError> {
        remove(part)?;
        let mut file = create(part, mode).map_err(failed(part))?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        let checked = written.map_err(failed(part)).and_then(|()| self.require_owner(&file));
        if checked.is_err() {
            drop(fs::remove_file(part));
        }
        checked
    }

    /// Whoever reads the key file has to be able to read a file of ours in its place.
    #[cfg(unix)]
    fn require_owner(&self, ours: &File) -> Result<(), OwnKeyError> {
        use std::os::unix::fs::MetadataExt as _;
        let owner = fs::metadata(&self.key).map_err(failed(&self.key))?.uid();
        match ours.metadata().map_err(failed(&self.key))?.uid() == owner {
            true => Ok(()),
            false => Err(OwnKeyError::Owner { path: self.key.clone() }),
        }
    }

    #[cfg(not(unix))]
    fn require_owner(&self, _: &File) -> Result<(), OwnKeyError> {
        Ok(())
    }

    /// Has the names of the files on the disk as well.
    fn sync_folder(&self) -> Result<(), OwnKeyError> {
        #[cfg(unix)]
        if let Some(folder) = self.key.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
        }
        Ok(())
    }
}

/// The content of the `.pub` file of a key.
pub(super) fn proof(key: &PrivateKey) -> Result<String, OwnKeyError> {
    ProvenKey::proof(key).map_err(|_| OwnKeyError::Secret)
}

fn random() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(Error::Random)?;
    Ok(bytes)
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<(), OwnKeyError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _: u32 = mode;
    options.open(path)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> OwnKeyError + use<> {
    let path = path.to_owned();
    move |source| OwnKeyError::File { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("id.key");
        fs::write(&key, "the key").unwrap();
        (folder, Place { key })
    }

    /// The files in a folder, and the content of the key file.
    fn state(place: &Place) -> (Vec<String>, String) {
        let folder = fs::read_dir(place.key.parent().unwrap()).unwrap();
        let names = folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        (names, fs::read_to_string(&place.key).unwrap())
    }

    #[test]
    fn a_key_file_that_cannot_be_replaced_is_found_out_and_stays_as_it_is() {
        use io::ErrorKind::{
            CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy, Unsupported,
        };
        let untouched = (vec!["id.key".to_owned()], "the key".to_owned());
        for kind in [CrossesDevices, ResourceBusy, ReadOnlyFilesystem] {
            let (_folder, place) = place();
            let outcome = place.require_replaceable(|_, _| Err(kind.into()));
            let Err(OwnKeyError::Irreplaceable { path, .. }) = outcome else { panic!("{kind}") };
            assert_eq!(path, place.key);
            assert_eq!(state(&place), untouched, "{kind}");
        }
        // Without second names, a copy takes the place of the file.
        for kind in [PermissionDenied, Unsupported] {
            let (_folder, place) = place();
            place.require_replaceable(|_, _| Err(kind.into())).unwrap();
            assert_eq!(state(&place), untouched, "{kind}");
        }
        let (_folder, place) = place();
        // An earlier run was broken off here.
        fs::hard_link(&place.key, place.next().with_added_extension("part")).unwrap();
        place.require_replaceable(|file, link| fs::hard_link(file, link)).unwrap();
        assert_eq!(state(&place), untouched);
        let folder = Place { key: place.key.parent().unwrap().to_owned() };
        let outcome = folder.require_replaceable(|_, _| Err(Unsupported.into()));
        assert!(outcome.is_err(), "a folder has no content to copy");
    }
}
