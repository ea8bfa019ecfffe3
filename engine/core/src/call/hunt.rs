//! Where an outbound call is tried: groups of branches, one group after another, the branches of a group at once.
//!
//! ```text
//!          ┌──────────────── Next ◀─┐ all branches of the group have failed, and the rule allows another
//!          ▼                        │
//!   group of branches ──────────────┤
//!     │ the first answer            │ the rule forbids another, or none is left
//!     ▼                             ▼
//!   the winner; the others         Over: the failure that says most
//!   are canceled
//! ```
//!
//! Groups follow rules of their own. [`Search::Gateways`]: ways to one customer. Another is tried only for what a gateway
//! does ([`fails_over`]), and never once the customer may have been disturbed. [`Search::Contacts`] and
//! [`Search::Redirected`]: places where a user may be (RFC 3261 §16.6, §8.1.3.4). Another is tried whatever the one before
//! said, 6xx excepted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use control_api_types::Disposition;
use sip_core::digest::Credentials;
use sip_core::{Body, Failure, FailureCause, Invite, NameAddr, Reliable, SessionId, Target, Uri};

use crate::disposition::by_q850;
use crate::trunk::GatewayName;

/// One place to send the INVITE to.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(crate) request_uri: Uri,
    pub(crate) to: NameAddr,
    /// The next hop.
    pub(crate) target: Target,
    /// Proxies to pass on the way (RFC 3261 §8.1.2), outermost first.
    pub(crate) route: Vec<NameAddr>,
    /// What its challenges are answered with.
    pub(crate) credentials: Option<Credentials>,
    /// The trunk's gateway that this is.
    pub(crate) gateway: Option<GatewayName>,
    /// Whether a redirection has led to a host that nobody here has chosen.
    pub(crate) is_foreign: bool,
    pub(crate) media: BranchMedia,
}

/// What a branch is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BranchMedia {
    /// What the call offers.
    Usual,
    /// SRTP alone: it has refused an offer of SRTP beside plain RTP.
    SrtpAlone,
    /// DTLS-SRTP and ICE: it is a browser.
    WebRtc,
}

impl Branch {
    pub(crate) fn invite(&self, template: &Template, body: Option<Body>) -> Invite {
        Invite {
            request_uri: self.request_uri.to_request_uri(),
            to: self.to.clone(),
            from: template.from.clone(),
            target: self.target.clone(),
            route: self.route.clone(),
            headers: self.headers(template),
            body,
            reliable: template.reliable,
            replaces: None,
            session_interval: template.session_interval,
            expires: None,
            credentials: self.credentials.clone(),
        }
    }
}

impl Branch {
    /// RFC 3325 §7 has P-Asserted-Identity taken off before a message leaves those who trust each other. A host that a
    /// redirection chose is nobody we know: it gets what the request says, less what tells who calls.
    fn headers(&self, template: &Template) -> Vec<(String, String)> {
        match self.is_foreign {
            true => template.asked.iter().filter(|(name, _)| !tells_caller(name)).cloned().collect(),
            false => template.asked.iter().chain(&template.headers).cloned().collect(),
        }
    }
}

/// Whether a header tells, beside From, who calls.
pub(crate) fn tells_caller(name: &str) -> bool {
    ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"]
        .iter()
        .any(|other| other.eq_ignore_ascii_case(name))
}

/// What the INVITEs of all branches share.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) from: NameAddr,
    /// Those of every call through the trunk, and what tells the carrier who calls.
    pub(crate) headers: Vec<(String, String)>,
    /// Those that the request asks for.
    pub(crate) asked: Vec<(String, String)>,
    pub(crate) reliable: Reliable,
    /// `Some(0)`: none is asked for; `None`: as the endpoint does.
    pub(crate) session_interval: Option<Duration>,
}

/// Branches that are tried at once.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) branches: Vec<Branch>,
    pub(crate) search: Search,
}

/// What a group is, and so when the next one is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// Ways to one customer.
    Gateways,
    /// Places where a user may be: each rings for its share of the time.
    Contacts,
    /// Places that a redirection has named. One that rings is left to ring, for the next may be the same phone.
    Redirected,
}

/// How a branch failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// As the SIP endpoint tells.
    Failed(Failure),
    /// It rang for its share of the time.
    RangOut,
    /// Its INVITE could not be sent.
    Unsent {
        reason: String,
        /// There are too many calls, or it is our own fault.
        full: bool,
    },
}

/// A branch that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) loss: Loss,
    pub(crate) gateway: Option<GatewayName>,
    /// Unless it was not sent.
    pub(crate) sip_call_id: Option<String>,
}

