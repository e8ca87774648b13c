use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// Writes data to stdout.
pub(crate) fn print(data: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(data.as_ref()).and_then(|()| stdout.flush()) {
        // Whoever reads us has read enough, as in `countersign … | head -1`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::local(
            format!("cannot write to stdout: {error}"),
            "check where stdout leads, and whether the disk is full",
        )),
        Ok(()) => Ok(()),
    }
}

/// Writes one line to stdout.
pub(crate) fn print_line(line: impl std::fmt::Display) -> Result<(), Failure> {
    print(format!("{line}\n"))
}

/// Says something that is no data.
pub(crate) fn note(line: impl std::fmt::Display) {
    // There is nowhere left to say that stderr is closed.
    drop(writeln!(std::io::stderr(), "{line}"));
}
