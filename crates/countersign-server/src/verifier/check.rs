//! The way of a request through a verifier, from top to bottom. The numbers of the checks are the same in
//! [`Check::ALL`](countersign::Check::ALL) and in docs/reference/protocol.md, "The order of checks".

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use countersign::{Claimed, Code, Content, TARGET_OVERRIDES, Target};
use countersign_store::{ClientNetwork, Credential, Gate, KeyStore, QuotaLeft};
use http::{HeaderValue, Response, header::CACHE_CONTROL, request::Parts};
use http_body::Body;

use super::{
    Verifier,
    admission::{Admitted, Hidden},
    demand::{Arrival, Behind, Demand},
    handed_on::hand_on,
};
use crate::{
    BoxError,
    caller::{
        Caller,
        verification::{Requirements, Verification},
    },
    content::{
        Unfit,
        guarded_body::{AwaitedVerdict, GuardedBody},
        verified_body::VerifiedBody,
    },
    ingress::original_uri,
    recording::Recording,
    refusal::{
        self, Circumstances, Judge, add_quota_left,
        reason::{Blame, Reason, Refused},
        respond,
        unaccepted::Unaccepted,
    },
    route::{BodyMode, rollout::Rollout},
    telemetry::Outcome,
};

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// Makes the checks before the handler: 1 to 9. Returns the body for the handler, the changes to its response and what is counted
    /// of it, or else the refusal.
    pub(super) async fn check<B, C>(
        &self,
        head: &mut Parts,
        body: B,
        behind: &Behind,
    ) -> Result<(VerifiedBody<B>, Marks, Recording), Response<GuardedBody<C>>>
    where
        B: Body<Error: Into<BoxError>> + Unpin + Send,
    {
        if self.declared.is_public(head) {
            let target = Target::new(original_uri(head), head.version);
            let demand = self.declared.demand(head, target, Content::Absent, behind);
            if demand.rollout == Rollout::Enforce {
                for name in &TARGET_OVERRIDES {
                    head.headers.remove(name);
                }
            }
            return Ok((VerifiedBody::unchecked(body), Marks::default(), Recording::default()));
        }
        let arrival = Arrival::of(&body, self.clock.now());
        let judge = self.judge(arrival);
        let source = self.ingress.locate(head);
        let target = Target::new(original_uri(head), head.version);
        let demand = self.declared.demand(head, target, arrival.content, behind);
        let (rollout, measurement) = (demand.rollout, demand.begin_measurement());
        let mut recording = self.record(head, &demand, arrival, &measurement);
        let (accepted, requirements) = match rollout {
            Rollout::Off => {
                let body = VerifiedBody::unchecked(body);
                (Accepted::unknown(body, Outcome::Unchecked), Requirements::Ignored)
            }
            Rollout::Observe => {
                // 1 to 9, refusing nothing.
                let admitted =
                    self.admit(head, target, &demand, arrival, source, &mut recording).await;
                Box::pin(self.observe(head, admitted, &demand, body)).await
            }
            Rollout::Enforce => {
                // Checks 1 to 8.
                let admitted =
                    self.admit(head, target, &demand, arrival, source, &mut recording).await;
                let received = match admitted {
                    Ok(admitted) => {
                        // 9. The content.
                        let recording = &mut recording;
                        self.receive(admitted, &demand, body, head, arrival, recording).await
                    }
                    Err(refused) => Err(refused),
                };
                match received {
                    Ok(accepted) => (accepted, Requirements::Enforced),
                    Err(refused) => {
                        measurement.end(Outcome::Refused(refused.reason.code()));
                        self.failures.charge(self.failures.payer(head), refused.reason.blame());
                        self.advise(head, &refused.reason);
                        let circumstances = Circumstances {
                            method: &head.method,
                            version: head.version,
                            headers: Some(&head.headers),
                            content: arrival.content,
                            judge: Some(&judge),
                        };
                        let mut response: Response<GuardedBody<C>> =
                            respond(&refused, &circumstances);
                        recording.refuse(refused.reason.code());
                        recording.respond(response.status());
                        response.body_mut().record(recording);
                        return Err(response);
                    }
                }
            }
        };
        let Accepted { caller, content, mut body, hidden, marks, outcome } = accepted;
        measurement.end(outcome);
        recording.pass();
        body.record(&mut recording, arrival.content);
        if rollout == Rollout::Enforce {
            hand_on(&mut head.headers, &hidden);
        }
        let route = demand.label();
        head.extensions.insert(Verification {
            caller,
            content,
            requirements,
            route,
            arrived: arrival.content,
            judge,
        });
        Ok((body, marks, recording))
    }

    /// Reads the content of an admitted request.
    async fn receive<B>(
        &self,
        admitted: Box<Admitted>,
        demand: &Demand<'_>,
        body: B,
        head: &Parts,
        arrival: Arrival,
        recording: &mut Recording,
    ) -> Result<Accepted<B>, Refused>
    where
        B: Body<Error: Into<BoxError>> + Unpin,
    {
        let private =
            |quota_left| Marks { caching: Caching::NoStore, quota_left, ..Marks::default() };
        // No signature covers a field that names another target.
        let hidden_from_unsigned = || Hidden::from(TARGET_OVERRIDES);
        Ok(match *admitted {
            Admitted::Open => Accepted {
                hidden: hidden_from_unsigned(),
                ..Accepted::unknown(VerifiedBody::unchecked(body), Outcome::Open)
            },
            Admitted::Publishable(caller, quota_left) => Accepted {
                caller: Some(caller),
                content: None,
                // The request has no content. Trailers, if any, are dropped.
                body: VerifiedBody::whole(Bytes::new()),
                hidden: hidden_from_unsigned(),
                marks: Marks { reader: self.failures.payer(head), ..private(quota_left) },
                outcome: Outcome::Publishable,
            },
            Admitted::Signed(caller, claimed, quota_left, hidden) => {
                let (mut marks, outcome) = (private(quota_left), Outcome::Signed);
                // Without content a handler reads nothing, and a stream that is not read to its end is a 500.
                let body_mode = match arrival.content {
                    Content::Absent => BodyMode::Buffered,
                    Content::Present => demand.body_mode,
                };
                match body_mode {
                    BodyMode::Elsewhere { .. } => {
                        let (caller, body) = (Some(caller), VerifiedBody::unchecked(body));
                        Accepted { caller, content: None, body, hidden, marks, outcome }
                    }
                    BodyMode::Buffered => {
                        let gathered = self.gather(demand, body, claimed, caller.credential());
                        let content = gathered.await.map_err(|unfit| {
                            recording.read(unfit.read.len());
                            unfit.reason
                        })?;
                        let body = VerifiedBody::whole(content.clone());
                        let (caller, content) = (Some(caller), Some(content));
                        Accepted { caller, content, body, hidden, marks, outcome }
                    }
                    BodyMode::Streamed { .. } => {
                        let limit = demand.content_limit(self.limit);
                        let (body, verdict) = VerifiedBody::streamed(body, claimed, limit);
                        marks.streamed = Some(AwaitedVerdict {
                            verdict,
                            method: head.method.clone(),
                            version: head.version,
                            judge: self.judge(arrival),
                        });
                        let caller = Some(caller);
                        Accepted { caller, content: None, body, hidden, marks, outcome }
                    }
                }
            }
        })
    }

    fn judge(&self, arrival: Arrival) -> Judge {
        Judge { now: arrival.at, settings: Arc::clone(&self.refusals) }
    }

    /// Reads the content of a signed request to its end. The future has a box of its own, as that of `admit`.
    fn gather<B: Body<Error: Into<BoxError>> + Unpin>(
        &self,
        demand: &Demand<'_>,
        body: B,
        claimed: Claimed,
        credential: &Credential,
    ) -> Pin<Box<impl Future<Output = Result<Bytes, Unfit<B>>> + use<B, K, G>>> {
        let share = self.share(demand, credential);
        Box::pin(demand.content_limit(self.limit).read(body, claimed, share))
    }

    /// Lets a request pass as it would have without a verifier. Counts and logs what the verifier and inner layers would refuse.
    async fn observe<B>(
        &self,
        head: &Parts,
        admitted: Result<Box<Admitted>, Refused>,
        demand: &Demand<'_>,
        body: B,
    ) -> (Accepted<B>, Requirements)
    where
        B: Body<Error: Into<BoxError>> + Unpin,
    {
        let observed =
            |caller: Caller| (Some(caller.clone()), Requirements::Observed(Some(caller)));
        let marks = Marks::default();
        match admitted.map(|admitted| *admitted) {
            Err(Refused { reason, .. }) => {
                let code = self.observe_refusal(head, &reason);
                let body = VerifiedBody::unchecked(body);
                (Accepted::unknown(body, Outcome::Refused(code)), Requirements::Ignored)
            }
            Ok(Admitted::Open) => {
                let body = VerifiedBody::unchecked(body);
                (Accepted::unknown(body, Outcome::Open), Requirements::Observed(None))
            }
            Ok(Admitted::Publishable(caller, _)) => {
                let (body, outcome) = (VerifiedBody::unchecked(body), Outcome::Publishable);
                let (caller, requirements) = observed(caller);
                let hidden = Hidden::default();
                (Accepted { caller, content: None, body, hidden, marks, outcome }, requirements)
            }
            Ok(Admitted::Signed(caller, claimed, _, _)) => match demand.body_mode {
                BodyMode::Buffered => {
                    match self.gather(demand, body, claimed, caller.credential()).await {
                        Ok(content) => {
                            let body = VerifiedBody::whole(content.clone());
                            let (caller, requirements) = observed(caller);
                            let (content, outcome) = (Some(content), Outcome::Signed);
                            let hidden = Hidden::default();
                            (
                                Accepted { caller, content, body, hidden, marks, outcome },
                                requirements,
                            )
                        }
                        Err(unfit) => {
                            let code = self.observe_refusal(head, &unfit.reason);
                            let body = VerifiedBody::resumed(unfit);
                            (Accepted::unknown(body, Outcome::Refused(code)), Requirements::Ignored)
                        }
                    }
                }
                // The content was not compared, so the handler learns of no caller.
                BodyMode::Streamed { .. } | BodyMode::Elsewhere { .. } => {
                    let body = VerifiedBody::unchecked(body);
                    let requirements = Requirements::Observed(Some(caller));
                    (Accepted::unknown(body, Outcome::Signed), requirements)
                }
            },
        }
    }

    /// Counts and logs a refusal that takes no effect.
    fn observe_refusal(&self, head: &Parts, reason: &Reason) -> Code {
        self.failures.charge(self.failures.payer(head), reason.blame());
        self.advise(head, reason);
        let code = reason.code();
        tracing::info!(%code, detail = reason.for_log(), "would be refused");
        code
    }

    /// Adds the verifier's header fields to a response, and has it counted.
    pub(super) async fn finish<C>(
        &self,
        marks: Marks,
        mut recording: Recording,
        response: Response<C>,
    ) -> Response<GuardedBody<C>>
    where
        C: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let Marks { caching, quota_left, streamed, reader } = marks;
        let mut response = match streamed {
            Some(streamed) => Box::pin(streamed.respond_once_known(response)).await,
            None => response.map(GuardedBody::unguarded),
        };
        refusal::unmark_others(&mut response);
        // A layer further in refused a key, and nobody is to learn that the verifier knows it: it is charged as the verifier's own
        // refusals are.
        let unaccepted = response.extensions_mut().remove::<Unaccepted>();
        if let Some(unaccepted) = &unaccepted {
            self.failures.charge(reader, Blame::Caller);
            self.advise_on_unaccepted(unaccepted);
        }
        let headers = response.headers_mut();
        if caching == Caching::NoStore {
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        if let Some(quota_left) = quota_left.as_ref().filter(|_| unaccepted.is_none()) {
            add_quota_left(headers, quota_left);
        }
        recording.respond(response.status());
        if recording.is_on()
            && let Some(code) = refusal::code_of(&response)
        {
            recording.refuse(code);
        }
        response.body_mut().record(recording);
        response
    }
}

/// A request that goes on to the service.
struct Accepted<B> {
    caller: Option<Caller>,
    /// The signed content, if it was gathered.
    content: Option<Bytes>,
    body: VerifiedBody<B>,
    hidden: Hidden,
    marks: Marks,
    outcome: Outcome,
}

impl<B> Accepted<B> {
    /// Makes a request without a known caller.
    fn unknown(body: VerifiedBody<B>, outcome: Outcome) -> Self {
        let (hidden, marks) = (Hidden::default(), Marks::default());
        Self { caller: None, content: None, body, hidden, marks, outcome }
    }
}

/// The verifier's changes to the response to an accepted request.
#[derive(Default)]
pub(super) struct Marks {
    caching: Caching,
    quota_left: Option<QuotaLeft>,
    streamed: Option<AwaitedVerdict>,
    /// The payer of a read by a publishable key, which a layer further in can still refuse.
    reader: Option<ClientNetwork>,
}

/// Whether caches may store a response whose handler set no `Cache-Control`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Caching {
    NoStore,
    #[default]
    Unsaid,
}
