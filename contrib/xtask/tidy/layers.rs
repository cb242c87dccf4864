//! Imports run one way (DESIGN §2): the manifests of the layers name nothing that is not below them.

use anyhow::{Context, Result};

use super::Problem;
use crate::root::Root;

/// A layer: its manifest, and which of our crates it may name.
struct Layer {
    manifest: &'static str,
    ours: &'static [&'static str],
    /// Which of our crates its tests may name as well.
    ours_in_tests: &'static [&'static str],
    /// What it must not name: sockets, tables, clocks.
    never: &'static [&'static str],
}

const SOCKETS: &[&str] = &[
    "tokio",
    "tokio-util",
    "tokio-rustls",
    "rustls",
    "aws-lc-rs",
    "hyper",
    "axum",
    "socket2",
    "mio",
    "getrandom",
    "rand",
];
const TABLES: &[&str] = &["sqlx", "rusqlite"];

/// The whole house.
const HOUSE: &[Layer] = &[
    Layer { manifest: "src/xml/Cargo.toml", ours: &[], ours_in_tests: &[], never: SOCKETS },
    Layer {
        manifest: "src/core/Cargo.toml",
        ours: &["unisono-xml"],
        ours_in_tests: &["unisono-store"],
        never: SOCKETS,
    },
    Layer {
        manifest: "xeps/Cargo.toml",
        ours: &["unisono-xml", "unisono-core"],
        ours_in_tests: &["unisono-store"],
        never: SOCKETS,
    },
    Layer {
        manifest: "src/store/Cargo.toml",
        ours: &["unisono-xml", "unisono-core"],
        ours_in_tests: &[],
        never: &["rustls", "tokio-rustls", "hyper", "axum"],
    },
    Layer {
        manifest: "src/net/Cargo.toml",
        ours: &["unisono-xml", "unisono-core"],
        ours_in_tests: &["unisono-store", "unisono-xeps"],
        never: TABLES,
    },
    Layer { manifest: "conformance/Cargo.toml", ours: &[], ours_in_tests: &[], never: TABLES },
    Layer {
        manifest: "contrib/xtask/Cargo.toml",
        ours: &["unisono-core", "unisono-xeps"],
        ours_in_tests: &[],
        never: SOCKETS,
    },
];

pub(super) fn problems(root: &Root) -> Result<Vec<Problem>> {
    let mut problems = members_without_layer(root)?;
    for layer in HOUSE {
        let text = root.read(layer.manifest)?;
        let manifest: toml::Table =
            text.parse().with_context(|| format!("cannot parse {}", layer.manifest))?;
        problems.extend(of_layer(layer, &manifest));
    }
    Ok(problems)
}

/// A new crate needs a place in the house.
fn members_without_layer(root: &Root) -> Result<Vec<Problem>> {
    let manifest: toml::Table = root.read("Cargo.toml")?.parse().context("cannot parse Cargo.toml")?;
    let members = manifest.get("workspace").and_then(|w| w.get("members")).and_then(toml::Value::as_array);
    let members = members.into_iter().flatten().filter_map(toml::Value::as_str);
    let is_unknown =
        |member: &&str| !HOUSE.iter().any(|layer| layer.manifest == format!("{member}/Cargo.toml"));
    let told = |member| {
        Problem::new("Cargo.toml", 0, format!("{member} is in no layer of contrib/xtask/tidy/layers.rs"))
    };
    Ok(members.filter(is_unknown).map(told).collect())
}

fn of_layer(layer: &Layer, manifest: &toml::Table) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (table, in_tests) in
        [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
    {
        let Some(named) = manifest.get(table).and_then(toml::Value::as_table) else { continue };
        for (name, how) in named {
            let ours = name.starts_with("unisono");
            let is_known = layer.ours.contains(&name.as_str())
                || in_tests && layer.ours_in_tests.contains(&name.as_str());
            if ours && !is_known {
                let what = format!("{name} is not below this layer ({table})");
                problems.push(Problem::new(layer.manifest, 0, what));
            }
            if layer.never.contains(&name.as_str()) && !in_tests && !is_channels_only(layer, name, how) {
                let what = format!("{name} has no place in this layer ({table})");
                problems.push(Problem::new(layer.manifest, 0, what));
            }
            if how.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                let what =
                    format!("the version of {name} stands in the root manifest: write `workspace = true`");
                problems.push(Problem::new(layer.manifest, 0, what));
            }
        }
    }
    problems
}

/// `core` may wait for something: the channels of tokio need neither a runtime nor a socket.
fn is_channels_only(layer: &Layer, name: &str, how: &toml::Value) -> bool {
    let features = how.get("features").and_then(toml::Value::as_array);
    let is_sync =
        |features: &Vec<toml::Value>| features.iter().all(|feature| feature.as_str() == Some("sync"));
    layer.manifest == "src/core/Cargo.toml" && name == "tokio" && features.is_some_and(is_sync)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_layer_names_only_what_is_below_it() {
        for (manifest, dependencies, want) in [
            ("xeps/Cargo.toml", "[dependencies]\nunisono-core.workspace = true", None),
            ("xeps/Cargo.toml", "[dependencies]\nunisono-net.workspace = true", Some("not below")),
            ("xeps/Cargo.toml", "[dependencies]\ntokio.workspace = true", Some("no place")),
            ("xeps/Cargo.toml", "[dependencies]\nsqlx.workspace = true", None),
            ("xeps/Cargo.toml", "[dev-dependencies]\ntokio.workspace = true", None),
            ("xeps/Cargo.toml", "[dev-dependencies]\nunisono-net.workspace = true", Some("not below")),
            ("xeps/Cargo.toml", "[dependencies]\ntime = '0.3'", Some("root manifest")),
            (
                "src/core/Cargo.toml",
                "[dependencies]\ntokio = { workspace = true, features = ['sync'] }",
                None,
            ),
            (
                "src/core/Cargo.toml",
                "[dependencies]\ntokio = { workspace = true, features = ['net'] }",
                Some("no place"),
            ),
            ("src/core/Cargo.toml", "[dependencies]\nunisono-xeps.workspace = true", Some("not below")),
            ("src/xml/Cargo.toml", "[dependencies]\nunisono-core.workspace = true", Some("not below")),
            ("src/net/Cargo.toml", "[dependencies]\nunisono-store.workspace = true", Some("not below")),
            ("src/net/Cargo.toml", "[dev-dependencies]\nunisono-store.workspace = true", None),
            ("src/net/Cargo.toml", "[build-dependencies]\nsqlx.workspace = true", Some("no place")),
            (
                "conformance/Cargo.toml",
                "[dev-dependencies]\nunisono-core.workspace = true",
                Some("not below"),
            ),
        ] {
            let layer = HOUSE.iter().find(|layer| layer.manifest == manifest).unwrap();
            let found = of_layer(layer, &dependencies.parse().unwrap());
            assert_eq!(found.len(), want.iter().count(), "{manifest} {dependencies} {found:?}");
            let told = found.iter().all(|problem| problem.what.contains(want.unwrap_or_default()));
            assert!(told, "{manifest} {dependencies} {found:?}");
        }
    }
}
