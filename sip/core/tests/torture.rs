//! Every message of RFC 4475 and RFC 5118 has one row here: what becomes of it, and why.
#![expect(clippy::unwrap_used, reason = "test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use sip_core::{Contact, Host, Message, MessageBuilder, Name, ParseError, Reply, Scheme};

/// What becomes of a message.
#[derive(Clone, Copy)]
enum Class {
    /// Taken; the check looks at what is unusual about it.
    Valid(fn(&Message)),
    /// A request answered with this status.
    Refused(u16),
    /// Not answered: a response, or nothing to answer by.
    Drop,
}
use Class::{Drop, Refused, Valid};

struct Row {
    file: &'static str,
    section: &'static str,
    class: Class,
    why: &'static str,
}

const fn row(file: &'static str, section: &'static str, class: Class, why: &'static str) -> Row {
    Row { file, section, class, why }
}

const TABLE: &[Row] = &[
    // RFC 4475 section 3.1.1: valid messages.
    row(
        "rfc4475/valid/wsinv.dat",
        "4475 3.1.1.1",
        Valid(wsinv),
        "folds, spaces, escapes, compact names, empty Subject",
    ),
    row(
        "rfc4475/valid/intmeth.dat",
        "4475 3.1.1.2",
        Valid(intmeth),
        "every character a token, user or quote may hold",
    ),
    row("rfc4475/valid/esc01.dat", "4475 3.1.1.3", Valid(esc01), "escapes are not undone before parsing"),
    row("rfc4475/valid/escnull.dat", "4475 3.1.1.4", Valid(escnull), "escaped NUL in a user part"),
    row(
        "rfc4475/valid/esc02.dat",
        "4475 3.1.1.5",
        Valid(esc02),
        "a % outside URIs is no escape: unknown method",
    ),
    row("rfc4475/valid/lwsdisp.dat", "4475 3.1.1.6", Valid(lwsdisp), "no space between display name and <"),
    row("rfc4475/valid/longreq.dat", "4475 3.1.1.7", Valid(longreq), "long values everywhere"),
    row(
        "rfc4475/valid/dblreq.dat",
        "4475 3.1.1.8",
        Valid(dblreq),
        "what follows Content-Length is discarded",
    ),
    row("rfc4475/valid/semiuri.dat", "4475 3.1.1.9", Valid(semiuri), "semicolon in the user part"),
    row("rfc4475/valid/transports.dat", "4475 3.1.1.10", Valid(transports), "unknown transports in Via"),
    row("rfc4475/valid/mpart01.dat", "4475 3.1.1.11", Valid(mpart01), "binary multipart body"),
    row("rfc4475/valid/unreason.dat", "4475 3.1.1.12", Valid(unreason), "UTF-8 in the reason phrase"),
    row("rfc4475/valid/noreason.dat", "4475 3.1.1.13", Valid(noreason), "empty reason phrase"),
    // RFC 4475 section 3.1.2: invalid messages.
    row("rfc4475/other/badinv01.dat", "4475 3.1.2.1", Refused(400), "empty parameters and values in Via"),
    row("rfc4475/other/clerr.dat", "4475 3.1.2.2", Refused(400), "Content-Length beyond the datagram"),
    row("rfc4475/other/ncl.dat", "4475 3.1.2.3", Refused(400), "negative Content-Length"),
    row(
        "rfc4475/other/scalar02.dat",
        "4475 3.1.2.4",
        Refused(400),
        "CSeq beyond 2^31, Max-Forwards beyond 255",
    ),
    row("rfc4475/other/scalarlg.dat", "4475 3.1.2.5", Drop, "a response with CSeq beyond 2^31"),
    row("rfc4475/other/quotbal.dat", "4475 3.1.2.6", Refused(400), "To has an open quote"),
    row("rfc4475/other/ltgtruri.dat", "4475 3.1.2.7", Refused(400), "Request-URI in <>"),
    row("rfc4475/other/lwsruri.dat", "4475 3.1.2.8", Refused(400), "space inside the Request-URI"),
    row("rfc4475/other/lwsstart.dat", "4475 3.1.2.9", Refused(400), "two spaces in the request line"),
    row("rfc4475/other/trws.dat", "4475 3.1.2.10", Refused(400), "spaces at the end of the request line"),
    row("rfc4475/other/escruri.dat", "4475 3.1.2.11", Refused(400), "headers in the Request-URI"),
    row(
        "rfc4475/other/baddate.dat",
        "4475 3.1.2.12",
        Valid(baddate),
        "Date not GMT: may be ignored by who does not use it",
    ),
    row("rfc4475/other/regbadct.dat", "4475 3.1.2.13", Refused(400), "Contact with ? outside <>"),
    row("rfc4475/other/badaspec.dat", "4475 3.1.2.14", Refused(400), "spaces inside <>"),
    row(
        "rfc4475/other/baddn.dat",
        "4475 3.1.2.15",
        Refused(400),
        "unquoted comma in a display name (and no empty line)",
    ),
    row("rfc4475/other/badvers.dat", "4475 3.1.2.16", Refused(505), "SIP/7.0"),
    row("rfc4475/other/mismatch01.dat", "4475 3.1.2.17", Refused(400), "CSeq names another method"),
    row("rfc4475/other/mismatch02.dat", "4475 3.1.2.18", Refused(400), "the same, and the method is unknown"),
    row("rfc4475/other/bigcode.dat", "4475 3.1.2.19", Drop, "a response with status 4294967301"),
    // RFC 4475 sections 3.2 to 3.4: transaction, application and backward compatibility.
    row("rfc4475/other/badbranch.dat", "4475 3.2.1", Refused(400), "a branch of the cookie alone"),
    row("rfc4475/other/insuf.dat", "4475 3.3.1", Refused(400), "no From, To, Call-ID"),
    row("rfc4475/other/unkscm.dat", "4475 3.3.2", Refused(416), "Request-URI of an unknown scheme"),
    row("rfc4475/other/novelsc.dat", "4475 3.3.3", Refused(416), "Request-URI of a scheme foreign to SIP"),
    row(
        "rfc4475/other/unksm2.dat",
        "4475 3.3.4",
        Valid(unksm2),
        "foreign schemes in To, From, Contact: the registrar's matter",
    ),
    row("rfc4475/other/bext01.dat", "4475 3.3.5", Valid(bext01), "unknown Require: 420 is the endpoint's"),
    row("rfc4475/other/invut.dat", "4475 3.3.6", Valid(invut), "unknown Content-Type: 415 is the endpoint's"),
    row(
        "rfc4475/other/regaut01.dat",
        "4475 3.3.7",
        Valid(regaut01),
        "unknown authentication scheme: challenge again",
    ),
    row(
        "rfc4475/other/multi01.dat",
        "4475 3.3.8",
        Refused(400),
        "From, To, Call-ID, CSeq, Max-Forwards twice",
    ),
    row("rfc4475/other/mcl01.dat", "4475 3.3.9", Refused(400), "two Content-Lengths"),
    row("rfc4475/other/bcast.dat", "4475 3.3.10", Drop, "a response with a Via below ours"),
    row("rfc4475/other/zeromf.dat", "4475 3.3.11", Valid(zeromf), "Max-Forwards 0 matters to proxies only"),
    row("rfc4475/other/cparam01.dat", "4475 3.3.12", Valid(cparam01), "unknown Contact parameter"),
    row("rfc4475/other/cparam02.dat", "4475 3.3.13", Valid(cparam02), "unknown URI parameter"),
    row("rfc4475/other/regescrt.dat", "4475 3.3.14", Valid(regescrt), "headers in a Contact URI are legal"),
    row("rfc4475/other/sdp01.dat", "4475 3.3.15", Valid(sdp01), "Accept without SDP: 406 is the endpoint's"),
    row(
        "rfc4475/other/inv2543.dat",
        "4475 3.4.1",
        Valid(inv2543),
        "no branch, From tag, Max-Forwards, Content-Length",
    ),
    // Beside the RFC in the collection that the files come from.
    row("rfc4475/other/test.dat", "none", Drop, "no SIP version, no Via, no CSeq"),
    // RFC 5118.
    row("rfc5118/ipv6-good", "5118 4.1", Valid(|m| host(m, "2001:db8::10", None)), "IPv6 reference"),
    row("rfc5118/ipv6-bad", "5118 4.2", Refused(400), "IPv6 without brackets"),
    row(
        "rfc5118/port-ambiguous",
        "5118 4.3",
        Valid(|m| host(m, "2001:db8::10:5070", None)),
        "5070 is part of the address",
    ),
    row(
        "rfc5118/port-unambiguous",
        "5118 4.4",
        Valid(|m| host(m, "2001:db8::10", Some(5070))),
        "5070 is the port",
    ),
    row("rfc5118/via-received-param-with-delim", "5118 4.5", Valid(received), "received in brackets"),
    row("rfc5118/via-received-param-no-delim", "5118 4.5", Valid(received), "received without brackets"),
    row("rfc5118/ipv6-in-sdp", "5118 4.6", Valid(|m| body(m, 241)), "IPv6 in the body"),
    row("rfc5118/mult-ip-in-header", "5118 4.7", Valid(mult_ip), "IPv4 and IPv6 in Via"),
    row("rfc5118/mult-ip-in-sdp", "5118 4.8", Valid(|m| body(m, 181)), "IPv4 and IPv6 in the body"),
    row("rfc5118/ipv4-mapped-ipv6", "5118 4.9", Valid(mapped), "IPv4-mapped addresses"),
    row(
        "rfc5118/ipv6-correct-abnf-2-colons",
        "5118 4.10",
        Valid(|m| host(m, "2001:db8::192.0.2.1", None)),
        "embedded IPv4",
    ),
    row(
        "rfc5118/ipv6-bug-abnf-3-colons",
        "5118 4.10",
        Valid(|m| host(m, "2001:db8::192.0.2.1", None)),
        "three colons read as two",
    ),
];

