use std::io::{self, ErrorKind, Read};

use countersign::{KeyFile, PrivateKey, VerifyingKey};
use memchr::memmem;
use zeroize::Zeroizing;

use super::finding::{Finding, Form};
use crate::progress::Progress;

/// How much of a file is in memory, whatever the length of its lines.
const WINDOW: usize = 256 * 1024;
/// A key that begins before the last bytes of the window is whole in it.
const LONGEST: usize = 16 * 1024;
/// How many keys are told of a file. No file has so many.
const MOST: usize = 10_000;
/// How much of a file is looked at for the byte that no text has.
const SAMPLE: usize = 8 * 1024;

const PREFIX: &[u8] = b"sk_";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// The numbers of base58 digits in a private key: one for Ed25519, from 72 for HMAC secrets, by their length.
const ED25519_DIGITS: usize = 50;
const DIGITS: std::ops::RangeInclusive<usize> = ED25519_DIGITS..=116;

/// Finds private keys in a file, in memory of a fixed size.
pub(super) struct Finder {
    binary: bool,
    window: Zeroizing<Vec<u8>>,
    /// The place of the first byte of the window.
    line: u64,
    column: u64,
    findings: Vec<Finding>,
}

/// What a file has.
#[derive(Debug)]
pub(super) enum Content {
    Text(Vec<Finding>),
    Binary,
}

impl Finder {
    /// Makes a finder that reads binary files as well, or leaves them out.
    pub(super) fn new(binary: bool) -> Self {
        // Reserved at once, so that a growing buffer leaves no copy behind.
        let window = Zeroizing::new(Vec::with_capacity(WINDOW));
        Self { binary, window, line: 1, column: 1, findings: Vec::new() }
    }

    /// Reads a file to its end.
    pub(super) fn find(
        mut self,
        file: impl Read,
        progress: &mut Progress<'_>,
    ) -> io::Result<Content> {
        let mut source = Source::new(file);
        let mut is_first = true;
        loop {
            let is_last = source.fill(&mut self.window, progress)?;
            if is_first {
                is_first = false;
                let sample = self.window.get(..SAMPLE).unwrap_or(&self.window);
                if !self.binary && sample.contains(&0) {
                    return Ok(Content::Binary);
                }
            }
            let end = match is_last {
                true => self.window.len(),
                false => self.window.len().saturating_sub(LONGEST),
            };
            self.find_before(end);
            if is_last || self.findings.len() >= MOST {
                return Ok(Content::Text(self.findings));
            }
        }
    }

    /// Finds the keys that begin before a place in the window, and drops what is before it.
    fn find_before(&mut self, end: usize) {
        let mut window = std::mem::take(&mut self.window);
        let (text, pem) = (memmem::Finder::new(PREFIX), memmem::Finder::new(BEGIN));
        let next = |finder: &memmem::Finder<'_>, from: usize| {
            from.checked_add(finder.find(window.get(from..)?)?)
        };
        let (mut at_text, mut at_pem) = (next(&text, 0), next(&pem, 0));
        let mut counted = 0;
        while let Some(at) = at_text.into_iter().chain(at_pem).min().filter(|&at| at < end)
            && self.findings.len() < MOST
        {
            let (form, found) = if at_text == Some(at) {
                at_text = next(&text, at.saturating_add(PREFIX.len()));
                (Form::Text, key_of_text(window.get(at..).unwrap_or_default()))
            } else {
                at_pem = next(&pem, at.saturating_add(BEGIN.len()));
                // A block ends before the next one begins.
                let behind = at_pem.unwrap_or(window.len()).min(at.saturating_add(LONGEST));
                (
                    Form::Pem,
                    key_of_pem(window.get(at..behind.min(window.len())).unwrap_or_default()),
                )
            };
            // Keys that everybody knows are no secrets, and no registry takes them.
            if let Some(key) = found.filter(|key| key.require_secret().is_ok()) {
                self.count(window.get(counted..at).unwrap_or_default());
                counted = at;
                let (line, column) = (self.line, self.column);
                self.findings.push(Finding { line, column, form, key });
            }
        }
        self.count(window.get(counted..end).unwrap_or_default());
        let dropped = end.min(window.len());
        window.drain(..dropped);
        self.window = window;
    }

    /// Moves on behind these bytes.
    fn count(&mut self, bytes: &[u8]) {
        let mut last = None;
        for at in memchr::memchr_iter(b'\n', bytes) {
            self.line = self.line.saturating_add(1);
            last = Some(at);
        }
        let of_line = match last {
            Some(at) => {
                self.column = 1;
                bytes.get(at.saturating_add(1)..).unwrap_or_default()
            }
            None => bytes,
        };
        // Each character of UTF-8 has one byte that continues no other.
        let characters = of_line.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        self.column = self.column.saturating_add(u64::try_from(characters).unwrap_or(u64::MAX));
    }
}

