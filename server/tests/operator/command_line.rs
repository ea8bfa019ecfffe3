//! `check-config`, `token new`, `doctor`, and the starts that `serve` refuses.

use std::os::unix::fs::PermissionsExt as _;

use reqwest::Method;

use crate::support::{Carillon, Folder, Ports, run};

const CHECK: &[&str] = &["check-config", "--config", "carillon.toml"];
const SERVE: &[&str] = &["serve", "--config", "carillon.toml"];
const DOCTOR: &[&str] = &["doctor", "--config", "carillon.toml"];

#[tokio::test]
async fn a_right_configuration_is_told_by_silence() {
    let folder = Folder::new();
    folder.write("carillon.toml", &Ports::free().config("[limits]\nmax_calls = 5\n"));
    let told = run(&folder, CHECK, &[]).await;
    assert_eq!((told.code, told.stdout.as_str(), told.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(folder.files(), ["carillon.toml"], "checking leaves nothing behind");
}

#[tokio::test]
async fn every_command_tells_file_line_and_reason_of_a_wrong_one() {
    let folder = Folder::new();
    folder.write("carillon.toml", "[limits]\nmax_cals = 5\n");
    let mut commands = vec![CHECK, SERVE, DOCTOR];
    commands.push(&["token", "new", "--config", "carillon.toml", "--name", "n", "--scopes", "read"]);
    for command in commands {
        let told = run(&folder, command, &[]).await;
        assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{command:?}");
        let line = "carillon.toml:2: unknown field `max_cals`, expected one of `max_calls`,";
        assert!(told.stderr.starts_with(line), "{}", told.stderr);
        assert_eq!(told.stderr.lines().count(), 1, "{}", told.stderr);
    }
    assert_eq!(folder.files(), ["carillon.toml"], "nothing is half-done");
}

#[tokio::test]
async fn every_fault_of_file_and_environment_is_told() {
    let folder = Folder::new();
    folder.write("carillon.toml", "[limits]\nmax_calls = 0\n[sip]\nlisten = [\"udp:nowhere\"]\n");
    let told = run(&folder, CHECK, &[("CARILLON__API__LISTEN", "here")]).await;
    assert_eq!(told.code, Some(2));
    let starts: Vec<_> = told.stderr.lines().map(|line| line.split(" expected").next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "carillon.toml: environment variable CARILLON__API__LISTEN: \"here\":",
            "carillon.toml:4: \"udp:nowhere\":",
            "carillon.toml:2: max_calls must be at least 1",
        ]
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let told = run(&Folder::new(), CHECK, &[]).await;
    assert_eq!(told.code, Some(2));
    assert_eq!(told.stderr, "carillon.toml: cannot be read: No such file or directory (os error 2)\n");
}

#[tokio::test]
async fn without_a_token_serve_says_what_to_run() {
    let folder = Folder::new();
    folder.write("carillon.toml", &Ports::free().config(""));
    let told = run(&folder, SERVE, &[]).await;
    assert_eq!(told.code, Some(1));
    assert_eq!(
        told.stderr,
        "carillon: there is no token, so nobody could use the API: run\n  carillon token new --config FILE --name \
         NAME --scopes read,control,originate,admin\nor set CARILLON_ADMIN_TOKEN\n"
    );
    assert_eq!(folder.files(), ["carillon.toml"], "no journal of an engine that never was");
}

#[tokio::test]
async fn ports_that_are_taken_are_named() {
    let taken = Carillon::start("").await;
    let Ports { api, sip, .. } = taken.ports;
    for (ports, what) in [
        (
            Ports { api, ..Ports::free() },
            format!("cannot serve the API on {api} (is another process there?)"),
        ),
        (Ports { sip, ..Ports::free() }, format!("cannot listen on udp {sip}")),
    ] {
        let folder = Folder::new();
        folder.write("carillon.toml", &ports.config(""));
        let told = run(&folder, SERVE, &[("CARILLON_ADMIN_TOKEN", "x")]).await;
        assert_eq!(told.code, Some(1));
        let last = told.stderr.lines().last().unwrap();
        assert_eq!(last, format!("carillon: {what}: Address already in use (os error 98)"));
    }
}

#[tokio::test]
async fn a_new_token_is_told_once_and_kept_as_a_hash() {
    let carillon = Carillon::start("").await;
    let new =
        |name, scopes| ["token", "new", "--config", "carillon.toml", "--name", name, "--scopes", scopes];
    let told = run(&carillon.folder, &new("dialler", "read,originate"), &[]).await;
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    let secret = told.stdout.strip_suffix('\n').unwrap();
    assert!(secret.starts_with("car_") && secret.len() > 64 && !secret.contains(char::is_whitespace));
    let file = carillon.folder.read("tokens.toml");
    assert!(!file.contains(secret.rsplit('_').next().unwrap()) && file.contains("sha256"), "{file}");
    let mode = std::fs::metadata(carillon.folder.path().join("tokens.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // The file is watched: the token counts without a restart, and only for its scopes.
    let as_dialler = |method, path| carillon.send(carillon.anonymous(method, path).bearer_auth(secret));
    while as_dialler(Method::GET, "/v1/node").await.status == 401 {
        tokio::task::yield_now().await;
    }
    as_dialler(Method::GET, "/v1/node").await.ok(200);
    let refused = as_dialler(Method::POST, "/v1/drain").await;
    assert_eq!(refused.problem(403, "forbidden"), "the token \"dialler\" lacks the scope admin");

    let twice = run(&carillon.folder, &new("dialler", "read"), &[]).await;
    assert_eq!((twice.code, twice.stdout.as_str()), (Some(1), ""));
    assert_eq!(twice.stderr, "carillon: token file: \"dialler\" is there twice\n");
    let unknown = run(&carillon.folder, &new("other", "read,write"), &[]).await;
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(2), ""));
    assert!(unknown.stderr.contains("write"), "{}", unknown.stderr);
    assert_eq!(carillon.folder.read("tokens.toml"), file, "what was refused changed nothing");
}

#[tokio::test]
async fn the_environment_moves_the_api() {
    let (folder, ports) = (Folder::new(), Ports::free());
    folder.write("carillon.toml", &Ports { api: "127.0.0.1:1".parse().unwrap(), ..ports }.config(""));
    let told = run(&folder, DOCTOR, &[("CARILLON__API__LISTEN", &ports.api.to_string())]).await;
    assert!(told.stdout.contains(&format!("{} (Tcp) is free", ports.api)), "{told:?}");
    assert!(!told.stdout.contains("127.0.0.1:1 "), "{told:?}");
}

#[tokio::test]
async fn the_doctor_finds_what_is_well_and_what_is_not() {
    let trunk = "[[trunks]]\nname = \"t\"\nuri = \"sip:127.0.0.1\"\n[limits]\nmax_calls = 100\n";
    let folder = Folder::new();
    folder.write("carillon.toml", &Ports::free().config(trunk));
    let told = run(&folder, DOCTOR, &[]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    for what in ["api", "sip", "media", "files", "buffers", "realtime", "clock", "disk", "dns", "codecs"] {
        let found = told.stdout.lines().any(|line| line.split_whitespace().nth(1) == Some(what));
        assert!(found, "{what}: {}", told.stdout);
    }
    // 50 pairs of ports for 100 calls.
    assert!(
        told.stdout.contains("warn  media      port_range has room for 50 calls, max_calls is 100"),
        "{told:?}"
    );

    let running = Carillon::start("").await;
    let told = run(&running.folder, DOCTOR, &[]).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    let failed: Vec<_> = told.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert_eq!(failed.len(), 3, "the API, SIP over UDP and over TCP: {failed:?}");
    assert!(
        failed.iter().all(|line| line.contains("is another process, or carillon itself, running there?"))
    );
    assert_eq!(told.stderr, "carillon: 3 finding(s) keep the engine from working\n");
}
