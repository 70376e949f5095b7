//! The switch's drivers from outside: a gRPC client on one side, ports on the other.

#[cfg(test)]
mod checklist;
#[cfg(test)]
mod client;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod node;
#[cfg(test)]
mod pcap;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod swap;
#[cfg(test)]
mod tap;
