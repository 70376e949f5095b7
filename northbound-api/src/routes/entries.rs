//! Raw table entries, one at a time under their table.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use weft_controller::handle::{DeleteEntry, EntryView, HandleError, PutEntry, WriteOutcome};
use weft_controller::raw::EntrySpec;

use super::Answer;
use super::flows::{Removal, check_name, tagged, wait};
use crate::list::{self, ListParams, Page};
use crate::problem::{Problem, ProblemDocument};
use crate::request::{Call, Document};
use crate::view::{Diff, EntryBody, TableEntry};

/// Entries of a table that were declared here, with their names.
#[utoipa::path(
    get, path = "/v1/switches/{switch}/tables/{table}/entries", tag = "entries",
    params(("switch" = String, Path), ("table" = String, Path), ListParams),
    responses(
        (status = 200, description = "One page, by name.", body = Page<TableEntry>),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(call: Call, Path((switch, table)): Path<(String, String)>) -> Answer {
    let params = call.params(&list::PARAMS)?;
    // Read before the list, so that watching from it misses nothing.
    let revision = call.handle.revision();
    let entries = call.handle.entries(&switch, &table)?.into_iter();
    list::page(&params, revision, entries.map(TableEntry::from))
}

/// One entry, with live counters.
#[utoipa::path(
    get, path = "/v1/switches/{switch}/tables/{table}/entries/{entry}", tag = "entries",
    params(
        ("switch" = String, Path), ("table" = String, Path), ("entry" = String, Path),
        ("If-None-Match" = Option<String>, Header, description = "Answer 304 when it is at this revision."),
    ),
    responses(
        (status = 200, description = "The entry.", body = TableEntry),
        (status = 304, description = "It is at that revision."),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    call: Call,
    Path((switch, table, entry)): Path<(String, String, String)>,
) -> Answer {
    call.params(&[])?;
    let view = (call.handle)
        .entry_with_counters(&switch, &table, &entry)
        .await?;
    if call.has_already(view.revision) {
        let unchanged = StatusCode::NOT_MODIFIED.into_response();
        return Ok(tagged(unchanged, view.revision));
    }
    Ok(answer(StatusCode::OK, view, None))
}

/// Declares an entry. Saying the same again changes nothing.
#[utoipa::path(
    put, path = "/v1/switches/{switch}/tables/{table}/entries/{entry}", tag = "entries",
    params(
        ("switch" = String, Path), ("table" = String, Path), ("entry" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Validate and compare only."),
        ("force" = Option<bool>, Query, description = "Take over what another owner made."),
        ("If-Match" = Option<String>, Header, description = "Change only this revision."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: until it is realized or rejected."),
        ("Weft-Manager" = Option<String>, Header, description = "The owner; the principal where it is left out."),
    ),
    request_body = EntryBody,
    responses(
        (status = 200, description = "Changed, or as it was.", body = TableEntry),
        (status = 201, description = "Created.", body = TableEntry),
        (status = 202, description = "Stored; the switch is away.", body = TableEntry),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    call: Call,
    Path((switch, table, name)): Path<(String, String, String)>,
    document: Document,
) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    check_name(&name)?;
    // An unknown switch or table is 404 before the content is looked at.
    call.handle.entries(&switch, &table)?;
    let fixed = [
        ("name", name.as_str()),
        ("table", table.as_str()),
        ("switch", switch.as_str()),
    ];
    let spec: EntrySpec = document.without(&TableEntry::READ_ONLY, &fixed)?.parse()?;
    let dry_run = context.dry_run;
    let request = PutEntry {
        switch,
        table,
        name,
        spec,
        context,
    };
    let stored = call.handle.put_entry(request).await?;
    let mut view = stored.entry;
    if dry_run {
        return Ok(answer(StatusCode::OK, view, Some(stored.diff.into())));
    }
    let waited = wait(&call, &view.switch, view.revision).await?;
    if waited.is_some() {
        let now = call
            .handle
            .entry_with_counters(&view.switch, &view.table, &view.name);
        view = match now.await {
            Ok(now) => now,
            // Somebody deleted it while we waited; what was stored is still the answer.
            Err(HandleError::NotFound { .. }) => view,
            Err(error) => return Err(Problem::from(error)),
        };
    }
    let status = match stored.outcome {
        _ if !call.handle.switch(&view.switch)?.status.connected => StatusCode::ACCEPTED,
        WriteOutcome::Created => StatusCode::CREATED,
        WriteOutcome::Updated | WriteOutcome::Unchanged => StatusCode::OK,
    };
    let location = format!(
        "/v1/switches/{}/tables/{}/entries/{}",
        view.switch, view.table, view.name
    );
    let mut response = answer(status, view, None);
    if stored.outcome == WriteOutcome::Created
        && let Ok(location) = HeaderValue::from_str(&location)
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.headers_mut().extend(waited);
    Ok(response)
}

/// Takes an entry back.
#[utoipa::path(
    delete, path = "/v1/switches/{switch}/tables/{table}/entries/{entry}", tag = "entries",
    params(
        ("switch" = String, Path), ("table" = String, Path), ("entry" = String, Path),
        ("dryRun" = Option<bool>, Query, description = "Compare only."),
        ("force" = Option<bool>, Query, description = "Even if another owner made it."),
        ("If-Match" = Option<String>, Header, description = "Only at this revision."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: until the switch does not forward by it."),
        ("Weft-Manager" = Option<String>, Header, description = "The owner; the principal where it is left out."),
    ),
    responses(
        (status = 200, description = "What a dry run found.", body = Removal),
        (status = 202, description = "Deleted; the switch is away and still has it.", body = Removal),
        (status = 204, description = "Deleted."),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    call: Call,
    Path((switch, table, name)): Path<(String, String, String)>,
) -> Answer {
    let params = call.params(&["dryRun", "force"])?;
    let context = call.write_context(&params)?;
    let dry_run = context.dry_run;
    let request = DeleteEntry {
        switch: switch.clone(),
        table,
        name,
        context,
    };
    let deleted = call.handle.delete_entry(request).await?;
    super::flows::removed(&call, &switch, deleted, dry_run).await
}

fn answer(status: StatusCode, view: EntryView, diff: Option<Diff>) -> Response {
    let revision = view.revision;
    let is_stored = diff.is_none();
    let body = Json(TableEntry::from(view).with_diff(diff));
    let response = (status, body).into_response();
    if is_stored {
        tagged(response, revision)
    } else {
        response
    }
}
