//! What the command prints, word by word. The transcripts are documentation as much as tests.

use std::{fs, path::Path};

#[test]
fn the_transcripts_are_what_the_command_prints() {
    trycmd::TestCases::new().case("tests/transcripts/*.trycmd");
}

/// The page is run in a folder of its own, with the public keys that it names.
#[test]
fn the_life_of_a_key_is_as_the_page_about_it_says() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::TempDir::new().unwrap();
    let page = folder.path().join("keys.md");
    fs::copy(home.join("../../docs/keys.md"), &page).unwrap();
    for beside in ["keys.in", "keys.out"] {
        fs::create_dir(folder.path().join(beside)).unwrap();
    }
    for key in ["laptop.pub", "laptop-2.pub", "backup.pub"] {
        let file = folder.path().join("keys.in").join(key);
        fs::copy(home.join("tests/life").join(key), file).unwrap();
    }
    // With an `.out` folder, trycmd runs the page in a copy of the `.in` folder.
    fs::copy(home.join("tests/life/laptop.pub"), folder.path().join("keys.out/laptop.pub"))
        .unwrap();
    trycmd::TestCases::new().env("COUNTERSIGN_DB", "sqlite:registry.db").case(&page);
}