#[test]
fn every_message_becomes_what_its_row_says() {
    for row in TABLE {
        let bytes = Bytes::from(fs::read(data().join(row.file)).unwrap());
        let label = format!("{} ({}): {}", row.file, row.section, row.why);
        match (judge(&bytes), row.class) {
            (Judged::Taken(message), Valid(check)) => {
                // Shown when the check fails.
                eprintln!("{label}");
                check(&message);
            }
            (Judged::Answered(request, error), Refused(status)) => {
                assert_eq!(error.status().0, status, "{label}: {error}");
                answerable(&request, &error);
            }
            (Judged::Dropped(_), Drop) => {}
            (Judged::Taken(_), Refused(_) | Drop) => panic!("{label}: taken"),
            (Judged::Answered(_, error), Valid(_) | Drop) => panic!("{label}: answered: {error}"),
            (Judged::Dropped(error), Valid(_) | Refused(_)) => panic!("{label}: dropped: {error}"),
        }
    }
}

enum Judged {
    Taken(Message),
    Answered(Message, ParseError),
    Dropped(ParseError),
}

/// The way an endpoint goes about it.
fn judge(bytes: &Bytes) -> Judged {
    let (error, message) = match Message::parse(bytes.clone()) {
        Ok(message) => match message.validate() {
            Ok(()) => return Judged::Taken(message),
            Err(error) => (error, message.is_answerable().then_some(message)),
        },
        Err(error) => (error, Message::salvage(bytes.clone())),
    };
    match message {
        Some(message) => Judged::Answered(message, error),
        None => Judged::Dropped(error),
    }
}