/// What becomes of the hunt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Other branches are under way.
    Wait,
    /// [`Hunt::next`] has another group.
    Next,
    /// Nobody was reached. Branches that are still under way are of no use any more.
    Over(Lost),
}

/// The branches of one call.
#[derive(Debug)]
pub(crate) struct Hunt {
    groups: VecDeque<Group>,
    /// Of the group under way.
    search: Search,
    under_way: BTreeMap<SessionId, Sent>,
    /// Whether somebody may have heard his phone.
    disturbed: bool,
    /// The failure so far that says most.
    failure: Option<Lost>,
    /// How many redirections may still be followed.
    redirects: u32,
    /// The Request-URIs that calls were sent to, while redirections are followed.
    visited: BTreeSet<String>,
}

/// A branch that is under way.
#[derive(Debug)]
struct Sent {
    branch: Branch,
    sip_call_id: Option<String>,
}

/// Most places of one redirection that are tried: each is a call that somebody else has asked for.
const MAX_PLACES: usize = 8;

impl Hunt {
    /// `redirects`: how many redirections the call follows.
    pub(crate) fn new(groups: Vec<Group>, redirects: u32) -> Self {
        Self {
            groups: groups.into(),
            search: Search::Gateways,
            under_way: BTreeMap::new(),
            disturbed: false,
            failure: None,
            redirects,
            visited: BTreeSet::new(),
        }
    }

    /// The branches to try now; tell each with [`Hunt::sent`].
    pub(crate) fn next(&mut self) -> Option<Vec<Branch>> {
        let group = self.groups.pop_front()?;
        self.search = group.search;
        Some(group.branches)
    }

    /// What the group under way is.
    pub(crate) fn search(&self) -> Search {
        self.search
    }

    /// Whether there is another group to try after this one.
    pub(crate) fn has_next(&self) -> bool {
        !self.groups.is_empty() && self.may_go_on()
    }

    fn may_go_on(&self) -> bool {
        match self.search {
            Search::Gateways => !self.disturbed,
            Search::Contacts | Search::Redirected => true,
        }
    }

    /// The INVITE of this branch is out.
    pub(crate) fn sent(&mut self, session: SessionId, branch: Branch, sip_call_id: Option<String>) {
        self.visited.insert(branch.request_uri.to_string());
        self.under_way.insert(session, Sent { branch, sip_call_id });
    }

    /// The INVITE of this branch could not be sent. [`Hunt::verdict`] tells what becomes of it.
    pub(crate) fn unsent(&mut self, branch: &Branch, reason: String, full: bool) {
        let loss = Loss::Unsent { reason, full };
        self.note(Lost { loss, gateway: branch.gateway.clone(), sip_call_id: None });
    }

    /// One branch was redirected: these are the places that it may go to, best first. `None`: there is nowhere to go, and
    /// the redirection is a failure like others.
    pub(crate) fn redirected(&mut self, session: SessionId, places: Vec<Branch>) -> Option<Verdict> {
        let mut places = places;
        // RFC 3261 §8.1.3.4: "the client MUST NOT add any given URI to the target set more than once".
        places.retain(|place| self.visited.insert(place.request_uri.to_string()));
        places.truncate(MAX_PLACES);
        if places.is_empty() || self.redirects == 0 {
            return None;
        }
        self.under_way.remove(&session)?;
        self.redirects -= 1;
        // Whoever redirects has spoken for the customer: other gateways know no better.
        if self.search == Search::Gateways {
            self.groups.clear();
        }
        for place in places.into_iter().rev() {
            self.groups.push_front(Group { branches: vec![place], search: Search::Redirected });
        }
        // The order is the redirecting server's, one at a time, so that no two phones ring for one call.
        Some(if self.under_way.is_empty() { Verdict::Next } else { Verdict::Wait })
    }

    /// One branch has refused what we have offered, SRTP beside plain RTP. The same with SRTP alone, to try at once, unless
    /// it was that already or somebody has been disturbed.
    pub(crate) fn insist(&mut self, session: SessionId, refusal: Failure) -> Option<Branch> {
        let is_told = |sent: &Sent| sent.branch.media != BranchMedia::Usual;
        if !self.may_go_on() || self.under_way.get(&session).is_none_or(is_told) {
            return None;
        }
        let Sent { branch, sip_call_id } = self.under_way.remove(&session)?;
        self.note(Lost { loss: Loss::Failed(refusal), gateway: branch.gateway.clone(), sip_call_id });
        Some(Branch { media: BranchMedia::SrtpAlone, ..branch })
    }

    pub(crate) fn branch(&self, session: SessionId) -> Option<&Branch> {
        self.under_way.get(&session).map(|sent| &sent.branch)
    }

