//! What real carriers do and should not: the quirks of a number, and how they change messages on their way between the
//! caller and the endpoint, which itself keeps to the rules.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use sip_core::{Message, MessageBuilder, Method, Name, Transmit, Uri};

/// An address that nobody is reached at from outside (RFC 1918).
const PRIVATE: &str = "10.255.255.1";

/// The payload type of G.729 (RFC 3551, table 4).
const G729: &str = "18";

/// One thing that the carrier of a number does wrong, or as few others do. A number may have several.
///
/// A carrier with any of them knows no reliable provisional responses (RFC 3262).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quirk {
    /// Ringing is told by a 183 without session description.
    ProgressWithoutSdp,
    /// The provisional responses have another To tag than the answer: of the switch that rang, not of the one that
    /// answered.
    ChangedToTag,
    /// Each provisional response comes three times, with three To tags: a fork whose other branches never answer.
    SeveralEarlyDialogs,
    /// A CANCEL is taken, and the call answered all the same.
    AnswersCancel,
    /// A refusal after ringing is told by a BYE, which RFC 3261 section 15 forbids a callee before its answer; the final
    /// response is the 487 to the caller's CANCEL.
    EarlyBye,
    /// After a 183 with early media the 200 describes another codec, and media come from another machine.
    ChangedCodec,
    /// The answer describes G.729, which nobody offered.
    UnofferedCodec,
    /// Responses have no Contact, not even the 200 (RFC 3261 section 12.1.1: it MUST).
    NoContact,
    /// Session descriptions name an address of a private network; media come from the true one.
    PrivateAddress,
}

/// A request as a carrier with these quirks takes it.
pub(crate) fn taken(quirks: &[Quirk], request: Message) -> Message {
    if quirks.is_empty() || request.method() != Some(&Method::Invite) {
        return request;
    }
    let without = rewrite(&request, request.body(), |name, value| {
        Some(if name == Name::Supported { without_token(value, "100rel") } else { value.to_owned() })
    });
    // It was one before.
    Message::parse(without).unwrap_or(request)
}

/// What leaves instead of this message of the endpoint's.
pub(crate) fn sent(quirks: &[Quirk], message: &Message) -> Vec<Bytes> {
    let has = |quirk| quirks.contains(&quirk);
    let invited = message.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
    let early = invited && message.status().is_some_and(|status| (101..200).contains(&status));
    let suffixes: &[&str] = match (has(Quirk::SeveralEarlyDialogs), has(Quirk::ChangedToTag)) {
        (true, false) if early => &["", "-2", "-3"],
        (true, true) if early => &["-1", "-2", "-3"],
        (false, true) if early => &["-1"],
        (true | false, true | false) => &[""],
    };
    let no_contact = message.status().is_some() && has(Quirk::NoContact);
    let tag = message.to_tag().unwrap_or_default();
    let body = described(quirks, message);
    let changed = |suffix: &&str| {
        rewrite(message, &body, |name, value| {
            if name == Name::Contact && no_contact {
                None
            } else if name == Name::To && !suffix.is_empty() {
                Some(value.replace(&format!("tag={tag}"), &format!("tag={tag}{suffix}")))
            } else {
                Some(value.to_owned())
            }
        })
    };
    suffixes.iter().map(changed).collect()
}

/// The BYE of a callee who rings, made from the provisional response and the caller's Contact.
pub(crate) fn early_bye(ringing: &Message, caller: &Uri, transmit: &Transmit) -> Bytes {
    let part = |name| ringing.header(name).unwrap_or_default();
    let via = format_args!(
        "SIP/2.0/{} {};branch=z9hG4bK-early-bye-{}",
        transmit.transport,
        transmit.local,
        ringing.to_tag().unwrap_or_default()
    )
    .to_string();
    MessageBuilder::request(&mut BytesMut::new(), &Method::Bye, caller)
        .header(Name::Via, via)
        .header(Name::MaxForwards, 70)
        .header(Name::From, part(Name::To))
        .header(Name::To, part(Name::From))
        .header(Name::CallId, part(Name::CallId))
        .header(Name::CSeq, "1 BYE")
        .finish()
}

