//! Sans-IO engine: calls, flows, trunks, admission, CDRs
