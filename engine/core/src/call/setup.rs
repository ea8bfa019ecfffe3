//! Towards the answer: the offer, the INVITE or the caller's, early media, and what the API says meanwhile.

use super::*;

impl LiveCall {
    /// The journal has the call.
    pub(crate) fn accepted(&mut self, ctx: &mut Context<'_>) {
        match self.leave(|state| {
            if let State::Accepting(of) = state { (Some(of), State::Over) } else { (None, state) }
        }) {
            Some(Origin::Outbound(dial)) => self.state = State::Queued(dial),
            Some(Origin::Inbound(offer)) => self.screen(ctx, offer),
            None => {}
        }
    }

    /// Takes out what a state holds, for the next state to be put in; others stay.
    fn leave<T>(&mut self, part: impl FnOnce(State) -> (Option<T>, State)) -> Option<T> {
        let (left, state) = part(std::mem::replace(&mut self.state, State::Over));
        self.state = state;
        left
    }

    /// Its turn has come.
    pub(crate) fn begin(&mut self, ctx: &mut Context<'_>) {
        let Some(mut dial) = self.leave(|state| {
            if let State::Queued(dial) = state { (Some(dial), State::Over) } else { (None, state) }
        }) else {
            debug_assert!(false, "only queued calls are given a turn");
            return;
        };
        self.marks.admitted = Some(ctx.now);
        ctx.timers.cancel(self.leg, CallTimer::Queue);
        ctx.timers.set(self.leg, CallTimer::Ring, ctx.now + dial.ring_timeout);
        let mut no_way = None;
        if let Some(id) = self.trunk {
            let ways = match ctx.trunks.get_mut(id) {
                Some(trunk) => {
                    trunk.enter(ctx.now);
                    trunk.ways(&dial.called, ctx.random)
                }
                None => Err(NoWay { evidence: Evidence::TrunkRejected, reason: "Trunk Deleted" }),
            };
            match ways {
                Ok(ways) => dial.ways = ways,
                Err(none) => no_way = Some(none),
            }
        }
        if let (Some(name), Called::Uri(aor)) = (&self.record.endpoint, &dial.called) {
            dial.ways = ctx.registrar.ways(ctx.now, name, aor);
            // Each group rings for its share of the time.
            dial.failover = dial.ring_timeout / u32::try_from(dial.ways.len()).unwrap_or(1).max(1);
            if dial.ways.is_empty() {
                // RFC 3261 §16.5 and §21.4.18: nobody is registered. "Subscriber absent" tells it from a phone that does
                // not answer.
                let (status, q850) = (480, Some(20));
                (self.record.sip_status, self.record.q850_cause) = (Some(status), q850);
                self.record.sip_reason = Some("Endpoint Not Registered".to_owned());
                return self.end(ctx, Evidence::Response { status, q850 }, EndedBy::Engine);
            }
        }
        self.state = State::Opening(Origin::Outbound(dial));
        match no_way {
            Some(NoWay { evidence, reason }) => {
                self.record.sip_reason = Some(reason.to_owned());
                self.end(ctx, evidence, EndedBy::Engine);
            }
            None => self.open_media(ctx),
        }
    }

    /// The media port is open.
    pub(super) fn opened(&mut self, ctx: &mut Context<'_>, addr: SocketAddr) {
        match self.leave(
            |state| if let State::Opening(of) = state { (Some(of), State::Over) } else { (None, state) },
        ) {
            Some(Origin::Outbound(dial)) => self.invite(ctx, *dial, addr),
            Some(Origin::Inbound(offer)) => self.accept_offer(ctx, *offer, addr),
            None => {}
        }
    }

    /// The address that SDP tells: the trunk's own, where it has one.
    fn media_address(&self, ctx: &Context<'_>, addr: SocketAddr) -> SocketAddr {
        let trunk = self.trunk.and_then(|id| ctx.trunks.get(id));
        let ip = trunk.and_then(|trunk| trunk.config.public_ip).filter(|ip| ip.is_ipv4() == addr.is_ipv4());
        ip.map_or(addr, |ip| SocketAddr::new(ip, addr.port()))
    }

