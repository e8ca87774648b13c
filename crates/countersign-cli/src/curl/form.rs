use crate::{
    failure::Failure,
    input::{Open, Push},
};

/// A form flag of curl. Fields keep the order of the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The flag as the user wrote it, for errors.
    pub(super) flag: String,
    pub(super) text: String,
    /// Whether the whole text after the `=` is the value, as with `--form-string`.
    pub(super) literal: bool,
}

/// A `multipart/form-data` form (RFC 7578), byte for byte as curl writes it.
#[derive(Debug)]
pub(super) struct Form {
    parts: Vec<Part>,
    /// Set by `--form-escape`: quotation marks in names get a backslash, and are not percent-encoded.
    backslashes: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: String,
    value: PartValue,
}

#[derive(Debug, PartialEq, Eq)]
enum PartValue {
    Single(Leaf),
    /// `@a,b`: several files in one field.
    Files(Vec<Leaf>),
}

#[derive(Debug, PartialEq, Eq)]
struct Leaf {
    source: Source,
    content_type: Option<String>,
    file_name: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Text(String),
    File(String),
}

/// The value after a field's `=`, split at its separators.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cut {
    data: String,
    content_type: Option<String>,
    file_name: Option<String>,
}

impl Form {
    pub(super) fn parse(fields: &[Field], backslashes: bool) -> Result<Self, Failure> {
        let parts = fields.iter().map(Part::parse).collect::<Result<_, _>>()?;
        Ok(Self { parts, backslashes })
    }

    /// Writes the content. Makes another boundary with `boundary` for each list of files.
    pub(super) fn write(
        &self,
        boundary: &str,
        more: &mut dyn FnMut() -> Result<String, Failure>,
        open: Open<'_>,
        push: Push<'_>,
    ) -> Result<(), Failure> {
        for part in &self.parts {
            let name = format!("; name=\"{}\"", self.escape(&part.name));
            push(format!("--{boundary}\r\nContent-Disposition: form-data{name}").as_bytes())?;
            match &part.value {
                PartValue::Single(leaf) => self.write_leaf(leaf, &mut *open, &mut *push)?,
                PartValue::Files(files) => {
                    let inner = more()?;
                    let kind =
                        format!("\r\nContent-Type: multipart/mixed; boundary={inner}\r\n\r\n");
                    push(kind.as_bytes())?;
                    for file in files {
                        push(format!("--{inner}\r\nContent-Disposition: attachment").as_bytes())?;
                        self.write_leaf(file, &mut *open, &mut *push)?;
                    }
                    push(format!("--{inner}--\r\n\r\n").as_bytes())?;
                }
            }
        }
        push(format!("--{boundary}--\r\n").as_bytes())
    }

    /// Writes the rest of the head of a part, and its content.
    fn write_leaf(&self, leaf: &Leaf, open: Open<'_>, push: Push<'_>) -> Result<(), Failure> {
        if let Some(name) = &leaf.file_name {
            push(format!("; filename=\"{}\"", self.escape(name)).as_bytes())?;
        }
        if let Some(kind) = leaf.content_type() {
            push(format!("\r\nContent-Type: {kind}").as_bytes())?;
        }
        push(b"\r\n\r\n")?;
        match &leaf.source {
            Source::Text(text) => push(text.as_bytes())?,
            Source::File(file) => open(file)?.read(&mut *push)?,
        }
        push(b"\r\n")
    }