/// Reads a private key in its text form at the beginning of these bytes. Its checksum decides.
fn key_of_text(bytes: &[u8]) -> Option<VerifyingKey> {
    let digits = bytes.get(PREFIX.len()..)?.iter();
    let digits =
        digits.take_while(|byte| byte.is_ascii_alphanumeric()).take(DIGITS.end().saturating_add(1));
    let length = digits.count();
    if length < ED25519_DIGITS {
        return None;
    }
    let key = |length: usize| {
        let text = bytes.get(..length.checked_add(PREFIX.len())?)?;
        std::str::from_utf8(text).ok()?.parse::<PrivateKey>().ok()
    };
    // What follows can be a letter as well, as where a key is pasted into a word.
    let key = key(length).or_else(|| key(ED25519_DIGITS))?;
    Some(key.verifying_key())
}

/// Reads a private key in a PEM block at the beginning of these bytes. Other keys than Ed25519, and encrypted ones, are left
/// out.
fn key_of_pem(bytes: &[u8]) -> Option<VerifyingKey> {
    let end = memmem::find(bytes, END)?;
    let label = bytes.get(BEGIN.len()..end)?;
    let label = label.get(..memmem::find(label, DASHES)?)?;
    if !label.ends_with(b"PRIVATE KEY") || label.contains(&b'\n') {
        return None;
    }
    let behind = end.checked_add(END.len())?;
    let length = memmem::find(bytes.get(behind..)?, DASHES)?;
    let block = bytes.get(..behind.checked_add(length)?.checked_add(DASHES.len())?)?;
    let parse = |block: &[u8]| match KeyFile::parse(block, None) {
        Ok(KeyFile::Private(key)) => Some(key.verifying_key()),
        _ => None,
    };
    parse(block).or_else(|| parse(&without_margin(block)?))
}

/// Removes the first character of all lines but the first, if it is the same in all: a diff has it.
fn without_margin(block: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut lines = block.split(|&byte| byte == b'\n');
    let mut plain = Zeroizing::new(Vec::with_capacity(block.len()));
    plain.extend_from_slice(lines.next()?);
    let mut margin = None;
    for line in lines {
        let (first, rest) = line.split_first()?;
        if *margin.get_or_insert(*first) != *first {
            return None;
        }
        plain.push(b'\n');
        plain.extend_from_slice(rest);
    }
    margin.is_some().then_some(plain)
}

/// The bytes of a file, in UTF-8 if they are in UTF-16.
struct Source<R> {
    file: R,
    encoding: Option<Encoding>,
    raw: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Encoding {
    Utf8,
    Utf16(fn([u8; 2]) -> u16),
}

impl<R: Read> Source<R> {
    fn new(file: R) -> Self {
        Self { file, encoding: None, raw: Zeroizing::new(Vec::with_capacity(WINDOW)) }
    }

