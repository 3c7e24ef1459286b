//! Which features a build has unless somebody asks for others.

use std::{fs, path::Path};

/// Features that only tests may have, with what they would do to a release.
const ONLY_FOR_TESTS: &[&str] = &["fault-points"];

/// What is wrong with the manifests of the workspace at `top`.
pub fn check(top: &Path) -> Vec<String> {
    let manifests = ["Cargo.toml", "load-tests/Cargo.toml"];
    manifests
        .into_iter()
        .flat_map(|path| {
            let text = fs::read_to_string(top.join(path)).expect("a manifest");
            let wrong = wrong_in(&text.parse().expect("TOML"));
            wrong.into_iter().map(move |what| format!("{path}: {what}"))
        })
        .collect()
}

/// A feature for tests that a plain build, or a dependency on us, would switch on.
pub fn wrong_in(manifest: &toml::Table) -> Vec<String> {
    let mut wrong = Vec::new();
    for feature in ONLY_FOR_TESTS {
        for (name, implied) in table(manifest, "features") {
            if name != *feature && names(implied).any(|implied| implied.contains(feature)) {
                wrong.push(format!("feature `{name}` switches on `{feature}`"));
            }
        }
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, dependency) in table(manifest, section) {
                let asked = dependency.get("features").map(names).into_iter().flatten();
                if asked.into_iter().any(|asked| asked == *feature) {
                    wrong.push(format!("`{name}` of [{section}] switches on `{feature}`"));
                }
            }
        }
    }
    wrong
}

fn table<'a>(manifest: &'a toml::Table, name: &str) -> impl Iterator<Item = (&'a String, &'a toml::Value)> {
    manifest.get(name).and_then(toml::Value::as_table).into_iter().flatten()
}

fn names(list: &toml::Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(toml::Value::as_str)
}
