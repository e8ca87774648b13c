use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

/// A file to read.
pub(super) enum Opened {
    Stdin,
    File(PathBuf, File),
    Unreadable(PathBuf, io::Error),
}

/// Opens the file of an argument, or all files of a folder, in the order of their names. Links are followed if they are
/// arguments, but none in a folder.
pub(super) fn files(argument: &str) -> Box<dyn Iterator<Item = Opened>> {
    if argument == "-" {
        return Box::new(std::iter::once(Opened::Stdin));
    }
    let walk = WalkDir::new(argument).sort_by_file_name().into_iter();
    Box::new(walk.filter_entry(is_wanted).filter_map(|entry| match entry {
        // An argument can be a pipe, such as `<(command)`.
        Ok(entry)
            if entry.file_type().is_file()
                || (entry.depth() == 0 && !entry.file_type().is_dir()) =>
        {
            let path = entry.into_path();
            Some(match File::open(&path) {
                Ok(file) => Opened::File(path, file),
                Err(error) => Opened::Unreadable(path, error),
            })
        }
        Ok(_) => None,
        Err(error) => {
            let path = error.path().unwrap_or(Path::new("")).to_owned();
            Some(Opened::Unreadable(path, error.into()))
        }
    }))
}

/// Whether an entry is read. The objects of a Git repository are compressed.
fn is_wanted(entry: &DirEntry) -> bool {
    let is_objects =
        entry.depth() > 0 && entry.file_type().is_dir() && entry.file_name() == "objects";
    let is_repository =
        |folder: &Path| folder.join("HEAD").is_file() && folder.join("refs").is_dir();
    !(is_objects && entry.path().parent().is_some_and(is_repository))
}
