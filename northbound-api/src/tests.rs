//! The API in front of a real controller, which programs real switches of the same process.

mod any;
mod apply;
mod diff;
mod entries;
mod flows;
mod flowsets;
mod forwarding;
mod groups;
mod lab;
mod openapi;
mod packets;
mod paths;
mod pipelines;
mod reads;
mod requests;
mod sockets;
mod traces;
