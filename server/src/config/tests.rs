//! What is read, and what a person is told about a file that is wrong.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use control_api_types::Codec;
use engine_core::RouteAction;
use sip_core::Transport;
use sip_core::digest::Hash;

use super::{Config, parse};

/// The configuration, or the lines that `check-config` prints.
fn check(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    parse(Path::new("/etc/c.toml"), text, environment)
        .map_err(|faults| faults.to_string().lines().map(str::to_owned).collect())
}

/// The only line about a wrong file, without the file's name.
fn fault(text: &str) -> String {
    let lines = check(text, &[]).expect_err(text);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].strip_prefix("/etc/c.toml:").expect("every line names the file").to_owned()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn an_empty_file_is_a_whole_configuration() {
    let Config { api, engine } = check("", &[]).unwrap();
    assert_eq!(api.listen, address("127.0.0.1:8080"));
    assert_eq!(api.token_file, PathBuf::from("/etc/tokens.toml"));
    assert!(!api.metrics_open);
    let listeners: Vec<_> = engine.sip_listen.iter().map(|listen| (listen.transport, listen.bind)).collect();
    let sip = address("127.0.0.1:5060");
    assert_eq!(listeners, [(Transport::Udp, sip), (Transport::Tcp, sip)]);
    assert_eq!(engine.media.port_range, 10_000..=32_767);
    assert_eq!(engine.limits.max_calls, 2000);
    assert_eq!(engine.database, PathBuf::from("/etc/carillon.db"));
    assert_eq!(engine.media_dir, PathBuf::from("/etc/media"));
}

