use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::HeaderValue;

use crate::{error::Error, pieces::Piece};

/// A form of `multipart/form-data` (RFC 7578), as browsers send it. Its files are read while they are sent.
///
/// ```
/// # fn form(client: &countersign_client::Client) -> countersign_client::RequestBuilder {
/// use countersign_client::Form;
///
/// let form = Form::new().text("title", "Orders of May").file("sheet", "orders.csv");
/// client.post("https://api.example.com/v1/imports").multipart(form)
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a form is sent by `RequestBuilder::multipart`"]
pub struct Form {
    parts: Vec<(String, Part)>,
}

/// A part of a [`Form`].
#[derive(Clone, Debug)]
#[must_use = "a part is added by `Form::part`"]
pub struct Part {
    file_name: Option<String>,
    content_type: Option<HeaderValue>,
    content: Piece,
}

impl Form {
    /// An empty form.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field of text.
    pub fn text(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.part(name, Part::bytes(value.into().into_bytes()))
    }

    /// Adds a file from the disk, as `application/octet-stream`, under its own name.
    pub fn file(self, name: impl Into<String>, path: impl AsRef<Path>) -> Self {
        self.part(name, Part::file(path))
    }

    /// Adds a part.
    pub fn part(mut self, name: impl Into<String>, part: Part) -> Self {
        self.parts.push((name.into(), part));
        self
    }

    /// The content type, and the content.
    pub(crate) fn into_pieces(self) -> Result<(String, Vec<Piece>), Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(Error::Random)?;
        let boundary = format!("{:032x}", u128::from_le_bytes(random));
        let mut pieces = Vec::with_capacity(self.parts.len().saturating_mul(3).saturating_add(1));
        for (name, Part { file_name, content_type, content }) in self.parts {
            let mut head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
                escaped(&name)
            );
            if let Some(file_name) = file_name {
                head.push_str(&format!("; filename=\"{}\"", escaped(&file_name)));
            }
            let mut head = head.into_bytes();
            if let Some(content_type) = content_type {
                head.extend_from_slice(b"\r\nContent-Type: ");
                head.extend_from_slice(content_type.as_bytes());
            }
            head.extend_from_slice(b"\r\n\r\n");
            pieces.push(Piece::Bytes(head.into()));
            pieces.push(content);
            pieces.push(Piece::Bytes(Bytes::from_static(b"\r\n")));
        }
        pieces.push(Piece::Bytes(format!("--{boundary}--\r\n").into()));
        Ok((format!("multipart/form-data; boundary={boundary}"), pieces))
    }
}

impl Part {
    /// A part in memory.
    pub fn bytes(content: impl Into<Bytes>) -> Self {
        Self { file_name: None, content_type: None, content: Piece::Bytes(content.into()) }
    }

    /// A file from the disk, as `application/octet-stream`, under its own name.
    pub fn file(path: impl AsRef<Path>) -> Self {
        let path: PathBuf = path.as_ref().to_owned();
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let content_type = Some(HeaderValue::from_static("application/octet-stream"));
        Self { file_name, content_type, content: Piece::File(path) }
    }

    /// The name of the file that the server is told.
    pub fn file_name(mut self, file_name: impl Into<String>) -> Self {
        self.file_name = Some(file_name.into());
        self
    }

    /// The type of the content.
    pub fn content_type(mut self, content_type: HeaderValue) -> Self {
        self.content_type = Some(content_type);
        self
    }
}

/// The value of a parameter, as browsers write it (HTML, "Multipart form data").
fn escaped(value: &str) -> String {
    value.replace('\r', "%0D").replace('\n', "%0A").replace('"', "%22")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_and_no_file_name_ends_its_quotes() {
        let part = Part::bytes("text").file_name("a\"\r\nX-Injected: 1");
        let (content_type, pieces) = Form::new().part("na\"me", part).into_pieces().unwrap();
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        let mut content = Vec::new();
        for piece in &pieces {
            match piece {
                Piece::Bytes(bytes) => content.extend_from_slice(bytes),
                Piece::File(path) => panic!("{path:?}"),
            }
        }
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"na%22me\"; filename=\"a%22%0D%0AX-Injected: 1\"\r\n\r\ntext\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(content).unwrap(), expected);
    }
}