    /// Fills the window, and returns whether the file ends there.
    fn fill(&mut self, window: &mut Vec<u8>, progress: &mut Progress<'_>) -> io::Result<bool> {
        let mut piece = Zeroizing::new(vec![0; 64 * 1024]);
        while let room @ 1.. = WINDOW.saturating_sub(window.len()) {
            let room = room.min(piece.len());
            let read = match self.file.read(piece.get_mut(..room).unwrap_or_default()) {
                Ok(0) => {
                    // Half a unit of UTF-16 is no character.
                    if !matches!(self.encoding, Some(Encoding::Utf16(_))) {
                        window.append(&mut self.raw);
                    }
                    return Ok(true);
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            progress.advance(read);
            self.raw.extend_from_slice(piece.get(..read).unwrap_or_default());
            self.decode(window);
        }
        Ok(false)
    }

    /// Moves what was read to the window. An odd byte of UTF-16 stays.
    fn decode(&mut self, window: &mut Vec<u8>) {
        let encoding = match (self.encoding, self.raw.as_slice()) {
            (Some(encoding), _) => encoding,
            (None, [_]) => return,
            (None, [0xff, 0xfe, ..]) => Encoding::Utf16(u16::from_le_bytes),
            (None, [0xfe, 0xff, ..]) => Encoding::Utf16(u16::from_be_bytes),
            (None, _) => Encoding::Utf8,
        };
        let is_first = self.encoding.replace(encoding).is_none();
        let Encoding::Utf16(unit) = encoding else {
            window.append(&mut self.raw);
            return;
        };
        if is_first {
            self.raw.drain(..2);
        }
        let (pairs, odd) = self.raw.as_chunks::<2>();
        // A key is ASCII; one byte stands for any other character.
        window.extend(pairs.iter().map(|&pair| match unit(pair) {
            ascii @ ..0x80 => ascii.to_le_bytes()[0],
            _ => b'?',
        }));
        let odd = odd.to_vec();
        self.raw.clear();
        self.raw.extend_from_slice(&odd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk_bFuYvMFyq9fgd3Bd2tzAUPDxwqKN8VZm1nnkkieQvP1z2JKmH8";

    fn private() -> PrivateKey {
        PrivateKey::ed25519(b"\x9a\x1c\x54\xf0\xbe\x7d\x28\x63\xe0\x7f\x1b\x93\xc5\xd8\xa6\x4e\xe2\x71\x0c\x9f\x5b\x38\x46\xad\xf1\x9e\x27\xc0\x8b\x5d\x6a\x34")
    }

    fn found(text: impl AsRef<[u8]>) -> Vec<(u64, u64)> {
        let content =
            Finder::new(false).find(text.as_ref(), &mut Progress::new("files", None)).unwrap();
        let Content::Text(findings) = content else { return vec![(0, 0)] };
        let expected = private().verifying_key();
        findings
            .iter()
            .map(|finding| {
                assert!(finding.key == expected, "{finding:?}");
                (finding.line, finding.column)
            })
            .collect()
    }

    /// Gives a byte at a time.
    struct Drip<'b>(&'b [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            self.0 = rest;
            buffer[0] = *first;
            Ok(1)
        }
    }

    #[test]
    fn a_key_is_found_whatever_stands_around_it_and_its_place_is_told() {
        let key = private().expose_text();
        let table = [
            ("{}", (1, 1)),
            ("{}\n", (1, 1)),
            ("\n\n  key: {}", (3, 8)),
            ("KEY=\"{}\"", (1, 6)),
            ("é鍵{}", (1, 3)),
            ("a\r\nb {}\r\n", (2, 3)),
            ("sk_ sk_1 {}", (1, 10)),
            ("acme_{}", (1, 6)),
            ("sk_{}", (1, 4)),
            ("ta{}", (1, 3)),
            ("{}x", (1, 1)),
            (r"\n{}\n", (1, 3)),
            ("%20{}%20", (1, 4)),
        ];
        for (around, place) in table {
            assert_eq!(found(around.replace("{}", &key)), [place], "{around}");
        }
        let twice = format!("{} {}\n{}", *key, *key, *key);
        assert_eq!(found(twice), [(1, 1), (1, 2 + key.len() as u64), (2, 1)]);
    }

    #[test]
    fn what_is_no_key_or_no_secret_is_left_out() {
        let key = private().expose_text();
        let mistyped = key.replacen('1', "2", 1);
        assert_ne!(*key, mistyped);
        for text in [
            "",
            "sk_",
            "sk_live_51H8a9b0c1d2e3f4",
            &mistyped,
            &key[..key.len() - 1],
            &key.replace("sk_", "pk_"),
            &key.replace("sk_", "SK_"),
            &private().publishable_key().to_string(),
            KEY, // the one that everybody has from the documents
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "-----END PRIVATE KEY-----",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn hmac_secrets_of_every_length_are_found() {
        let random = b"\x9a\x1c\x54\xf0\xbe\x7d\x28\x63\xe0\x7f\x1b\x93\xc5\xd8\xa6\x4e\xe2\x71\x0c\x9f\x5b\x38\x46\xad\xf1\x9e\x27\xc0\x8b\x5d\x6a\x34\
                       \x1b\x93\xc5\xd9\xa6\x4f\xe2\x7a\x0c\x9f\x5c\x38\x41\xad\xf2\x9e\x28\xc0\x8b\x5e\x6a\x3a\x9b\x1c\x54\xf1\xbe\x7e\x28\x64\xe0\x7a";
        for length in 32..=64 {
            for id in [[0; 16], [0xff; 16]] {
                let key = PrivateKey::hmac_sha256(id, &random[..length]).unwrap();
                let text = key.expose_text();
                assert!(DIGITS.contains(&(text.len() - PREFIX.len())), "{length}");
                let text = format!("a\n {}.", *text);
                let content = Finder::new(false)
                    .find(text.as_bytes(), &mut Progress::new("files", None))
                    .unwrap();
                let Content::Text(findings) = content else { panic!("{content:?}") };
                let [finding] = findings.as_slice() else { panic!("{length}: {findings:?}") };
                assert_eq!((finding.line, finding.column), (2, 2));
                assert!(finding.key == key.verifying_key());
            }
        }
        assert_eq!(private().expose_text().len(), PREFIX.len() + ED25519_DIGITS);
    }

    #[test]
    fn a_key_in_a_pem_block_is_found_also_in_json_and_in_a_diff() {
        let pem = private().expose_pkcs8_pem().unwrap();
        assert_eq!(found(&*pem), [(1, 1)]);
        assert_eq!(found(format!("text\n  {}", pem.as_str())), [(2, 3)]);
        assert_eq!(found(format!("{{\"key\":\"{}\"}}", pem.replace('\n', "\\n"))), [(1, 9)]);
        let diff: String = pem.lines().map(|line| format!("+{line}\n")).collect();
        assert_eq!(found(format!("@@ -0,0 +1,3 @@\n{diff}")), [(2, 2)]);
        assert_eq!(found(pem.replace("PRIVATE", "PUBLIC")), []);
        assert_eq!(found(&pem.as_bytes()[..60]), []);
    }

    #[test]
    fn a_key_is_found_at_every_place_of_long_lines_and_large_files() {
        let (key, pem) = (private().expose_text(), private().expose_pkcs8_pem().unwrap());
        for at in
            [0, 1, WINDOW - LONGEST - 60, WINDOW - LONGEST, WINDOW - 30, WINDOW, 5 * WINDOW + 7]
        {
            for shift in [0, 1, 20, 52, 53, 100] {
                for text in [&*key, &*pem] {
                    let before = "x".repeat(at + shift) + " ";
                    let column = before.len() as u64 + 1;
                    assert_eq!(
                        found(format!("{before}{text} {}", "y".repeat(WINDOW))),
                        [(1, column)]
                    );
                    let before = "é\n".repeat((at + shift) / 3);
                    let line = (at + shift) as u64 / 3 + 1;
                    assert_eq!(found(format!("{before}{text}")), [(line, 1)], "{at} {shift}");
                }
            }
        }
    }

    #[test]
    fn utf_16_is_read_and_binary_files_only_if_asked() {
        let text = format!("é\nkey: {}\n", *private().expose_text());
        let le: Vec<u8> =
            format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> =
            format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [&le, &be, &[&le[..], b"\0"].concat()] {
            assert_eq!(found(bytes), [(2, 6)]);
        }
        let binary = format!("\0\n{text}");
        assert_eq!(found(&binary), [(0, 0)]);
        let content =
            Finder::new(true).find(binary.as_bytes(), &mut Progress::new("files", None)).unwrap();
        assert!(matches!(content, Content::Text(findings) if findings.len() == 1));
        for bytes in [text.as_bytes(), &le] {
            let content =
                Finder::new(false).find(Drip(bytes), &mut Progress::new("files", None)).unwrap();
            let Content::Text(findings) = content else { panic!("{content:?}") };
            assert_eq!((findings[0].line, findings[0].column), (2, 6));
        }
    }

    #[test]
    fn many_beginnings_take_no_time() {
        let started = std::time::Instant::now();
        for text in [
            "sk_".repeat(700_000),
            "sk_bFuYvMFyq9fgd3Bd2tzAUPDxwqKN8VZm1nnkkieQvP1z2JKmHz".repeat(40_000),
            "-----BEGIN PRIVATE KEY-----".repeat(80_000),
        ] {
            assert_eq!(found(text), []);
        }
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    }
}
