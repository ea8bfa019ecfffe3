//! Tokio transports under the sans-IO SIP core: UDP, TCP, name resolution
