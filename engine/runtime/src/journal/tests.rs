use std::path::PathBuf;

use control_api_types::{Call, CallId, CallStatus, Timestamp};
use tokio::sync::oneshot;

use super::*;

/// A journal in a folder of its own, opened again as often as a test likes.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("carillon-journal-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn open(&self) -> Journal {
        Journal::open(&self.0.join("carillon.db")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn call(id: &str, created_ms: u64) -> Call {
    serde_json::from_value(serde_json::json!({
        "id": id, "status": "queued", "direction": "outbound", "to": "+62", "from": "100", "node": "n1",
        "created_at": Timestamp::from_unix_ms(created_ms),
    }))
    .unwrap()
}

async fn accept(journal: &Journal, call: &Call, hash: u8) -> bool {
    let (tell, told) = oneshot::channel();
    journal.accept(call, Some([hash; 32]), move |result| tell.send(result.unwrap()).unwrap()).unwrap();
    told.await.unwrap()
}

async fn end(journal: &Journal, id: &str, status: CallStatus, at: u64) -> usize {
    let mut ended = call(id, 0);
    ended.status = status;
    let json = serde_json::to_string(&ended).unwrap();
    let (tell, told) = oneshot::channel();
    let row = EndedCall { id: CallId::new(id).unwrap(), status, json, ended_at_ms: at };
    journal.end(row, move |result| tell.send(result.unwrap()).unwrap()).unwrap();
    told.await.unwrap()
}

fn ids(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|call| call.id.as_str()).collect()
}

#[tokio::test]
async fn an_id_is_accepted_once_and_ended_once_even_across_a_restart() {
    let folder = Folder::new("once");
    let journal = folder.open();
    assert!(accept(&journal, &call("a", 1), 7).await);
    assert!(!accept(&journal, &call("a", 2), 8).await);
    assert!(accept(&journal, &call("b", 3), 7).await);
    assert_eq!(end(&journal, "a", CallStatus::Completed, 10).await, 1);
    assert_eq!(end(&journal, "a", CallStatus::Failed, 11).await, 0);
    drop(journal);

    let journal = folder.open();
    assert_eq!(ids(&journal.open_calls().unwrap()), ["b"]);
    let stored = journal.call(CallId::new("a").unwrap()).await.unwrap().unwrap();
    assert_eq!((stored.call.status, stored.body_hash), (CallStatus::Completed, Some([7; 32])));
    assert!(!accept(&journal, &call("b", 9), 1).await);
}

#[tokio::test]
async fn cdrs_are_listed_in_order_of_ending_and_pruned_by_age_but_for_the_newest() {
    let folder = Folder::new("cdrs");
    let journal = folder.open();
    for (place, id) in ["a", "b", "c"].into_iter().enumerate() {
        assert!(accept(&journal, &call(id, place as u64), 0).await);
    }
    for (at, id) in [(10, "c"), (20, "a"), (30, "b")] {
        end(&journal, id, CallStatus::Busy, at).await;
    }
    let list = |after, from_ms, to_ms, limit| journal.cdrs(CdrQuery { after, from_ms, to_ms, limit });
    let (page, last) = list(0, None, None, 2).await.unwrap();
    assert_eq!((ids(&page), last), (vec!["c", "a"], Some(2)));
    let (page, last) = list(2, None, None, 2).await.unwrap();
    assert_eq!((ids(&page), last), (vec!["b"], Some(3)));
    let (page, _) = list(0, Some(20), Some(30), 9).await.unwrap();
    assert_eq!(ids(&page), ["a"]);
    assert_eq!(list(3, None, None, 9).await.unwrap(), (vec![], None));

    assert_eq!(journal.prune_cdrs(u64::from(u32::MAX), 1).await.unwrap(), 1);
    assert_eq!(journal.prune_cdrs(u64::from(u32::MAX), 9).await.unwrap(), 1);
    assert_eq!(journal.prune_cdrs(u64::from(u32::MAX), 9).await.unwrap(), 0);
    let (page, last) = list(0, None, None, 9).await.unwrap();
    assert_eq!((ids(&page), last), (vec!["b"], Some(3)));
}