    /// Begins the hunt.
    fn invite(&mut self, ctx: &mut Context<'_>, dial: Dial, addr: SocketAddr) {
        let Dial {
            template,
            called: _,
            ways,
            redirects,
            failover,
            codecs,
            srtp,
            late_offer,
            ring_timeout,
            early_media,
            assertion,
            from: _,
        } = dial;
        let local = local_media(ctx, self.media_address(ctx, addr), codecs, self.dtmf_method(ctx), srtp);
        let mut branches = ways.iter().flat_map(|group| &group.branches);
        let dtls = match branches.any(|branch| branch.media == BranchMedia::WebRtc) {
            true => local_dtls(ctx),
            false => None,
        };
        let offer = (!late_offer).then(|| Body::sdp(sdp::offer(&local)));
        let hunt = Hunt::new(ways, redirects);
        let inviting =
            Inviting { hunt, template, offer, local, dtls, failover, early_media, early: None, assertion };
        self.state = State::Inviting(Box::new(inviting));
        // It spans the whole hunt.
        ctx.timers.set(self.leg, CallTimer::Ring, ctx.now + ring_timeout);
        self.try_next(ctx);
    }

    /// Sends the INVITEs of the next group that any can be sent of.
    fn try_next(&mut self, ctx: &mut Context<'_>) {
        loop {
            let State::Inviting(inviting) = &mut self.state else { return };
            let Some(branches) = inviting.hunt.next() else { return };
            // What others have said tells nothing of these.
            self.record.sip_status = None;
            self.record.sip_reason = None;
            self.record.q850_cause = None;
            for branch in branches {
                self.send(ctx, branch);
            }
            let State::Inviting(inviting) = &mut self.state else { return };
            match inviting.hunt.verdict() {
                Verdict::Next => {}
                Verdict::Over(lost) => return self.lost(ctx, lost),
                Verdict::Wait => {
                    match inviting.hunt.has_next() {
                        true => ctx.timers.set(self.leg, CallTimer::Failover, ctx.now + inviting.failover),
                        false => ctx.timers.cancel(self.leg, CallTimer::Failover),
                    }
                    self.marks.tried = Some(ctx.now);
                    if self.marks.invited.is_none() {
                        self.marks.invited = Some(ctx.now);
                        self.emit_initiated(ctx);
                    }
                    return;
                }
            }
        }
    }

    /// Sends the INVITE of one branch.
    fn send(&mut self, ctx: &mut Context<'_>, branch: Branch) {
        let State::Inviting(inviting) = &mut self.state else { return };
        let (_, offer) = inviting.told(branch.media);
        let mut invite = branch.invite(&inviting.template, offer);
        // Each branch anew: another call is not believed with the same token, nor any after a minute. It has the caller's
        // number, which is not for hosts that nobody here has chosen.
        let assertion = inviting.assertion.as_ref().filter(|_| !branch.is_foreign);
        let signed = assertion
            .map_or(Ok(None), |assertion| ctx.identities.identity(assertion, ctx.clock.unix_ms(ctx.now)));
        match signed {
            Ok(identity) => invite.headers.extend(identity.map(|value| ("Identity".to_owned(), value))),
            Err(failed) => return inviting.hunt.unsent(&branch, failed.to_string(), false),
        }
        match ctx.endpoint.invite(ctx.now, invite) {
            Ok(session) => {
                ctx.attach(session, self.leg, &self.record.id);
                self.sessions.insert(session);
                let sip_call_id = ctx.endpoint.session_call_id(session).map(|id| id.to_string());
                self.record.attempts += 1;
                self.record.gateway = branch.gateway.as_deref().map(str::to_owned);
                self.record.sip_call_id.clone_from(&sip_call_id);
                inviting.hunt.sent(session, branch, sip_call_id);
            }
            Err(error) => {
                let full = matches!(error, Error::TooManySessions | Error::TooManyTransactions);
                inviting.hunt.unsent(&branch, error.to_string(), full);
            }
        }
    }

