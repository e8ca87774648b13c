use std::{
    fs::{File, Metadata},
    io::{self, Seek, Write},
    time::SystemTime,
};

use countersign::{ContentDigest, DigestAlgorithm, RunningDigest};
use tempfile::SpooledTempFile;

use crate::{
    failure::Failure,
    input::{Input, Open, Push, Source, cannot_read},
    request::url::percent_encoded,
};

/// A piece of content from one of curl's data flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) kind: DataKind,
    pub(crate) text: String,
}

/// The kinds of curl's data flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataKind {
    /// `-d`, `--data`, `--data-ascii`: text, or `@FILE` without its line breaks.
    Text,
    /// `--data-raw`: text, even if it begins with `@`.
    Raw,
    /// `--data-binary`: text, or the unchanged content of `@FILE`.
    Binary,
    /// `--data-urlencode`: `text`, `=text`, `name=text`, `@FILE`, `name@FILE`.
    UrlEncode,
    /// `--json`: like `--data-binary`, without a `&` before it.
    Json,
}

impl Data {
    fn push(&self, open: Open<'_>, push: Push<'_>) -> Result<(), Failure> {
        let file = self.text.strip_prefix('@');
        match (self.kind, file) {
            (DataKind::Text, Some(file)) => {
                // curl drops NUL bytes together with the line breaks.
                let kept = |byte: &u8| !matches!(byte, b'\r' | b'\n' | b'\0');
                open(file)?.read(&mut |piece| {
                    let piece: Vec<u8> = piece.iter().copied().filter(kept).collect();
                    push(&piece)
                })
            }
            (DataKind::Binary | DataKind::Json, Some(file)) => open(file)?.read(push),
            (DataKind::UrlEncode, _) => push_url_encoded(&self.text, open, push),
            (DataKind::Text | DataKind::Binary | DataKind::Json | DataKind::Raw, _) => {
                push(self.text.as_bytes())
            }
        }
    }

    /// Returns the file whose content is exactly this piece.
    fn file(&self) -> Option<&str> {
        match self.kind {
            DataKind::Binary | DataKind::Json => self.text.strip_prefix('@'),
            DataKind::Text | DataKind::Raw | DataKind::UrlEncode => None,
        }
    }
}

/// Joins the pieces as curl does.
pub(crate) fn join(pieces: &[Data], open: Open<'_>, push: Push<'_>) -> Result<(), Failure> {
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 && piece.kind != DataKind::Json {
            push(b"&")?;
        }
        piece.push(&mut *open, &mut *push)?;
    }
    Ok(())
}

/// Encodes a piece by curl's rule for `--data-urlencode`: an `=` before any `@` decides.
fn push_url_encoded(text: &str, open: Open<'_>, push: Push<'_>) -> Result<(), Failure> {
    let (name, content, file) = if let Some((name, content)) = text.split_once('=') {
        (name, content, None)
    } else if let Some((name, file)) = text.split_once('@') {
        (name, "", Some(file))
    } else {
        ("", text, None)
    };
    if !name.is_empty() {
        push(format!("{name}=").as_bytes())?;
    }
    let mut encode = |piece: &[u8]| push(percent_encoded(piece).replace("%20", "+").as_bytes());
    match file {
        Some(file) => open(file)?.read(&mut encode),
        None => encode(content.as_bytes()),
    }
}

/// Encodes a text as for [`DataKind::UrlEncode`].
pub(crate) fn url_encoded(text: &str, open: Open<'_>) -> Result<String, Failure> {
    let mut encoded = Vec::new();
    push_url_encoded(text, open, &mut |piece| {
        encoded.extend_from_slice(piece);
        Ok(())
    })?;
    String::from_utf8(encoded)
        .map_err(|_| Failure::local("the query is not UTF-8 text", "check it"))
}

/// The content of a request, read once for its digest and kept for sending.
///
/// A file is not copied. Other content is kept in memory up to 1 MiB, and beyond that in a file without a name.
#[derive(Debug)]
pub(crate) struct Body {
    kept: Kept,
    length: u64,
    digest: ContentDigest,
}

