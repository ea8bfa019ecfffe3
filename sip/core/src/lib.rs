//! Sans-IO SIP: messages, transactions, dialogs, INVITE sessions, registration
