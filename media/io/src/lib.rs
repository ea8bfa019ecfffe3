//! Pinned media threads: wheel, sockets, ports
