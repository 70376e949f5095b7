//! The `weft` command.
//!
//! How a command walks:
//!
//! ```text
//!  args ─► become root, if only in a user namespace ─► commands/… ─► weft_lab: up, exec, test
//!                                                         │ target: which lab, which controller
//!                                                         └► weft_lab::client ─► REST ─► output
//! ```
//!
//! 1. `args` is the command line; a mistake in it ends with status 64.
//! 2. What builds or enters a lab needs root: a caller who is not root becomes it in a user namespace of his own.
//! 3. `commands` has one file for each command, a thin layer: labs are `weft_lab`'s, everything else is a request to the API
//!    of the lab or controller that `target` finds.
//! 4. Results go to standard output, everything else to standard error (`output`); `failure` is how a command ends.
//!
//! The same binary is the processes of a lab: `weft dataplane`, `weft controller` and `weft contained` are started by it, not
//! by people.

mod args;
mod commands;
mod failure;
mod output;
mod target;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use weft_lab::user_namespace;

use crate::args::{Cli, Command};
use crate::failure::{Failure, SOFTWARE, USAGE};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version were asked for; anything else is a mistake.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    init_tracing(&cli);
    if matches!(cli.command, Command::Dataplane) {
        return weft_lab::dataplane::main();
    }
    if let Command::Contained(args) = &cli.command {
        return match weft_lab::contained::run(&args.program) {
            Ok(status) => ExitCode::from(status),
            Err(error) => {
                output::say(Failure::new(SOFTWARE, error));
                ExitCode::from(SOFTWARE)
            }
        };
    }
    if let Command::Doctor(args) = &cli.command {
        return commands::doctor::run(&cli.global, args);
    }
    match become_root(&cli).and_then(|()| run(&cli)) {
        Ok(code) => code,
        Err(failure) => {
            output::say(&failure);
            failure.code()
        }
    }
}

fn init_tracing(cli: &Cli) {
    let is_daemon = matches!(cli.command, Command::Dataplane | Command::Controller(_));
    let level = match (cli.global.verbose, is_daemon) {
        (0, false) => "warn",
        (0, true) | (1, false) => "info",
        (1, true) | (2, false) => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("WEFT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// Whoever makes namespaces or enters them has to be root, in a user namespace where nothing else is possible; before
/// there is a second thread.
fn become_root(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Up(_) | Command::Test(_) => user_namespace::enter_new()?,
        Command::Exec(_) => user_namespace::join(&target::lab(&cli.global)?)?,
        _ => {}
    }
    Ok(())
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let is_daemon = matches!(cli.command, Command::Controller(_) | Command::Test(_));
    let mut builder = if is_daemon {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::new(SOFTWARE, error))?;
    runtime.block_on(dispatch(cli))
}

async fn dispatch(cli: &Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Up(args) => return commands::lab::up(global, args).await,
        Command::Exec(args) => return commands::exec::run(global, args).await,
        Command::Test(args) => return commands::test::run(global, args).await,
        Command::Api(args) => return commands::api::run(global, args).await,
        Command::Down(args) => commands::lab::down(global, args).await?,
        Command::Labs => commands::lab::labs(global).await?,
        Command::Status => commands::status::run(global).await?,
        Command::Apply(args) => commands::apply::run(global, args).await?,
        Command::Get(args) => commands::get::run(global, args).await?,
        Command::Flow(args) => commands::flow::run(global, args).await?,
        Command::Pipeline(args) => commands::pipeline::run(global, args).await?,
        Command::Path(args) => commands::path::run(global, args).await?,
        Command::Trace(args) => commands::trace::run(global, args).await?,
        Command::Link(args) => commands::link::run(global, args).await?,
        Command::Capture(args) => commands::capture::run(global, args).await?,
        Command::Schema => output::print_json(&weft_controller::schema::topology()),
        Command::Completions(args) => commands::completions::run(args),
        Command::Controller(args) => commands::controller::run(global, args).await?,
        Command::Dataplane | Command::Contained(_) | Command::Doctor(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}
