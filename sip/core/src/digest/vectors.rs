//! The examples of the RFCs, and challenges as servers really send them.
