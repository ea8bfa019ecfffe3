//! Shapes of the HTTP control API: requests, resources, events, problems
