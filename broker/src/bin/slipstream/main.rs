//! `slipstream`: the command line.

mod broker;
mod demo;
mod run;
mod status;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Makes unmodified programs that talk TCP to each other on one host talk through shared memory instead.
#[derive(Debug, Parser)]
#[command(name = "slipstream", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program with Slipstream, starting a broker when none answers.
    Run(run::Args),
    /// Be the broker, in the foreground, until SIGTERM.
    Broker(broker::Args),
    /// Show every connection that the broker knows, and the totals.
    Status(status::Args),
    /// Measure this machine: TCP, a Unix socket, and Slipstream, side by side.
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        // Returns only when the program could not be started.
        Command::Run(args) => match run::run(&args) {
            Ok(never) => match never {},
            Err((error, code)) => {
                eprintln!("slipstream: {error:#}");
                return ExitCode::from(code);
            }
        },
        Command::Broker(args) => broker::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Demo(args) => demo::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slipstream: {error:#}");
            ExitCode::FAILURE
        }
    }
}
