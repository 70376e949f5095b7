//! Paths between two nodes.
