//! What a message costs in allocations: at most two to parse an INVITE, none to write a response.

use bytes::{Bytes, BytesMut};
use sip_core::{Message, MessageBuilder, Name, Reply};

#[global_allocator]
static ALLOCATOR: alloc_count::Counting = alloc_count::Counting;

const INVITE: &str = "INVITE sip:+622150001234@203.0.113.9:5060;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.4:5060;rport;branch=z9hG4bKPjFz7y1.k3\r\n\
    Via: SIP/2.0/UDP 198.51.100.77:5060;branch=z9hG4bK-524287-1---a9\r\n\
    Record-Route: <sip:198.51.100.4;lr>\r\n\
    Max-Forwards: 69\r\n\
    Contact: <sip:caller@198.51.100.77:5060>\r\n\
    To: <sip:+622150001234@203.0.113.9>\r\n\
    From: \"A Caller\" <sip:+622150009999@198.51.100.4>;tag=6d3fe41a\r\n\
    Call-ID: 81182NzU5YzFkOGU3ZGE1NTJhNmM2ZDY\r\n\
    CSeq: 1 INVITE\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, UPDATE\r\n\
    Supported: replaces, timer\r\n\
    User-Agent: carrier\r\n\
    P-Asserted-Identity: <sip:+622150009999@198.51.100.4>\r\n\
    X-Trunk: jkt-1\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 129\r\n\r\n\
    v=0\r\no=- 1 1 IN IP4 198.51.100.77\r\ns=-\r\nc=IN IP4 198.51.100.77\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101\r\n\
    a=rtpmap:101 telephone-event/8000\r\n";

/// As sockets deliver it: shared already, so that the parser pays for nothing but itself.
fn received(text: &str) -> Bytes {
    let mut buffer = BytesMut::from(text);
    buffer.split().freeze()
}

#[test]
fn parsing_an_invite_takes_two_allocations_at_most() {
    assert!(alloc_count::is_installed());
    let bytes = received(INVITE);
    let counts = alloc_count::count(|| Message::parse(bytes.clone()).unwrap());
    assert!(counts.allocs <= 2, "{counts:?}");
    // Bytes made from a Vec are not shared yet: the first slice of them makes it so, once.
    let unshared = Bytes::from(INVITE.as_bytes().to_vec());
    let counts = alloc_count::count(|| Message::parse(unshared).unwrap());
    assert!(counts.allocs <= 2, "{counts:?}");
}

#[test]
fn checking_and_reading_it_takes_none() {
    let message = Message::parse(received(INVITE)).unwrap();
    let counts = alloc_count::count(|| {
        message.validate().unwrap();
        assert_eq!(message.vias().count(), 2);
        assert_eq!(message.headers(Name::Allow).count(), 8);
        assert_eq!(message.header(Name::Other("x-trunk")), Some("jkt-1"));
        assert_eq!(message.from_tag().as_deref(), Some("6d3fe41a"));
        assert_eq!(message.contacts().count() + message.addresses(Name::RecordRoute).count(), 2);
        assert_eq!(message.request_uri().unwrap().param("transport"), Some("udp"));
        assert_eq!(message.cseq().unwrap().number, 1);
    });
    assert_eq!(counts.allocs, 0, "{counts:?}");
}

#[test]
fn writing_a_response_into_a_reserved_buffer_takes_none() {
    let request = Message::parse(received(INVITE)).unwrap();
    let source = Some("198.51.100.4:5062".parse().unwrap());
    let mut out = BytesMut::with_capacity(8192);
    // The first cut makes the buffer a shared one, once in its life.
    drop(out.split());
    let counts = alloc_count::count(|| {
        let reply = Reply { to_tag: Some("8f1c2e"), source, ..Reply::new(200) };
        MessageBuilder::reply(&mut out, &request, reply)
            .copy(&request, Name::RecordRoute)
            .header(Name::Contact, format_args!("<sip:{}>", "203.0.113.9:5060"))
            .header(Name::Server, "carillon")
            .body("application/sdp", request.body())
    });
    assert_eq!(counts.allocs, 0, "{counts:?}");
}
