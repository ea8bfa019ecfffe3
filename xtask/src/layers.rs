//! `cargo xtask layers`: a crate depends only downwards, and the cores reach no I/O. The table is that of
//! `ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::workspace::{Crate, Edge, EdgeKind, Workspace};

/// What a crate may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Only what lies in lower layers.
    Layer(u8),
    /// The simulated carrier: an independent peer, so it shares the cores and the transports and the public API with
    /// the product, but not the engine it is there to test.
    Carrier,
    /// Test equipment that knows nothing of ours.
    Equipment,
    /// Measures everything; nothing depends on it.
    Bench,
    /// Works on the sources; depends on nothing and nothing depends on it.
    Tool,
}

const PLACES: &[(&str, Place)] = &[
    ("carillon", Place::Layer(6)),
    ("control-api-server", Place::Layer(5)),
    ("engine-runtime", Place::Layer(4)),
    ("sip-io", Place::Layer(3)),
    ("media-io", Place::Layer(3)),
    ("control-api-client", Place::Layer(3)),
    ("engine-core", Place::Layer(2)),
    ("media-dtls", Place::Layer(2)),
    ("media-prompts", Place::Layer(2)),
    ("sip-core", Place::Layer(1)),
    ("sip-stir", Place::Layer(1)),
    ("media-core", Place::Layer(1)),
    ("speech-core", Place::Layer(1)),
    ("control-api-types", Place::Layer(1)),
    ("carrier", Place::Carrier),
    ("netem", Place::Equipment),
    ("alloc-count", Place::Equipment),
    ("carillon-benches", Place::Bench),
    ("classify", Place::Bench),
    ("xtask", Place::Tool),
];

/// What the carrier may use.
const OF_CARRIER: &[&str] = &[
    "sip-core",
    "sip-io",
    "media-core",
    "media-io",
    "media-prompts",
    "control-api-types",
    "control-api-client",
];

/// Packages that mean I/O, threads or the system's randomness: no core reaches one, however indirectly.
const IO: &[&str] =
    &["async-std", "getrandom", "hyper", "mio", "polling", "reqwest", "rustix", "smol", "socket2", "tokio"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A crate that the table does not know.
    Unplaced { name: String },
    /// An edge that the table does not allow.
    Edge { from: String, to: String },
    /// The way from a core to a package that does I/O.
    Reaches { path: Vec<String> },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unplaced { name } => write!(f, "{name} has no layer: give it one in xtask/src/layers.rs"),
            Fault::Edge { from, to } => write!(f, "{from} must not depend on {to}"),
            Fault::Reaches { path } => write!(f, "a core reaches I/O: {}", path.join(" -> ")),
        }
    }
}

/// Everything in the graph that the rules do not allow.
pub(crate) fn faults(workspace: &Workspace) -> Vec<Fault> {
    let mut faults = Vec::new();
    for krate in &workspace.crates {
        match place(&krate.name) {
            None => faults.push(Fault::Unplaced { name: krate.name.clone() }),
            Some(from) => faults.extend(
                krate
                    .own
                    .iter()
                    .filter(|edge| place(&edge.to).is_some_and(|to| !allowed(from, edge, to)))
                    .map(|edge| Fault::Edge { from: krate.name.clone(), to: edge.to.clone() }),
            ),
        }
    }
    let cores = workspace.crates.iter().filter(|krate| krate.is_sans_io());
    faults.extend(cores.flat_map(|core| reached_io(core, &workspace.normal)));
    faults
}

fn place(name: &str) -> Option<Place> {
    PLACES.iter().find(|(placed, _)| *placed == name).map(|(_, place)| *place)
}

fn allowed(from: Place, edge: &Edge, to: Place) -> bool {
    match (from, edge.kind, to) {
        (Place::Layer(from), EdgeKind::Normal | EdgeKind::Dev, Place::Layer(to)) => to < from,
        (Place::Carrier, EdgeKind::Normal | EdgeKind::Dev, Place::Layer(_)) => {
            OF_CARRIER.contains(&edge.to.as_str())
        }
        (
            Place::Bench,
            EdgeKind::Normal | EdgeKind::Dev,
            Place::Layer(_) | Place::Carrier | Place::Equipment,
        ) => true,
        // Equipment too, though one that speaks SIP.
        (Place::Carrier, EdgeKind::Normal, Place::Equipment) => true,
        // Tests use the equipment; what ships does not.
        (Place::Layer(_) | Place::Carrier, EdgeKind::Dev, Place::Carrier | Place::Equipment) => true,
        (Place::Layer(_), EdgeKind::Normal, Place::Carrier | Place::Equipment)
        | (Place::Carrier, EdgeKind::Normal, Place::Carrier) => false,
        (Place::Equipment | Place::Tool, EdgeKind::Normal | EdgeKind::Dev, _) => false,
        (_, EdgeKind::Normal | EdgeKind::Dev, Place::Bench | Place::Tool) => false,
    }
}