/// The message with other header values, `None` for lines left out, and another body.
fn rewrite(message: &Message, body: &[u8], change: impl Fn(Name<'_>, &str) -> Option<String>) -> Bytes {
    let mut out = BytesMut::new();
    let mut builder = match (message.status(), message.method(), message.request_uri()) {
        (Some(status), _, _) => MessageBuilder::response(&mut out, status, message.reason()),
        (None, Some(method), Ok(uri)) => MessageBuilder::request(&mut out, method, &uri),
        // Not one that the endpoint would write or take.
        (None, _, _) => return message.as_bytes().clone(),
    };
    for (name, value) in message.rows() {
        // The builder writes these itself.
        if name == Name::ContentLength || name == Name::ContentType {
            continue;
        }
        if let Some(value) = change(name, value) {
            builder = builder.header(name, value);
        }
    }
    match message.content_type() {
        Some(content_type) => builder.body(content_type, body),
        None => builder.finish(),
    }
}

/// The body, with what the quirks make of a session description.
fn described(quirks: &[Quirk], message: &Message) -> Bytes {
    let (private, unoffered) =
        (quirks.contains(&Quirk::PrivateAddress), quirks.contains(&Quirk::UnofferedCodec));
    if message.sdp().is_none() || !(private || unoffered) {
        return message.body().clone();
    }
    let text = String::from_utf8_lossy(message.body());
    let line = |line: &str| -> Option<String> {
        let mut words: Vec<_> = line.split(' ').collect();
        match line.get(..2) {
            // `c=IN IP4 <address>` and `o=<name> <id> <version> IN IP4 <address>` end in it.
            Some("c=" | "o=") if private && words.contains(&"IP4") => {
                words.pop();
                words.push(PRIVATE);
                Some(words.join(" "))
            }
            // `m=audio <port> RTP/AVP <payload types>`
            Some("m=") if unoffered => {
                words.truncate(3);
                words.push(G729);
                Some(words.join(" "))
            }
            Some("a=") if unoffered && (line.starts_with("a=rtpmap:") || line.starts_with("a=fmtp:")) => None,
            Some(_) | None => Some(line.to_owned()),
        }
    };
    let lines = text.split_inclusive("\r\n").map(|line| line.trim_end_matches("\r\n"));
    lines.filter_map(line).map(|line| line + "\r\n").collect::<String>().into()
}

/// A list without one of its tokens.
fn without_token(list: &str, token: &str) -> String {
    let kept = list.split(',').map(str::trim).filter(|each| !each.eq_ignore_ascii_case(token));
    kept.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RINGING: &str = "SIP/2.0 183 Session Progress\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=f\r\nTo: <sip:1@c>;tag=0a\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:1@c>\r\n\
        Content-Type: application/sdp\r\nContent-Length: 143\r\n\r\n\
        v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 101\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n";

    fn message(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn leaves(quirks: &[Quirk], text: &str) -> Vec<Message> {
        sent(quirks, &message(text)).into_iter().map(|bytes| Message::parse(bytes).unwrap()).collect()
    }

    fn to_tags(quirks: &[Quirk], text: &str) -> Vec<String> {
        leaves(quirks, text).iter().map(|message| message.to_tag().unwrap().to_string()).collect()
    }

    #[test]
    fn only_the_tags_of_provisional_responses_change() {
        let answer = RINGING.replace("183 Session Progress", "200 OK");
        assert_eq!(to_tags(&[Quirk::ChangedToTag], RINGING), ["0a-1"]);
        assert_eq!(to_tags(&[Quirk::SeveralEarlyDialogs], RINGING), ["0a", "0a-2", "0a-3"]);
        let both = [Quirk::ChangedToTag, Quirk::SeveralEarlyDialogs];
        assert_eq!(to_tags(&both, RINGING), ["0a-1", "0a-2", "0a-3"]);
        assert_eq!(to_tags(&both, &answer), ["0a"]);
    }

    #[test]
    fn descriptions_lie_and_all_else_is_as_it_was() {
        let all = [Quirk::PrivateAddress, Quirk::UnofferedCodec, Quirk::NoContact];
        let changed = leaves(&all, RINGING).remove(0);
        assert_eq!(
            changed.sdp().unwrap(),
            "v=0\r\no=- 1 1 IN IP4 10.255.255.1\r\ns=-\r\nc=IN IP4 10.255.255.1\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP 18\r\n"
        );
        assert_eq!((changed.status(), changed.reason()), (Some(183), "Session Progress"));
        assert_eq!(changed.header(Name::Contact), None);
        let original = message(RINGING);
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            assert_eq!(changed.header(name), original.header(name));
        }
        let kept = leaves(&[Quirk::ProgressWithoutSdp], RINGING).remove(0);
        assert_eq!(kept.sdp(), original.sdp());
    }

    #[test]
    fn a_carrier_with_quirks_knows_no_reliable_responses() {
        let invite = "INVITE sip:1@c SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=f\r\n\
            To: <sip:1@c>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nSupported: timer, 100rel, replaces\r\n\r\n";
        let supported = |quirks: &[Quirk]| {
            taken(quirks, message(invite)).rows_of(Name::Supported).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(supported(&[Quirk::NoContact]), "timer, replaces");
        assert_eq!(supported(&[]), "timer, 100rel, replaces");
    }
}
