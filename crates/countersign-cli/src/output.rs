use std::{
    io::{ErrorKind, Write},
    ops::ControlFlow,
};

use crate::{failure::Failure, printable::one_line};

/// Writes data to stdout.
pub(crate) fn print(data: impl AsRef<[u8]>) -> Result<(), Failure> {
    print_while_read(data).map(|_| ())
}

/// Writes data to stdout. Breaks when the reader has read enough, as in `countersign … | head -1`.
pub(crate) fn print_while_read(data: impl AsRef<[u8]>) -> Result<ControlFlow<()>, Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(data.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::local(
            format!("cannot write to stdout: {error}"),
            "check where stdout leads, and whether the disk is full",
        )),
        Ok(()) => Ok(ControlFlow::Continue(())),
    }
}

/// Writes one line to stdout.
pub(crate) fn print_line(line: impl std::fmt::Display) -> Result<(), Failure> {
    print(format!("{line}\n"))
}

/// Writes a message to stderr, as one line.
pub(crate) fn note(text: impl std::fmt::Display) {
    // A closed stderr cannot be reported anywhere.
    drop(writeln!(std::io::stderr(), "{}", one_line(&text.to_string())));
}

/// Writes a failure to stderr, as its two lines.
pub(crate) fn fail(failure: &Failure) {
    // As above.
    drop(writeln!(std::io::stderr(), "{failure}"));
}

/// Writes a message to the terminal at stderr, in the place of its last line.
pub(crate) fn rewrite(text: impl std::fmt::Display) {
    let line = one_line(&text.to_string());
    let mut stderr = std::io::stderr();
    // As above. The code clears the line.
    drop(write!(stderr, "\r\u{1b}[K{line}").and_then(|()| stderr.flush()));
}

/// Writes a warning to stderr, as one line.
pub(crate) fn warn(text: impl std::fmt::Display) {
    note(format_args!("warning: {text}"));
}
