//! What the command prints, word by word. The transcripts are documentation as much as tests.

#[test]
fn the_transcripts_are_what_the_command_prints() {
    trycmd::TestCases::new().case("tests/transcripts/*.trycmd");
}