#[test]
fn every_section_is_read() {
    let Config { api, engine } = check(
        r#"
        [api]
        listen = "[::1]:9090"
        token_file = "/run/tokens.toml"
        metrics_open = true
        [sip]
        listen = ["tcp:[::]:5070"]
        public_ip = "2001:db8::1"
        dns = ["127.0.0.1:5353", "2001:db8::53"]
        [sip.guard]
        deny = ["198.51.100.0/24"]
        allow = ["10.0.0.1"]
        scanners = ["nosy-phone"]
        rate = 5
        known_rate = 700
        ban_s = 60
        [sip.trace]
        per_call = 10
        hep = "homer.example:9060"
        hep_id = 7
        [media]
        ip = "0.0.0.0"
        public_ip = "192.0.2.1"
        port_range = [20000, 20009]
        shards = 2
        url_timeout_s = 5
        url_max_mb = 8
        url_cache_mb = 100
        sound_cache_mb = 50
        rtp_timeout_s = 30
        rtp_timeout_held_s = 0
        [limits]
        max_calls = 5
        queue_timeout_s = 7
        inbound_max_duration_s = 86400
        cdr_retention_days = 2
        [storage]
        database_url = "sqlite:///var/lib/c.db"
        recording_min_free_mb = 3
        recording_retention_days = 4
        [[trunks]]
        name = "jkt-1"
        uri = "sip:sip.example.net;transport=tcp"
        username = "user"
        password = "hunter2"
        register = true
        gateways = [{ uri = "sip:192.0.2.9:5080" }]
        caller_ids = ["+6221"]
        codecs = ["pcma"]
        max_cps = 3
        number_format = { strip = "+", allow = ["62*"] }
        [[trunks]]
        name = "peer"
        uri = "sip:192.0.2.10"
        [[routes]]
        match = { trunk = "peer", source = "192.0.2.0/24", called = "100*" }
        flow = "welcome"
        [[routes]]
        park = true
        "#,
        &[],
    )
    .unwrap();
    assert_eq!((api.listen, api.metrics_open), (address("[::1]:9090"), true));
    assert_eq!(api.token_file, PathBuf::from("/run/tokens.toml"));
    assert_eq!(engine.sip_listen[0].bind, address("[::]:5070"));
    assert_eq!(engine.sip_listen[0].public_ip, "2001:db8::1".parse().ok());
    assert_eq!(engine.name_servers, [address("127.0.0.1:5353"), address("[2001:db8::53]:53")]);
    let guard = &engine.guard;
    assert_eq!((guard.unknown.per_second, guard.unknown.burst, guard.known.per_second), (5, 40, 700));
    let trace = &engine.trace;
    assert_eq!((trace.per_call, trace.total_bytes), (10, 64 << 20));
    assert_eq!(trace.hep.as_ref().map(|hep| (hep.server.as_str(), hep.id)), Some(("homer.example:9060", 7)));
    assert_eq!((guard.deny.len(), guard.allow.len(), guard.ban.as_secs()), (1, 1, 60));
    assert!(["nosy-phone", "sipvicious"].iter().all(|name| guard.scanners.iter().any(|s| s == name)));
    assert_eq!((engine.media_public_ip, engine.media.shards), ("192.0.2.1".parse().ok(), 2));
    assert_eq!(
        (engine.rtp_timeout.talking.map(|time| time.as_secs()), engine.rtp_timeout.held),
        (Some(30), None)
    );
    assert_eq!(engine.media.max_legs, 5, "an even port and the next for each");
    let sounds = &engine.sounds;
    assert_eq!((sounds.url_timeout.as_secs(), sounds.url_max_bytes), (5, 8 << 20));
    assert_eq!((sounds.url_cache_bytes, sounds.memory_bytes), (100 << 20, 50 << 20));
    assert_eq!((engine.limits.max_calls, engine.limits.queue_timeout_s), (5, 7));
    assert_eq!(engine.inbound_max_duration.as_secs(), 86_400);
    assert_eq!(engine.cdr_retention.as_secs(), 2 * 24 * 3600);
    assert_eq!(engine.database, PathBuf::from("/var/lib/c.db"));
    assert_eq!(engine.recordings.min_free, 3 << 20);
    assert_eq!(engine.recordings.retention.map(|kept| kept.as_secs()), Some(4 * 24 * 3600));
    let [registered, peer] = &engine.trunks[..] else { panic!("{:?}", engine.trunks) };
    assert_eq!(registered.gateways[0].uri, "sip:192.0.2.9:5080");
    assert_eq!(registered.uri, "sip:sip.example.net;transport=tcp");
    assert!(registered.register && registered.password.is_some());
    assert_eq!(registered.codecs, Some(vec![Codec::Pcma]));
    assert_eq!(registered.max_cps, Some(3));
    assert!(!peer.register && peer.username.is_none(), "known by its address");
    assert_eq!(engine.routes[0].action, RouteAction::Flow("welcome".into()));
    assert_eq!(engine.routes[1].action, RouteAction::Park);
    assert!(!format!("{engine:?}").contains("hunter2"), "a password is in no log");
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_where_they_stand() {
    for (text, told) in [
        (
            "[api]\nlisen = \"127.0.0.1:1\"",
            "2: unknown field `lisen`, expected one of `listen`, `token_file`, `metrics_open`, `tls_cert`, `tls_key`, `rate_limit`",
        ),
        (
            "[ap]\n",
            "1: unknown field `ap`, expected one of `api`, `sip`, `media`, `limits`, `storage`, `stir`, `http`, `webhooks`, `speech`, `trunks`, `routes`, `endpoints`",
        ),
        ("[limits]\n\nmax_calls = \"many\"", "3: invalid type: string \"many\", expected u32"),
        ("[limits]\nmax_calls = -1", "2: invalid value: integer `-1`, expected u32"),
        ("[media]\nport_range = [1]", "2: invalid length 1, expected an array of length 2"),
        ("[[trunks]]\nuri = \"sip:192.0.2.1\"", "1: a trunk: name: is required"),
        ("[trunks]\nname = \"t\"", "1: invalid type: map, expected a sequence"),
        ("[api]\nlisten = ", "2: string values must be quoted, expected literal string"),
        ("[api]\n[api]", "2: duplicate key"),
    ] {
        assert_eq!(fault(text), told, "{text}");
    }
}

#[test]
fn well_formed_values_that_are_wrong_are_refused_where_they_stand() {
    let trunk = "[[trunks]]\nname = \"t\"\nuri = \"sip:192.0.2.1\"\n";
    let with = |lines: &str| format!("{trunk}{lines}");
    let route = |lines: &str| format!("[[routes]]\n{lines}");
    for (text, told) in [
        ("[api]\nlisten = \"8080\"".into(), "2: \"8080\": expected an address such as 127.0.0.1:8080"),
        ("[api]\nrate_limit = 0".into(), "2: rate_limit must be at least 1"),
        ("[sip]\nlisten = []".into(), "2: at least one listener is needed"),
        (
            "[sip]\nlisten = [\n\"udp:127.0.0.1:1\",\n\"sctp:127.0.0.1:1\"]".into(),
            "4: \"sctp:127.0.0.1:1\": expected TRANSPORT:IP:PORT, with a transport of udp, tcp, tls, ws, wss and IPv6 in brackets",
        ),
        (
            "[sip]\nlisten = [\"udp:0.0.0.0:5060\"]".into(),
            "2: a listener on every address needs public_ip: peers must be told one address",
        ),
        (
            "[sip]\npublic_ip = \"192.0.2.1\"\nlisten = [\"udp:[::1]:5060\"]".into(),
            "3: public_ip is of another address family than the listener: give the listener its own, as in { addr = \"udp:[::]:5060\", public_ip = \"2001:db8::1\" }",
        ),
        (
            "[sip]\nlisten = [5060]".into(),
            "2: invalid type: integer `5060`, expected a string such as \"udp:127.0.0.1:5060\", or a table with addr",
        ),
        (
            "[sip]\nlisten = [{ address = \"udp:127.0.0.1:1\" }]".into(),
            "2: unknown field `address`, expected one of `addr`, `public_ip`, `cert`, `key`, `client_ca`, `origins`, `path`",
        ),
        ("[sip]\nlisten = [{ public_ip = \"192.0.2.1\" }]".into(), "2: missing field `addr`"),
        (
            "[sip]\nlisten = [\"tls:127.0.0.1:1\"]".into(),
            "2: \"tls:127.0.0.1:1\" needs cert and key, here or in [sip.tls]",
        ),
        ("[sip.tls]\nkey = \"k\"".into(), "2: cert and key go together"),
        ("[sip.tls]\nca = \"none.pem\"".into(), "2: /etc/none.pem: No such file or directory (os error 2)"),
        (
            "[sip]\nlisten = [{ addr = \"udp:127.0.0.1:1\",\ncert = \"c\" }]".into(),
            "3: udp has no certificates; tls and wss have",
        ),
        (
            "[sip]\nlisten = [{ addr = \"tcp:127.0.0.1:1\", origins = [] }]".into(),
            "2: origins are for ws and wss",
        ),
        (
            "[sip]\nlisten = [{ addr = \"ws:127.0.0.1:1\",\norigins = [\"desk.example.com\"] }]".into(),
            "3: expected an origin such as https://desk.example.com",
        ),
        ("[sip]\nlisten = [{ addr = \"ws:127.0.0.1:1\", path = \"sip\" }]".into(), "2: a path begins with /"),
        (
            "[sip]\ndns = [\"ns.example.net\"]".into(),
            "2: \"ns.example.net\": expected a name server, \"IP\" or \"IP:PORT\"",
        ),
        (
            "[media]\nip = \"0.0.0.0\"".into(),
            "2: [media] ip on every address needs public_ip: peers must be told one address",
        ),
        ("[media]\nurl_timeout_s = 0".into(), "2: url_timeout_s must be 1 to 60"),
        ("[media]\nurl_max_mb = 33".into(), "2: url_max_mb must be 1 to 32, the most that a prompt may have"),
        (
            "[media]\nport_range = [20000, 10000]".into(),
            "2: expected [first, last] with 1024 <= first < last; each call takes an even port and the next",
        ),
        ("[limits]\nmax_calls = 0".into(), "2: max_calls must be at least 1"),
        ("[limits]\nmax_cps = 0".into(), "2: max_cps must be at least 1"),
        ("[limits]\nmax_queued = 0".into(), "2: max_queued must be at least 1"),
        ("[limits]\nqueue_timeout_s = 0".into(), "2: queue_timeout_s must be at least 1"),
        ("[limits]\ninbound_max_duration_s = 0".into(), "2: inbound_max_duration_s must be 1 to 86400"),
        ("[limits]\ninbound_max_duration_s = 86401".into(), "2: inbound_max_duration_s must be 1 to 86400"),
        ("[limits]\ncdr_retention_days = 0".into(), "2: cdr_retention_days must be 1 to 3650"),
        ("[storage]\nrecording_retention_days = 0".into(), "2: recording_retention_days must be 1 to 3650"),
        (
            "[storage]\ndatabase_url = \"mysql://x\"".into(),
            "2: \"mysql://x\": expected sqlite://FILE (the engine's journal)",
        ),
        (
            "[[trunks]]\nname = \"a b\"\nuri = \"sip:192.0.2.1\"".into(),
            "2: trunk \"a b\": name: must be 1 to 64 characters of A-Z a-z 0-9 _ . -",
        ),
        (
            with("[[trunks]]\nname = \"t\"\nuri = \"sip:192.0.2.2\""),
            "5: trunk \"t\": name: is configured twice",
        ),
        (
            "[[trunks]]\nname = \"t\"\nuri = \"192.0.2.1\"".into(),
            "3: trunk \"t\": uri: \"192.0.2.1\": expected a URI such as sip:sip.example.net:5060;transport=udp",
        ),
        (
            "[[trunks]]\nname = \"t\"\nuri = \"sip:192.0.2.1;transport=sctp\"".into(),
            "3: trunk \"t\": uri: transport \"sctp\" is not supported; there are udp, tcp, tls, ws, wss",
        ),
        (
            with("gateways = [\n{ uri = \"sips:192.0.2.2\" }]"),
            "5: trunk \"t\": gateways.0.uri: a trunk over tls needs a listener to be called back at: \
             add \"tls:IP:PORT\" to listen in [sip]",
        ),
        (with("register = true"), "4: trunk \"t\": register: needs username and password (or password_file)"),
        (
            with("username = \"u\""),
            "4: trunk \"t\": username: is of no use without password or password_file",
        ),
        (with("password = \"p\""), "4: trunk \"t\": password: is of no use without username"),
        (
            with("username = \"u\"\npassword = \"p\"\npassword_file = \"f\""),
            "6: trunk \"t\": password_file: password and password_file exclude each other",
        ),
        (
            with("username = \"u\"\npassword_file = \"none\""),
            "5: trunk \"t\": password_file: /etc/none: No such file or directory (os error 2)",
        ),
        (
            with("codecs = []"),
            "4: trunk \"t\": codecs: must hold 1 to 8 codecs of PCMU, PCMA, G722, opus, L16, not 0",
        ),
        (
            with("codecs = [\"PCMU\",\n\"G729\"]"),
            "5: trunk \"t\": codecs.1: must be one of: PCMU, PCMA, G722, opus, L16",
        ),
        (with("codecs = [\"PCMU\", \"PCMU\"]"), "4: trunk \"t\": codecs.1: is listed twice"),
        (with("max_calls = 0"), "4: trunk \"t\": max_calls: must be a whole number from 1 to 1000000, not 0"),
        (
            with("max_cps = \"many\""),
            "4: trunk \"t\": max_cps: must be a whole number from 1 to 100000, not a string",
        ),
        (
            with("gateways = [{ uri = \"sip:192.0.2.2\" },\n{ uri = \"sip:192.0.2.2\", priority = 1 }]"),
            "5: trunk \"t\": gateways.1.uri: gateway \"sip:192.0.2.2\" is there twice",
        ),
        (
            with("failover_ms = 100"),
            "4: trunk \"t\": failover_ms: must be a whole number from 500 to 32000, not 100",
        ),
        (
            with("[trunks.number_format]\nallow = [\"+62\"]"),
            "5: trunk \"t\": number_format.allow.0: must be a pattern such as 62*: digits without +, * for any, \
             ? for one",
        ),
        (route("park = true\nmatch = { trunk = \"x\" }"), "3: route: there is no trunk \"x\""),
        (
            route("park = true\nmatch = { source = \"here\" }"),
            "3: \"here\": expected an address or a network such as 10.0.0.0/8",
        ),
        (
            route("match = { called = \"1\" }"),
            "1: a route has exactly one of flow = \"name\", park = true, reject = STATUS, webhook = URL",
        ),
        (
            route("flow = \"f\"\npark = true"),
            "1: a route has exactly one of flow = \"name\", park = true, reject = STATUS, webhook = URL",
        ),
        (route("reject = 200"), "2: reject takes a SIP status from 300 to 699"),
        (
            "[sip]\ndigest_algorithms = [\"MD5\",\n\"SHA-1\"]".into(),
            "3: digest_algorithms has only SHA-512-256, SHA-256, MD5",
        ),
        ("[sip]\ndigest_algorithms = []".into(), "2: digest_algorithms must name one at least"),
    ] {
        assert_eq!(fault(&text), told, "{text}");
    }
}

#[test]
fn endpoints_are_challenged_as_configured() {
    let config = check("[sip]\ndigest_algorithms = [\"SHA-256\", \"md5\", \"MD5\"]", &[]).unwrap();
    assert_eq!(config.engine.registrar.digest_algorithms, [Hash::Sha256, Hash::Md5]);
    assert_eq!(check("", &[]).unwrap().engine.registrar.digest_algorithms, [Hash::Md5]);
}

#[test]
fn endpoints_that_are_wrong_are_refused_where_they_stand() {
    let with = |lines: &str| format!("[[endpoints]]\nname = \"ann\"\npassword = \"p\"\n{lines}");
    let named = |name: &str| format!("[[endpoints]]\npassword = \"p\"\nname = \"{name}\"");
    let letters = "3: an endpoint's name is 1 to 64 characters of A-Z a-z 0-9 _ . -";
    for (text, told) in [
        ("[[endpoints]]\npassword = \"p\"".into(), "1: missing field `name`"),
        ("[[endpoints]]\nname = \"ann\"".into(), "2: endpoint \"ann\" needs a password or a password_file"),
        (named(""), letters),
        (named("ann smith"), letters),
        (named(&"x".repeat(65)), letters),
        (with("username = \"a@b\""), "4: an endpoint's name is 1 to 64 characters of A-Z a-z 0-9 _ . -"),
        (with(&with("")), "5: endpoint \"ann\" is configured twice"),
        (
            with(&(named("bob") + "\nusername = \"ann\"")),
            "7: endpoint \"bob\": \"ann\" has the name or username \"ann\"",
        ),
        (
            with("username = \"bob\"\n[[endpoints]]\npassword = \"p\"\nname = \"bob\""),
            "7: endpoint \"bob\": \"ann\" has the name or username \"bob\"",
        ),
        (with("password_file = \"f\""), "4: endpoint \"ann\": password and password_file exclude each other"),
        (
            "[[endpoints]]\nname = \"ann\"\npassword_file = \"none\"".into(),
            "3: endpoint \"ann\": password_file /etc/none: No such file or directory (os error 2)",
        ),
        (with("max_contacts = 0"), "4: max_contacts must be 1 to 100"),
        (with("max_contacts = 101"), "4: max_contacts must be 1 to 100"),
        (with("codecs = []"), "4: codecs must name at least one codec"),
        (
            with("codecs = [\"PCMU\",\n\"G729\"]"),
            "5: endpoint \"ann\": unknown codec \"G729\"; there are PCMA, PCMU, G722, opus, L16",
        ),
        (
            with("transports = [\"tls\",\n\"sctp\"]"),
            "5: endpoint \"ann\": unknown transport \"sctp\"; there are udp, tcp, tls, ws, wss",
        ),
        (with("srtp = \"on\""), "4: endpoint \"ann\": srtp is one of off, optional, required"),
        (
            with("expires = 60"),
            "4: unknown field `expires`, expected one of `name`, `username`, `password`, `password_file`, `caller_id`, \
             `max_contacts`, `codecs`, `srtp`, `media`, `auto_answer`, `transports`",
        ),
        (
            with("[[routes]]\npark = true\nmatch = { endpoint = \"bob\" }"),
            "6: route: there is no endpoint \"bob\"; \"*\" is any, those of the API too",
        ),
        ("[sip]\ndomain = \"a b\"".into(), "2: \"a b\": expected a host name such as pbx.example.net"),
    ] {
        assert_eq!(fault(&text), told, "{text}");
    }
}

#[test]
fn a_listener_has_what_is_its_own_and_else_what_all_have() {
    let Config { engine, .. } = check(
        r#"
        [sip]
        public_ip = "192.0.2.1"
        listen = [
            "udp:0.0.0.0:5060",
            { addr = "udp:[::]:5060", public_ip = "2001:db8::1" },
            { addr = "ws:127.0.0.1:80", origins = ["https://desk.example.com"], path = "/sip" },
        ]
        "#,
        &[],
    )
    .unwrap();
    let told: Vec<_> = engine.sip_listen.iter().map(|listen| listen.public_ip.unwrap().to_string()).collect();
    assert_eq!(told, ["192.0.2.1", "2001:db8::1", "192.0.2.1"]);
    let web = &engine.sip_listen[2];
    assert_eq!(
        (web.origins.as_slice(), web.path.as_deref()),
        (&["https://desk.example.com".to_owned()][..], Some("/sip"))
    );
    assert!(engine.sip_tls.verify && engine.sip_listen.iter().all(|listen| listen.tls.is_none()));
    let unverified = check("[sip.tls]\nverify = false", &[]).unwrap();
    assert!(!unverified.engine.sip_tls.verify);
}

#[test]
fn every_fault_is_told_at_once() {
    let lines =
        check("[api]\nlisten = \"x\"\n[limits]\nmax_calls = 0\nmax_cps = 0\n[[routes]]\nreject = 1", &[]);
    let lines = lines.unwrap_err();
    let places: Vec<_> = lines.iter().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(places, ["/etc/c.toml:2", "/etc/c.toml:4", "/etc/c.toml:5", "/etc/c.toml:7"], "{lines:?}");
}

#[test]
fn the_environment_overrides_the_file() {
    let text = "[api]\nlisten = \"127.0.0.1:1\"\n[limits]\nmax_calls = 1\nmax_cps = 9";
    let Config { api, engine } = check(
        text,
        &[
            ("CARILLON__API__LISTEN", "127.0.0.1:2"),
            ("CARILLON__LIMITS__MAX_CALLS", "3"),
            ("CARILLON__SIP__LISTEN", r#"["udp:127.0.0.1:4"]"#),
            ("CARILLON__STORAGE__DATABASE_URL", "sqlite://other.db"),
            ("CARILLON_ADMIN_TOKEN", "not a setting"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(api.listen, address("127.0.0.1:2"));
    assert_eq!((engine.limits.max_calls, engine.limits.max_cps), (3, 9));
    assert_eq!(engine.sip_listen.len(), 1);
    assert_eq!(engine.database, PathBuf::from("/etc/other.db"), "a section that the file does not have");
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, told) in [
        ("CARILLON__API__LISTEN", "8080", "invalid type: integer `8080`, expected a string"),
        ("CARILLON__API__LISTEN", "here", "\"here\": expected an address such as 127.0.0.1:8080"),
        (
            "CARILLON__API__LISEN",
            "x",
            "unknown field `lisen`, expected one of `listen`, `token_file`, `metrics_open`, `tls_cert`, `tls_key`, `rate_limit`",
        ),
        (
            "CARILLON__AP__LISTEN",
            "x",
            "unknown field `ap`, expected one of `api`, `sip`, `media`, `limits`, `storage`, `stir`, `http`, `webhooks`, `speech`, `trunks`, `routes`, `endpoints`",
        ),
        ("CARILLON__LIMITS__MAX_CALLS", "many", "invalid type: string \"many\", expected u32"),
        (
            "CARILLON__SIP__LISTEN",
            r#"["udp:here:1"]"#,
            "\"udp:here:1\": expected TRANSPORT:IP:PORT, with a transport of udp, tcp, tls, ws, wss and IPv6 in brackets",
        ),
        ("CARILLON__LISTEN", "x", "expected CARILLON__SECTION__KEY"),
        ("CARILLON__TRUNKS__NAME", "x", "\"trunks\" is not a section with keys"),
    ] {
        let lines =
            check("[[trunks]]\nname = \"t\"\nuri = \"sip:192.0.2.1\"\n", &[(name, value)]).unwrap_err();
        assert_eq!(lines, [format!("/etc/c.toml: environment variable {name}: {told}")]);
    }
}

/// A folder with a key for signing, a certificate, and a configuration of these lines.
fn in_folder(name: &str, lines: &str) -> Result<Config, Vec<String>> {
    let folder = std::env::temp_dir().join(format!("carillon-config-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    for (name, text) in
        [("key.pem", key.serialize_pem()), ("p384.pem", p384.serialize_pem()), ("ca.pem", certificate.pem())]
    {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let path = folder.join("c.toml");
    let config = parse(&path, lines, std::iter::empty()).map_err(|faults| {
        let prefix = format!("{}:", path.display());
        let lines = faults.to_string();
        lines
            .lines()
            .map(|line| line.trim_start_matches(&prefix).replace(&*folder.to_string_lossy(), "DIR"))
            .collect()
    });
    std::fs::remove_dir_all(&folder).unwrap();
    config
}

#[test]
#[expect(clippy::wildcard_enum_match_arm, reason = "any other action is a failure")]
fn calls_are_signed_and_verified_as_the_file_says() {
    use control_api_types::{Attestation, TrunkAttest, Verify};
    use engine_core::{OnError, RouteAction};
    let config = in_folder(
        "stir",
        "[stir]\nkey = \"key.pem\"\nx5u = \"https://c.example/c.pem\"\nattest = \"B\"\nverify = \"strict\"\n\
         trust_anchors = [\"ca.pem\"]\nfreshness_s = 30\n\
         [http]\nallow_plain = true\nallow_private = [\"10.0.0.0/8\"]\nca_file = \"ca.pem\"\n\
         [[trunks]]\nname = \"a\"\nuri = \"sip:192.0.2.1\"\nattest = \"off\"\nverify = \"permissive\"\n\
         [[trunks]]\nname = \"b\"\nuri = \"sip:192.0.2.2\"\n\
         [[routes]]\nwebhook = \"http://10.0.0.1/r\"\ntimeout_ms = 500\non_error = \"menu\"\n\
         [[routes]]\nwebhook = \"https://a.example/r\"\n",
    );
    let engine = config.unwrap().engine;
    assert_eq!(engine.stir.signing.map(|signing| signing.attest), Some(Attestation::Partial));
    assert_eq!((engine.stir.verify, engine.stir.settings.freshness.as_secs()), (Verify::Strict, 30));
    assert!(!engine.stir.settings.anchors.is_empty() && engine.stir.settings.allow_http);
    assert_eq!((engine.http.allow_private.len(), engine.http.ca.is_some()), (1, true));
    let trunks: Vec<_> = engine.trunks.iter().map(|trunk| (trunk.attest, trunk.verify)).collect();
    assert_eq!(trunks, [(Some(TrunkAttest::Off), Some(Verify::Permissive)), (None, None)]);
    let webhooks: Vec<_> = engine
        .routes
        .iter()
        .map(|route| match &route.action {
            RouteAction::Webhook(webhook) => (webhook.timeout.as_millis(), webhook.on_error.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(webhooks, [(500, OnError::Flow("menu".into())), (3_000, OnError::Reject(480))]);
}

#[test]
fn signing_verifying_and_asking_is_refused_where_it_is_wrong() {
    const ALL: &str = "calls are signed with key, x5u and attest = \"A\" | \"B\" | \"C\": all three or none";
    let signing = |key: &str, x5u: &str, attest: &str| {
        format!("[stir]\nkey = \"{key}\"\nx5u = \"{x5u}\"\nattest = \"{attest}\"")
    };
    let trunk = |line: &str| format!("[[trunks]]\nname = \"t\"\nuri = \"sip:192.0.2.1\"\n{line}");
    let route = |lines: &str| format!("[[routes]]\n{lines}");
    for (text, told) in [
        ("[stir]\nkey = \"key.pem\"".to_owned(), format!("2: {ALL}")),
        ("[stir]\nattest = \"A\"".to_owned(), format!("2: {ALL}")),
        (signing("key.pem", "http://c", "A"), "3: x5u must be an https:// URL".into()),
        (signing("key.pem", "https://c", "D"), "4: attest \"D\": there are \"A\", \"B\", \"C\"".into()),
        (signing("ca.pem", "https://c", "A"), "2: key ca.pem: there is no private key in PEM form".into()),
        (
            signing("p384.pem", "https://c", "A"),
            "2: key p384.pem: the key is not one for ES256 (ECDSA on the curve P-256)".into(),
        ),
        (signing("none", "https://c", "A"), "2: DIR/none: No such file or directory (os error 2)".into()),
        (
            "[stir]\nverify = \"yes\"\ntrust_anchors = [\"ca.pem\"]".into(),
            "2: verify \"yes\": there are \"off\", \"permissive\", \"strict\"".into(),
        ),
        (
            "[stir]\nverify = \"strict\"".into(),
            "2: verify needs trust_anchors = [\"ca.pem\"] in [stir]: nobody is believed without".into(),
        ),
        (
            "[stir]\ntrust_anchors = [\"key.pem\"]".into(),
            "2: trust_anchors: key.pem: there is no certificate in PEM form in it".into(),
        ),
        ("[stir]\nfreshness_s = 0".into(), "2: freshness_s must be 1 to 600".into()),
        (trunk("attest = \"A\""), "4: trunk \"t\": attest: needs a key in [stir]".into()),
        (trunk("attest = \"x\""), "4: trunk \"t\": attest: must be one of: A, B, C, off".into()),
        (
            trunk("verify = \"strict\""),
            "4: trunk \"t\": verify: needs trust_anchors = [\"ca.pem\"] in [stir]: nobody is believed without".into(),
        ),
        (route("webhook = \"http://a\""), "2: webhook: http:// needs allow_plain = true in [http]".into()),
        (route("webhook = \"a\""), "2: webhook \"a\": expected a URL such as https://host/path".into()),
        (route("webhook = \"https://a\"\ntimeout_ms = 5"), "3: timeout_ms must be 100 to 30000".into()),
        (
            route("webhook = \"https://a\"\non_error = 200"),
            "3: on_error takes a SIP status from 300 to 699, or the name of a flow".into(),
        ),
        (route("park = true\non_error = 480"), "3: on_error and timeout_ms belong to webhook".into()),
        (
            "[http]\nallow_private = [\"here\"]".into(),
            "2: \"here\": expected an address or a network such as 10.0.0.0/8".into(),
        ),
    ] {
        assert_eq!(in_folder("faults", &text).unwrap_err(), [told], "{text}");
    }
}

#[test]
fn voices_are_read_in_each_of_their_languages() {
    let config = check(
        r#"
        [http]
        allow_plain = true
        [speech]
        espeak = "/usr/bin/espeak-ng"
        workers = 4
        queue = 10
        timeout_s = 5
        cache_mb = 1
        [[speech.voices]]
        name = "anna"
        languages = ["en", "ID"]
        url = "http://speech.example/v1"
        model = "m"
        voice = "alloy"
        [[speech.voices]]
        name = "rita"
        languages = ["en-gb"]
        voice = "en-gb-scotland"
        "#,
        &[],
    );
    let speech = config.unwrap().engine.speech;
    assert_eq!(
        (speech.workers, speech.queue, speech.timeout.as_secs(), speech.cache_bytes),
        (4, 10, 5, 1 << 20)
    );
    let voices: Vec<_> = speech.voices.iter().map(|its| (&*its.voice.name, &*its.voice.language)).collect();
    assert_eq!(voices, [("anna", "en"), ("anna", "id"), ("rita", "en-gb")]);
    assert_eq!(
        format!("{:?}", speech.voices[1].synthesiser),
        "Openai(Openai(http://speech.example/v1, m, alloy))"
    );
    assert_eq!(format!("{:?}", speech.voices[2].synthesiser), "Espeak(\"en-gb-scotland\")");
    assert_eq!(check("[speech]\nespeak = \"\"", &[]).unwrap().engine.speech.espeak, None);
}

#[test]
fn a_voice_that_cannot_speak_is_told() {
    for (keys, expected) in [
        ("name = \"-w\"\nlanguages = [\"en\"]", "2: a voice's name is 1 to 64 letters"),
        ("name = \"a\"\nlanguages = []", "3: languages names at least one"),
        ("name = \"a\"\nlanguages = [\"e n\"]", "3: a language is a tag"),
        ("name = \"a\"\nlanguages = [\"en\"]\nvoice = \"--help\"", "4: a voice's name"),
        ("name = \"a\"\nlanguages = [\"en\"]\nkey_file = \"k\"", "4: key_file needs url"),
        ("name = \"a\"\nlanguages = [\"en\"]\nurl = \"http://x\"", "4: url: http:// needs allow_plain"),
        (
            "name = \"a\"\nlanguages = [\"en\"]\nurl = \"https://x\"\nkey_file = \"none\"",
            "5: key_file /etc/none",
        ),
    ] {
        let told = fault(&format!("[[speech.voices]]\n{keys}"));
        assert!(told.starts_with(expected), "{keys}: {told}");
    }
    assert!(fault("[speech]\nworkers = 0").contains("workers must be 1 to 64"));
}

#[test]
fn webhooks_and_tls_of_the_api_say_what_is_wrong() {
    for (line, reason) in [
        ("secret = \"x\"", "secret must be whsec_ and 24 to 64 bytes in base64"),
        ("timeout_s = 0", "timeout_s must be 1 to 60"),
        ("retry_s = []", "retry_s takes 1 to 20 pauses of 1 to 86400 seconds"),
        ("max_pending = 1", "max_pending must be 10 to 10000000"),
    ] {
        assert_eq!(fault(&format!("[webhooks]\n{line}\n")), format!("2: {reason}"));
    }
    let engine = check("[webhooks]\nretry_s = [1, 2]\nmax_pending_mb = 1\n", &[]).unwrap().engine;
    assert_eq!((engine.webhooks.retries.len(), engine.webhooks.max_pending_bytes), (2, 1 << 20));
    assert_eq!(fault("[api]\ntls_cert = \"c.pem\"\n"), "2: tls_cert and tls_key go together");
    let missing = fault("[api]\ntls_cert = \"/nowhere/c.pem\"\ntls_key = \"/nowhere/c.key\"\n");
    assert!(missing.starts_with("2: ") && missing.contains("/nowhere/c.pem"), "{missing}");
}
