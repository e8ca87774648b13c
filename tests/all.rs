//! One program for all tests that can share a process: it is linked once, and runs them side by side.
//!
//! A test has a program of its own where it measures the memory of its process (`flood`, `upload`) or sends its process a
//! signal (`restarts`). Log and metrics need none: a test listens to them on its own thread.

mod algorithms;
mod bad_input;
mod bodies;
mod circles;
mod connections;
mod corpus;
mod cors;
mod exactly_once;
mod explaining;
mod limits;
mod nginx;
mod oauth;
mod refusals;
mod restrictions;
mod rollout;
mod routes;
mod services;
mod several_servers;
mod signed_responses;
mod stack_contract;
mod tls;
mod vectors;
mod weak_keys;
