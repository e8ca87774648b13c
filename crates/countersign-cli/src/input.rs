use std::{
    fs::File,
    io::{self, Read},
};

use crate::{failure::Failure, progress::Progress};

/// Largest file to read whole, in bytes.
const LARGEST: u64 = 256 * 1024 * 1024;

/// A function that opens the file of an `@FILE`.
pub(crate) type Open<'f> = &'f mut dyn FnMut(&str) -> Result<Input, Failure>;

/// A function that receives the next bytes of the content.
pub(crate) type Push<'p> = &'p mut dyn FnMut(&[u8]) -> Result<(), Failure>;

/// An open file that an argument names.
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) source: Source,
    /// The hint for an input that cannot be read.
    pub(crate) hint: String,
}

/// The source of the bytes of an input.
pub(crate) enum Source {
    File(File),
    Stream(Box<dyn Read>),
}

impl Input {
    /// Passes all bytes to `push`, in pieces.
    pub(crate) fn read(mut self, push: Push<'_>) -> Result<(), Failure> {
        let (reader, length): (&mut dyn Read, _) = match &mut self.source {
            Source::File(file) => {
                let length = file.metadata().map(|metadata| metadata.len());
                (file, length.ok())
            }
            Source::Stream(stream) => (stream, None),
        };
        let mut progress = Progress::new(&self.name, length);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let piece = match reader.read(&mut buffer) {
                Ok(length) => buffer.get(..length).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(cannot_read(&self.name, &error, &self.hint)),
            };
            if piece.is_empty() {
                return Ok(());
            }
            progress.advance(piece.len());
            push(piece)?;
        }
    }

    /// Reads all bytes as text.
    pub(crate) fn text(self) -> Result<String, Failure> {
        let name = self.name.clone();
        let mut bytes = Vec::new();
        self.read(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        String::from_utf8(bytes).map_err(|_| {
            Failure::local(
                format!("`{name}` is not UTF-8 text"),
                "name a text file, or send the content as it is with --data-binary @FILE",
            )
        })
    }
}

/// Opens the files that arguments name. Only one of them can be stdin.
#[derive(Debug)]
pub(crate) struct Files {
    stdin: Stdin,
    /// A hint for text that begins with an `@`.
    as_text: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stdin {
    Free,
    Read,
    IsTheKey,
}

impl Files {
    pub(crate) fn new(key_is_stdin: bool, as_text: &'static str) -> Self {
        Self { stdin: if key_is_stdin { Stdin::IsTheKey } else { Stdin::Free }, as_text }
    }

    /// Opens a file, or stdin for `-`.
    pub(crate) fn open(&mut self, file: &str) -> Result<Input, Failure> {
        if is_stdin(file) {
            if self.stdin == Stdin::IsTheKey {
                return Err(Failure::local(
                    "the key, or its passphrase, and the content cannot both be stdin",
                    "name a file for one of them",
                ));
            }
            self.stdin = Stdin::Read;
        }
        let hint = format!("name a file that exists and is yours to read; {}", self.as_text);
        let source = match file {
            "-" => Source::Stream(Box::new(io::stdin().lock())),
            file => {
                Source::File(File::open(file).map_err(|error| cannot_read(file, &error, &hint))?)
            }
        };
        Ok(Input { name: file.to_owned(), source, hint })
    }

    pub(crate) fn stdin_is_free(&self) -> bool {
        self.stdin == Stdin::Free
    }
}

/// Whether the name is a name of stdin.
pub(crate) fn is_stdin(file: &str) -> bool {
    matches!(file, "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0")
}

/// Reads a whole file, or stdin for `-`.
pub(crate) fn read_file(file: &str, hint: &str) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let limit = LARGEST.saturating_add(1);
    let read = match file {
        "-" => io::stdin().lock().take(limit).read_to_end(&mut content),
        file => File::open(file).and_then(|file| file.take(limit).read_to_end(&mut content)),
    };
    read.map_err(|error| Failure::local(format!("cannot read {file}: {error}"), hint))?;
    if u64::try_from(content.len()).is_ok_and(|length| length <= LARGEST) {
        return Ok(content);
    }
    Err(Failure::local(
        format!("{file} is larger than 256 MiB"),
        "verify large content by its digest with another tool",
    ))
}

pub(crate) fn cannot_read(name: &str, error: &io::Error, hint: &str) -> Failure {
    Failure::local(format!("cannot read `{name}`: {error}"), hint)
}