    /// Does what the hunt has come to.
    pub(super) fn follow(&mut self, ctx: &mut Context<'_>, verdict: Verdict) {
        match verdict {
            Verdict::Wait => {}
            Verdict::Next => self.try_next(ctx),
            Verdict::Over(lost) => {
                // Their 487 is not how the call came out.
                for session in self.sessions.clone() {
                    drop_session(&mut self.sessions, ctx, session, None);
                }
                self.lost(ctx, lost);
            }
        }
    }

    /// Nobody was reached: ends the call by the branch that says most.
    fn lost(&mut self, ctx: &mut Context<'_>, lost: Lost) {
        let Lost { loss, gateway, sip_call_id } = lost;
        self.record.gateway = gateway.as_deref().map(str::to_owned);
        self.record.sip_call_id = sip_call_id;
        match loss {
            Loss::Failed(failure) => self.failed(ctx, failure),
            Loss::RangOut => self.end(ctx, Evidence::RingTimeout, EndedBy::Engine),
            Loss::Unsent { reason, full } => {
                self.record.sip_reason = Some(reason);
                self.end(ctx, if full { Evidence::Limit } else { Evidence::Internal }, EndedBy::Engine);
            }
        }
    }

    /// Gives up the branches that have been silent for too long, and contacts that have rung long enough.
    pub(super) fn fail_over(&mut self, ctx: &mut Context<'_>) {
        let State::Inviting(inviting) = &self.state else { return };
        let search = inviting.hunt.search();
        let mut verdict = Verdict::Wait;
        for session in self.sessions.clone() {
            let loss = match (ctx.endpoint.is_unheard(session), search) {
                (true, _) => Loss::Failed(Failure::new(FailureCause::Timeout)),
                (false, Search::Contacts) => Loss::RangOut,
                (false, Search::Gateways | Search::Redirected) => continue,
            };
            verdict = self.branch_failed(ctx, session, loss);
            drop_session(&mut self.sessions, ctx, session, None);
        }
        self.follow(ctx, verdict);
    }

    /// One branch has failed: its gateway's health and the hunt take note.
    pub(super) fn branch_failed(&mut self, ctx: &mut Context<'_>, session: SessionId, loss: Loss) -> Verdict {
        let State::Inviting(inviting) = &mut self.state else { return Verdict::Wait };
        // What it has sent early is over; another branch's is listened to.
        if inviting.early.take_if(|early| early.session == session).is_some() {
            self.record.status = match self.record.ringing_at {
                Some(_) => CallStatus::Ringing,
                None => CallStatus::Initiated,
            };
        }
        let Loss::Failed(failure) = &loss else { return inviting.hunt.failed(session, loss) };
        let gateway = inviting.hunt.branch(session).and_then(|branch| branch.gateway.as_ref());
        if let (Some(gateway), Some(sign)) = (gateway, Sign::of_call(failure)) {
            ctx.sign(self.trunk, gateway, sign);
        }
        if let FailureCause::Response(300..=399) = failure.cause
            && let Some(branch) = inviting.hunt.branch(session)
            && let Some(trunk) = self.trunk.and_then(|id| ctx.trunks.get(id))
        {
            let places = failure.contacts.iter().filter_map(|contact| trunk.redirect(branch, contact.uri()));
            let places = places.collect();
            if let Some(verdict) = inviting.hunt.redirected(session, places) {
                return verdict;
            }
        }
        // RFC 3261 §21.4.26: a 488 is about the session that was offered, and another may be tried. Phones that take SRTP alone
        // refuse it beside plain RTP (RFC 8643 is younger than they are), and there is no telling that from other reasons.
        if let FailureCause::Response(488 | 606) = failure.cause
            && inviting.offers_either()
            && let Some(branch) = inviting.hunt.insist(session, failure.clone())
        {
            self.send(ctx, branch);
            let State::Inviting(inviting) = &mut self.state else { return Verdict::Wait };
            return inviting.hunt.verdict();
        }
        inviting.hunt.failed(session, loss)
    }

