//! The shell transcripts of the book, run as a reader types them: in an empty folder, line by line, in one shell.
//!
//! In a page, ` ```console ` begins a transcript. A line `$ COMMAND` is a command, lines `> MORE` continue it, `? CODE` is its exit code
//! if that is not 0, and the other lines are its output. `[..]` stands for any text in a line, and a line `...` for any lines. Ports such as
//! 8080 are replaced by free ports. A command that ends in `&` has started when its port accepts connections. `<!-- until -->` before a
//! transcript repeats each of its commands until the output is right: for changes that servers notice within a second. The block after
//! `<!-- file: NAME -->` is written to the file NAME.

#![cfg(unix)]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The pages with transcripts, each with the page that its reader has followed before.
const PAGES: [(&str, Option<&str>); 11] = [
    ("tutorial/quickstart.md", None),
    ("tutorial/curl.md", Some("tutorial/quickstart.md")),
    ("how-to/find-leaked-keys.md", Some("tutorial/quickstart.md")),
    ("how-to/health-checks.md", None),
    ("how-to/limit-calls.md", None),
    ("how-to/manage-keys.md", None),
    ("how-to/move-an-api.md", None),
    ("how-to/protect-routes.md", None),
    ("how-to/revoke-a-leaked-key.md", Some("tutorial/quickstart.md")),
    ("operate/audit-log.md", Some("tutorial/quickstart.md")),
    ("operate/sealed-secrets.md", None),
];

/// The page that `transcripts.rs` runs, on a registry with the usage of a shop.
const RUN_ELSEWHERE: [&str; 1] = ["how-to/see-usage.md"];

/// Ports of this range stand in pages for servers, and are replaced.
const PORTS: [&str; 5] = ["8080", "8081", "3000", "3001", "9421"];

/// Ends what a command prints.
const END: char = '\u{1e}';

/// How long a server may take to start, or to notice a change. It usually takes far less.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_transcripts_of_the_book_are_what_a_shell_prints() {
    let runs = PAGES.map(|(page, before)| thread::spawn(move || run(page, before)));
    let failed = runs.into_iter().filter_map(|run| run.join().err()).count();
    assert_eq!(failed, 0, "the output above says where");
}

#[test]
fn every_transcript_of_the_book_is_run() {
    let mut unknown = Vec::new();
    for (name, text) in pages() {
        let mut listed = PAGES.iter().map(|(page, _)| *page).chain(RUN_ELSEWHERE);
        if text.contains("```console\n") != listed.any(|page| page == name) {
            unknown.push(name);
        }
    }
    assert_eq!(
        unknown,
        Vec::<String>::new(),
        "pages with a transcript that PAGES does not list, or the reverse"
    );
}

