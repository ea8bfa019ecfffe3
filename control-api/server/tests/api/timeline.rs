//! What is told of a call afterwards.

use crate::app::{Settings, TestApp, wav};
use crate::calls::{Pair, ended, incoming, wait};
use control_api_client::EventFilter;
use control_api_types::{EventData, HangupReason, Play, Record, TimelineEntry, TimelineItem, event::PlayEnd};
use serde_json::json;

/// One word for each entry.
fn word(entry: &TimelineEntry) -> String {
    match &entry.what {
        TimelineItem::Sip(message) => {
            format!("{} {}", message.direction, message.summary.split(" sip:").next().unwrap())
        }
        TimelineItem::Event(event) => event.data.kind().to_owned(),
        TimelineItem::Play(play) => format!("play {} {:?}", play.play_id, play.reason.unwrap()),
        TimelineItem::Recording(recording) => format!("recording {}", recording.status),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_told_from_its_first_message_to_its_last() {
    let pair = Pair::start().await;
    let (near, far) = (pair.near.client(), pair.far.client());
    near.upload_prompt("tone", wav()).await.unwrap();
    let mut events = near.events(EventFilter::default()).await.unwrap();
    let mut far_events = far.events(EventFilter::default()).await.unwrap();
    let id = near.originate(&pair.request()).await.unwrap().id;
    far.answer(&incoming(&mut far_events, &far).await).await.unwrap();
    wait(&mut events, |event| matches!(event.data, EventData::CallAnswered { .. }).then_some(())).await;
    near.record(&id, &Record::from_json(&json!({"action": "start"})).unwrap()).await.unwrap();
    near.play(&id, &Play::once("tone")).await.unwrap();
    wait(&mut events, |event| matches!(event.data, EventData::CallPlayStarted { .. }).then_some(())).await;
    let live = near.timeline(&id).await.unwrap();
    assert_eq!(live.call.ended_at, None);
    let plays = |what: &TimelineItem| matches!(what, TimelineItem::Play(play) if play.ended_at.is_none());
    assert_eq!(live.entries.iter().filter(|entry| plays(&entry.what)).count(), 1);
    wait(&mut events, |event| {
        matches!(event.data, EventData::CallPlayEnded { reason: PlayEnd::Completed, .. }).then_some(())
    })
    .await;
    near.hangup(&id, HangupReason::Normal).await.unwrap();
    ended(&mut events, &id).await;

    let timeline = near.timeline(&id).await.unwrap();
    assert_eq!((timeline.events_left_out, timeline.messages_left_out), (Some(0), Some(0)));
    assert!(timeline.entries.is_sorted_by_key(|entry| entry.ms));
    let words: Vec<String> = timeline.entries.iter().map(word).collect();
    // In this order, whatever comes between them.
    let expected = [
        "sent INVITE",
        "received 200 OK",
        "sent ACK",
        "play p-1 Completed",
        "call.play.ended",
        "sent BYE",
        "call.ended",
    ];
    let mut rest = words.iter();
    for word in expected {
        assert!(rest.any(|other| other == word), "{word} in {words:?}");
    }
    // It began as the play did, give or take a millisecond.
    assert!(words.iter().any(|word| word == "recording ended"), "{words:?}");
    let numbers: Vec<u64> = timeline
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            TimelineItem::Event(event) => event.seq,
            TimelineItem::Sip(_) | TimelineItem::Play(_) | TimelineItem::Recording(_) => None,
        })
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "every event, in order");
    let json = pair.near.get(&format!("/v1/calls/{id}/timeline")).await.ok(200).clone();
    assert_eq!(json["entries"].as_array().unwrap().last().unwrap().as_object().unwrap().len(), 3);

    pair.near.get("/v1/calls/nobody/timeline").await.problem(404, "not-found");
    let Pair { near, far } = pair;
    let folder = near.stop().await;
    // Another run knows the call by its CDR only, and says so.
    let near = TestApp::start_with(Settings::default(), folder).await;
    let why = near.get(&format!("/v1/calls/{id}/timeline")).await.problem(404, "not-found");
    assert!(why.contains("ended before this start"), "{why}");
    near.stop().await;
    far.stop().await;
}