    fn escape(&self, name: &str) -> String {
        if self.backslashes {
            return name.replace('\\', r"\\").replace('"', r#"\""#);
        }
        name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
    }
}

impl Part {
    fn parse(field: &Field) -> Result<Self, Failure> {
        let Field { flag, text, literal } = field;
        let Some((name, value)) = text.split_once('=') else {
            return Err(Failure::local(
                format!("the value of {flag} is not a field of a form"),
                "write it as NAME=VALUE, NAME=@FILE or NAME=<FILE",
            ));
        };
        if name.is_empty() {
            return Err(cannot(flag, "a field without a name", "give it a name: NAME=VALUE"));
        }
        let plain = |text: &str| Leaf {
            source: Source::Text(text.to_owned()),
            content_type: None,
            file_name: None,
        };
        let value = match value.chars().next() {
            _ if *literal => PartValue::Single(plain(value)),
            Some('(') => {
                return Err(cannot(
                    flag,
                    "a multipart part inside the form",
                    "write the multipart body to a file, and send it with --data-binary @FILE and its Content-Type; \
                     or, if the value begins with a parenthesis, give it with --form-string",
                ));
            }
            Some('@') => {
                let mut rest = value.strip_prefix('@').unwrap_or(value);
                let mut files = Vec::new();
                loop {
                    let (cut, behind) = Cut::read(flag, rest, Some(','))?;
                    files.push(cut.into_file());
                    match behind {
                        Some(behind) => rest = behind,
                        None => break,
                    }
                }
                match files.pop() {
                    Some(one) if files.is_empty() => PartValue::Single(one),
                    last => PartValue::Files(files.into_iter().chain(last).collect()),
                }
            }
            Some('<') => {
                let value = value.strip_prefix('<').unwrap_or(value);
                let (cut, _) = Cut::read(flag, value, None)?;
                if cut.file_name.is_some() {
                    return Err(cannot(
                        flag,
                        "`filename=` of a file that is read with <",
                        "write NAME=@FILE;filename=…",
                    ));
                }
                PartValue::Single(Leaf {
                    source: Source::File(cut.data),
                    content_type: cut.content_type,
                    file_name: None,
                })
            }
            _ => {
                let (cut, _) = Cut::read(flag, value, None)?;
                PartValue::Single(Leaf {
                    source: Source::Text(cut.data),
                    content_type: cut.content_type,
                    file_name: cut.file_name,
                })
            }
        };
        Ok(Self { name: name.to_owned(), value })
    }
}

impl Cut {
    /// Returns a file with its own name, unless another name is given.
    fn into_file(self) -> Leaf {
        let own = self.data.rsplit('/').next().unwrap_or(&self.data);
        let file_name = self.file_name.unwrap_or_else(|| own.to_owned());
        Leaf {
            source: Source::File(self.data),
            content_type: self.content_type,
            file_name: Some(file_name),
        }
    }

    /// Reads a value with its `;type=` and `;filename=`, up to `end`, and returns the rest.
    fn read<'t>(
        flag: &str,
        text: &'t str,
        end: Option<char>,
    ) -> Result<(Self, Option<&'t str>), Failure> {
        let (data, mut rest) = word(text, end);
        let mut cut = Self { data, ..Self::default() };
        // A type continues over parameters that curl does not know: `type=text/plain;charset=utf-8`.
        let mut in_type = false;
        while let Some(behind) = rest.strip_prefix(';') {
            let parameter = behind.trim_start_matches(is_space);
            if let Some(value) = behind_prefix(parameter, "type=").filter(|_| !in_type) {
                let (kind, after) = until(value.trim_start_matches(is_space), end);
                if !is_content_type(kind) {
                    return Err(Failure::local(
                        format!("`type=` in the value of {flag} is not a media type"),
                        "write it like type=text/plain",
                    ));
                }
                cut.content_type = Some(kind.to_owned());
                (in_type, rest) = (true, after);
            } else if let Some(value) = behind_prefix(parameter, "filename=") {
                let (name, after) = word(value, end);
                cut.file_name = Some(name);
                (in_type, rest) = (false, after);
            } else if let Some(name) = ["headers=", "encoder="]
                .into_iter()
                .find(|name| behind_prefix(parameter, name).is_some())
            {
                return Err(cannot(
                    flag,
                    &format!("`{name}`"),
                    "leave it out, or write the multipart body to a file and send it with --data-binary @FILE and its Content-Type",
                ));
            } else if let (true, Some(kind)) = (in_type, &mut cut.content_type) {
                let (more, after) = until(parameter, end);
                kind.push(';');
                // Unchanged, with its spaces.
                kind.push_str(
                    behind.get(..behind.len().saturating_sub(parameter.len())).unwrap_or_default(),
                );
                kind.push_str(more);
                rest = after;
            } else {
                let (unknown, after) = word(parameter, end);
                if !unknown.is_empty() {
                    return Err(cannot(
                        flag,
                        "a `;` in the value, and curl drops unknown text after it",
                        "give a value with a semicolon as NAME=\"…\" in quotation marks, or with --form-string",
                    ));
                }
                rest = after;
            }
        }
        let behind = end.and_then(|end| rest.strip_prefix(end));
        Ok((cut, behind))
    }
}