    pub(super) fn emit_initiated(&mut self, ctx: &mut Context<'_>) {
        self.record.status = CallStatus::Initiated;
        let Call { to, from, trunk, parent_call_id, .. } = self.record.clone();
        let data = EventData::CallInitiated { to, from, trunk, parent_call_id };
        self.emit(ctx, data);
    }

    pub(super) fn provisional(
        &mut self,
        ctx: &mut Context<'_>,
        session: SessionId,
        status: u16,
        body: Option<Bytes>,
    ) {
        let State::Inviting(inviting) = &mut self.state else { return };
        inviting.hunt.progressed();
        if let Some(gateway) = inviting.hunt.branch(session).and_then(|branch| branch.gateway.clone()) {
            ctx.sign(self.trunk, &gateway, Sign::Alive);
        }
        self.record.sip_status = Some(status);
        if matches!(status, 180..=183) {
            self.marks.progress.get_or_insert(ctx.now);
        }
        let is_described = body.is_some();
        let early = body.filter(|_| inviting.early.is_none());
        let mut start = None;
        // Without an offer of ours there is nothing yet that this could answer; the offer comes in `offered`.
        let (local, offer) = inviting.told_to(session);
        let early = early.zip(offer);
        if let Some((sdp, offer)) = &early {
            let exchange = sdp::accept_answer(&local, sdp)
                .ok()
                .map(|negotiated| Box::new(Exchange::new(local.clone(), offer.bytes.clone(), negotiated)));
            start = match inviting.early_media {
                EarlyMedia::Connect => exchange.as_ref().map(|exchange| exchange.negotiated().clone()),
                EarlyMedia::Ignore => None,
            };
            inviting.early = Some(Early { session, sdp: sdp.clone(), exchange, runs: start.is_some() });
        }
        let is_early = early.is_some();
        let is_heard = inviting.early.is_some();
        // RFC 3261 §21.1: it rings, is forwarded or queued, or makes progress of which nothing is heard. Each is told once.
        let rings = status == 180 || matches!(status, 181..=183) && !is_described;
        if rings && !self.marks.rung.contains(&status) {
            self.marks.rung.push(status);
            if self.record.ringing_at.is_none() {
                self.record.ringing_at = Some(ctx.timestamp());
            }
            if !is_heard {
                self.record.status = CallStatus::Ringing;
            }
            self.emit(ctx, EventData::CallRinging { sip_status: status });
        }
        if is_early {
            self.early_media(ctx, start);
        }
    }

    /// The callee has described its media before the answer.
    fn early_media(&mut self, ctx: &mut Context<'_>, start: Option<Negotiated>) {
        self.record.status = CallStatus::EarlyMedia;
        self.emit(ctx, EventData::CallEarlyMedia {});
        if let Some(negotiated) = start {
            self.start_media(ctx, negotiated);
        }
    }

    /// The callee offers before the answer, in a reliable provisional response: RFC 3261 §13.2.1: "The initial offer MUST
    /// be in … the first reliable non-failure message from the UAS back to the UAC". The answer to give, if it is the
    /// first.
    pub(super) fn early_offer(
        &mut self,
        ctx: &mut Context<'_>,
        session: SessionId,
        offer: &Bytes,
    ) -> Option<Result<Body, SdpError>> {
        let State::Inviting(inviting) = &mut self.state else { return None };
        if inviting.offer.is_some() || inviting.early.is_some() {
            return None;
        }
        let local = inviting.local.clone();
        let (answer, negotiated) = match sdp::answer(offer, &local) {
            Ok(agreed) => agreed,
            Err(error) => return Some(Err(error)),
        };
        let answer = Bytes::from(answer);
        let runs = inviting.early_media == EarlyMedia::Connect;
        let exchange = Some(Box::new(Exchange::new(local, answer.clone(), negotiated.clone())));
        inviting.early = Some(Early { session, sdp: offer.clone(), exchange, runs });
        self.early_media(ctx, runs.then_some(negotiated));
        Some(Ok(Body::sdp(answer)))
    }

