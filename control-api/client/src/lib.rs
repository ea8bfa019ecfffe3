//! Typed client of the HTTP control API
