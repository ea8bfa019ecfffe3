//! Calls on record: what is in the files, and that they are whole whatever happens to the process and the disk.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use media_core::Negotiated;
use reqwest::Method;
use serde_json::{Value, json};

use crate::phone::Phone;
use crate::support::{Carillon, Folder, Ports, Stream, carrier, items};

const PARKED: &str = "[[routes]]\npark = true\n";

/// A phone in an answered call, which is parked: its id.
async fn talking(carillon: &Carillon, phone: &mut Phone) -> (String, Negotiated) {
    phone.call("100", carillon.ports.sip);
    let calls = carillon.until("/v1/calls?status=initiated", |page| page["items"] != json!([])).await;
    let id = items(calls)[0]["id"].as_str().unwrap().to_owned();
    carillon.post(&format!("/v1/calls/{id}/answer"), &json!({})).await.ok(202);
    let media = phone.answered().await;
    carillon.until_call(&id, "in-progress").await;
    (id, media)
}

async fn record(carillon: &Carillon, call: &str, body: Value) -> String {
    let accepted = carillon.post(&format!("/v1/calls/{call}/record"), &body).await.ok(202);
    accepted["recording_id"].as_str().unwrap().to_owned()
}

async fn until_ended(carillon: &Carillon, recording: &str) -> Value {
    carillon.until(&format!("/v1/recordings/{recording}"), |recording| recording["status"] == "ended").await
}