    pub(super) fn answered(&mut self, ctx: &mut Context<'_>, session: SessionId, body: Option<Bytes>) {
        // Crossed with our CANCEL: the endpoint hangs up by itself.
        let State::Inviting(inviting) = &mut self.state else { return };
        let (local, offer) = inviting.told_to(session);
        if let Some(branch) = inviting.hunt.branch(session) {
            if let Some(gateway) = &branch.gateway {
                ctx.sign(self.trunk, gateway, Sign::Alive);
            }
            self.record.gateway = branch.gateway.as_deref().map(str::to_owned);
            self.record.sip_call_id = ctx.endpoint.session_call_id(session).map(|id| id.to_string());
        }
        for loser in inviting.hunt.answered(session) {
            // RFC 3326 §1: without it phones that did not answer would tell of a missed call.
            let text = Some("Call completed elsewhere".to_owned());
            let reason = Reason { protocol: ReasonProtocol::Sip, cause: 200, text };
            drop_session(&mut self.sessions, ctx, loser, Some(reason));
        }
        self.marks.progress.get_or_insert(ctx.now);
        self.record.sip_status = Some(200);
        // What another branch has sent early says nothing about this one.
        let early = inviting.early.take().filter(|early| early.session == session);
        // RFC 3261 §13.2.1: "the answer MUST be in a reliable non-failure message", so the 2xx decides; "That same exact
        // answer MAY also be placed in any provisional responses sent prior to the answer", and a peer that leaves it out
        // of the 2xx then is understood.
        let agreed = match (body, early) {
            (Some(sdp), Some(Early { sdp: early, exchange: Some(exchange), runs, .. })) if sdp == early => {
                Ok((exchange, runs))
            }
            (None, Some(Early { exchange: Some(exchange), runs, .. })) => Ok((exchange, runs)),
            (Some(sdp), _) | (None, Some(Early { sdp, exchange: None, .. })) => {
                let agreed = match &offer {
                    Some(offer) => {
                        sdp::accept_answer(&local, &sdp).map(|agreed| (offer.bytes.clone(), agreed))
                    }
                    None => sdp::answer(&sdp, &local).map(|(answer, agreed)| {
                        let answer = Bytes::from(answer);
                        // An error means that the ACK was not waited for: a PRACK has brought the answer.
                        let _ = ctx.endpoint.acknowledge(ctx.now, session, Body::sdp(answer.clone()));
                        (answer, agreed)
                    }),
                };
                agreed
                    .map(|(ours, agreed)| (Box::new(Exchange::new(local.clone(), ours, agreed)), false))
                    .map_err(|error| error.to_string())
            }
            (None, None) => Err("no SDP in the answer".to_owned()),
        };
        match agreed {
            Ok((exchange, runs)) => {
                let negotiated = exchange.negotiated().clone();
                self.exchange = Some(exchange);
                if !runs {
                    self.start_media(ctx, negotiated);
                }
                self.converse(ctx);
            }
            Err(why) => {
                self.record.sip_reason = Some(why);
                // RFC 3261 §13.2.2.4, of an offer in a 2xx that is not acceptable: "the UAC core MUST generate a valid
                // answer in the ACK and then send a BYE immediately". The endpoint has sent the ACK.
                let reason = Reason { protocol: ReasonProtocol::Sip, cause: 488, text: None };
                self.release_sessions(ctx, None, Some(reason));
                self.end(ctx, Evidence::Incompatible, EndedBy::Engine);
            }
        }
    }