/// The answer can be written and read back, and finds its way.
fn answerable(request: &Message, error: &ParseError) {
    let (status, reason) = error.status();
    let source = Some("192.0.2.77:5060".parse().unwrap());
    let mut out = BytesMut::new();
    let reply = Reply { status, reason, to_tag: Some("t"), source };
    let answer = Message::parse(MessageBuilder::reply(&mut out, request, reply).finish()).unwrap();
    assert_eq!(answer.status(), Some(status));
    assert_eq!(answer.headers(Name::Via).count(), request.headers(Name::Via).count());
    assert_eq!(answer.header(Name::CSeq), request.header(Name::CSeq));
}

#[test]
fn every_file_has_a_row_and_every_row_a_file() {
    let rows: BTreeSet<_> = TABLE.iter().map(|row| row.file.to_owned()).collect();
    assert_eq!(rows.len(), TABLE.len(), "a file has two rows");
    let files: BTreeSet<_> = files(&data()).into_iter().filter(|name| !name.ends_with("LICENSE")).collect();
    assert_eq!(files, rows);
}

#[test]
fn the_files_are_those_of_the_shared_data() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !shared.is_dir() {
        eprintln!("no shared data beside the project: only the project's own copies are tested");
        return;
    }
    for folder in ["rfc4475", "rfc5118"] {
        let (ours, theirs) = (data().join(folder), shared.join(folder));
        assert_eq!(files(&ours), files(&theirs));
        for name in files(&ours) {
            assert_eq!(fs::read(ours.join(&name)).unwrap(), fs::read(theirs.join(&name)).unwrap(), "{name}");
        }
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Every file below, as paths relative to `folder`.
fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            names.extend(files(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

// What is unusual about the valid ones.

fn wsinv(m: &Message) {
    assert_eq!(m.max_forwards(), Ok(Some(68)));
    assert_eq!(m.cseq().unwrap().to_string(), "9 INVITE");
    assert_eq!(m.to().unwrap().tag(), Some("1918181833n"));
    let from = m.from().unwrap();
    assert_eq!((from.display().unwrap().as_ref(), from.tag()), (r#"J Rosenberg \""#, Some("98asjd8")));
    let vias: Vec<_> = m.vias().map(Result::unwrap).collect();
    let branches: Vec<_> = vias.iter().map(|via| via.branch().unwrap()).collect();
    assert_eq!(branches, ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);
    let protocols: Vec<_> = vias.iter().map(|via| via.protocol()).collect();
    assert_eq!(protocols, ["UDP", "TCP", "UDP"]);
    assert_eq!(m.header(Name::Subject), Some(""));
    assert_eq!(
        m.header(Name::Other("newfangledheader")),
        Some("newfangled value   continued newfangled value")
    );
    let contact = m.contacts().next().unwrap().unwrap();
    let contact = contact.addr().unwrap();
    assert_eq!(
        (contact.params().get("q"), contact.params().get("newparam")),
        (Some("0.33"), Some("newvalue"))
    );
    assert_eq!(contact.display().unwrap(), "Quoted string \"\"");
    assert!(m.request_uri().unwrap().params().has("unknownparam"));
    body(m, 150);
}

fn intmeth(m: &Message) {
    assert_eq!(m.method().unwrap().as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    let user = m.request_uri().unwrap();
    assert!(user.user().unwrap().ends_with(",weird!*pas$wo~d_too.(doesn't-it)") || user.password().is_some());
    assert_eq!(m.to().unwrap().display().unwrap(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
    let from = m.from().unwrap();
    assert_eq!(from.params().get("fromParam''~+*_!.-%"), Some("\"работающий\""));
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(m.max_forwards(), Ok(Some(255)));
    assert_eq!(m.header(Name::Other("extensionHeader-!.%*+_`'~")), Some("\u{feff}大停電"));
}

fn esc01(m: &Message) {
    let uri = m.request_uri().unwrap();
    assert_eq!(uri.user(), Some("sips%3Auser%40example.com"));
    assert_eq!(uri.host().unwrap().to_string(), "example.net");
    assert!(m.to().unwrap().uri().is_equivalent(&"sip:user@example.com".parse().unwrap()));
    assert_eq!(sip_core::unescape(m.from().unwrap().uri().user().unwrap()), "I have spaces");
    let contact = m.contacts().next().unwrap().unwrap();
    assert_eq!(contact.addr().unwrap().uri().param("n%61me"), Some("v%61lue%25%34%31"));
    body(m, 150);
}

fn escnull(m: &Message) {
    let users = m.contacts().map(|c| sip_core::unescape(c.unwrap().addr().unwrap().uri().user().unwrap()));
    assert_eq!(users.collect::<Vec<_>>(), ["\0", "\0\0"]);
}

fn esc02(m: &Message) {
    assert_eq!(m.method().unwrap().as_str(), "RE%47IST%45R");
    assert_eq!(m.contacts().count(), 2, "C%6Fntact is another header");
    assert_eq!(m.top_via().unwrap().branch(), Some("z9hG4bK209%fzsnel234"));
}

fn lwsdisp(m: &Message) {
    assert_eq!(m.from().unwrap().display().unwrap(), "caller");
}

fn longreq(m: &Message) {
    assert_eq!(m.headers(Name::Via).count(), 34);
    assert_eq!(m.from_tag().unwrap().len(), 155);
    assert!(m.vias().all(|via| via.is_ok()));
    body(m, 150);
}

fn dblreq(m: &Message) {
    assert_eq!(m.call_id().unwrap(), "dblreq.0ha0isndaksdj99sdfafnl3lk233412");
    assert!(m.as_bytes().ends_with(b"Content-Length: 0\r\n\r\n"));
    body(m, 0);
}

fn semiuri(m: &Message) {
    let uri = m.request_uri().unwrap();
    assert_eq!((uri.user(), uri.params().is_empty()), (Some("user;par=u%40example.net"), true));
    assert_eq!(m.headers(Name::Accept).count(), 6);
}

fn transports(m: &Message) {
    let vias: Vec<_> = m.vias().map(Result::unwrap).collect();
    assert_eq!(
        vias.iter().map(|v| v.protocol()).collect::<Vec<_>>(),
        ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]
    );
    assert_eq!(vias.iter().filter(|v| v.transport().is_some()).count(), 3);
}

fn mpart01(m: &Message) {
    assert_eq!(m.content_type(), Some("multipart/mixed;boundary=7a9cbec02ceef655"));
    assert!(m.body().ends_with(b"--7a9cbec02ceef655--\r\n") && m.body().contains(&0));
    assert_eq!(m.header(Name::Date), Some("Sat, 15 Oct 2005 04:44:56 GMT"), "a comma in Date parts nothing");
    body(m, 553);
}

fn unreason(m: &Message) {
    assert!(m.reason().starts_with("= 2**3 * 5**2 но сто девяносто девять"));
    body(m, 154);
}

fn noreason(m: &Message) {
    assert_eq!((m.status(), m.reason()), (Some(100), ""));
}

fn baddate(m: &Message) {
    assert_eq!(m.header(Name::Date), Some("Fri, 01 Jan 2010 16:00:00 EST"));
}

fn unksm2(m: &Message) {
    assert_eq!(m.to().unwrap().uri().as_str(), "isbn:2983792873");
    assert_eq!(m.from().unwrap().uri().scheme(), Scheme::Other);
}

fn bext01(m: &Message) {
    assert_eq!(
        m.headers(Name::Require).collect::<Vec<_>>(),
        ["nothingSupportsThis", "nothingSupportsThisEither"]
    );
}

fn invut(m: &Message) {
    assert_eq!(m.content_type(), Some("application/unknownformat"));
    body(m, 40);
}

fn regaut01(m: &Message) {
    let value = m.header(Name::Authorization).unwrap();
    assert_eq!(sip_core::digest::Authorization::parse(value), Err(ParseError::Digest));
}

fn zeromf(m: &Message) {
    assert_eq!(m.max_forwards(), Ok(Some(0)));
}

fn cparam01(m: &Message) {
    let contact = m.contacts().next().unwrap().unwrap();
    let addr = contact.addr().unwrap();
    assert!(addr.params().has("unknownparam") && addr.uri().params().is_empty());
}

fn cparam02(m: &Message) {
    let contact = m.contacts().next().unwrap().unwrap();
    let addr = contact.addr().unwrap();
    assert!(addr.params().is_empty() && addr.uri().param("unknownparam") == Some(""));
}

fn regescrt(m: &Message) {
    let Contact::Addr(addr) = m.contacts().next().unwrap().unwrap() else { panic!("no address") };
    assert_eq!(addr.uri().headers().collect::<Vec<_>>(), [("Route", "%3Csip:sip.example.com%3E")]);
}

fn sdp01(m: &Message) {
    assert_eq!(m.header(Name::Accept), Some("text/nobodyKnowsThis"));
}

fn inv2543(m: &Message) {
    assert_eq!((m.top_via().unwrap().branch(), m.from_tag(), m.max_forwards()), (None, None, Ok(None)));
    assert!(m.body().starts_with(b"v=0") && m.body().ends_with(b"\r\n"));
}

fn received(m: &Message) {
    assert_eq!(m.top_via().unwrap().received(), "2001:db8::9:255".parse().ok());
}

fn mult_ip(m: &Message) {
    let hosts: Vec<_> = m.vias().map(|via| via.unwrap().host().to_string()).collect();
    assert_eq!(hosts, ["[2001:db8::9:1]", "192.0.2.1", "[2001:db8::9:255]"]);
    assert_eq!(m.top_via().unwrap().port(), Some(6050));
}

fn mapped(m: &Message) {
    let via = m.top_via().unwrap();
    assert_eq!((via.host().to_string(), via.port()), ("[::ffff:192.0.2.10]".to_owned(), Some(19823)));
    body(m, 236);
}

fn host(m: &Message, address: &str, port: Option<u16>) {
    let uri = m.request_uri().unwrap();
    assert_eq!((uri.host(), uri.port()), (Some(Host::Ip(address.parse().unwrap())), port));
}

fn body(m: &Message, length: usize) {
    assert_eq!(m.body().len(), length);
}
