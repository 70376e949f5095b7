//! What each command does: a thin layer over the lab and the API.

pub(crate) mod api;
pub(crate) mod apply;
pub(crate) mod capture;
pub(crate) mod completions;
pub(crate) mod controller;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod flow;
pub(crate) mod get;
pub(crate) mod lab;
pub(crate) mod link;
pub(crate) mod path;
pub(crate) mod pipeline;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod trace;