    /// Answers an inbound call, now that the port is known.
    pub(super) fn accept_offer(&mut self, ctx: &mut Context<'_>, offer: Offer, addr: SocketAddr) {
        let dtmf = self.dtmf_method(ctx);
        let mut local = local_media(ctx, self.media_address(ctx, addr), offer.codecs, dtmf, offer.srtp);
        if offer.webrtc {
            local.srtp = local_dtls(ctx).map(LocalSrtp::Dtls);
        }
        let Some(session) = self.session() else {
            // The session's end has ended the call before.
            return self.end(ctx, Evidence::Internal, EndedBy::Engine);
        };
        let agreed = match &offer.sdp {
            Some(offer) => sdp::answer(offer, &local).map(|(body, agreed)| (Bytes::from(body), Some(agreed))),
            None => Ok((Bytes::from(sdp::offer(&local)), None)),
        };
        let (body, negotiated) = match agreed {
            Ok(agreed) => agreed,
            Err(error) => return self.give_up(ctx, error),
        };
        if ctx.endpoint.answer(ctx.now, session, Some(Body::sdp(body.clone()))).is_err() {
            self.release_sessions(ctx, Some(500), None);
            return self.end(ctx, Evidence::Internal, EndedBy::Engine);
        }
        self.record.sip_status = Some(200);
        match negotiated {
            Some(negotiated) => self.agreed(ctx, local, body, negotiated),
            None => self.state = State::Answering(Box::new((local, body))),
        }
    }

    /// The caller has acknowledged our answer, and answers the offer in it where it made none.
    pub(super) fn confirmed(&mut self, ctx: &mut Context<'_>, answer: Option<Bytes>) {
        if let Some(ours) = self.leave(|state| {
            if let State::Answering(ours) = state { (Some(ours), State::Over) } else { (None, state) }
        }) {
            let (local, body) = *ours;
            let agreed = match &answer {
                Some(answer) => sdp::accept_answer(&local, answer),
                None => Err(SdpError::NoAudio),
            };
            return match agreed {
                Ok(negotiated) => self.agreed(ctx, local, body, negotiated),
                Err(error) => self.give_up(ctx, error),
            };
        }
        // Who has taken the peer's place without an offer answers ours.
        if let (State::Connected(_), Some(exchange)) = (&self.state, &self.exchange)
            && exchange.is_offering()
        {
            self.offer_answered(ctx, Some(answer.unwrap_or_default()));
        }
    }

    fn agreed(&mut self, ctx: &mut Context<'_>, local: LocalMedia, body: Bytes, negotiated: Negotiated) {
        self.exchange = Some(Box::new(Exchange::new(local, body, negotiated.clone())));
        self.start_media(ctx, negotiated);
        self.converse(ctx);
    }

    /// Ends an inbound call that cannot be talked over.
    pub(super) fn give_up(&mut self, ctx: &mut Context<'_>, error: SdpError) {
        self.record.sip_reason = Some(error.to_string());
        let reason = Reason { protocol: ReasonProtocol::Sip, cause: 488, text: None };
        self.release_sessions(ctx, Some(488), Some(reason));
        self.end(ctx, Evidence::Incompatible, EndedBy::Engine);
    }

    /// Answered, with media running.
    pub(super) fn converse(&mut self, ctx: &mut Context<'_>) {
        self.state = State::Connected(Activity::Parked);
        self.record.status = CallStatus::InProgress;
        self.record.answered_at = Some(ctx.timestamp());
        ctx.timers.cancel(self.leg, CallTimer::Ring);
        ctx.timers.cancel(self.leg, CallTimer::Failover);
        ctx.timers.set(self.leg, CallTimer::Duration, ctx.now + self.plan.max_duration);
        self.emit(ctx, EventData::CallAnswered { codec: self.record.codec });
        self.answer_amd(ctx);
        if let Some(options) = self.plan.record.take() {
            self.start_recording(ctx, options);
        }
        if let Some(flow) = self.plan.flow.take() {
            self.start_flow(ctx, flow);
        }
    }

