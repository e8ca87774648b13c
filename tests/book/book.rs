//! Every Rust block of the README and of the book compiles, and the tests in them pass.
//!
//! `build.rs` makes the modules. What a block needs and does not show stands in a comment right before its fence, such as
//! `<!-- given: let registry: Arc<Registry> = given(); -->`.

/// Stands for a value that a page does not make. Nothing calls it: blocks are compiled, and only their tests run.
fn given<T>() -> T {
    unimplemented!("a block was run")
}

#[allow(
    warnings,
    clippy::all,
    clippy::arithmetic_side_effects,
    clippy::await_holding_lock,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::unwrap_used,
    reason = "a page shows the main thing"
)]
mod pages {
    include!(concat!(env!("OUT_DIR"), "/pages.rs"));

    #[test]
    fn the_pages_have_blocks() {
        assert!(BLOCKS > 20, "{BLOCKS}");
    }
}
