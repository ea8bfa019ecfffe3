//! What a customer hears of a spoken prompt, against the original speech.

use std::path::{Path, PathBuf};
use std::process::Command;

use carrier::{Answers, Behaviour, Carrier, CarrierConfig, CodecName, Outcome, Subscriber};
use control_api_types::Disposition;
use serde_json::json;

use crate::lab::Lab;

/// Debian `pocketsphinx-testdata`: seven seconds of a reader, 16 kHz.
pub(crate) const SPEECH: &str =
    "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav";

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_heard_as_well_as_the_codec_allows() {
    let speech = std::fs::read(SPEECH).unwrap_or_else(|error| {
        panic!("{SPEECH}: {error}: `apt-get install pocketsphinx-testdata`, or `make test`")
    });
    for codec in media_core::Codec::DEFAULT {
        let folder = std::env::temp_dir().join(format!("carillon-test-pesq-{}", std::process::id()));
        let carrier = Carrier::start(CarrierConfig {
            codecs: vec![CodecName(codec)],
            customers: vec![Subscriber::new("*", Behaviour::Answers(Answers::default()))],
            record: Some(folder.clone()),
            ..CarrierConfig::default()
        })
        .await
        .unwrap();
        let mut lab = Lab::calling(carrier.addr()).await;
        lab.engine.client().upload_prompt("speech", speech.clone()).await.unwrap();
        let flow = json!({ "start": "speak", "steps": {
            "speak": { "verb": "play", "prompt": "speech", "next": "wait" },
            "wait": { "verb": "pause", "ms": 200, "next": "bye" },
            "bye": { "verb": "hangup" },
        } });
        let call = lab.place(json!({ "flow": flow })).await;
        assert_eq!(lab.story(&call).await.cdr.disposition, Some(Disposition::Answered));

        carrier.wait_for(|progress| progress.ended == 1).await.unwrap();
        let heard = carrier.calls().await.unwrap().remove(0);
        assert_eq!(heard.outcome, Outcome::CallerHungUp);
        let stream = heard.heard.unwrap();
        assert_eq!((stream.lost, stream.duplicates, stream.reordered), (0, 0, 0), "{stream:?}");
        assert_eq!((stream.breaks, stream.invalid), (0, 0), "timestamps are continuous: {stream:?}");
        let recording = heard.recording.unwrap();
        check(codec.name(), &recording);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// A script of `testbed/pesq` in its own Python environment.
fn script(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pesq");
    let setup = Command::new(folder.join("setup.sh")).output().unwrap();
    assert!(setup.status.success(), "setup.sh: {}", String::from_utf8_lossy(&setup.stderr));
    let python = String::from_utf8(setup.stdout).unwrap();
    let mut command = Command::new(python.trim());
    command.arg("-B").arg(folder.join(name));
    command
}

/// `pesq_score.py`: how well each file is heard.
pub(crate) fn score(original: &Path, heard: &[PathBuf]) -> Vec<f64> {
    let output = script("pesq_score.py").arg(original).args(heard).output().unwrap();
    assert!(output.status.success(), "pesq_score.py: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().unwrap()).collect()
}

/// `pesq_check.py`: fails where it is not heard as well as the codec allows.
pub(crate) fn check(codec: &str, recording: &Path) {
    let output = script("pesq_check.py")
        .args([SPEECH.as_ref(), recording.as_os_str()])
        .args(["--codec", codec])
        // The ceiling of Opus moves by 0.04 with a few tenths of a decibel.
        .args(["--within", if codec == "opus" { "0.1" } else { "0.05" }])
        .output()
        .unwrap();
    let (said, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprint!("{codec}: {said}");
    assert!(output.status.success(), "{codec}: {said}{complaints}");
}
