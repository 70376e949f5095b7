mod array;
mod errors;
mod fixture;
mod profiles;
mod replication;
mod round_trip;
mod wire_bytes;
