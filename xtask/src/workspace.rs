//! The workspace as the checks see it: its crates, what they depend on, and where they lie.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Node, NodeDep, Package, PackageId};

/// The crates that are plain values driven by `(now, input)`.
pub(crate) const SANS_IO: &[&str] =
    &["sip-core", "sip-stir", "media-core", "speech-core", "engine-core", "control-api-types"];

/// A crate of this workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crate {
    pub(crate) name: String,
    /// Relative to the workspace's root.
    pub(crate) folder: PathBuf,
    /// Direct dependencies that are crates of this workspace.
    pub(crate) own: Vec<Edge>,
}

impl Crate {
    pub(crate) fn is_sans_io(&self) -> bool {
        SANS_IO.contains(&self.name.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) to: String,
    pub(crate) kind: EdgeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgeKind {
    /// Normal and build dependencies: what users of the crate get.
    Normal,
    /// Tests, examples and benches only.
    Dev,
}

#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) crates: Vec<Crate>,
    /// Normal dependencies of every package of the resolved graph: our crates by name, others by `name version`.
    pub(crate) normal: BTreeMap<String, Vec<String>>,
}

impl Workspace {
    pub(crate) fn load() -> Result<Workspace> {
        // What other systems' builds would pull in is not what we ship.
        let linux = ["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned()];
        let metadata = MetadataCommand::new().other_options(linux).exec().context("cargo metadata")?;
        Ok(Workspace {
            root: metadata.workspace_root.clone().into_std_path_buf(),
            crates: crates(&metadata),
            normal: normal_dependencies(&metadata)?,
        })
    }
}

fn crates(metadata: &Metadata) -> Vec<Crate> {
    let members = metadata.workspace_packages();
    let is_ours = |name: &str| members.iter().any(|member| member.name == name);
    members
        .iter()
        .map(|package| Crate {
            name: package.name.to_string(),
            folder: package
                .manifest_path
                .parent()
                .and_then(|folder| folder.strip_prefix(&metadata.workspace_root).ok())
                .map(|folder| folder.as_std_path().to_owned())
                .unwrap_or_default(),
            own: package
                .dependencies
                .iter()
                .filter(|dependency| is_ours(&dependency.name))
                .map(|dependency| Edge {
                    to: dependency.name.clone(),
                    kind: match dependency.kind {
                        DependencyKind::Development => EdgeKind::Dev,
                        DependencyKind::Normal | DependencyKind::Build | DependencyKind::Unknown => {
                            EdgeKind::Normal
                        }
                    },
                })
                .collect(),
        })
        .collect()
}

fn normal_dependencies(metadata: &Metadata) -> Result<BTreeMap<String, Vec<String>>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata gave no resolved graph")?;
    let label = |id: &PackageId| {
        let package = &metadata[id];
        let is_ours = metadata.workspace_members.contains(id);
        if is_ours { package.name.to_string() } else { format!("{} {}", package.name, package.version) }
    };
    let normal_of = |node: &Node| {
        let is_normal = |dependency: &&NodeDep| {
            dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
        };
        let is_built =
            |dependency: &&NodeDep| is_built(&metadata[&node.id], node, &metadata[&dependency.pkg].name);
        let built = node.deps.iter().filter(is_normal).filter(is_built);
        built.map(|dependency| label(&dependency.pkg)).collect()
    };
    Ok(resolve.nodes.iter().map(|node| (label(&node.id), normal_of(node))).collect())
}

/// Whether an enabled feature asks for the dependency, or it is not optional. The resolved graph also has those that a
/// feature only configures if something else enables them (`ring?/alloc`).
fn is_built(package: &Package, node: &Node, dependency: &str) -> bool {
    let mut declared = package.dependencies.iter().filter(|declared| declared.name == dependency);
    declared.any(|declared| {
        let name = declared.rename.as_deref().unwrap_or(&declared.name);
        let asks = |entry: &String| {
            entry.strip_prefix("dep:").unwrap_or(entry).split('/').next().is_some_and(|entry| entry == name)
        };
        let enables = |feature: &str| {
            feature == name || package.features.get(feature).is_some_and(|entries| entries.iter().any(asks))
        };
        !declared.optional || node.features.iter().any(|feature| enables(feature))
    })
}
