//! The life of the process, from top to bottom: arguments, configuration, log, command, exit code.

mod cli;
mod commands;
mod report;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use shunt::{config::Loaded, lifecycle};

use crate::{cli::Arguments, report::Report};

/// A request makes a few dozen small allocations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The exit code if the configuration cannot be used.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    actix_web::rt::System::new().block_on(run())
}

async fn run() -> ExitCode {
    if let Err(error) = lifecycle::survive_file_size_limit() {
        eprintln!("shunt: {error}");
    }
    let arguments = Arguments::parse();
    let Loaded { config, warnings } = match arguments.load_config() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("shunt: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let command = arguments.command();
    // Before the first thread starts, which is that of the log: threads inherit how they are scheduled.
    let scheduled = command.schedule_threads(&config);
    let report = if command.logs() {
        Report::to_log(&config.log)
    } else {
        Report::to_standard_error()
    };
    if command.warns() {
        for warning in warnings {
            report.warning(&warning);
        }
    }
    if let Err(error) = scheduled {
        report.warning(&format!(
            "http.scheduling: the kernel does not allow it: {error}"
        ));
    }
    match command.run(&config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report.failure(&error);
            ExitCode::FAILURE
        }
    }
}
