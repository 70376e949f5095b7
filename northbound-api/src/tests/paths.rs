//! Paths through the graph.
