//! `weft get`: any collection of the API.

use hyper::Method;
use weft_lab::client::path_segment;

use crate::args::{Format, Get, Global};
use crate::failure::{Failure, USAGE};
use crate::output::{print_json, print_objects};
use crate::target;

pub(crate) async fn run(global: &Global, args: &Get) -> Result<(), Failure> {
    let collection = args.collection.trim_matches('/');
    let collection = collection.strip_prefix("v1/").unwrap_or(collection);
    if collection.is_empty() {
        return Err(Failure::message(USAGE, "which collection?"));
    }
    let segments: Vec<String> = collection.split('/').map(path_segment).collect();
    let path = format!("/v1/{}", segments.join("/"));
    let client = target::api(global)?;
    let found = match &args.name {
        None => target::list(&client, &path).await?,
        Some(name) => {
            let path = format!("{path}/{}", path_segment(name));
            target::call(&client, Method::GET, &path, &[], None)
                .await?
                .json()
        }
    };
    match global.output {
        Format::Json => print_json(&found),
        Format::Table => match found["items"].as_array() {
            Some(items) => print_objects(items),
            None => print_objects(std::slice::from_ref(&found)),
        },
    }
    Ok(())
}
