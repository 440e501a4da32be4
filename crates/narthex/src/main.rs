//! The program: parses the command line, runs it, and turns the outcome into an exit code (see [`narthex::exit::Exit`]).

use std::process::ExitCode;

use clap::Parser;
use narthex::cli::Cli;
use narthex::exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failure, format!("async runtime: {error}")))
        .and_then(|runtime| runtime.block_on(cli.run()));
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            eprintln!("narthex: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}