#[derive(Debug)]
enum Kept {
    Memory(Vec<u8>),
    Unnamed(File),
    Named { name: String, file: File, stamp: Stamp },
}

/// The metadata that show whether a file has changed, as far as the file system records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl From<Metadata> for Stamp {
    fn from(metadata: Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Body {
    /// Reads the content of curl's data flags.
    pub(crate) fn of_data(pieces: &[Data], open: Open<'_>) -> Result<Self, Failure> {
        if let [piece] = pieces
            && let Some(file) = piece.file()
        {
            return Self::of_file(open(file)?);
        }
        Self::made(&mut |push| join(pieces, &mut *open, push))
    }

    /// Reads the content of a file.
    pub(crate) fn of_file(input: Input) -> Result<Self, Failure> {
        let Input { name, source, hint } = input;
        let read = |error: io::Error| cannot_read(&name, &error, &hint);
        let file = match source {
            Source::File(file) => file,
            source @ Source::Stream(_) => {
                let mut input = Some(Input { name, source, hint });
                return Self::made(&mut |push| input.take().map_or(Ok(()), |one| one.read(push)));
            }
        };
        let metadata = file.metadata().map_err(read)?;
        let (is_file, stamp) = (metadata.is_file(), Stamp::from(metadata));
        // A device, or a system file whose length is unknown until it is read.
        if !is_file || stamp.length == 0 {
            let mut input = Some(Input { name, source: Source::File(file), hint });
            return Self::made(&mut |push| input.take().map_or(Ok(()), |one| one.read(push)));
        }
        let mut digest = RunningDigest::new([DigestAlgorithm::Sha256]);
        let mut length: u64 = 0;
        let source = Source::File(file.try_clone().map_err(read)?);
        let input = Input { name: name.clone(), source, hint: hint.clone() };
        input.read(&mut |piece| {
            digest.update(piece);
            length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            Ok(())
        })?;
        if length != stamp.length || stamp != Stamp::from(file.metadata().map_err(read)?) {
            return Err(Failure::local(
                format!("`{name}` changed while it was read"),
                WHILE_WRITTEN,
            ));
        }
        Ok(Self { kept: Kept::Named { name, file, stamp }, length, digest: digest.finish() })
    }

    /// Keeps the content that `make` writes.
    pub(crate) fn made(
        make: &mut dyn FnMut(Push<'_>) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut spool = SpooledTempFile::new(MOST_IN_MEMORY);
        let mut digest = RunningDigest::new([DigestAlgorithm::Sha256]);
        let mut length: u64 = 0;
        make(&mut |piece| {
            digest.update(piece);
            length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            spool.write_all(piece).map_err(|error| cannot_keep(&error))
        })?;
        let kept = match spool.into_inner() {
            tempfile::SpooledData::InMemory(bytes) => Kept::Memory(bytes.into_inner()),
            tempfile::SpooledData::OnDisk(file) => Kept::Unnamed(file),
        };
        Ok(Self { kept, length, digest: digest.finish() })
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Returns its SHA-256 digest.
    pub(crate) const fn digest(&self) -> &ContentDigest {
        &self.digest
    }

    /// Whether the content has these digests.
    pub(crate) fn matches(&self, digest: ContentDigest) -> Result<bool, Failure> {
        let mut check = digest.check();
        self.read(&mut |piece| {
            check.update(piece);
            Ok(())
        })?;
        Ok(check.finish().is_ok())
    }

    /// Passes all content to `push`, in pieces.
    pub(crate) fn read(&self, push: Push<'_>) -> Result<(), Failure> {
        let (name, file) = match &self.kept {
            Kept::Memory(bytes) => return push(bytes),
            Kept::Unnamed(file) => ("the content", file),
            Kept::Named { name, file, .. } => (name.as_str(), file),
        };
        let hint = WHILE_WRITTEN;
        let reader = file.try_clone().and_then(|mut file| file.rewind().map(|()| file));
        let source = Source::File(reader.map_err(|error| cannot_read(name, &error, hint))?);
        Input { name: name.to_owned(), source, hint: hint.to_owned() }.read(push)
    }

    /// Reads all content into memory.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.read(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Returns the content if it is in memory, and no bytes otherwise.
    pub(crate) fn in_memory(&self) -> &[u8] {
        match &self.kept {
            Kept::Memory(bytes) => bytes,
            Kept::Unnamed(_) | Kept::Named { .. } => &[],
        }
    }

    /// Returns the file of the content, if the content is in a file.
    pub(crate) const fn file(&self) -> Option<&File> {
        match &self.kept {
            Kept::Memory(_) => None,
            Kept::Unnamed(file) | Kept::Named { file, .. } => Some(file),
        }
    }

    /// Returns the name of the user's file, if the file has changed since its digest was made.
    pub(crate) fn changed(&self) -> Option<&str> {
        match &self.kept {
            Kept::Named { name, file, stamp } => {
                let now = file.metadata().map(Stamp::from);
                (now.ok() != Some(*stamp)).then_some(name)
            }
            Kept::Memory(_) | Kept::Unnamed(_) => None,
        }
    }
}

/// The hint for a file that changes while it is read.
pub(crate) const WHILE_WRITTEN: &str = "run this again when nothing writes to the file";

/// Most bytes of made content to keep in memory.
const MOST_IN_MEMORY: usize = 1024 * 1024;

pub(crate) fn cannot_keep(error: &io::Error) -> Failure {
    Failure::local(
        format!("cannot write a temporary file: {error}"),
        "set TMPDIR to a directory with room in it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(pieces: &[(DataKind, &str)]) -> String {
        let pieces: Vec<Data> =
            pieces.iter().map(|&(kind, text)| Data { kind, text: text.to_owned() }).collect();
        let mut open = |file: &str| match file {
            "lines" => Ok(Input {
                name: file.to_owned(),
                source: Source::Stream(Box::new(&b"a b\r\nc\n\0d\n"[..])),
                hint: String::new(),
            }),
            _ => Err(Failure::local("no such file", "")),
        };
        match Body::of_data(&pieces, &mut open) {
            Ok(body) => {
                let bytes = body.bytes().unwrap();
                assert_eq!(body.digest, ContentDigest::sha256(&bytes));
                String::from_utf8(bytes).unwrap()
            }
            Err(_) => "(refused)".into(),
        }
    }

    #[test]
    fn each_flag_reads_its_value_as_curl_does() {
        use DataKind::{Binary, Json, Raw, Text, UrlEncode};
        let table: [(&[(DataKind, &str)], &str); 18] = [
            (&[(Text, "a=b")], "a=b"),
            (&[(Text, "@lines")], "a bcd"),
            (&[(Text, "@none")], "(refused)"),
            (&[(Raw, "@lines")], "@lines"),
            (&[(Binary, "@lines")], "a b\r\nc\n\0d\n"),
            (&[(Binary, "a\n")], "a\n"),
            (&[(Json, "{}")], "{}"),
            (&[(Json, "@lines")], "a b\r\nc\n\0d\n"),
            (&[(UrlEncode, "a b&c")], "a+b%26c"),
            (&[(UrlEncode, "=a=b")], "a%3Db"),
            (&[(UrlEncode, "n=é ~")], "n=%C3%A9+~"),
            (&[(UrlEncode, "@lines")], "a+b%0D%0Ac%0A%00d%0A"),
            (&[(UrlEncode, "n@lines")], "n=a+b%0D%0Ac%0A%00d%0A"),
            (&[(UrlEncode, "n=a@lines")], "n=a%40lines"),
            (&[(Text, "a=1"), (Text, "b=2")], "a=1&b=2"),
            (&[(Json, "{"), (Json, "}")], "{}"),
            (&[(Text, "a"), (UrlEncode, "b=c d")], "a&b=c+d"),
            (&[], ""),
        ];
        for (pieces, expected) in table {
            assert_eq!(content(pieces), expected, "{pieces:?}");
        }
    }
}
