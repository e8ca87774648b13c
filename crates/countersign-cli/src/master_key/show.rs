use clap::Args;
use serde_json::json;

use crate::{
    environment::MASTER_KEY_VARIABLE, failure::Failure, master_key_source, output::print_line,
};

/// Prints the id of a master key, as messages about sealed secrets name it
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The master key's file; `-` is stdin, fd:N a descriptor, env:NAME a variable [default: the text in
    /// COUNTERSIGN_MASTER_KEY]
    #[arg(value_name = "FILE")]
    master_key: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> Result<(), Failure> {
        let source = master_key_source::named(self.master_key.as_deref(), MASTER_KEY_VARIABLE)?;
        let id = master_key_source::read(&source)?.id();
        match self.json {
            true => print_line(json!({ "id": id.to_string() })),
            false => print_line(id),
        }
    }
}
