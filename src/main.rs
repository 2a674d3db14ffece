//! The life of the process, from top to bottom: arguments, configuration, logs, serve, drain, exit.

mod cli;
mod healthcheck;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use shunt::{
    app::{self, Application},
    config::{Config, Loaded, LogFormat},
    telemetry,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::cli::{Arguments, Command};

/// A request is a few dozen small allocations, most of them in the client library of Redis.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The configuration cannot be used.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    actix_web::rt::System::new().block_on(run())
}

async fn run() -> ExitCode {
    if let Err(error) = survive_file_size_limit() {
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
    match arguments.command() {
        Command::Config => {
            for warning in warnings {
                eprintln!("shunt: {warning}");
            }
            print_config(&config)
        }
        Command::Healthcheck { strict } => match healthcheck::check(&config, strict).await {
            Ok(answer) => {
                println!("{answer}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("shunt: not healthy: {error:#}");
                ExitCode::FAILURE
            }
        },
        command => {
            let json = match config.log.format {
                LogFormat::Auto => None,
                LogFormat::Text => Some(false),
                LogFormat::Json => Some(true),
            };
            let serves = command == Command::Serve;
            // Before there are other threads: they inherit it.
            let scheduled = serves.then(|| config.http.scheduling.apply());
            // Dropped when everything is said.
            let _logs = match telemetry::init_logging(json, config.log.level.targets.clone()) {
                Ok(logs) => Some(logs),
                Err(error) => {
                    eprintln!("shunt: there will be no logs: {error:#}");
                    None
                }
            };
            for warning in warnings {
                warn!("{warning}");
            }
            if let Some(Err(error)) = scheduled {
                warn!(%error, "cannot choose how threads are scheduled (http.scheduling)");
            }
            let done = match command {
                Command::Migrate => migrate(&config).await,
                _ => serve(&config).await,
            };
            match done {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    error!(error = telemetry::chain(error.as_ref()), "giving up");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// A file that may not grow any more (`ulimit -f`) is an error of the write, and not the end of the process: that is what the
/// signal does where nobody handles it.
fn survive_file_size_limit() -> std::io::Result<()> {
    // The handler stays.
    signal(SignalKind::from_raw(uapi::c::SIGXFSZ)).map(drop)
}

fn print_config(config: &Config) -> ExitCode {
    match config.to_toml() {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("shunt: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    let database = app::open_database(&config.database).await?;
    database.close().await;
    info!(database = %config.database.url, "the tables are up to date");
    Ok(())
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    // Before anything can take long: a signal during the start must not be lost.
    let mut signals = StopSignals::listen()?;
    let application = tokio::select! {
        built = Application::build(config) => built?,
        () = signals.received() => return Ok(()),
    };
    let limit = match (config.limiter.enabled, &config.redis.url) {
        (false, _) => "none".to_owned(),
        (true, None) => format!(
            "{} per client, counted in this process",
            config.limiter.quota
        ),
        (true, Some(redis)) => format!(
            "{} per client, counted in {}",
            config.limiter.quota, redis.endpoint
        ),
    };
    info!(
        links = %config.database.url,
        limit,
        management = application.management_address().map(|a| format!("http://{a}")),
        "listening on http://{}",
        application.public_address()
    );
    let stop = async {
        signals.received().await;
        // Whoever asks twice is in a hurry.
        actix_web::rt::spawn(async move {
            signals.received().await;
            std::process::exit(1);
        });
    };
    application.run_until_stopped(stop).await?;
    info!("stopped");
    Ok(())
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