    pub(super) fn open_media(&mut self, ctx: &mut Context<'_>) {
        self.media = Media::Opening;
        ctx.media(self.leg, MediaCommand::Open);
    }

    pub(super) fn start_media(&mut self, ctx: &mut Context<'_>, negotiated: Negotiated) {
        self.media = Media::Running;
        self.record.codec = Some(to_api(negotiated.codec));
        self.record.srtp = match &negotiated.srtp {
            None => None,
            Some(Keying::Sdes(keys)) => Some(keys.suite().name().to_owned()),
            // What the handshake says, of which there is one for a call at most times.
            Some(Keying::Dtls(_)) => self.record.srtp.take(),
        };
        let config = LegConfig {
            // RFC 3550 §5.1: "The initial value of the sequence number SHOULD be random (unpredictable)"; so are the
            // timestamp's and the SSRC.
            ssrc: Ssrc(ctx.random.next_u32()),
            // Below 2^15, so that a receiver that loses the first packets of SRTP does not take a wrap for none (RFC 4568
            // §6.4).
            first_seq: SeqNo(ctx.random.next_u32() as u16 >> 1),
            first_timestamp: MediaTime(ctx.random.next_u32()),
            // RFC 7022 §4.2: a name for one session is at least 96 random bits, and tells nothing about the host.
            cname: format!("{:016x}{:08x}", ctx.random.next_u64(), ctx.random.next_u32()).into(),
            clock: NtpClock::from_unix_ms(ctx.now, ctx.clock.unix_ms(ctx.now)),
            rtcp_seed: ctx.random.next_u64(),
            rtp_timeout: ctx.rtp_timeout,
        };
        ctx.media(self.leg, MediaCommand::Start { config, negotiated });
        self.begin_amd(ctx);
    }

    // Commands of the API.

    /// Tells an inbound caller that it rings.
    pub(crate) fn ring(&mut self, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        let (State::Offered(_), Some(session)) = (&self.state, self.session()) else {
            return Err(self.wrong_state("only an unanswered inbound call can ring"));
        };
        if self.record.ringing_at.is_some() {
            return Ok(());
        }
        if ctx.endpoint.ring(ctx.now, session, 180, None).is_err() {
            // RFC 3262 §5: it would have to carry our offer, and there is no media port before the answer.
            return Err(self.wrong_state("this caller takes no ringing without our offer: answer or reject"));
        }
        self.record.ringing_at = Some(ctx.timestamp());
        self.record.status = CallStatus::Ringing;
        self.record.sip_status = Some(180);
        self.emit(ctx, EventData::CallRinging { sip_status: 180 });
        Ok(())
    }

    /// Answers an inbound call as soon as its media port is open.
    pub(crate) fn answer(&mut self, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        let offer = self.leave(|state| {
            if let State::Offered(offer) = state { (Some(offer), State::Over) } else { (None, state) }
        });
        let Some(offer) = offer else {
            return Err(self.wrong_state("only an unanswered inbound call can be answered"));
        };
        self.state = State::Opening(Origin::Inbound(offer));
        self.open_media(ctx);
        Ok(())
    }

    /// Refuses an inbound call with `status`.
    pub(crate) fn reject(&mut self, ctx: &mut Context<'_>, status: u16) -> Result<(), Refusal> {
        let State::Offered(_) = &self.state else {
            return Err(self.wrong_state("only an unanswered inbound call can be rejected"));
        };
        self.release_sessions(ctx, Some(status), None);
        self.end(ctx, Evidence::Response { status, q850: None }, EndedBy::Api);
        Ok(())
    }
}

impl Inviting {
    /// Whether we have offered SRTP beside plain RTP.
    fn offers_either(&self) -> bool {
        let policy = match &self.local.srtp {
            Some(LocalSrtp::Sdes(sdes)) => Some(sdes.policy),
            Some(LocalSrtp::Dtls(_)) | None => None,
        };
        self.offer.is_some() && policy == Some(SrtpPolicy::Optional)
    }

