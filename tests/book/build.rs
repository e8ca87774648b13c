//! Makes a Rust file of each page of the book and of the README: a module for each Rust block.
//!
//! A block stands in its file at the lines that it has in its page, so a compile error names the page and the line:
//! `…/out/docs/how-to/limit-calls.md:31:9`.

use std::{
    env, fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

/// Begins a comment with the names that the next block uses and does not show. Neither the forge nor mdBook shows it.
const GIVEN: &str = "<!-- given:";

/// A block with one of these is a module as it stands. Any other is the body of an async function.
const OF_MODULES: [&str; 3] = ["fn main(", "#[test]", "#[tokio::test"];

fn main() -> io::Result<()> {
    let here = folder("CARGO_MANIFEST_DIR")?;
    let root = here.ancestors().nth(2).unwrap_or(&here);
    let out = folder("OUT_DIR")?;
    let mut pages = vec![root.join("README.md")];
    add_pages_below(&root.join("docs"), &mut pages)?;
    pages.sort();
    for read in ["README.md", "docs"] {
        println!("cargo:rerun-if-changed={}", root.join(read).display());
    }

    let (mut modules, mut count) = (String::new(), 0_usize);
    for page in pages {
        let name = page.strip_prefix(root).map_err(io::Error::other)?;
        let text = fs::read_to_string(&page)?;
        let lines: Vec<&str> = text.lines().collect();
        let blocks = Block::all(&lines).map_err(|Fault { line, what }| {
            let line = line.saturating_add(1);
            io::Error::other(format!("{}:{line}: {what}", name.display()))
        })?;
        if blocks.is_empty() {
            continue;
        }
        count = count.saturating_add(blocks.len());
        let file = out.join(name);
        fs::create_dir_all(file.parent().unwrap_or(&out))?;
        fs::write(&file, rust_of(&lines, &blocks))?;
        let module = name.display().to_string().to_lowercase();
        let module = module.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        modules.push_str(&format!("#[path = {file:?}]\nmod {module};\n"));
    }
    modules.push_str(&format!("const BLOCKS: usize = {count};\n"));
    fs::write(out.join("pages.rs"), modules)
}

/// Lines of a page, counted from 0.
struct Block {
    /// What is given, without the marks of its comment. Empty without one.
    given: Range<usize>,
    /// The code, between its fences.
    code: Range<usize>,
}

struct Fault {
    line: usize,
    what: String,
}

impl Block {
    fn all(lines: &[&str]) -> Result<Vec<Self>, Fault> {
        let mut blocks = Vec::new();
        let mut given = None;
        let mut at = 0;
        while let Some(line) = lines.get(at).map(|line| line.trim()) {
            let next = at.saturating_add(1);
            at = if line.starts_with(GIVEN) {
                let end = find(lines, at, |line| line.ends_with("-->"))?.saturating_add(1);
                given = Some(at..end);
                end
            } else if line.starts_with("```") {
                let language = line.trim_start_matches('`');
                let fence = line.strip_suffix(language).unwrap_or_default();
                let end = find(lines, next, |line| line == fence)?;
                if language == "rust" {
                    let given = given.take().unwrap_or(at..at);
                    blocks.push(Self { given, code: next..end });
                } else if language.starts_with("rust") {
                    let what = format!("`{line}`: every Rust block is compiled as it stands");
                    return Err(Fault { line: at, what });
                }
                end.saturating_add(1)
            } else {
                next
            };
            if let Some(given) = &given
                && given.end < at
                && !line.is_empty()
            {
                let what = "a Rust block has to follow what is given".to_owned();
                return Err(Fault { line: given.start, what });
            }
        }
        Ok(blocks)
    }
}

fn find(lines: &[&str], from: usize, is_end: impl Fn(&str) -> bool) -> Result<usize, Fault> {
    let found = lines.iter().enumerate().skip(from).find(|(_, line)| is_end(line.trim()));
    let fault = || Fault { line: from, what: "this has no end".to_owned() };
    found.map(|(at, _)| at).ok_or_else(fault)
}

/// The page with its code alone, each line in its place.
fn rust_of(lines: &[&str], blocks: &[Block]) -> String {
    let mut rust = vec![String::new(); lines.len()];
    let mut write = |at: usize, text: String| {
        if let Some(line) = rust.get_mut(at) {
            line.push_str(&text);
        }
    };
    for Block { given, code } in blocks {
        let code_of = |range: &Range<usize>| lines.get(range.clone()).unwrap_or_default();
        let is_module = code_of(code)
            .iter()
            .any(|line| OF_MODULES.iter().any(|mark| line.trim_start().contains(mark)));
        // The line of a fence, and of the mark of a comment, holds what the block stands in.
        let fence = code.start.saturating_sub(1);
        let number = code.start;
        write(given.start, format!("mod line_{number} {{ use crate::given; "));
        if !is_module {
            let returns = "Result<(), Box<dyn std::error::Error>>";
            write(given.start, format!("async fn block() -> {returns} {{ "));
        }
        for (at, line) in given.clone().zip(code_of(given)) {
            write(at, line.replace(GIVEN, "").replace("-->", ""));
        }
        if !is_module {
            write(fence, "let _ = { ".to_owned());
        }
        for (at, line) in code.clone().zip(code_of(code)) {
            write(at, (*line).to_owned());
        }
        write(code.end, if is_module { "}" } else { "}; Ok(()) }}" }.to_owned());
    }
    rust.join("\n")
}

fn add_pages_below(folder: &Path, pages: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            add_pages_below(&path, pages)?;
        } else if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

fn folder(variable: &str) -> io::Result<PathBuf> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| io::Error::other(variable))
}
