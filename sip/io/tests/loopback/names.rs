//! Names, through the transports' own door.

use sip_core::{Destination, Input, QueryId, Question, ResolveError, Transport};
use sip_io::{Limits, ListenAddr, Transports};

use crate::support::{local, next};

fn question(host: &str, port: Option<u16>) -> Question {
    Question { host: host.to_owned(), port, transport: None, secure: false }
}

#[tokio::test]
async fn names_are_resolved_through_the_inbox() {
    let (transports, mut inbox) = Transports::bind(&[ListenAddr::udp(local(0))], Limits::default()).unwrap();
    assert!(transports.resolve(QueryId(1), question("localhost", Some(5099))).is_none());
    match next(&mut inbox).await {
        Input::Resolved { query: QueryId(1), result } => {
            let expected = Destination { transport: Transport::Udp, address: local(5099) };
            assert_eq!(result.unwrap().list, [expected]);
        }
        other => panic!("an answer, not {other:?}"),
    }
    // Too long for a label: refused without asking anybody.
    assert!(transports.resolve(QueryId(2), question(&"x".repeat(70), None)).is_none());
    match next(&mut inbox).await {
        Input::Resolved { query: QueryId(2), result } => assert_eq!(result, Err(ResolveError::NotFound)),
        other => panic!("an answer, not {other:?}"),
    }
}
