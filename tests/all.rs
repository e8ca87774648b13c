//! One program for all tests that can share a process: it is linked once, and runs them side by side.
//!
//! A test has a program of its own where it measures the memory of its process (`flood`, `upload`) or sends its process a
//! signal (`restarts`). Log and metrics need none: a test listens to them on its own thread.

mod algorithms;
mod bad_input;
mod bodies;
mod circles;
mod client_connections;
mod connections;
mod corpus;
mod cors;
mod documents;
mod exactly_once;
mod explaining;
mod forward_auth;
mod holder;
mod key_rotation;
mod limits;
mod nginx;
mod oauth;
mod operations;
mod order_of_checks;
mod reference;
mod refusals;
mod restrictions;
mod rollout;
mod routes;
mod secret_scanning;
mod services;
mod serving;
mod several_servers;
mod signed_responses;
mod stack_contract;
mod tls;
mod usage;
mod usage_flushes;
mod usage_responses;
mod vectors;
mod weak_keys;

#[test]
fn every_file_of_tests_is_run() {
    let here = include_str!("all.rs");
    let manifest = include_str!("Cargo.toml");
    let mut files = 0;
    for file in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs") {
            let is_module = here.contains(&format!("\nmod {module};\n"));
            let is_program = manifest.contains(&format!("\npath = \"{name}\"\n"));
            assert!(is_module != is_program, "{name} is not run, or run twice");
            files += 1;
        }
    }
    assert!(files > 20, "{files}");
}
