use std::collections::{BTreeMap, BTreeSet};

use super::Module;

/// What the text of a file says about modules, imports and names.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// What it imports, and the paths in its code that begin with `crate`, `super` or `self`; each with the module where it stands.
    pub(super) paths: Vec<(Module, Vec<String>)>,
    /// What its `pub use` hands on, by the name that it has then.
    pub(super) exports: BTreeMap<String, Vec<String>>,
    /// The modules of which all names are handed on.
    pub(super) globs: Vec<Vec<String>>,
    /// The names of its items.
    pub(super) defines: BTreeSet<String>,
    /// The modules that have files of their own.
    pub(super) declared: Vec<Declared>,
}

#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    /// The module that declares it.
    pub(super) inside: Module,
    /// What `#[path]` says.
    pub(super) file: Option<String>,
}

impl Source {
    /// Reads the text of a module's file.
    pub(super) fn read(text: &str, module: &Module) -> Self {
        let tokens = tokens(text);
        let mut reader = Reader { tokens: &tokens, source: Self::default() };
        reader.read(module);
        reader.source
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// An identifier, keyword or number.
    Word(String),
    /// A string.
    Text(String),
    /// `::`
    Separator,
    Punct(char),
}

impl Token {
    fn is(&self, punct: char) -> bool {
        *self == Self::Punct(punct)
    }

    fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }
}

struct Reader<'t> {
    tokens: &'t [Token],
    source: Source,
}

