//! Against espeak-ng itself, programs that take its place, and a server on this host.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::http::HttpConfig;

struct Bench {
    folder: PathBuf,
    speech: Arc<Speech>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("carillon-speech-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn client() -> Client {
    let allow_private = vec!["127.0.0.1".parse().unwrap()];
    Client::new(&HttpConfig { allow_private, allow_plain: true, ca: None }, false).unwrap()
}

impl Bench {
    async fn new(name: &str, config: SpeechConfig) -> Bench {
        let folder = folder(name);
        let speech = Arc::new(Speech::open(config, client(), &folder).await.unwrap());
        Bench { folder, speech }
    }

    /// With a program in the place of espeak-ng: this script, which lists one voice and else does what it says.
    async fn with_program(name: &str, does: &str, config: SpeechConfig) -> Bench {
        let program = folder(name).join("program");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = --voices ] && {{ printf 'Pty Language\\n 5 en --/M x\\n'; exit 0; }}\n{does}\n"
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Bench::new(name, SpeechConfig { espeak: Some(program), ..config }).await
    }

    fn said(&self, language: &str, text: &str, rate: u16) -> Utterance {
        let voice = self.speech.voices().find(language, None).expect("a voice").clone();
        let template = speech_core::Template::parse(text).unwrap();
        let pieces = template.expand(speech_core::Language::of_tag(language), |_| None);
        Utterance { voice, rate, pieces: pieces.into() }
    }

    async fn say(&self, language: &str, text: &str) -> Result<Pcm, SpeechError> {
        let file = self.speech.say(&self.said(language, text, 100)).await?;
        Ok(Pcm::read(&file).expect("a WAV file"))
    }
}

/// A second of a square wave at 8 kHz, as a file.
fn beep() -> Bytes {
    Pcm { rate: 8_000, samples: (0..8_000).map(|n| if n / 8 % 2 == 0 { 8_000 } else { -8_000 }).collect() }
        .wav()
}

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
}

#[tokio::test]
async fn espeak_speaks_four_languages_and_is_asked_once() {
    let bench = Bench::new("languages", SpeechConfig::default()).await;
    for (language, text) in [
        ("en", "Your bill is {currency:199 CNY}."),
        ("id", "Tagihan Anda {currency:199 CNY}."),
        ("vi", "Hóa đơn của bạn là {currency:199 CNY}."),
        ("zh", "您的账单是{currency:199 CNY}。"),
    ] {
        let pcm = bench.say(language, text).await.unwrap_or_else(|error| panic!("{language}: {error}"));
        assert_eq!(pcm.rate, 22_050);
        assert!(pcm.duration() > Duration::from_millis(1_500), "{language}: {:?}", pcm.duration());
        assert!(energy(&pcm.samples) > 1e5, "{language}: {}", energy(&pcm.samples));
    }
    let before = bench.speech.figures();
    assert_eq!((before.made, before.kept, before.failed), (4, 0, 0));
    let said = bench.said("en", "Once for all of us.", 100);
    let all = (0..20).map(|_| {
        let (speech, said) = (Arc::clone(&bench.speech), said.clone());
        tokio::spawn(async move { speech.say(&said).await.unwrap() })
    });
    let mut files = Vec::new();
    for one in all.collect::<Vec<_>>() {
        files.push(one.await.unwrap());
    }
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
    let after = bench.speech.figures();
    assert_eq!((after.made, after.kept), (5, 19));
    assert!(bench.speech.making.lock().is_empty());

    // What lies on disk outlives us.
    let again = Speech::open(SpeechConfig::default(), client(), &bench.folder).await.unwrap();
    assert_eq!(again.figures().bytes, after.bytes);
    assert_eq!(again.say(&said).await.unwrap(), files[0]);
    assert_eq!(again.figures().made, 0);
}

#[tokio::test]
async fn silences_are_as_long_as_they_say_and_speed_is_obeyed() {
    let bench = Bench::new("silences", SpeechConfig::default()).await;
    let [one, two] = [bench.say("en", "One.").await.unwrap(), bench.say("en", "Two.").await.unwrap()];
    let both = bench.say("en", "One.{stop:1500ms}Two.").await.unwrap();
    assert_eq!(both.samples.len(), one.samples.len() + 33_075 + two.samples.len());
    assert!(both.samples.starts_with(&one.samples) && both.samples.ends_with(&two.samples));
    let silence = bench.say("en", "{stop:1s}").await.unwrap();
    assert_eq!((silence.rate, silence.samples), (8_000, vec![0; 8_000]));
    let text = "A sentence that is long enough to tell how fast it is said.";
    let mut durations = Vec::new();
    for rate in [50, 100, 200] {
        let file = bench.speech.say(&bench.said("en", text, rate)).await.unwrap();
        durations.push(Pcm::read(&file).unwrap().duration().as_secs_f64());
    }
    let [slow, usual, fast] = durations[..] else { panic!() };
    assert!(slow > usual * 1.6 && usual > fast * 1.6, "{durations:?}");
}