impl Leaf {
    /// Returns the given type, or the type that curl derives from the file's name.
    fn content_type(&self) -> Option<&str> {
        if let Some(given) = &self.content_type {
            return Some(given);
        }
        let by_name = self.file_name.as_deref().and_then(type_of);
        match &self.source {
            Source::File(file) if file == "-" => by_name,
            Source::File(file) => {
                let guessed = by_name.or_else(|| type_of(file));
                let guessed =
                    guessed.or(self.file_name.as_ref().map(|_| "application/octet-stream"));
                guessed.filter(|kind| self.file_name.is_some() || *kind != "text/plain")
            }
            Source::Text(_) => by_name,
        }
    }
}

/// Returns the type of a file by curl's own table of name endings.
fn type_of(name: &str) -> Option<&'static str> {
    const TYPES: [(&str, &str); 10] = [
        (".gif", "image/gif"),
        (".jpg", "image/jpeg"),
        (".jpeg", "image/jpeg"),
        (".png", "image/png"),
        (".svg", "image/svg+xml"),
        (".txt", "text/plain"),
        (".htm", "text/html"),
        (".html", "text/html"),
        (".pdf", "application/pdf"),
        (".xml", "application/xml"),
    ];
    let name = name.to_ascii_lowercase();
    TYPES.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, kind)| kind)
}

/// Whether a text is `major/minor`, without a line break, which would begin another header.
fn is_content_type(kind: &str) -> bool {
    let Some((major, minor)) = kind.split_once('/') else { return false };
    !major.is_empty()
        && !major.contains(' ')
        && !minor.is_empty()
        && kind.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

/// Strips a prefix, in upper or lower case.
fn behind_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Reads a word in quotation marks, or up to a separator.
fn word(text: &str, end: Option<char>) -> (String, &str) {
    let text = text.trim_start_matches(is_space);
    if let Some(quoted) = text.strip_prefix('"') {
        let mut word = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    let behind = quoted.get(at.saturating_add(1)..).unwrap_or_default();
                    return (word, until(behind, end).1);
                }
                '\\' => {
                    match quoted.get(at.saturating_add(1)..).and_then(|rest| rest.chars().next()) {
                        Some(escaped @ ('\\' | '"')) => {
                            word.push(escaped);
                            characters.next();
                        }
                        _ => word.push('\\'),
                    }
                }
                other => word.push(other),
            }
        }
        // Without a closing quotation mark it is an ordinary word.
    }
    let (word, behind) = until(text, end);
    (word.to_owned(), behind)
}

/// Splits a text at the next separator, with which the second part begins. Trims the space before the separator.
fn until(text: &str, end: Option<char>) -> (&str, &str) {
    let at = text.find(|one| one == ';' || Some(one) == end).unwrap_or(text.len());
    let (before, behind) = text.split_at_checked(at).unwrap_or((text, ""));
    (before.trim_end_matches(is_space), behind)
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}

fn cannot(flag: &str, what: &str, instead: &str) -> Failure {
    Failure::local(format!("{flag} cannot be signed with {what}"), instead)
}