impl<'t> Reader<'t> {
    fn read(&mut self, module: &Module) {
        let mut inside = module.clone();
        // The depths at which modules that are written out in this file end.
        let mut ends = Vec::new();
        let mut depth = 0_usize;
        let mut is_public = false;
        let mut file = None;
        while let Some(token) = self.next() {
            let was_public = std::mem::take(&mut is_public);
            match token {
                Token::Punct('#') => {
                    self.eat('!');
                    let attribute = self.group();
                    if is_of_tests(attribute) {
                        self.skip_item();
                    } else if let [Token::Word(name), Token::Punct('='), Token::Text(path)] =
                        attribute
                        && name == "path"
                    {
                        file = Some(path.clone());
                    }
                }
                Token::Punct('{') => depth += 1,
                Token::Punct('}') => {
                    if ends.last() == Some(&depth) {
                        ends.pop();
                        inside.pop();
                    }
                    depth = depth.saturating_sub(1);
                }
                Token::Word(word) => match word.as_str() {
                    "pub" => {
                        if self.tokens.first().is_some_and(|next| next.is('(')) {
                            self.group();
                        }
                        is_public = true;
                    }
                    // Not the `use<…>` of a type.
                    "use" if !self.tokens.first().is_some_and(|next| next.is('<')) => {
                        self.declaration(&inside, was_public);
                    }
                    "mod" => {
                        let Some(Token::Word(name)) = self.next() else { continue };
                        self.source.defines.insert(name.clone());
                        if self.tokens.first().is_some_and(|next| next.is('{')) {
                            ends.push(depth + 1);
                            inside.push(name.clone());
                        } else {
                            let (name, inside) = (name.clone(), inside.clone());
                            self.source.declared.push(Declared { name, inside, file: file.take() });
                        }
                    }
                    "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static" => {
                        if let Some(Token::Word(name)) = self.tokens.first() {
                            self.source.defines.insert(name.clone());
                        }
                    }
                    "crate" | "super" | "self" => {
                        let mut path = vec![word.clone()];
                        while let [Token::Separator, Token::Word(next), ..] = self.tokens {
                            path.push(next.clone());
                            self.tokens = &self.tokens[2..];
                        }
                        if path.len() > 1 {
                            self.source.paths.push((inside.clone(), path));
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Option<&'t Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn eat(&mut self, punct: char) -> bool {
        let found = self.tokens.first().is_some_and(|next| next.is(punct));
        if found {
            self.next();
        }
        found
    }

    /// What stands between a bracket of any kind, which comes next, and the one that closes it.
    fn group(&mut self) -> &'t [Token] {
        let all = self.tokens;
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            match token {
                Token::Punct('(' | '[' | '{') => depth += 1,
                Token::Punct(')' | ']' | '}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        let read = all.len() - self.tokens.len();
        all.get(1..read.saturating_sub(1)).unwrap_or_default()
    }

    /// Passes over the item, field or statement that comes next, with its attributes.
    fn skip_item(&mut self) {
        while self.eat('#') {
            self.group();
        }
        let mut has_body = false;
        while let Some(token) = self.tokens.first() {
            match token {
                Token::Punct('{') => {
                    self.group();
                    if has_body {
                        return;
                    }
                    continue;
                }
                Token::Punct('(' | '[') => {
                    self.group();
                    continue;
                }
                // The end of what it is part of.
                Token::Punct(')' | ']' | '}') => return,
                Token::Punct(';') => {
                    self.next();
                    return;
                }
                Token::Punct(',') if !has_body => {
                    self.next();
                    return;
                }
                Token::Word(word) => {
                    let items = ["fn", "struct", "enum", "union", "trait", "impl", "mod"];
                    has_body |= items.contains(&word.as_str()) || word == "macro_rules";
                }
                _ => {}
            }
            self.next();
        }
    }

    /// What comes behind `use`.
    fn declaration(&mut self, inside: &Module, is_public: bool) {
        let mut leaves = Vec::new();
        self.tree(&[], &mut leaves);
        for Leaf { path, name } in leaves {
            let is_ours =
                matches!(path.first().map(String::as_str), Some("crate" | "super" | "self"));
            match name {
                None if is_public => self.source.globs.push(path),
                Some(name) if is_public => {
                    self.source.exports.insert(name, path);
                }
                None | Some(_) if is_ours => self.source.paths.push((inside.clone(), path)),
                None | Some(_) => {}
            }
        }
    }

    /// One part of a declaration, up to the comma, bracket or semicolon behind it.
    fn tree(&mut self, before: &[String], leaves: &mut Vec<Leaf>) {
        let mut path = before.to_vec();
        let mut name = None;
        while let Some(token) = self.tokens.first() {
            match token {
                Token::Punct('{') => {
                    self.next();
                    while !self.eat('}') {
                        let before = self.tokens.len();
                        self.tree(&path, leaves);
                        self.eat(',');
                        // What is no part of a declaration is passed over.
                        if self.tokens.len() == before && self.next().is_none() {
                            return;
                        }
                    }
                    return;
                }
                Token::Punct('*') => {
                    self.next();
                    leaves.push(Leaf { path, name: None });
                    return;
                }
                Token::Word(word) if word == "as" => {
                    self.next();
                    name = self.next().and_then(Token::word);
                }
                // `a::{self}` is `a`.
                Token::Word(word) if word == "self" && !path.is_empty() => {
                    self.next();
                }
                Token::Word(word) => {
                    path.push(word.clone());
                    self.next();
                }
                Token::Separator => {
                    self.next();
                }
                _ => break,
            }
        }
        let name = name.or(path.last().map(String::as_str)).map(str::to_owned);
        if path.len() > before.len() || name.is_some() {
            leaves.push(Leaf { path, name });
        }
    }
}

/// A name that a declaration brings, or all names of a module.
struct Leaf {
    path: Vec<String>,
    name: Option<String>,
}

/// Whether an attribute is `cfg(test)`, or a `cfg` that also asks for that.
fn is_of_tests(attribute: &[Token]) -> bool {
    let words: Vec<_> = attribute.iter().filter_map(Token::word).collect();
    words.first() == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not")
}

/// The tokens of a text, without comments.
fn tokens(text: &str) -> Vec<Token> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            ':' if rest.starts_with("::") => {
                tokens.push(Token::Separator);
                2
            }
            '"' => {
                let length = string(rest);
                let inner = rest.get(1..length.saturating_sub(1)).unwrap_or_default();
                tokens.push(Token::Text(inner.to_owned()));
                length
            }
            '\'' => character(rest),
            'r' | 'b' | 'c' if raw_string(rest).is_some() => {
                let length = raw_string(rest).unwrap_or(1);
                tokens.push(Token::Text(String::new()));
                length
            }
            // `r#type` is the name `type`.
            'r' if rest.strip_prefix("r#").is_some_and(|rest| rest.starts_with(is_part)) => 2,
            _ if first.is_alphanumeric() || first == '_' => {
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                let word = rest.get(..length).unwrap_or_default();
                tokens.push(Token::Word(word.to_owned()));
                length
            }
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                tokens.push(Token::Punct(first));
                first.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        if rest.is_empty() {
            break;
        }
        at += match rest {
            _ if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("*/") => {
                depth = depth.saturating_sub(1);
                2
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string, with its quotes.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a string that begins with `r`, as `r#"…"#` or `br"…"`. Other strings with a letter are read as a word and a string.
fn raw_string(text: &str) -> Option<usize> {
    let letters = ["r", "br", "cr"].into_iter().find(|letters| {
        let rest = text.strip_prefix(letters);
        rest.is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let rest = text.strip_prefix(letters)?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let begin = letters.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    let found = text.get(begin..)?.find(&end);
    Some(found.map_or(text.len(), |found| begin + found + end.len()))
}

/// The length of a character, or of the quote of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, c))) => {
            let behind = at + c.len_utf8();
            let rest = text.get(behind..).unwrap_or_default();
            rest.find('\'').map_or(text.len(), |quote| behind + quote + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}
