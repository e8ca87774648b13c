//! Prints where the imports of crates lead in a circle.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use harness::Imports;

/// How many files a circle may have.
const A_BUILDER_AND_WHAT_IT_BUILDS: usize = 2;

/// Prints the circles among the imports of crates, with the names that lead from file to file.
///
/// Ends with 1 if a circle has more than two files: a type in it is then in the wrong file.
#[derive(Parser)]
struct Arguments {
    /// Folders with a `lib.rs` or `main.rs`. Default: those of all crates of this project.
    src: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let Arguments { mut src } = Arguments::parse();
    if src.is_empty() {
        src = crates();
    }
    let mut largest = 0;
    for src in src {
        let imports = match Imports::read(&src) {
            Ok(imports) => imports,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        };
        let circles = imports.circles();
        let most = circles.iter().map(|circle| circle.files.len()).max().unwrap_or(0);
        println!(
            "{}: {} files, {} circles, the largest of {most}",
            src.display(),
            imports.files(),
            circles.len()
        );
        for circle in circles {
            print!("{circle}");
        }
        largest = largest.max(most);
    }
    if largest > A_BUILDER_AND_WHAT_IT_BUILDS {
        eprintln!("error: files import from each other in a circle of {largest}");
        eprintln!(
            "hint: move a type out of the circle, to the file that needs nothing of the others"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn crates() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let folders = fs::read_dir(crates).into_iter().flatten().flatten();
    let mut src: Vec<_> = folders.map(|folder| folder.path().join("src")).collect();
    src.sort();
    src
}
