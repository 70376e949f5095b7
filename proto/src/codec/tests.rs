mod array;
mod errors;
mod fixture;
mod round_trip;
mod wire_bytes;