/// The shortest way from a core to each package of [`IO`] that it reaches through normal dependencies.
fn reached_io(core: &Crate, normal: &BTreeMap<String, Vec<String>>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::from([core.name.as_str()]);
    let mut paths = vec![vec![core.name.as_str()]];
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in &paths {
            let last = path.last().expect("a path begins with the core");
            for next in normal.get(*last).into_iter().flatten() {
                if !seen.insert(next) {
                    continue;
                }
                let path: Vec<&str> = path.iter().copied().chain([next.as_str()]).collect();
                let package = next.split(' ').next().unwrap_or(next);
                if IO.contains(&package) {
                    faults.push(Fault::Reaches { path: path.into_iter().map(str::to_owned).collect() });
                } else {
                    longer.push(path);
                }
            }
        }
        paths = longer;
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace from lines such as `engine-core: sip-core dev:netem`, and packages of others from `bytes: tokio`.
    fn workspace(lines: &[&str]) -> Workspace {
        let (mut crates, mut normal) = (Vec::new(), BTreeMap::new());
        for line in lines {
            let (name, dependencies) = line.split_once(':').expect("name: dependencies");
            let edges: Vec<Edge> = dependencies
                .split_whitespace()
                .map(|to| match to.strip_prefix("dev:") {
                    Some(to) => Edge { to: to.to_owned(), kind: EdgeKind::Dev },
                    None => Edge { to: to.to_owned(), kind: EdgeKind::Normal },
                })
                .collect();
            let of_normal = edges.iter().filter(|edge| edge.kind == EdgeKind::Normal);
            normal.insert(name.to_owned(), of_normal.map(|edge| edge.to.clone()).collect());
            if name != "bytes" && name != "fancy" {
                crates.push(Crate { name: name.to_owned(), folder: name.into(), own: edges });
            }
        }
        Workspace { root: "/".into(), crates, normal }
    }

    #[track_caller]
    fn check(lines: &[&str], expected: &[&str]) {
        let found: Vec<String> = faults(&workspace(lines)).iter().map(Fault::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn downward_edges_are_fine() {
        check(
            &[
                "sip-core: bytes",
                "engine-core: sip-core media-core dev:netem dev:alloc-count",
                "sip-io: sip-core tokio",
                "engine-runtime: engine-core sip-io tokio",
                "carillon: engine-runtime control-api-server dev:carrier",
                "carrier: sip-core sip-io media-io control-api-client netem",
                "carillon-benches: carillon carrier alloc-count",
            ],
            &[],
        );
    }

    #[test]
    fn upward_and_sideways_edges_are_faults_even_in_tests() {
        check(
            &["sip-core: engine-core", "media-io: sip-io", "engine-core: dev:engine-runtime"],
            &[
                "sip-core must not depend on engine-core",
                "media-io must not depend on sip-io",
                "engine-core must not depend on engine-runtime",
            ],
        );
    }

    #[test]
    fn test_equipment_does_not_ship_and_knows_nothing_of_ours() {
        check(
            &[
                "engine-core: netem",
                "netem: sip-core",
                "carillon: carrier",
                "xtask: sip-core",
                "sip-io: dev:carillon-benches",
            ],
            &[
                "engine-core must not depend on netem",
                "netem must not depend on sip-core",
                "carillon must not depend on carrier",
                "xtask must not depend on sip-core",
                "sip-io must not depend on carillon-benches",
            ],
        );
    }

    #[test]
    fn the_carrier_does_not_share_the_engine_it_tests() {
        check(&["carrier: engine-core"], &["carrier must not depend on engine-core"]);
    }

    #[test]
    fn a_core_reaches_io_through_others() {
        check(
            &["sip-core: bytes fancy", "fancy: bytes tokio", "bytes: socket2", "sip-io: tokio"],
            &[
                "a core reaches I/O: sip-core -> bytes -> socket2",
                "a core reaches I/O: sip-core -> fancy -> tokio",
            ],
        );
    }

    #[test]
    fn a_core_may_use_io_in_its_tests() {
        check(&["media-core: bytes dev:tokio"], &[]);
    }

    #[test]
    fn a_crate_without_a_layer_is_a_fault() {
        check(&["utils: "], &["utils has no layer: give it one in xtask/src/layers.rs"]);
    }
}
