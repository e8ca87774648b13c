use std::io::Read;

use crate::failure::Failure;

/// One piece of content, as one of curl's data flags gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) kind: DataKind,
    pub(crate) text: String,
}

/// Which of curl's data flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataKind {
    /// `-d`, `--data`, `--data-ascii`: text, or `@FILE` without its line breaks.
    Text,
    /// `--data-raw`: text, also with an `@`.
    Raw,
    /// `--data-binary`: text, or `@FILE` as it is.
    Binary,
    /// `--data-urlencode`: `text`, `=text`, `name=text`, `@FILE`, `name@FILE`.
    UrlEncode,
    /// `--json`: as binary, and no `&` before it.
    Json,
}

/// Where the files of `@FILE` come from.
pub(crate) type Open<'f> = &'f mut dyn FnMut(&str) -> Result<Vec<u8>, Failure>;

impl Data {
    fn bytes(&self, open: Open<'_>) -> Result<Vec<u8>, Failure> {
        let file = self.text.strip_prefix('@');
        match (self.kind, file) {
            (DataKind::Text, Some(file)) => {
                // As curl does, which drops NUL bytes with the line breaks.
                let kept = |byte: &u8| !matches!(byte, b'\r' | b'\n' | b'\0');
                Ok(open(file)?.into_iter().filter(kept).collect())
            }
            (DataKind::Binary | DataKind::Json, Some(file)) => open(file),
            (DataKind::UrlEncode, _) => url_encoded(&self.text, open).map(String::into_bytes),
            (DataKind::Text | DataKind::Binary | DataKind::Json | DataKind::Raw, _) => {
                Ok(self.text.clone().into_bytes())
            }
        }
    }
}

/// The pieces as one, the way curl joins them.
pub(crate) fn join(pieces: &[Data], open: Open<'_>) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 && piece.kind != DataKind::Json {
            content.push(b'&');
        }
        content.append(&mut piece.bytes(open)?);
    }
    Ok(content)
}

/// curl's rule for `--data-urlencode`: an `=` before any `@` decides.
pub(crate) fn url_encoded(text: &str, open: Open<'_>) -> Result<String, Failure> {
    let (name, content) = if let Some((name, content)) = text.split_once('=') {
        (name, content.as_bytes().to_vec())
    } else if let Some((name, file)) = text.split_once('@') {
        (name, open(file)?)
    } else {
        ("", text.as_bytes().to_vec())
    };
    let mut encoded = String::new();
    if !name.is_empty() {
        encoded.push_str(name);
        encoded.push('=');
    }
    encoded.push_str(&percent_encoded(&content).replace("%20", "+"));
    Ok(encoded)
}

/// Everything but RFC 3986's unreserved characters.
pub(crate) fn percent_encoded(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The files that arguments name; one of them may be stdin, which can be read once.
#[derive(Debug)]
pub(crate) struct Files {
    stdin: Stdin,
    /// How text that begins with an `@` is given.
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

    /// Reads a file, or stdin for `-`.
    pub(crate) fn open(&mut self, file: &str) -> Result<Vec<u8>, Failure> {
        if is_stdin(file) {
            if self.stdin == Stdin::IsTheKey {
                return Err(Failure::local(
                    "key and content cannot both be stdin",
                    "name a file for one of them",
                ));
            }
            self.stdin = Stdin::Read;
        }
        let mut content = Vec::new();
        let read = match file {
            "-" => std::io::stdin().lock().read_to_end(&mut content).map(|_| ()),
            file => std::fs::read(file).map(|bytes| content = bytes),
        };
        match read {
            Ok(()) => Ok(content),
            Err(error) => Err(Failure::local(
                format!("cannot read `{file}`: {error}"),
                format!("name a file that exists and is yours to read; {}", self.as_text),
            )),
        }
    }

    pub(crate) fn stdin_is_free(&self) -> bool {
        self.stdin == Stdin::Free
    }
}

/// Whether this names the stdin of this process.
pub(crate) fn is_stdin(file: &str) -> bool {
    matches!(file, "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(pieces: &[(DataKind, &str)]) -> String {
        let pieces: Vec<Data> =
            pieces.iter().map(|&(kind, text)| Data { kind, text: text.to_owned() }).collect();
        let mut open = |file: &str| match file {
            "lines" => Ok(b"a b\r\nc\n\0d\n".to_vec()),
            _ => Err(Failure::local("no such file", "")),
        };
        let content = join(&pieces, &mut open);
        content.map_or_else(|_| "(refused)".into(), |content| String::from_utf8(content).unwrap())
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
