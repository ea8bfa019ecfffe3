//! Against a web server on this host.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine_core::MediaInput;
use media_core::tone::Tone;
use media_core::{Codec, MediaEvent, Play};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::http::HttpConfig;
use crate::journal::Journal;

const THANKS: &[u8] = include_bytes!("../../../../testbed/prompts/thanks.mp3");

/// Answers each request, by its head and its number, with these octets; nothing at all if there are none.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

type Respond = fn(&str, usize) -> Vec<u8>;

impl Server {
    async fn start(respond: Respond) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut request = vec![0; 8192];
                    let read = stream.read(&mut request).await.unwrap_or(0);
                    let turn = count.fetch_add(1, Ordering::SeqCst);
                    let answer = respond(&String::from_utf8_lossy(&request[..read]), turn);
                    if answer.is_empty() {
                        // Until whoever waits for it has given up.
                        let _ = stream.read(&mut request).await;
                    }
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Server { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into()
}

/// A folder and the sounds in it.
struct Bench {
    folder: PathBuf,
    sounds: Sounds,
    answers: mpsc::Receiver<Answer>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

const LEG: LegId = LegId(1);

fn config() -> SoundConfig {
    SoundConfig { url_timeout: Duration::from_millis(300), url_max_bytes: 100_000, ..SoundConfig::default() }
}

impl Bench {
    fn new(name: &str, config: &SoundConfig) -> Bench {
        let folder = std::env::temp_dir().join(format!("carillon-sounds-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (sounds, answers) = open(&folder, config);
        Bench { folder, sounds, answers }
    }

    fn restart(&mut self, config: &SoundConfig) {
        (self.sounds, self.answers) = open(&self.folder, config);
    }

    fn run(&mut self, leg: LegId, sounds: Vec<Audio>) -> Vec<Step> {
        let playlist = Playlist { sounds, volume_db: 0 };
        let play = Play { id: 1, playlist, plays: 1, offset_ms: 0, barge_in: false };
        self.sounds.run(Instant::now(), leg, Program { play: Some(play), collect: None })
    }

    /// The next answer, and what it lets go on.
    async fn next(&mut self) -> Vec<(LegId, Step)> {
        match tokio::time::timeout(Duration::from_secs(20), self.answers.recv()).await {
            Ok(Some(Answer::Sound(loaded))) => self.sounds.loaded(Instant::now(), *loaded),
            other => panic!("{other:?}"),
        }
    }

    /// Plays `url` on a leg: how long it is, or why it cannot be played.
    async fn play(&mut self, url: &str) -> Result<u128, String> {
        let mut steps = self.run(LEG, vec![Audio::Url(url.into())]);
        if steps == [Step::Run(Program { play: None, collect: None })] {
            steps = self.next().await.into_iter().map(|(_, step)| step).collect();
        }
        match steps.pop() {
            Some(Step::Run(Program { play: Some(play), .. })) => {
                Ok(play.playlist.prompts().iter().map(|prompt| prompt.duration().as_millis()).sum())
            }
            Some(Step::Tell(MediaInput::Unplayable { play: 1, why })) => Err(why.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

fn open(folder: &Path, config: &SoundConfig) -> (Sounds, mpsc::Receiver<Answer>) {
    let journal = Journal::open(&folder.join("carillon.db")).unwrap();
    let prompts = PromptStore::open(folder, journal).unwrap();
    let http = HttpConfig { allow_private: vec!["127.0.0.1".parse().unwrap()], allow_plain: true, ca: None };
    let (tell, answers) = mpsc::channel(16);
    let client = Client::new(&http, true).unwrap();
    let speech = Arc::new(Speech::of_nobody(client.clone(), folder));
    (Sounds::open(prompts, client, speech, folder, config, tell).unwrap(), answers)
}

/// Of `thanks.mp3`.
const LENGTH: Result<u128, String> = Ok(2_059);

#[tokio::test]
async fn a_url_is_fetched_once_kept_over_a_restart_and_played_by_all_who_wait() {
    let server = Server::start(|_, _| ok("Cache-Control: max-age=600\r\n", THANKS)).await;
    let mut bench = Bench::new("once", &config());
    let url = server.url("a.mp3");
    for leg in 1..=5 {
        assert_eq!(bench.run(LegId(leg), vec![Audio::Url(url.as_str().into())]).len(), 1);
    }
    // One of them hangs up meanwhile.
    let gone = bench.sounds.close(LegId(3));
    let ended = MediaEvent::PlayEnded { id: 1, reason: PlayEnd::Hangup, played_ms: 0 };
    assert_eq!(gone, [Step::Tell(MediaInput::Event(ended))]);
    let legs: Vec<u64> = bench.next().await.into_iter().map(|(leg, _)| leg.0).collect();
    assert_eq!((legs, server.asked()), (vec![1, 2, 4, 5], 1));
    assert_eq!((bench.play(&url).await, server.asked()), (LENGTH, 1));
    let (counts, memory, disk, waiting) = bench.sounds.figures();
    assert_eq!((counts.loaded, counts.failed, disk, waiting), (1, 0, THANKS.len() as u64, 0));
    assert!(memory >= 3 * 8 * 2_059, "{memory}");
    bench.restart(&config());
    assert_eq!((bench.play(&url).await, server.asked()), (LENGTH, 1));
    // What was damaged on disk meanwhile is fetched again.
    for file in std::fs::read_dir(bench.folder.join("web")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "audio") {
            std::fs::write(path, [0; 8_237]).unwrap();
        }
    }
    bench.restart(&config());
    assert_eq!((bench.play(&url).await, server.asked()), (LENGTH, 2));
}

#[tokio::test]
async fn what_is_no_longer_fresh_is_asked_for_again() {
    // The first answer has a validator and is stale at once; then it has not changed, which says nothing of how long that is so;
    // then it has, and is not to be kept; then it is, for ten minutes.
    let server = Server::start(|head, turn| {
        let head = head.to_ascii_lowercase();
        match turn {
            0 => ok("ETag: \"one\"\r\nCache-Control: max-age=0\r\n", THANKS),
            1 if head.contains("if-none-match: \"one\"") => status("304 Not Modified"),
            2 if head.contains("if-none-match: \"one\"") => {
                ok("ETag: \"two\"\r\nCache-Control: no-store\r\n", THANKS)
            }
            3 if !head.contains("if-none-match") => ok("Cache-Control: max-age=600\r\n", THANKS),
            _ => status("500 Unexpected"),
        }
    })
    .await;
    let mut bench = Bench::new("again", &config());
    let url = server.url("a.mp3");
    for asked in 1..=4 {
        assert_eq!((bench.play(&url).await, server.asked()), (LENGTH, asked));
        let kept = if asked == 3 { 0 } else { THANKS.len() as u64 };
        assert_eq!(bench.sounds.figures().2, kept, "after {asked} answers");
    }
    assert_eq!((bench.play(&url).await, server.asked()), (LENGTH, 4));
    // A restart forgets what is in memory, and the folder knows it still.
    bench.restart(&config());
    assert_eq!((bench.play(&url).await, server.asked()), (LENGTH, 4));
}

#[tokio::test]
async fn a_host_that_does_not_answer_keeps_nobody_else_waiting() {
    let dead = Server::start(|_, _| Vec::new()).await;
    let server = Server::start(|_, _| ok("", THANKS)).await;
    let config = SoundConfig { url_timeout: Duration::from_secs(3_600), ..config() };
    let mut bench = Bench::new("dead", &config);
    for leg in 1..=40 {
        bench.run(LegId(leg), vec![Audio::Url(dead.url(&leg.to_string()).into())]);
    }
    bench.run(LegId(100), vec![Audio::Url(server.url("a.mp3").into())]);
    let legs: Vec<u64> = bench.next().await.into_iter().map(|(leg, _)| leg.0).collect();
    assert_eq!((legs, server.asked()), (vec![100], 1));
    assert!(dead.asked() <= 4, "{}", dead.asked());
}

#[tokio::test]
async fn a_stale_copy_is_played_when_its_server_fails_unless_that_was_forbidden() {
    let server = Server::start(|head, turn| match turn {
        _ if head.contains("strict") && turn == 0 => {
            ok("Cache-Control: max-age=0, must-revalidate\r\n", THANKS)
        }
        _ if head.contains("loose") && turn < 2 => ok("Cache-Control: max-age=0\r\n", THANKS),
        2 | 3 => status("503 Busy"),
        _ => status("404 Not Found"),
    })
    .await;
    let mut bench = Bench::new("stale", &config());
    let (strict, loose) = (server.url("strict"), server.url("loose"));
    assert_eq!(bench.play(&strict).await, LENGTH);
    assert_eq!(bench.play(&loose).await, LENGTH);
    assert_eq!(bench.play(&strict).await, Err("HTTP status 503".into()));
    assert_eq!(bench.play(&loose).await, LENGTH);
    bench.restart(&config());
    assert_eq!(bench.play(&loose).await, Err("HTTP status 404".into()), "what is gone is gone");
    assert_eq!(bench.sounds.figures().2, THANKS.len() as u64, "only the other is left");
}

#[tokio::test]
async fn every_failure_says_what_it_was() {
    let server = Server::start(|head, _| match head.split(' ').nth(1).unwrap_or_default() {
        "/html" => ok("Content-Type: audio/mpeg\r\n", b"<!doctype html><title>Sign in</title>"),
        "/large" => ok("", &[0; 100_001]),
        "/chunked" => {
            let chunk = format!("186a1\r\n{}\r\n0\r\n\r\n", "x".repeat(100_001));
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
            [head.as_bytes(), chunk.as_bytes()].concat()
        }
        "/private" => {
            let to = "Location: http://10.0.0.1/a.mp3";
            format!("HTTP/1.1 302 Found\r\n{to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into()
        }
        "/silent" => Vec::new(),
        "/cut" => ok("", THANKS)[..4_000].to_vec(),
        _ => status("404 Not Found"),
    })
    .await;
    let mut bench = Bench::new("failures", &config());
    for (path, why) in [
        ("missing", "HTTP status 404"),
        ("html", "it looks like an HTML page"),
        ("large", "the answer is larger than 100000 bytes"),
        ("chunked", "the answer is larger than 100000 bytes"),
        ("private", "not of the public internet"),
        ("silent", "no answer in time"),
        ("cut", "end of file before message length"),
    ] {
        let told = bench.play(&server.url(path)).await.expect_err(path);
        assert!(told.contains(why), "{path}: {told}");
    }
    let asked = server.asked();
    assert!(bench.play(&server.url("missing")).await.is_err());
    assert_eq!(server.asked(), asked, "it is not asked again at once");
    assert_eq!(bench.sounds.figures().2, b"<!doctype html><title>Sign in</title>".len() as u64);
}

#[tokio::test]
async fn the_folder_stays_within_its_bounds() {
    let server = Server::start(|_, _| ok("Cache-Control: max-age=600\r\n", THANKS)).await;
    let room_for_two = SoundConfig { url_cache_bytes: 2 * THANKS.len() as u64 + 10, ..config() };
    let mut bench = Bench::new("folder", &room_for_two);
    for path in ["a", "b", "a", "c"] {
        assert_eq!(bench.play(&server.url(path)).await, LENGTH);
    }
    assert_eq!(bench.sounds.figures().2, 2 * THANKS.len() as u64);
    assert_eq!(std::fs::read_dir(bench.folder.join("web")).unwrap().count(), 4);
    bench.restart(&SoundConfig { url_cache_bytes: THANKS.len() as u64, ..config() });
    assert_eq!(bench.sounds.figures().2, THANKS.len() as u64);
    assert_eq!(std::fs::read_dir(bench.folder.join("web")).unwrap().count(), 2);
}

#[tokio::test]
async fn prompts_play_at_once_and_louder_ones_and_tones_when_they_are_made() {
    let mut bench = Bench::new("prompts", &config());
    let prompts = bench.sounds.loader.prompts.clone();
    let now = control_api_types::Timestamp::from_unix_ms(1);
    let prompt = prompts.add("thanks".into(), THANKS.into(), now).await.unwrap();
    let audio = || Audio::Prompt(engine_core::PromptId(prompt.id.as_str().into()));
    let at_once = bench.run(LEG, vec![audio()]);
    assert!(matches!(&at_once[..], [Step::Run(Program { play: Some(_), .. })]), "{at_once:?}");

    let tone = Tone::Ringback.signal(Some("id")).unwrap();
    let playlist = Playlist { sounds: vec![audio(), Audio::Tone(tone), audio()], volume_db: -6 };
    let play = Play { id: 2, playlist, plays: 1, offset_ms: 0, barge_in: false };
    let program = Program { play: Some(play), collect: None };
    let steps = bench.sounds.run(Instant::now(), LEG, program.clone());
    assert_eq!(steps, [Step::Run(Program { play: None, collect: None })]);
    assert_eq!(bench.next().await, []);
    let mut came = bench.next().await;
    let Some((LEG, Step::Run(Program { play: Some(play), .. }))) = came.pop() else { panic!("{came:?}") };
    let [soft, ringback, again] = play.playlist.prompts() else { panic!("three") };
    assert!(Arc::ptr_eq(soft, again), "made once");
    assert_eq!(ringback.duration(), tone.period());
    let power = |prompt: &media_core::Prompt| {
        let pcm = prompt.encoded(Codec::Pcma).unwrap().decode();
        pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / pcm.len() as f64
    };
    let loud = prompts.played(&prompt.id).unwrap();
    let ratio = 10.0 * (power(soft) / power(&loud)).log10();
    assert!((ratio + 6.0).abs() < 0.3, "{ratio}");
    assert!(matches!(
        &bench.sounds.run(Instant::now(), LEG, program)[..],
        [Step::Run(Program { play: Some(_), .. })]
    ));
}
