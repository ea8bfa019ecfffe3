//! Benches: micro benches and the load generator