    /// A provisional response beyond 100 has come: a phone rings, or an announcement plays.
    pub(crate) fn progressed(&mut self) {
        self.disturbed = true;
    }

    /// One branch has answered and the hunt is over; these others are to be canceled.
    pub(crate) fn answered(&mut self, winner: SessionId) -> Vec<SessionId> {
        self.groups.clear();
        self.under_way.remove(&winner);
        std::mem::take(&mut self.under_way).into_keys().collect()
    }

    /// One branch has failed, or was given up.
    pub(crate) fn failed(&mut self, session: SessionId, loss: Loss) -> Verdict {
        let Some(Sent { branch, sip_call_id }) = self.under_way.remove(&session) else {
            return Verdict::Wait;
        };
        let goes_on = match (self.search, &loss) {
            (Search::Gateways, Loss::Failed(failure)) => self.may_go_on() && fails_over(failure),
            (Search::Gateways, Loss::RangOut | Loss::Unsent { .. }) => self.may_go_on(),
            // RFC 3261 §16.7 item 5: after a 6xx a proxy "MUST NOT create any new branches in this context".
            (Search::Contacts | Search::Redirected, Loss::Failed(failure)) => {
                !matches!(failure.cause, FailureCause::Response(600..))
            }
            (Search::Contacts | Search::Redirected, Loss::RangOut | Loss::Unsent { .. }) => true,
        };
        let lost = Lost { loss, gateway: branch.gateway, sip_call_id };
        if !goes_on {
            return Verdict::Over(lost);
        }
        self.note(lost);
        self.verdict()
    }

    /// Keeps the failure that says most; the later one of two alike.
    fn note(&mut self, lost: Lost) {
        if self.failure.as_ref().is_none_or(|before| weight(&lost.loss) >= weight(&before.loss)) {
            self.failure = Some(lost);
        }
    }

    /// What becomes of the hunt, as its branches are.
    pub(crate) fn verdict(&mut self) -> Verdict {
        match (self.under_way.is_empty(), self.groups.is_empty()) {
            (false, _) => Verdict::Wait,
            (true, false) => Verdict::Next,
            (true, true) => self.failure.take().map_or(Verdict::Wait, Verdict::Over),
        }
    }
}

/// Whether a failure is the gateway's or the network's, so that another gateway may do better. Everything else is the
/// customer's, or would be the same everywhere.
pub(crate) fn fails_over(failure: &Failure) -> bool {
    let status = match failure.cause {
        FailureCause::Timeout | FailureCause::Transport | FailureCause::Resolve => return true,
        FailureCause::Cancelled => return false,
        FailureCause::Response(status) => status,
    };
    // A Q.850 cause says more than the status: gateways put "user busy" and "unallocated number" into 503 and 500, and
    // "no circuit available" into 480.
    match failure.q850.and_then(by_q850) {
        Some(Disposition::Congestion | Disposition::NetworkError) => return status < 600,
        Some(_) => return false,
        None => {}
    }
    match status {
        // RFC 3261 §21.4.9: "The server could not produce a response within a suitable amount of time". Nobody has rung
        // (`Hunt::disturbed`), so it is the way that took too long.
        408 => true,
        // RFC 5626 §11.6: the edge proxy has lost its flow to the next hop.
        430 => true,
        // §21.5.1: "The server encountered an unexpected condition".
        500 => true,
        // §21.5.3: what is behind the gateway talks nonsense to it.
        502 => true,
        // §21.5.4: "The client (proxy or UAC) receiving a 503 (Service Unavailable) SHOULD attempt to forward the request
        // to an alternate server."
        503 => true,
        // §21.5.5: what is behind the gateway does not answer it.
        504 => true,
        // 401, 403, 407: our account. 404, 480, 486, 6xx and the like: the customer. 415, 420, 488, 501, 505, 513: our
        // request, which is the same everywhere.
        _ => false,
    }
}

