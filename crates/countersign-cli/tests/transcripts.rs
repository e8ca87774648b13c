//! What the command prints, word by word. The transcripts are documentation as much as tests.

#[path = "life/recorded_usage.rs"]
mod recorded_usage;

use std::{fs, path::Path};

#[test]
fn the_transcripts_are_what_the_command_prints() {
    trycmd::TestCases::new().case("tests/transcripts/*.trycmd");
}

/// The page is run on a registry with the usage of a shop in it.
#[test]
fn usage_is_shown_as_the_page_about_it_says() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::TempDir::new().unwrap();
    let page = folder.path().join("usage.md");
    fs::copy(home.join("../../docs/how-to/see-usage.md"), &page).unwrap();
    let [input, output] = ["usage.in", "usage.out"].map(|name| folder.path().join(name));
    fs::create_dir(&input).unwrap();
    fs::create_dir(&output).unwrap();
    recorded_usage::save_in(&input);
    fs::copy(home.join("tests/life/routes.txt"), input.join("routes.txt")).unwrap();
    // With an `.out` folder, trycmd runs the page in a copy of the `.in` folder.
    fs::copy(home.join("tests/life/routes.txt"), output.join("routes.txt")).unwrap();
    trycmd::TestCases::new().env("COUNTERSIGN_DB", "sqlite:registry.db").case(&page);
}
