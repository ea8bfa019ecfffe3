//! The HTTP control API over the engine
