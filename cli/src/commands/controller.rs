//! `weft controller`: the controller's process, of a lab or alone.

use weft_lab::controller::{Alone, ControllerError, run_alone, run_in_lab};
use weft_lab::runtime_dir::LabDir;

use crate::args::{Controller, Global};
use crate::failure::{Failure, SOFTWARE, UNAVAILABLE, USAGE};
use crate::target;

pub(crate) async fn run(global: &Global, args: &Controller) -> Result<(), Failure> {
    let ended = match alone(global, args)? {
        Some(alone) => run_alone(&alone).await,
        None => {
            let dir = match (&global.lab, args.supervised) {
                (Some(name), true) => LabDir::new(name)?,
                _ => target::lab(global)?,
            };
            run_in_lab(&dir, args.supervised).await
        }
    };
    ended.map_err(|error| match error {
        ControllerError::RuntimeDir(error) => error.into(),
        ControllerError::Plan(error) => error.into(),
        ControllerError::Running(_) => Failure::new(UNAVAILABLE, error),
        ControllerError::StoreKind(_) | ControllerError::Dataplane(_) => Failure::new(USAGE, error),
        other => Failure::new(SOFTWARE, other),
    })
}

/// The settings of a controller without a lab, where the command line asks for one.
fn alone(global: &Global, args: &Controller) -> Result<Option<Alone>, Failure> {
    let Some(listen) = args.listen else {
        if args.store.is_some() || args.dataplane.is_some() || args.topology.is_some() {
            return Err(Failure::message(
                USAGE,
                "a controller without a lab needs --listen ADDR",
            ));
        }
        return Ok(None);
    };
    let (Some(store), Some(token)) = (&args.store, &global.token) else {
        return Err(Failure::message(
            USAGE,
            "a controller without a lab needs --store and --token",
        ));
    };
    Ok(Some(Alone {
        listen,
        store: store.clone(),
        token: token.clone(),
        dataplane: args.dataplane.clone(),
        topology: args.topology.clone(),
    }))
}