#[tokio::test]
async fn nothing_in_a_text_is_a_command() {
    let bench = Bench::new("commands", SpeechConfig::default()).await;
    let brackets = bench.say("en", "[[h@l'oU h@l'oU h@l'oU h@l'oU]]").await.unwrap();
    let apart = bench.say("en", "[ [h@l'oU h@l'oU h@l'oU h@l'oU]]").await.unwrap();
    assert_eq!(brackets, apart);
    for text in ["-v vi", "--help", "$(id) `id` ; id", "<break time=\"9s\"/> <audio src=\"/etc/passwd\"/>"] {
        let pcm = bench.say("en", text).await.unwrap();
        assert!(pcm.duration() < Duration::from_secs(9), "{text}: {:?}", pcm.duration());
    }
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_and_one_that_fails_is_told() {
    let config = SpeechConfig { timeout: Duration::from_millis(500), ..SpeechConfig::default() };
    // So long sleeps nobody else.
    let sleep = format!("sleep\0{}\0", 1_000_000 + std::process::id());
    let bench = Bench::with_program("hangs", &format!("exec {}", sleep.replace('\0', " ")), config).await;
    assert_eq!(bench.say("en", "a").await, Err(SpeechError::Timeout(Duration::from_millis(500))));
    let lives = || {
        let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes.any(|process| {
            std::fs::read_to_string(process.path().join("cmdline")).is_ok_and(|line| line == sleep)
        })
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while lives() {
        assert!(Instant::now() < deadline, "it lives");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for (name, does, expected) in [
        ("fails", "cat >/dev/null; echo 'no such voice' >&2; exit 3", "exit status: 3) no such voice"),
        ("rubbish", "cat >/dev/null; echo rubbish", "no sound"),
        ("nothing", "cat >/dev/null", "no sound"),
        ("floods", "exec yes", "more than 32 MiB"),
        ("memory", "exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'", "espeak-ng failed"),
    ] {
        let bench = Bench::with_program(name, does, SpeechConfig::default()).await;
        let told = bench.say("en", "a").await.unwrap_err().to_string();
        assert!(told.contains(expected), "{name}: {told}");
        assert_eq!(bench.speech.figures().failed, 1);
    }
}

#[tokio::test]
async fn it_is_not_asked_by_more_than_it_can_serve() {
    let config =
        SpeechConfig { workers: 1, queue: 1, timeout: Duration::from_secs(1), ..SpeechConfig::default() };
    let bench = Bench::with_program("busy", "exec sleep 1000", config).await;
    let say = |text: &str| {
        let (speech, said) = (Arc::clone(&bench.speech), bench.said("en", text, 100));
        tokio::spawn(async move { speech.say(&said).await.unwrap_err() })
    };
    let waiting = [say("one"), say("two")];
    while bench.speech.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(say("three").await.unwrap(), SpeechError::Busy);
    for one in waiting {
        assert_eq!(one.await.unwrap(), SpeechError::Timeout(Duration::from_secs(1)));
    }
    assert_eq!(bench.speech.places.available_permits(), 2);
}

#[tokio::test]
async fn a_node_without_the_program_has_no_voices() {
    for (name, program) in [("absent", "/nowhere/espeak-ng"), ("false", "/bin/false")] {
        let config = SpeechConfig { espeak: Some(program.into()), ..SpeechConfig::default() };
        assert!(Bench::new(name, config).await.speech.voices().all().is_empty());
    }
}

/// A server that keeps what it is asked and gives this answer.
async fn server(answer: Vec<u8>) -> (String, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1/", listener.local_addr().unwrap());
    let (tell, told) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            // All of it has come when its JSON is closed.
            while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
            let _ = tell.send(String::from_utf8(request).unwrap()).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    (base, told)
}

fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn of_server(base: &str) -> SpeechConfig {
    let server = OpenaiConfig {
        base: base.to_owned(),
        model: "tts-1".into(),
        voice: "alloy".into(),
        key: Some("sk-secret".into()),
    };
    let voice = Voice { name: "anna".into(), language: "en".into() };
    let voices = vec![VoiceConfig { voice, synthesiser: Synthesiser::Openai(Arc::new(server)) }];
    SpeechConfig { espeak: None, voices, timeout: Duration::from_secs(5), ..SpeechConfig::default() }
}

#[tokio::test]
async fn a_server_speaks_for_a_voice_of_its_own() {
    let (base, mut asked) = server(http("200 OK", "Content-Type: audio/wav\r\n", &beep())).await;
    let bench = Bench::new("server", of_server(&base)).await;
    let said = bench.said("en", "Say \"{{hello}}\"{stop:100ms} twice", 150);
    let pcm = Pcm::read(&bench.speech.say(&said).await.unwrap()).unwrap();
    assert_eq!((pcm.rate, pcm.samples.len()), (8_000, 16_800));
    let request = asked.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/audio/speech HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\nauthorization: bearer sk-secret"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "model": "tts-1", "input": "Say \"{hello}\"", "voice": "alloy", "response_format": "wav", "speed": 1.5,
    });
    assert_eq!(body, expected);
    assert!(
        asked
            .recv()
            .await
            .unwrap()
            .ends_with(r#""input":"twice","voice":"alloy","response_format":"wav","speed":1.5}"#)
    );
    assert!(!format!("{:?}", of_server(&base)).contains("sk-secret"));
}

#[tokio::test]
async fn other_sounds_of_a_server_are_decoded() {
    const THANKS: &[u8] = include_bytes!("../../../../testbed/prompts/thanks.mp3");
    let (base, _asked) = server(http("200 OK", "", THANKS)).await;
    let bench = Bench::new("mp3", of_server(&base)).await;
    let pcm = bench.say("en", "Thanks.").await.unwrap();
    assert_eq!(pcm.rate, 16_000);
    assert!(energy(&pcm.samples) > 1e4);
}

#[tokio::test]
async fn a_server_that_does_not_speak_is_told() {
    for (name, answer, expected) in [
        ("denied", http("401 Unauthorized", "", b""), "HTTP status 401"),
        (
            "moved",
            http("307 Temporary Redirect", "Location: http://127.0.0.1:1/\r\n", b""),
            "HTTP status 307",
        ),
        ("words", http("200 OK", "", b"{\"error\": \"no\"}"), "no sound"),
        ("large", http("200 OK", "Content-Length: 99999999\r\n", b""), "the speech server"),
    ] {
        let (base, _asked) = server(answer).await;
        let bench = Bench::new(name, of_server(&base)).await;
        let told = bench.say("en", "a").await.unwrap_err().to_string();
        assert!(told.contains(expected) && !told.contains("sk-secret"), "{name}: {told}");
    }
    let bench = Bench::new("private", of_server("http://127.0.0.2:1/v1")).await;
    let told = bench.say("en", "a").await.unwrap_err().to_string();
    assert!(told.contains("allow_private"), "{told}");
}

#[test]
fn sound_files_are_read_whatever_their_header_says_of_lengths() {
    let whole = beep();
    let pcm = Pcm::read(&whole).unwrap();
    assert_eq!((pcm.rate, pcm.samples.len(), pcm.duration()), (8_000, 8_000, Duration::from_secs(1)));
    let mut piped = whole.to_vec();
    piped[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Pcm::read(&piped).unwrap(), pcm);
    for end in 0..whole.len().min(44) {
        assert!(Pcm::of(&whole[..end]).is_err(), "{end}");
    }
    for at in 0..44 {
        let mut bent = whole.to_vec();
        bent[at] ^= 0xff;
        let _ = Pcm::read(&bent);
    }
}

#[tokio::test]
async fn what_was_not_used_for_the_longest_time_makes_room_on_the_shelf() {
    let folder = folder("shelf");
    let name = |n: u8| Sha256([n; 32]);
    let shelf = Shelf::open(folder.join("speech"), 250).unwrap();
    for n in 1..=2 {
        shelf.put(name(n), Bytes::from(vec![n; 100])).await;
    }
    assert_eq!(shelf.read(name(1)).await.unwrap(), vec![1; 100]);
    shelf.put(name(3), Bytes::from(vec![3; 100])).await;
    assert_eq!((shelf.read(name(2)).await, shelf.bytes()), (None, 200));
    assert!(shelf.read(name(1)).await.is_some() && shelf.read(name(3)).await.is_some());
    std::fs::write(folder.join("speech").join(format!("{}.part", name(9))), b"half").unwrap();
    std::fs::write(folder.join("speech").join("readme"), b"somebody else's").unwrap();
    let shelf = Shelf::open(folder.join("speech"), 150).unwrap();
    assert_eq!(shelf.bytes(), 100);
    let left: std::collections::BTreeSet<String> = std::fs::read_dir(folder.join("speech"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, [format!("{}.wav", name(3)), "readme".to_owned()].into());
    std::fs::remove_file(folder.join("speech").join(format!("{}.wav", name(3)))).unwrap();
    assert_eq!((shelf.read(name(3)).await, shelf.bytes()), (None, 0));
    std::fs::remove_dir_all(&folder).unwrap();
}