/// How much a failure says about the call when several branches have failed: congestion only if every gateway has it.
fn weight(loss: &Loss) -> u8 {
    let failure = match loss {
        Loss::Unsent { .. } => return 0,
        // Nobody was there; another place may have known better.
        Loss::RangOut => return 3,
        Loss::Failed(failure) => failure,
    };
    match failure.cause {
        FailureCause::Response(300..=399) | FailureCause::Cancelled => 0,
        FailureCause::Response(500 | 503 | 504) => 1,
        FailureCause::Response(502) | FailureCause::Timeout => 2,
        FailureCause::Transport | FailureCause::Resolve => 2,
        FailureCause::Response(404 | 408 | 430 | 480 | 487) => 3,
        FailureCause::Response(600..) => 5,
        FailureCause::Response(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(n: u64) -> Branch {
        let uri: Uri = format!("sip:1@192.0.2.{n}").parse().unwrap();
        Branch {
            to: NameAddr::new(uri.clone()),
            request_uri: uri,
            target: Target { host: format!("192.0.2.{n}"), ..Target::default() },
            route: Vec::new(),
            credentials: None,
            gateway: None,
            is_foreign: false,
            media: BranchMedia::Usual,
        }
    }

    fn failure(cause: FailureCause) -> Failure {
        Failure::new(cause)
    }

    fn status(status: u16) -> Failure {
        failure(FailureCause::Response(status))
    }

    /// A hunt over these groups; the sessions of its branches are numbered from 1.
    struct Trial {
        hunt: Hunt,
        sent: u64,
    }

    impl Trial {
        fn new(search: Search, sizes: &[u64]) -> Self {
            let groups = sizes
                .iter()
                .map(|&size| Group { branches: (1..=size).map(branch).collect(), search })
                .collect();
            let mut trial = Self { hunt: Hunt::new(groups, 2), sent: 0 };
            trial.next();
            trial
        }

        fn next(&mut self) {
            for branch in self.hunt.next().expect("there is another group") {
                self.sent += 1;
                self.hunt.sent(SessionId(self.sent), branch, Some(self.sent.to_string()));
            }
        }

        #[track_caller]
        fn fails(&mut self, session: u64, failure: Failure, expected: Told) {
            self.is_lost(session, Loss::Failed(failure), expected);
        }

        #[track_caller]
        fn is_lost(&mut self, session: u64, loss: Loss, expected: Told) {
            let told = match self.hunt.failed(SessionId(session), loss) {
                Verdict::Wait => Told::Wait,
                Verdict::Next => Told::Next,
                Verdict::Over(lost) => Told::Over(lost.sip_call_id.unwrap().parse().unwrap(), lost.loss),
            };
            assert_eq!(told, expected);
            if expected == Told::Next {
                self.next();
            }
        }
    }

    /// What the hunt came to: when it is over, by which session and how.
    #[derive(Debug, PartialEq)]
    enum Told {
        Wait,
        Next,
        Over(u64, Loss),
    }

    fn over(session: u64, failure: Failure) -> Told {
        Told::Over(session, Loss::Failed(failure))
    }

    #[test]
    fn gateways_are_tried_in_turn_and_the_failure_that_says_most_is_told() {
        use FailureCause::{Resolve, Timeout, Transport};
        for (first, second, told) in [
            (status(503), status(500), 2),
            (status(503), failure(Timeout), 2),
            (failure(Transport), status(503), 1),
            (failure(Resolve), status(408), 2),
            (status(408), status(503), 1),
            // What the customer says decides, whatever came before.
            (status(408), status(486), 2),
            (status(503), status(603), 2),
        ] {
            let expected = over(told, if told == 1 { first.clone() } else { second.clone() });
            let mut trial = Trial::new(Search::Gateways, &[1, 1]);
            assert!(trial.hunt.has_next());
            trial.fails(1, first, Told::Next);
            assert!(!trial.hunt.has_next());
            trial.fails(2, second, expected);
        }
    }

    #[test]
    fn only_what_gateways_do_leads_to_another_gateway() {
        let over = [408, 430, 500, 502, 503, 504];
        for code in 300..700 {
            assert_eq!(fails_over(&status(code)), over.contains(&code), "{code}");
        }
        for (code, cause, expected) in [
            (503, 17, false), // user busy
            (500, 1, false),  // unallocated number
            (503, 16, true),  // normal clearing says nothing
            (480, 34, true),  // no circuit
            (404, 3, true),   // no route to destination
            (603, 34, false), // 6xx: nowhere
            (503, 27, false), // the customer's phone is out of order
        ] {
            let failure = Failure { q850: Some(cause), ..status(code) };
            assert_eq!(fails_over(&failure), expected, "{code} with cause {cause}");
        }
    }

    #[test]
    fn a_customer_who_may_have_been_disturbed_is_not_called_again() {
        let mut trial = Trial::new(Search::Gateways, &[1, 1]);
        trial.hunt.progressed();
        assert!(!trial.hunt.has_next());
        trial.fails(1, status(503), over(1, status(503)));
    }

    #[test]
    fn contacts_ring_at_once_and_the_best_refusal_is_told() {
        let mut trial = Trial::new(Search::Contacts, &[3, 1]);
        trial.hunt.progressed();
        trial.fails(2, status(486), Told::Wait);
        trial.fails(1, status(404), Told::Wait);
        trial.fails(1, status(404), Told::Wait);
        trial.fails(3, failure(FailureCause::Timeout), Told::Next);
        trial.fails(4, status(480), over(2, status(486)));
    }

    #[test]
    fn ringing_out_says_as_much_as_nobody_being_there() {
        let mut trial = Trial::new(Search::Contacts, &[2, 1]);
        trial.fails(1, status(503), Told::Wait);
        trial.is_lost(2, Loss::RangOut, Told::Next);
        trial.fails(3, failure(FailureCause::Timeout), Told::Over(2, Loss::RangOut));
    }

    #[test]
    fn what_cannot_be_sent_holds_up_nobody() {
        let unsent = || Loss::Unsent { reason: "no".into(), full: true };
        let mut trial = Trial::new(Search::Contacts, &[1, 1]);
        trial.hunt.unsent(&branch(9), "no".into(), true);
        assert_eq!(trial.hunt.verdict(), Verdict::Wait, "the other one rings");
        trial.fails(1, status(503), Told::Next);
        trial.hunt.unsent(&branch(9), "no".into(), true);
        trial.fails(2, status(500), over(2, status(500)));

        let mut alone = Hunt::new(vec![Group { branches: vec![branch(1)], search: Search::Gateways }], 0);
        let branches = alone.next().unwrap();
        alone.unsent(&branches[0], "no".into(), true);
        let lost = Lost { loss: unsent(), gateway: None, sip_call_id: None };
        assert_eq!(alone.verdict(), Verdict::Over(lost));
    }

    #[test]
    fn a_contact_that_speaks_for_all_ends_the_hunt() {
        let mut trial = Trial::new(Search::Contacts, &[2, 1]);
        trial.fails(1, status(603), over(1, status(603)));
    }

    #[test]
    fn the_first_answer_wins_and_the_others_are_named() {
        let mut trial = Trial::new(Search::Contacts, &[3, 1]);
        trial.fails(1, status(486), Told::Wait);
        assert_eq!(trial.hunt.answered(SessionId(3)), [SessionId(2)]);
        assert!(!trial.hunt.has_next());
        trial.fails(2, status(487), Told::Wait);
    }

    #[test]
    fn redirections_are_followed_in_order_once_each_and_not_for_ever() {
        let mut trial = Trial::new(Search::Gateways, &[1, 1]);
        let verdict = trial.hunt.redirected(SessionId(1), vec![branch(5), branch(1), branch(6)]);
        assert_eq!(verdict, Some(Verdict::Next));
        trial.next();
        trial.fails(2, status(480), Told::Next);
        assert_eq!(trial.hunt.redirected(SessionId(3), vec![branch(5), branch(6)]), None, "a loop");
        assert_eq!(trial.hunt.redirected(SessionId(3), vec![branch(7)]), Some(Verdict::Next));
        trial.next();
        assert_eq!(trial.hunt.redirected(SessionId(4), vec![branch(8)]), None, "two are enough");
        trial.fails(4, status(302), over(2, status(480)));
    }

    #[test]
    fn who_refuses_srtp_beside_plain_rtp_is_offered_it_alone_once() {
        let mut trial = Trial::new(Search::Gateways, &[1]);
        let again = trial.hunt.insist(SessionId(1), status(488)).unwrap();
        assert_eq!(again.media, BranchMedia::SrtpAlone);
        trial.hunt.sent(SessionId(2), again, Some("2".into()));
        assert!(trial.hunt.insist(SessionId(2), status(488)).is_none());
        // What the second refusal says less of, the first has said.
        trial.fails(2, failure(FailureCause::Timeout), over(1, status(488)));

        let mut trial = Trial::new(Search::Gateways, &[1]);
        trial.hunt.progressed();
        assert!(trial.hunt.insist(SessionId(1), status(488)).is_none(), "the phone has rung");
    }

    #[test]
    fn hosts_that_a_redirection_chose_are_not_told_who_calls() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let template = Template {
            from: NameAddr::new("sip:a@b".parse().unwrap()),
            headers: vec![header("P-Asserted-Identity", "<sip:a@b>"), header("X-Account", "secret")],
            asked: vec![header("p-preferred-identity", "<sip:a@b>"), header("X-Job", "7")],
            reliable: Reliable::Off,
            session_interval: None,
        };
        let sent = |is_foreign| {
            let branch = Branch { is_foreign, ..branch(1) };
            branch.invite(&template, None).headers
        };
        assert_eq!(sent(false), [&template.asked[..], &template.headers].concat());
        assert_eq!(sent(true), template.asked[1..]);
    }
}
