#[cfg(unix)]
pub(super) use self::by_descriptor::PrivateFile;
#[cfg(not(unix))]
pub(super) use self::by_name::PrivateFile;

#[cfg(unix)]
mod by_descriptor {
    use std::{
        fs::File,
        io::{self, Read, Seek, Write},
        os::fd::AsRawFd,
        path::PathBuf,
    };

    use rustix::io::{FdFlags, fcntl_setfd};

    /// A file without a name, which curl opens by its descriptor. It disappears with the two processes, however they
    /// end.
    pub(crate) struct PrivateFile(File);

    impl PrivateFile {
        pub(crate) fn new(content: &[u8]) -> io::Result<Self> {
            let mut file = tempfile::tempfile()?;
            file.write_all(content)?;
            Self::lend(&file)
        }

        /// Lets every process started from now on inherit the file.
        pub(crate) fn lend(file: &File) -> io::Result<Self> {
            let mut file = file.try_clone()?;
            file.rewind()?;
            fcntl_setfd(&file, FdFlags::empty())?;
            Ok(Self(file))
        }

        /// Returns the path by which curl opens the file.
        pub(crate) fn path(&self) -> PathBuf {
            format!("/dev/fd/{}", self.descriptor()).into()
        }

        pub(crate) fn descriptor(&self) -> i32 {
            self.0.as_raw_fd()
        }

        pub(crate) fn content(&self) -> io::Result<Vec<u8>> {
            let (mut file, mut content) = (&self.0, Vec::new());
            file.rewind()?;
            file.read_to_end(&mut content)?;
            Ok(content)
        }
    }
}

#[cfg(not(unix))]
mod by_name {
    use std::{
        fs::File,
        io::{self, Seek, Write},
        path::PathBuf,
    };

    use tempfile::NamedTempFile;

    /// A file that only this user can open. It is removed when this value is dropped.
    pub(crate) struct PrivateFile(NamedTempFile);

    impl PrivateFile {
        pub(crate) fn new(content: &[u8]) -> io::Result<Self> {
            let mut file = tempfile::Builder::new().prefix("countersign-").tempfile()?;
            file.write_all(content)?;
            Ok(Self(file))
        }

        /// Makes a copy of a file.
        pub(crate) fn lend(mut file: &File) -> io::Result<Self> {
            let mut copy = tempfile::Builder::new().prefix("countersign-").tempfile()?;
            file.rewind()?;
            io::copy(&mut file, &mut copy)?;
            Ok(Self(copy))
        }

        pub(crate) fn path(&self) -> PathBuf {
            self.0.path().to_owned()
        }

        pub(crate) fn content(&self) -> io::Result<Vec<u8>> {
            std::fs::read(self.0.path())
        }
    }
}