    /// Our media as a branch is told of them, and the offer if we make one.
    fn told(&self, media: BranchMedia) -> (LocalMedia, Option<Body>) {
        let mut local = self.local.clone();
        match (media, &mut local.srtp, &self.dtls) {
            (BranchMedia::SrtpAlone, Some(LocalSrtp::Sdes(sdes)), _) => sdes.policy = SrtpPolicy::Required,
            (BranchMedia::WebRtc, srtp, Some(dtls)) => *srtp = Some(LocalSrtp::Dtls(dtls.clone())),
            (BranchMedia::Usual | BranchMedia::SrtpAlone | BranchMedia::WebRtc, _, _) => {
                return (local, self.offer.clone());
            }
        }
        let offer = self.offer.as_ref().map(|_| Body::sdp(sdp::offer(&local)));
        (local, offer)
    }

    fn told_to(&self, session: SessionId) -> (LocalMedia, Option<Body>) {
        self.told(self.hunt.branch(session).map_or(BranchMedia::Usual, |branch| branch.media))
    }
}

/// Gives up a branch; the endpoint cancels it, or hangs up its late answer, and nobody wants to hear of it.
fn drop_session(
    sessions: &mut BTreeSet<SessionId>,
    ctx: &mut Context<'_>,
    session: SessionId,
    reason: Option<Reason>,
) {
    sessions.remove(&session);
    ctx.sessions.remove(&session);
    // Unknown only if it is over, which is what we want.
    let _ = ctx.endpoint.hangup(ctx.now, session, Hangup { reason, ..Hangup::default() });
}

fn local_media(
    ctx: &mut Context<'_>,
    addr: SocketAddr,
    codecs: Vec<Codec>,
    dtmf: DtmfMethod,
    srtp: Srtp,
) -> LocalMedia {
    LocalMedia {
        addr,
        codecs,
        ptime: Ptime::DEFAULT,
        // Who is not to send events has only tones; the leg listens for them.
        telephone_event: dtmf != DtmfMethod::Inband,
        rtcp_mux: true,
        srtp: local_srtp(ctx, srtp),
        // RFC 8866 §5.2 wants a numeric string; 63 bits keep out of the way of peers that read it as signed.
        direction: media_core::Direction::SendRecv,
        session_id: ctx.random.next_u64() >> 1,
        session_version: 1,
    }
}

/// Our keys for a call: nobody else ever has the same.
pub(super) fn local_srtp(ctx: &mut Context<'_>, srtp: Srtp) -> Option<LocalSrtp> {
    let policy = match srtp {
        Srtp::Off => return None,
        Srtp::Optional => SrtpPolicy::Optional,
        Srtp::Required => SrtpPolicy::Required,
    };
    Some(LocalSrtp::new(policy, |octets| ctx.random.fill_bytes(octets)))
}

/// Our side of a browser's media, if we have a certificate.
fn local_dtls(ctx: &mut Context<'_>) -> Option<LocalDtls> {
    let fingerprint = ctx.fingerprint?;
    let ice = Credentials::generate(|octets| ctx.random.fill_bytes(octets));
    Some(LocalDtls { ice, fingerprint, role: None })
}

/// Why an inbound offer cannot be answered, whatever our port will be.
pub(super) fn unusable(ctx: &mut Context<'_>, offer: &Offer) -> Option<SdpError> {
    let body = offer.sdp.as_ref()?;
    let nowhere = SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
    let mut local = local_media(ctx, nowhere, offer.codecs.clone(), DtmfMethod::Rfc4733, offer.srtp);
    if offer.webrtc {
        local.srtp = local_dtls(ctx).map(LocalSrtp::Dtls);
    }
    match sdp::answer(body, &local) {
        // Of which family our address is shows when the port is open.
        Ok(_) | Err(SdpError::AddressFamily { .. }) => None,
        Err(error) => Some(error),
    }
}