#[tokio::test]
async fn calls_are_listed_newest_first_by_status_and_place() {
    let folder = Folder::new("calls");
    let journal = folder.open();
    for (id, at) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
        accept(&journal, &call(id, at), 0).await;
    }
    end(&journal, "b", CallStatus::Busy, 5).await;
    let list = |status, before, limit| journal.calls(CallQuery { status, before, limit });
    assert_eq!(ids(&list(None, None, 3).await.unwrap()), ["d", "c", "b"]);
    assert_eq!(ids(&list(None, Some((2, "c".into())), 3).await.unwrap()), ["b", "a"]);
    assert_eq!(ids(&list(Some(CallStatus::Busy), None, 3).await.unwrap()), ["b"]);
    assert_eq!(ids(&list(Some(CallStatus::Completed), None, 3).await.unwrap()), [""; 0]);
}

#[tokio::test]
async fn an_answer_is_replayed_for_a_day_and_stays_with_its_token() {
    const DAY: u64 = 24 * 3600 * 1000;
    let folder = Folder::new("answers");
    let journal = folder.open();
    let answer = |status| StoredAnswer {
        body_hash: [1; 32],
        status,
        location: Some("/v1/calls/a".into()),
        body: b"{}".to_vec(),
    };
    let recall = |token: &str, at| journal.recall(token.to_owned(), "k".into(), at);
    journal.remember("t".into(), "k".into(), answer(202), 1000).await.unwrap();
    journal.remember("t".into(), "k".into(), answer(500), 2000).await.unwrap();
    assert_eq!(recall("t", 1000 + DAY - 1).await.unwrap(), Some(answer(202)));
    assert_eq!(recall("t", 1000 + DAY).await.unwrap(), None);
    assert_eq!(recall("u", 1000).await.unwrap(), None);
    journal.remember("t".into(), "k".into(), answer(201), 1000 + DAY).await.unwrap();
    assert_eq!(recall("t", 1000 + DAY).await.unwrap(), Some(answer(201)));
    assert_eq!(journal.prune_answers(1000 + 2 * DAY, 9).await.unwrap(), 1);
}

#[tokio::test]
async fn prompts_and_flows_come_back_after_a_restart() {
    let folder = Folder::new("library");
    let journal = folder.open();
    let prompt = |name: &str| StoredPrompt { name: name.into(), id: "x".into(), json: "{}".into() };
    journal.put_prompt(prompt("b")).await.unwrap();
    journal.put_prompt(prompt("a")).await.unwrap();
    journal.put_prompt(prompt("a")).await.unwrap();
    journal.delete_prompt("b".into()).await.unwrap();
    let flow = |version| StoredFlow { name: "f".into(), version, updated_at_ms: 1, json: "{}".into() };
    journal.put_flow(flow(1)).await.unwrap();
    journal.put_flow(flow(2)).await.unwrap();
    drop(journal);

    let journal = folder.open();
    assert_eq!(
        journal.prompts().unwrap().iter().map(|prompt| prompt.name.as_str()).collect::<Vec<_>>(),
        ["a"]
    );
    assert_eq!(journal.flows().unwrap().iter().map(|flow| flow.version).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_folder_that_is_not_there_is_named_with_the_mend() {
    let error = Journal::open(Path::new("/nowhere/carillon.db")).unwrap_err().to_string();
    assert!(error.starts_with("cannot open the journal /nowhere/carillon.db: "), "{error}");
    assert!(error.contains("check that the folder exists"), "{error}");
}

/// How SQLite goes about a statement: `SEARCH … USING INDEX` reads what it needs, the primary key all calls.
fn plan(sql: &str, parameters: u32) -> Vec<String> {
    let folder = Folder::new("plans");
    let steps = folder.open().read_now(|db| {
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        let rows = explain.query_map(rusqlite::params_from_iter(0..parameters), |row| row.get("detail"))?;
        Ok(rows.collect::<Result<_, _>>()?)
    });
    steps.unwrap()
}

#[test]
fn ending_and_pruning_calls_do_not_read_every_call() {
    for (sql, parameters) in [(calls::END, 4), (calls::PRUNE, 2)] {
        let plan = plan(sql, parameters);
        let place = plan.iter().position(|step| step.starts_with("SCALAR SUBQUERY")).unwrap();
        assert!(plan[place + 1].contains("USING") && plan[place + 1].contains("calls_by_end"), "{plan:#?}");
    }
}

#[test]
fn a_page_of_calls_is_read_in_the_order_of_an_index() {
    for (sql, parameters, index) in
        [(calls::CALLS, 3, "INDEX calls_by_age"), (calls::CALLS_BY_STATUS, 4, "INDEX calls_by_status")]
    {
        let plan = plan(sql, parameters);
        assert!(plan[0].starts_with("SEARCH") && plan[0].contains(index), "{plan:#?}");
        assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{plan:#?}");
    }
}