/// Also in blocks that no test runs.
#[test]
fn every_option_in_the_book_is_an_option_of_its_command() {
    let mut helps = BTreeMap::new();
    let (mut options, mut wrong) = (0, Vec::new());
    let is_name = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'-'))
    };
    for (name, text) in pages() {
        // A command that goes on in the next line is one line.
        let text = text.replace("\\\n", " ");
        let behind = text.lines().flat_map(|line| line.split("countersign ").skip(1));
        for command in behind.filter_map(|text| text.split(['`', '|', '&', ';', '#']).next()) {
            let words = command.split_whitespace();
            let mut names: Vec<_> = words.clone().take_while(|word| is_name(word)).collect();
            // The arguments of `curl` are curl's.
            if names.is_empty() || names[0] == "curl" {
                continue;
            }
            names.truncate(2);
            let help = helps.entry(names.join(" ")).or_insert_with(|| help(&names));
            for option in words.filter(|word| word.strip_prefix("--").is_some_and(is_name)) {
                options += 1;
                if !help.contains(option) {
                    wrong.push(format!("docs/{name}: countersign {command}"));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(options > 60, "{options}");
}

/// The help of a command, or of the command above it if the second word is no subcommand.
fn help(command: &[&str]) -> String {
    let of = |command: &[&str]| {
        let program = env!("CARGO_BIN_EXE_countersign");
        let output = Command::new(program).args(command).arg("--help").output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    of(command).or_else(|| of(&command[..1])).unwrap_or_default()
}

/// The pages of the book, by their paths below `docs`.
fn pages() -> Vec<(String, String)> {
    let (mut pages, mut folders) = (Vec::new(), vec![docs()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                let name = path.strip_prefix(docs()).unwrap().display().to_string();
                pages.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    pages
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn run(page: &str, before: Option<&str>) {
    let folder = tempfile::TempDir::new().unwrap();
    let mut shell = Shell::start(folder.path());
    for page in before.into_iter().chain([page]) {
        let text = fs::read_to_string(docs().join(page)).unwrap();
        for step in Step::all(&text) {
            shell.follow(page, &step);
        }
    }
}

/// Where the reader is in a page.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// After a comment that says something about the next block, or not.
    Prose {
        repeat: bool,
        file: Option<&'a str>,
    },
    Transcript {
        repeat: bool,
    },
    /// In a block that is the content of a file.
    File,
}

/// A command of a page, and what has to come of it.
struct Step {
    line: usize,
    command: String,
    code: String,
    output: Vec<String>,
    repeat: bool,
}

impl Step {
    fn all(page: &str) -> Vec<Self> {
        let mut steps: Vec<Self> = Vec::new();
        let mut place = Place::Prose { repeat: false, file: None };
        for (line, text) in (1..).zip(page.lines()) {
            place = match place {
                Place::Prose { repeat, .. } if text == "```console" => Place::Transcript { repeat },
                Place::Prose { file: Some(name), .. } if text.starts_with("```") => {
                    steps.push(Self::of(line, format!("cat >{name} <<'END'")));
                    Place::File
                }
                Place::Prose { .. } => {
                    let file = text.strip_prefix("<!-- file: ");
                    let file = file.and_then(|rest| rest.strip_suffix(" -->"));
                    Place::Prose { repeat: text == "<!-- until -->", file }
                }
                Place::File | Place::Transcript { .. } if text == "```" => {
                    if let (Place::File, Some(step)) = (place, steps.last_mut()) {
                        step.command.push_str("\nEND");
                    }
                    Place::Prose { repeat: false, file: None }
                }
                Place::Transcript { repeat } if text.starts_with("$ ") => {
                    steps.push(Self { repeat, ..Self::of(line, text[2..].to_owned()) });
                    place
                }
                Place::Transcript { .. } => {
                    steps.last_mut().expect("a transcript begins with a command").add(text);
                    place
                }
                Place::File => {
                    let step = steps.last_mut().expect("a file begins with its command");
                    step.command.push('\n');
                    step.command.push_str(text);
                    place
                }
            };
        }
        steps
    }

    fn of(line: usize, command: String) -> Self {
        Self { line, command, code: "0".to_owned(), output: Vec::new(), repeat: false }
    }

    fn add(&mut self, text: &str) {
        match (text.strip_prefix("> "), text.strip_prefix("? ")) {
            (Some(more), _) if self.output.is_empty() => {
                self.command.push('\n');
                self.command.push_str(more);
            }
            (_, Some(code)) if self.output.is_empty() => code.clone_into(&mut self.code),
            _ => self.output.push(text.to_owned()),
        }
    }

    fn is_met_by(&self, code: &str, output: &[String]) -> bool {
        code == self.code && matches(without_end(&self.output), without_end(output))
    }
}

/// Without the blank lines at its end.
fn without_end(mut lines: &[String]) -> &[String] {
    while let [rest @ .., last] = lines
        && last.is_empty()
    {
        lines = rest;
    }
    lines
}

fn matches(expected: &[String], output: &[String]) -> bool {
    match (expected, output) {
        ([], []) => true,
        ([dots, rest @ ..], _) if dots == "..." => {
            (0..=output.len()).any(|skipped| matches(rest, &output[skipped..]))
        }
        ([line, rest @ ..], [printed, others @ ..]) => {
            line_matches(line, printed) && matches(rest, others)
        }
        _ => false,
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let Some((before, after)) = expected.split_once("[..]") else { return expected == printed };
    let Some(printed) = printed.strip_prefix(before) else { return false };
    let ends = printed.char_indices().map(|(at, _)| at).chain([printed.len()]);
    { ends }.any(|at| line_matches(after, &printed[at..]))
}

/// A shell whose folder, variables and servers stay from one command to the next.
struct Shell {
    child: Child,
    commands: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Each port of a page, and the free one in its place.
    ports: Vec<(&'static str, String)>,
}

impl Shell {
    fn start(folder: &Path) -> Self {
        let command = Path::new(env!("CARGO_BIN_EXE_countersign")).parent().unwrap().to_path_buf();
        let path = env::var_os("PATH").unwrap();
        let path = env::join_paths([command].into_iter().chain(env::split_paths(&path))).unwrap();
        let mut child = Command::new("sh")
            .current_dir(folder)
            .env_clear()
            .envs([("HOME", folder.as_os_str()), ("PATH", &path), ("USER", "ana".as_ref())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut commands = child.stdin.take().unwrap();
        // The shell ends its servers with itself.
        writeln!(commands, "exec 2>&1; trap 'kill $servers 2>/dev/null; wait' EXIT").unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        // All are bound at a time, so that they differ.
        let free = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let free = free.map(|listener| listener.local_addr().unwrap().port().to_string());
        let mut shell =
            Self { child, commands, output, ports: PORTS.into_iter().zip(free).collect() };
        // Where `countersign serve` listens unless it is told.
        shell.run("export COUNTERSIGN_LISTEN=127.0.0.1:8080 COUNTERSIGN_OPERATIONS=127.0.0.1:9421");
        shell
    }

    fn follow(&mut self, page: &str, step: &Step) {
        let until = Instant::now() + PATIENCE;
        loop {
            let (code, output) = self.run(&step.command);
            if step.is_met_by(&code, &output) {
                break;
            }
            assert!(
                step.repeat && Instant::now() < until,
                "docs/{page}:{}: $ {}\n? {code}\n{}\n",
                step.line,
                step.command,
                output.join("\n")
            );
        }
        if step.command.ends_with('&') {
            self.run("servers=\"$servers $!\"");
            let words = step.command.rsplit(|letter: char| !letter.is_ascii_digit());
            let named = { words }.find_map(|word| self.ports.iter().find(|port| port.0 == word));
            let (_, port) = named.unwrap_or(&self.ports[0]);
            while TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
                assert!(Instant::now() < until, "docs/{page}:{}: it does not start", step.line);
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Runs a command to its end. Returns its exit code, and the lines that it prints.
    fn run(&mut self, command: &str) -> (String, Vec<String>) {
        let command = self.ports.iter().fold(command.to_owned(), |text, (shown, port)| {
            text.replace(&format!(":{shown}"), &format!(":{port}"))
                .replace(&format!(" {shown}"), &format!(" {port}"))
        });
        writeln!(self.commands, "{{ {command}\n}} </dev/null; printf '\\n{END}%s\\n' $?").unwrap();
        let mut lines = Vec::new();
        for line in (&mut self.output).lines() {
            let line = line.unwrap();
            if let Some(code) = line.strip_prefix(END) {
                return (code.to_owned(), lines);
            }
            lines.push(self.ports.iter().fold(line, |line, (shown, port)| {
                line.replace(&format!(":{port}"), &format!(":{shown}"))
            }));
        }
        panic!("the shell has ended: {lines:?}");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(writeln!(self.commands, "exit"));
        drop(self.child.wait());
    }
}
