//! Flows that call others, and flows that calls are given, over HTTP and two engines on loopback.

use control_api_types::{CreateCall, Disposition, EventData, GiveFlow};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::calls::{Pair, ended, incoming, wait};

#[tokio::test]
async fn a_token_that_may_not_place_calls_may_not_have_a_flow_do_it() {
    let app = TestApp::start().await;
    let control = app.token("control", "control").await;
    let both = app.token("both", "control,originate").await;
    let flow = |step: Value| json!({"start": "a", "steps": {"a": step}});
    let put = |secret: &str, flow: Value| {
        app.send(app.anonymous(Method::PUT, "/v1/flows/x").bearer_auth(secret).json(&flow))
    };
    for step in [
        json!({"verb": "dial", "to": "endpoint:anna"}),
        json!({"verb": "transfer", "to": "sip:anna@192.0.2.1"}),
        json!({"verb": "webhook", "url": "https://hooks.example.com/flow"}),
    ] {
        put(&control, flow(step.clone())).await.problem(403, "forbidden");
        put(&both, flow(step.clone())).await.ok(200);
        let given = app.anonymous(Method::POST, "/v1/calls/none/flow").bearer_auth(&control);
        app.send(given.json(&json!({"flow": flow(step)}))).await.problem(403, "forbidden");
        // By its name, too.
        let given = app.anonymous(Method::POST, "/v1/calls/none/flow").bearer_auth(&control);
        app.send(given.json(&json!({"flow": "x"}))).await.problem(403, "forbidden");
    }
    put(&control, flow(json!({"verb": "park"}))).await.ok(200);
    let given = app.anonymous(Method::POST, "/v1/calls/none/flow").bearer_auth(&control);
    app.send(given.json(&json!({"flow": "x"}))).await.problem(404, "not-found");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_call_is_given_a_flow_that_dials() {
    let pair = Pair::start().await;
    let (near, far) = (pair.near.client(), pair.far.client());
    let mut near_events = near.events(Default::default()).await.unwrap();
    let mut far_events = far.events(Default::default()).await.unwrap();
    let call = near.originate(&CreateCall::to(format!("sip:bob@{}", pair.far.sip))).await.unwrap().id;
    let bob = incoming(&mut far_events, &far).await;
    far.answer(&bob).await.unwrap();
    wait(&mut near_events, |event| matches!(event.data, EventData::CallAnswered { .. }).then_some(())).await;

    let dial =
        json!({"verb": "dial", "to": format!("sip:{{who}}@{}", pair.far.sip), "play": {"tone": "ringback"}});
    let given = json!({"flow": {"start": "dial", "steps": {"dial": dial}}, "variables": {"who": "carol"}});
    let shown = near.give_flow(&call, &GiveFlow::from_json(&given).unwrap()).await.unwrap();
    assert_eq!(shown.variables["who"].to_string(), "carol");
    let (branch, parent) = wait(&mut near_events, |event| match &event.data {
        EventData::CallInitiated { parent_call_id, .. } => {
            Some((event.call_id.clone()?, parent_call_id.clone()))
        }
        _ => None,
    })
    .await;
    assert_eq!(parent.as_ref(), Some(&call));
    let carol = incoming(&mut far_events, &far).await;
    assert_eq!(far.call(&carol).await.unwrap().to, "carol");
    far.answer(&carol).await.unwrap();
    wait(&mut near_events, |event| match &event.data {
        EventData::CallBridged { with, .. } if event.call_id.as_ref() == Some(&call) => {
            (with.as_ref() == Some(&branch)).then_some(())
        }
        _ => None,
    })
    .await;
    let again = near.give_flow(&call, &GiveFlow::from_json(&given).unwrap()).await.unwrap_err();
    assert_eq!(again.code(), Some(control_api_types::Code::WrongState));
    far.hangup(&carol, control_api_types::HangupReason::Normal).await.unwrap();
    // Its flow has no step after that.
    let cdr = ended(&mut near_events, &call).await;
    assert_eq!(cdr.disposition, Some(Disposition::Answered));
    let branch = near.call(&branch).await.unwrap();
    assert_eq!((branch.disposition, branch.parent_call_id), (Some(Disposition::Answered), Some(call)));
    pair.stop().await;
}
