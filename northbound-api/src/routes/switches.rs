//! Switches and their ports.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use weft_controller::handle::HandleError;
use weft_controller::status::{PortCounters, PortView};

use super::Answer;
use crate::list::{self, ListParams, Page};
use crate::problem::{Problem, ProblemDocument};
use crate::request::Call;
use crate::view::{Port, Switch};

/// All switches.
#[utoipa::path(
    get, path = "/v1/switches", tag = "switches", params(ListParams),
    responses(
        (status = 200, description = "One page.", body = Page<Switch>),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(call: Call) -> Answer {
    let params = call.params(&list::PARAMS)?;
    let address = call.handle.dataplane_address();
    let switches = call.handle.switches().into_iter();
    let switches = switches.map(|switch| Switch::new(switch, &address));
    list::page(&params, call.handle.revision(), switches)
}

/// One switch.
#[utoipa::path(
    get, path = "/v1/switches/{switch}", tag = "switches", params(("switch" = String, Path)),
    responses(
        (status = 200, description = "The switch.", body = Switch),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(call: Call, Path(switch): Path<String>) -> Answer {
    call.params(&[])?;
    let view = call.handle.switch(&switch)?;
    Ok(Json(Switch::new(view, &call.handle.dataplane_address())).into_response())
}

/// A switch's ports with their counters.
#[utoipa::path(
    get, path = "/v1/switches/{switch}/ports", tag = "switches",
    params(("switch" = String, Path), ListParams),
    responses(
        (status = 200, description = "One page.", body = Page<Port>),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ports(call: Call, Path(switch): Path<String>) -> Answer {
    let params = call.params(&list::PARAMS)?;
    let views = call.handle.ports(&switch)?;
    let mut counters = counters(&call, &switch).await?;
    let ports = (views.into_iter()).map(|port| Port::from(counted(port, &mut counters)));
    list::page(&params, call.handle.revision(), ports)
}

/// One port, by its name or its number.
#[utoipa::path(
    get, path = "/v1/switches/{switch}/ports/{port}", tag = "switches",
    params(("switch" = String, Path), ("port" = String, Path)),
    responses(
        (status = 200, description = "The port.", body = Port),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn port(call: Call, Path((switch, port)): Path<(String, String)>) -> Answer {
    call.params(&[])?;
    let views = call.handle.ports(&switch)?;
    let found = (views.iter())
        .find(|view| view.name == port)
        .or_else(|| views.iter().find(|view| view.number.to_string() == port));
    let Some(view) = found.cloned() else {
        let names: Vec<_> = views.into_iter().map(|view| view.name).collect();
        let names = names.join(", ");
        let detail = format!("{switch} has no port {port}; it has {names}");
        return Err(Problem::not_found(detail));
    };
    let mut counters = counters(&call, &switch).await?;
    Ok(Json(Port::from(counted(view, &mut counters))).into_response())
}

/// The counters by port number; none where the switch is away, which is no error.
async fn counters(call: &Call, switch: &str) -> Result<BTreeMap<u32, PortCounters>, HandleError> {
    match call.handle.port_counters(switch).await {
        Err(HandleError::SwitchUnavailable { .. }) => Ok(BTreeMap::new()),
        answer => answer,
    }
}

fn counted(mut port: PortView, counters: &mut BTreeMap<u32, PortCounters>) -> PortView {
    port.counters = counters.remove(&port.number);
    port
}
