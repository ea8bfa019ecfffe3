use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use media_core::Ptime;
use media_core::record::{Mender, Moment, Sent, Sides};

use super::*;

/// Longer than anything here takes: reaching it means that something never comes.
const DEAD: Duration = Duration::from_secs(30);

/// A folder that goes with the test, and what is mounted there.
struct Folder {
    path: PathBuf,
    is_mounted: bool,
}

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("carillon-record-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self { path, is_mounted: false }
    }

    /// A file system of its own with so much room.
    fn with_room(name: &str, size: &str) -> Self {
        let mut folder = Self::new(name);
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&folder.path)
            .status()
            .unwrap();
        assert!(mounted.success(), "this test mounts a small file system and so needs to be root");
        folder.is_mounted = true;
        folder
    }

    fn config(&self) -> RecordConfig {
        RecordConfig { folder: self.path.join("recordings"), threads: 1, min_free: 0 }
    }

    fn files(&self) -> Vec<String> {
        let files = fs::read_dir(self.path.join("recordings")).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg(&self.path).status();
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn start(config: RecordConfig) -> (Recorders, Vec<Left>, Receiver<Arc<Recorded>>) {
    let (told, ended) = sync_channel(1_000);
    let (recorders, left) =
        Recorders::start(config, move |recorded| told.try_send(Arc::clone(recorded)).is_ok()).unwrap();
    (recorders, left, ended)
}

fn wav() -> Recording {
    let (format, sides) = (Format::Wav, Sides::Apart);
    Recording { format, sides, max: Duration::from_secs(3_600), silence: None }
}

/// Packet times of 20 ms in which `level` is heard and silence is sent.
fn feed(tape: &mut Box<dyn Tape>, level: i16, packets: usize) -> bool {
    let moment = Moment {
        codec: Codec::Pcma,
        ptime: Ptime::DEFAULT,
        heard: &[level; 160],
        sent: Sent::Payload(&[0xD5; 160]),
    };
    (0..packets).all(|_| tape.take(&moment))
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEAD, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// The samples of the first channel of a WAV file with two, as its header tells them.
fn heard(file: &[u8]) -> Vec<i16> {
    let data = u32::from_le_bytes(file[40..44].try_into().unwrap()) as usize;
    assert_eq!((&file[..4], &file[36..40]), (&b"RIFF"[..], &b"data"[..]));
    file[44..44 + data].chunks_exact(4).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

fn next(ended: &Receiver<Arc<Recorded>>) -> Recorded {
    let recorded = ended.recv_timeout(DEAD).expect("the end of a recording");
    // The writer lets go of it when the sink has taken it.
    wait_until("it is ours", || Arc::strong_count(&recorded) == 1);
    Arc::into_inner(recorded).unwrap()
}

#[test]
fn a_recording_ends_as_a_file_for_its_owner_alone() {
    let folder = Folder::new("whole");
    let (recorders, left, ended) = start(folder.config());
    assert_eq!(left, []);
    let mut tape = recorders.record("r1".into(), wav(), Codec::Pcma).unwrap();
    assert!(feed(&mut tape, 700, 50));
    drop(tape);
    let Recorded { id, over, duration, dropped, size, rate } = next(&ended);
    assert!(matches!(over, Over::Stopped), "{over:?}");
    assert_eq!((&*id, duration, dropped), ("r1", Duration::from_secs(1), Duration::ZERO));
    assert_eq!((size, rate), (44 + 8_000 * 4, 8_000));
    assert_eq!(folder.files(), ["r1.wav"]);
    let path = Recorders::path(&folder.config().folder, "r1", Format::Wav);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(heard(&fs::read(&path).unwrap()), vec![700; 8_000]);
    for _ in 0..2 {
        Recorders::remove(path.parent().unwrap(), "r1", Format::Wav).unwrap();
        assert_eq!(folder.files(), [""; 0]);
    }
}

#[test]
fn fifty_at_once_each_have_their_own_sound() {
    let folder = Folder::new("fifty");
    let (recorders, _, ended) = start(RecordConfig { threads: 2, ..folder.config() });
    let mut tapes: Vec<_> =
        (0..50).map(|n| recorders.record(format!("r{n}").into(), wav(), Codec::Pcma).unwrap()).collect();
    for second in 1..=4 {
        for (n, tape) in tapes.iter_mut().enumerate() {
            assert!(feed(tape, n as i16, 50));
        }
        // A ring holds two seconds, which are on disk in time: then the next may come.
        let is_written = |file: &String| {
            fs::metadata(folder.config().folder.join(file)).unwrap().len() >= 44 + second * 32_000
        };
        wait_until("a second is written", || {
            folder.files().iter().filter(|file| is_written(file)).count() == 50
        });
    }
    drop(tapes);
    for _ in 0..50 {
        let recorded = next(&ended);
        assert_eq!((recorded.duration, recorded.dropped), (Duration::from_secs(4), Duration::ZERO));
        let n: i16 = recorded.id[1..].parse().unwrap();
        let path = Recorders::path(&folder.config().folder, &recorded.id, Format::Wav);
        assert_eq!(heard(&fs::read(path).unwrap()), vec![n; 32_000]);
    }
    assert_eq!(folder.files().len(), 50);
}

#[test]
fn what_a_killed_process_leaves_can_be_read_and_is_finished_by_the_next() {
    let folder = Folder::new("killed");
    let (recorders, _, ended) = start(folder.config());
    let ogg = Recording { format: Format::Opus, ..wav() };
    let mut tapes = [
        recorders.record("a".into(), wav(), Codec::Pcma).unwrap(),
        recorders.record("b".into(), ogg, Codec::Pcma).unwrap(),
        recorders.record("c".into(), wav(), Codec::Pcma).unwrap(),
    ];
    assert!(feed(&mut tapes[0], 700, 90) && feed(&mut tapes[1], 700, 90));
    // Nothing else than a second's time makes it write.
    let parts = ["a.wav.part", "b.ogg.part", "c.wav.part"];
    let read = |name: &str| fs::read(folder.config().folder.join(name)).unwrap_or_default();
    wait_until("both are written", || parts[..2].iter().all(|name| read(name).len() > 200));
    assert_eq!(heard(&read("a.wav.part")), vec![700; 90 * 160], "its header is right meanwhile");

    // As they are now, and with what a write that was cut off may leave, in a folder of another process.
    let second = Folder::new("killed-second");
    fs::create_dir_all(second.config().folder).unwrap();
    for name in parts {
        let torn = [&read(name)[..], b"OggS\0\0\0"].concat();
        let content = if name == "c.wav.part" { vec![] } else { torn };
        fs::write(second.config().folder.join(name), content).unwrap();
    }
    fs::write(second.config().folder.join("somebody's.txt"), "else").unwrap();
    let (again, left, _) = start(second.config());
    let facts: Vec<_> = left.iter().map(|left| (&*left.id, left.format, left.rate, left.channels)).collect();
    assert_eq!(
        facts,
        [("a", Format::Wav, 8_000, 2), ("b", Format::Opus, 8_000, 2), ("c", Format::Wav, 0, 0)]
    );
    // The seven octets of rubbish are one more sample; the encoder's delay is not heard.
    assert_eq!(left[0].duration, Duration::from_micros(1_800_125));
    assert_eq!(left[1].duration, Duration::from_micros(1_800_000 - 6_500));
    assert_eq!(second.files(), ["a.wav", "b.ogg", "somebody's.txt"]);
    let file = fs::read(second.config().folder.join("a.wav")).unwrap();
    assert_eq!(file.len() as u64, left[0].size);
    assert_eq!(heard(&file)[..90 * 160], [700; 90 * 160]);
    drop(again);

    // Here nobody was killed.
    drop(tapes);
    drop(recorders);
    assert_eq!(ended.iter().count(), 3);
    assert_eq!(folder.files(), ["a.wav", "b.ogg", "c.wav"]);
}

#[test]
fn a_full_disk_ends_the_recording_with_what_fitted() {
    for (format, name) in [(Format::Wav, "r.wav"), (Format::Opus, "r.ogg")] {
        let folder = Folder::with_room(&format!("full-{name}"), "64k");
        let (recorders, _, ended) = start(folder.config());
        let recording = Recording { format, ..wav() };
        let mut tape = recorders.record("r".into(), recording, Codec::Pcma).unwrap();
        // Until nobody takes it any more: the tape is told.
        let start = Instant::now();
        while feed(&mut tape, 700, 50) {
            assert!(start.elapsed() < DEAD);
            std::thread::sleep(Duration::from_millis(20));
        }
        let recorded = next(&ended);
        let Over::NoSpace(error) = &recorded.over else { panic!("{:?}", recorded.over) };
        assert!(error.to_string().contains("recording_min_free_mb"), "{error}");
        assert_eq!(folder.files(), [name]);
        let file = fs::read(folder.config().folder.join(name)).unwrap();
        assert_eq!(file.len() as u64, recorded.size);
        assert!((40_000..=65_536).contains(&file.len()), "{}", file.len());
        if format == Format::Wav {
            let heard = heard(&file);
            assert_eq!(heard.len(), (file.len() - 44) / 4);
            assert!(heard.iter().all(|sample| *sample == 700));
            assert_eq!(recorded.duration.as_micros(), heard.len() as u128 * 125);
        } else {
            // The last page says that it is the last.
            let mut mender = Mender::new(format);
            let mended = loop {
                let (at, len) = mender.wants();
                let rest = &file[at as usize..];
                if let Some(mended) = mender.read(&rest[..len.min(rest.len())], file.len() as u64) {
                    break mended.unwrap();
                }
            };
            assert_eq!((mended.patch, mended.duration), (None, recorded.duration));
        }
        // The next one is refused from the start, for there is less than there must be.
        let config = RecordConfig { min_free: 1 << 20, ..folder.config() };
        assert!(matches!(Recorders::check_space(&config), Err(RecordError::NoSpace { .. })));
        let (recorders, _, ended) = start_again(recorders, config);
        let tape = recorders.record("s".into(), recording, Codec::Pcma).unwrap();
        let recorded = next(&ended);
        assert!(matches!(recorded.over, Over::NoSpace(RecordError::NoSpace { floor: 1_048_576, .. })));
        assert_eq!((recorded.size, folder.files()), (0, vec![name.to_owned()]));
        drop(tape);
    }
}

#[test]
fn a_disk_that_others_need_ends_what_runs() {
    let folder = Folder::with_room("scarce", "4m");
    let (recorders, _, ended) = start(RecordConfig { min_free: 2 << 20, ..folder.config() });
    let mut tape = recorders.record("r".into(), wav(), Codec::Pcma).unwrap();
    assert!(feed(&mut tape, 700, 50));
    wait_until("it has begun", || folder.files() == ["r.wav.part"]);
    fs::write(folder.path.join("others"), vec![0; 3 << 20]).unwrap();
    let recorded = next(&ended);
    let Over::NoSpace(RecordError::NoSpace { free, floor, .. }) = recorded.over else {
        panic!("{recorded:?}")
    };
    assert!(free < 1 << 20, "{free}");
    assert_eq!(
        (floor, recorded.duration, folder.files()),
        (2 << 20, Duration::from_secs(1), vec!["r.wav".into()])
    );
    drop(tape);
}

fn start_again(
    recorders: Recorders,
    config: RecordConfig,
) -> (Recorders, Vec<Left>, Receiver<Arc<Recorded>>) {
    drop(recorders);
    start(config)
}

#[test]
fn it_ends_by_itself_at_its_longest_and_in_silence() {
    let folder = Folder::new("ends");
    let (recorders, _, ended) = start(folder.config());
    let short = Recording { max: Duration::from_millis(500), ..wav() };
    let quiet = Recording { silence: Some(Duration::from_millis(700)), ..wav() };
    let mut tapes = [
        recorders.record("short".into(), short, Codec::Pcma).unwrap(),
        recorders.record("quiet".into(), quiet, Codec::Pcma).unwrap(),
    ];
    assert!(feed(&mut tapes[0], 700, 50));
    let recorded = next(&ended);
    assert!(matches!(recorded.over, Over::MaxLength));
    assert_eq!((&*recorded.id, recorded.duration), ("short", short.max));
    assert!(feed(&mut tapes[1], 700, 20) && feed(&mut tapes[1], 3, 40));
    let recorded = next(&ended);
    assert!(matches!(recorded.over, Over::Silence));
    assert_eq!((&*recorded.id, recorded.duration), ("quiet", Duration::from_millis(400 + 700)));
    assert!(!feed(&mut tapes[0], 700, 1) && !feed(&mut tapes[1], 700, 1));
}

#[test]
fn what_the_sink_has_no_room_for_is_told_later() {
    let folder = Folder::new("later");
    let (told, ended) = sync_channel(1);
    let (recorders, _) =
        Recorders::start(folder.config(), move |recorded| told.try_send(Arc::clone(recorded)).is_ok())
            .unwrap();
    let tapes: Vec<_> =
        (0..5).map(|n| recorders.record(format!("r{n}").into(), wav(), Codec::Pcma).unwrap()).collect();
    drop(tapes);
    wait_until("all files are whole", || {
        folder.files().iter().filter(|name| name.ends_with(".wav")).count() == 5
    });
    let mut ids: Vec<_> = (0..5).map(|_| ended.recv_timeout(DEAD).unwrap().id.clone()).collect();
    ids.sort();
    assert_eq!(ids.iter().map(|id| &**id).collect::<Vec<_>>(), ["r0", "r1", "r2", "r3", "r4"]);
}