async fn audio(carillon: &Carillon, recording: &str) -> Vec<u8> {
    let request = carillon.request(Method::GET, &format!("/v1/recordings/{recording}/audio"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap().to_vec()
}

/// The channels of a WAV file at 8 kHz, as its header tells them.
fn channels(file: &[u8]) -> Vec<Vec<i16>> {
    let number = |at: usize, size: usize| {
        file[at..at + size].iter().rev().fold(0, |sum, octet| sum << 8 | usize::from(*octet))
    };
    assert_eq!((&file[..4], &file[8..16], &file[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
    let (count, rate, data) = (number(22, 2), number(24, 4), number(40, 4));
    assert_eq!((rate, number(4, 4)), (8_000, data + 36));
    let samples =
        file[44..44 + data].chunks_exact(2).map(|octets| i16::from_le_bytes([octets[0], octets[1]]));
    let samples: Vec<i16> = samples.collect();
    (0..count).map(|channel| samples.iter().skip(channel).step_by(count).copied().collect()).collect()
}

/// Where the tone of the tests begins, and how many samples of it there are up to its end.
fn tone_in(samples: &[i16]) -> Option<(usize, usize)> {
    let loud = |sample: &i16| sample.unsigned_abs() > 3_000;
    let first = samples.iter().position(loud)?;
    let last = samples.iter().rposition(loud)?;
    let tone = &samples[first..=last];
    let crossings = tone.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    // 400 Hz cross zero 800 times a second, which is every tenth sample.
    let expected = tone.len() / 10;
    assert!(crossings.abs_diff(expected) <= expected / 50 + 2, "{crossings} of {expected}");
    Some((first, tone.len()))
}

#[tokio::test]
async fn both_sides_are_in_their_channels_and_together() {
    let carillon = Carillon::start(PARKED).await;
    carillon.upload_tone("tone").await;
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events")).await;
    let mut phone = Phone::new().await;
    let (call, media) = talking(&carillon, &mut phone).await;
    let path = format!("/v1/calls/{call}/record");
    carillon.post(&path, &json!({"action": "stop"})).await.problem(409, "wrong-state");
    let faults = carillon.post(&path, &json!({"action": "start", "channels": 3})).await.faults();
    assert_eq!(faults, ["/channels must be a whole number from 1 to 2, not 3"]);
    carillon.post("/v1/calls/nobody/record", &json!({"action": "start"})).await.problem(404, "not-found");

    let id = record(&carillon, &call, json!({"action": "start", "channels": 2})).await;
    let started = events.until("call.recording.started").await;
    assert_eq!(started["data"], json!({"recording_id": id, "format": "wav", "channels": 2}));
    carillon.post(&path, &json!({"action": "start"})).await.problem(409, "wrong-state");
    let resource = format!("/v1/recordings/{id}");
    assert_eq!(carillon.get(&resource).await.ok(200)["status"], "recording");
    carillon.get(&format!("{resource}/audio")).await.problem(409, "wrong-state");
    carillon.delete(&resource).await.problem(409, "wrong-state");

    carillon.post(&format!("/v1/calls/{call}/play"), &json!({"prompt": "tone"})).await.ok(202);
    phone.echo(&media, 50).await;
    events.until("call.play.ended").await;
    assert_eq!(record(&carillon, &call, json!({"action": "stop"})).await, id);
    let ended = events.until("call.recording.ended").await["data"].clone();
    assert_eq!((&ended["recording_id"], &ended["reason"]), (&json!(id), &json!("stopped")));
    assert_eq!(ended["dropped_ms"], 0);

    let recording = carillon.get(&resource).await.ok(200);
    assert_eq!((&recording["status"], &recording["reason"]), (&json!("ended"), &json!("stopped")));
    assert_eq!((&recording["call_id"], &recording["sample_rate_hz"]), (&json!(call), &json!(8_000)));
    assert_eq!(recording["duration_ms"], ended["duration_ms"]);
    assert_eq!(items(carillon.get("/v1/recordings").await.ok(200)), std::slice::from_ref(&recording));
    let of_call = carillon.get(&format!("/v1/recordings?call_id={call}")).await.ok(200);
    assert_eq!(items(of_call), std::slice::from_ref(&recording));
    assert_eq!(items(carillon.get("/v1/recordings?call_id=other").await.ok(200)), [] as [Value; 0]);

    let file = audio(&carillon, &id).await;
    assert_eq!(file.len() as u64, recording["size_bytes"].as_u64().unwrap());
    let [heard, sent] = channels(&file).try_into().unwrap();
    let ((heard_at, heard_for), (sent_at, sent_for)) = (tone_in(&heard).unwrap(), tone_in(&sent).unwrap());
    // The way to the phone and back, and what the jitter of a busy machine adds to the delay of the ear.
    assert!(heard_at.abs_diff(sent_at) < 480, "60 ms: heard at {heard_at}, sent at {sent_at}");
    assert!((7_900..8_100).contains(&sent_for), "{sent_for}");
    assert!((7_500..8_500).contains(&heard_for), "{heard_for}");

    let part = carillon.request(Method::GET, &format!("{resource}/audio")).header("range", "bytes=44-143");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], format!("bytes 44-143/{}", file.len()));
    assert_eq!(part.bytes().await.unwrap(), file[44..144]);
    let none = carillon.request(Method::GET, &format!("{resource}/audio")).header("range", "bytes=99999999-");
    assert_eq!(none.send().await.unwrap().status(), 416);

    let on_disk = carillon.folder.path().join(format!("media/recordings/{id}.wav"));
    assert_eq!(std::fs::metadata(&on_disk).unwrap().permissions().mode() & 0o777, 0o600);
    carillon.delete(&resource).await.ok(204);
    carillon.get(&resource).await.problem(404, "not-found");
    assert!(!on_disk.exists());
    phone.hang_up();
    assert_eq!(carillon.cdrs(1).await[0]["recording_ids"], json!([id]));
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn what_is_paused_is_not_in_the_file_and_a_beep_is() {
    let carillon = Carillon::start(PARKED).await;
    carillon.upload_tone("tone").await;
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events")).await;
    let mut phone = Phone::new().await;
    let (call, _) = talking(&carillon, &mut phone).await;
    let id = record(&carillon, &call, json!({"action": "start"})).await;
    record(&carillon, &call, json!({"action": "pause"})).await;
    assert_eq!(carillon.get(&format!("/v1/recordings/{id}")).await.ok(200)["status"], "paused");
    carillon.post(&format!("/v1/calls/{call}/play"), &json!({"prompt": "tone"})).await.ok(202);
    events.until("call.play.ended").await;
    record(&carillon, &call, json!({"action": "resume"})).await;
    record(&carillon, &call, json!({"action": "stop"})).await;
    let recording = until_ended(&carillon, &id).await;
    assert!(recording["duration_ms"].as_u64().unwrap() < 900, "{recording}");
    let file = audio(&carillon, &id).await;
    assert_eq!(tone_in(&channels(&file)[0]), None);

    let id = record(&carillon, &call, json!({"action": "start", "beep": true, "max_s": 1})).await;
    let ended = until_ended(&carillon, &id).await;
    assert_eq!((&ended["reason"], &ended["duration_ms"]), (&json!("max-length"), &json!(1_000)));
    let [mixed] = channels(&audio(&carillon, &id).await).try_into().unwrap();
    let crossings = mixed.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    assert!((440..=500).contains(&crossings), "240 ms of 1000 Hz: {crossings}");
}

/// The recordings in the folder of an engine.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("media/recordings")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_killed_engine_leaves_files_that_can_be_read_and_the_next_one_lists_them() {
    let (_carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&trunk).await;
    carillon.upload_tone("tone").await;
    let flow = json!({"start": "t", "steps": {"t": {"verb": "play", "prompt": "tone", "loop": 0}}});
    for (id, format) in [("c1", "wav"), ("c2", "ogg")] {
        let body =
            json!({"id": id, "to": "+62811", "trunk": "t", "flow": flow, "record": {"format": format}});
        carillon.post("/v1/calls", &body).await.ok(202);
    }
    // Two seconds of WAV are 32,000 octets; the Ogg file is written as often.
    let size = |path: &PathBuf| std::fs::metadata(path).unwrap().len();
    let begun = async {
        loop {
            let files = if carillon.folder.path().join("media/recordings").exists() {
                files(carillon.folder.path())
            } else {
                Vec::new()
            };
            let wav = files.iter().find(|path| path.to_string_lossy().ends_with(".wav.part"));
            let ogg = files.iter().find(|path| path.to_string_lossy().ends_with(".ogg.part"));
            if wav.is_some_and(|wav| size(wav) > 32_000) && ogg.is_some_and(|ogg| size(ogg) > 3_000) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::support::DEAD, begun).await.expect("both are written");
    let (folder, ports) = carillon.kill().await;

    let left = files(folder.path());
    let wav = left.iter().find(|path| path.to_string_lossy().ends_with(".wav.part")).unwrap();
    let file = std::fs::read(wav).unwrap();
    let [mixed] = channels(&file).try_into().unwrap();
    assert!(file.len() - mixed.len() * 2 <= 44 + 20_000, "the header tells all but the last second");
    assert!(tone_in(&mixed).unwrap().1 > 12_000);

    let again = Carillon::open(folder, ports).await;
    let recordings = items(again.get("/v1/recordings").await.ok(200));
    assert_eq!(recordings.len(), 2);
    for recording in &recordings {
        assert_eq!((&recording["status"], &recording["reason"]), (&json!("ended"), &json!("crash")));
        assert!(recording["duration_ms"].as_u64().unwrap() > 1_900, "{recording}");
        let file = audio(&again, recording["id"].as_str().unwrap()).await;
        assert_eq!(file.len() as u64, recording["size_bytes"].as_u64().unwrap());
        if recording["format"] == "wav" {
            tone_in(&channels(&file)[0]).unwrap();
        } else {
            assert_eq!(&file[..4], b"OggS");
        }
        let cdr = again.get(&format!("/v1/calls/{}", recording["call_id"].as_str().unwrap())).await.ok(200);
        assert_eq!(cdr["recording_ids"], json!([recording["id"]]));
    }
    assert!(files(again.folder.path()).iter().all(|path| !path.to_string_lossy().ends_with(".part")));
    again.check_no_panic().await;
}

/// A small file system where an engine keeps its recordings.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Folder, size: &str) -> Self {
        let path = folder.path().join("media/recordings");
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(mounted.success(), "this test mounts a small file system and so needs to be root");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the engine may have it open still.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_recording_and_not_the_call() {
    let (_carrier, trunk) = carrier().await;
    let (folder, ports) = (Folder::new(), Ports::free());
    folder.write("carillon.toml", &ports.config(&format!("{trunk}[storage]\nrecording_min_free_mb = 0\n")));
    let disk = SmallDisk::mount(&folder, "32k");
    let carillon = Carillon::open(folder, ports).await;
    carillon.upload_tone("tone").await;
    let flow = json!({"start": "t", "steps": {"t": {"verb": "play", "prompt": "tone", "loop": 0}}});
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events")).await;
    let body = json!({"id": "c1", "to": "+62811", "trunk": "t", "flow": flow, "record": true});
    carillon.post("/v1/calls", &body).await.ok(202);
    let ended = events.until("call.recording.ended").await["data"].clone();
    assert_eq!(ended["reason"], "disk-full");
    assert_eq!(carillon.get("/v1/calls/c1").await.ok(200)["status"], "in-progress");
    let file = audio(&carillon, ended["recording_id"].as_str().unwrap()).await;
    assert_eq!(file.len() as u64, ended["size_bytes"].as_u64().unwrap());
    let [mixed] = channels(&file).try_into().unwrap();
    assert_eq!(mixed.len() as u64 / 8, ended["duration_ms"].as_u64().unwrap());
    assert!(tone_in(&mixed).unwrap().1 > 4_000);
    carillon.delete("/v1/calls/c1").await.ok(202);
    assert_eq!(carillon.cdrs(1).await[0]["disposition"], "answered");

    // With the usual floor the next one is refused from the start.
    carillon.terminate();
    let (_, folder, ports) = carillon.ended().await;
    folder.write("carillon.toml", &ports.config(&trunk));
    let carillon = Carillon::open(folder, ports).await;
    carillon.post("/v1/calls", &json!({"id": "c2", "to": "+62811", "trunk": "t"})).await.ok(202);
    carillon.until_call("c2", "in-progress").await;
    let refused = carillon.post("/v1/calls/c2/record", &json!({"action": "start"})).await;
    assert!(refused.problem(507, "no-space").contains("recording_min_free_mb"), "{refused:?}");
    carillon.check_no_panic().await;
    drop(disk);
}

#[tokio::test]
async fn many_calls_are_recorded_at_once_and_their_ends_end_it() {
    let (carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&trunk).await;
    carillon.upload_tone("tone").await;
    let flow = json!({"start": "t", "steps": {"t": {"verb": "play", "prompt": "tone", "loop": 0}}});
    for n in 0..50 {
        let format = if n % 2 == 0 { "wav" } else { "ogg" };
        // Who has heard half a second hangs up.
        let body = json!({
            "id": format!("c{n}"), "to": "+62817", "trunk": "t", "flow": flow,
            "record": {"format": format, "channels": 2},
        });
        carillon.post("/v1/calls", &body).await.ok(202);
    }
    let cdrs = carillon.cdrs(50).await;
    carrier.wait_for(|progress| progress.ended == 50).await.unwrap();
    for cdr in &cdrs {
        let [id] = cdr["recording_ids"].as_array().unwrap().as_slice() else { panic!("{cdr}") };
        // It was told before the end of the call.
        let recording = carillon.get(&format!("/v1/recordings/{}", id.as_str().unwrap())).await.ok(200);
        assert_eq!((&recording["status"], &recording["reason"]), (&json!("ended"), &json!("hangup")));
        assert_eq!((&recording["call_id"], &recording["dropped_ms"]), (&cdr["id"], &json!(0)));
        assert!(recording["duration_ms"].as_u64().unwrap() >= 400, "{recording}");
        if recording["format"] == "wav" {
            let [_, sent] = channels(&audio(&carillon, id.as_str().unwrap()).await).try_into().unwrap();
            assert!(tone_in(&sent).unwrap().1 > 3_000);
        }
    }
    carillon.check_no_panic().await;
}
