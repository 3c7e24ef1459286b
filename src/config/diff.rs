//! What is different between two configurations, without telling secrets.

use std::fmt;

use toml::Value;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    Key(String),
    Index(usize),
}

/// One difference. At least one of `old` and `new` is there.
#[derive(Clone, PartialEq)]
pub struct Change {
    pub path: Vec<Segment>,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

/// Whether a field of this name holds a secret, by its words: `passphrase`,
/// `signing_key`, `client-secret`. Rather too often than too seldom.
pub fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 6] = ["passphrase", "password", "secret", "key", "pin", "token"];
    name.split(['_', '-', '.', ' ']).any(|word| {
        let word = word.to_ascii_lowercase();
        let word = word.strip_suffix('s').filter(|one| WORDS.contains(one)).unwrap_or(&word).to_owned();
        WORDS.contains(&word.as_str())
    })
}

/// The differences that make `new` of `old`, in an order in which [`apply`] can
/// make them.
pub fn diff(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&mut Vec::new(), old, new, &mut changes);
    changes
}

fn compare(path: &mut Vec<Segment>, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    match (old, new) {
        (Value::Table(old), Value::Table(new)) => {
            for (key, value) in old {
                step(path, Segment::Key(key.clone()), Some(value), new.get(key), changes);
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                step(path, Segment::Key(key.clone()), None, Some(value), changes);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let both = old.len().min(new.len());
            for at in 0..both {
                step(path, Segment::Index(at), Some(&old[at]), Some(&new[at]), changes);
            }
            // From the end, so that the indices before it stay what they are.
            for at in (both..old.len()).rev() {
                step(path, Segment::Index(at), Some(&old[at]), None, changes);
            }
            for (at, value) in new.iter().enumerate().skip(both) {
                step(path, Segment::Index(at), None, Some(value), changes);
            }
        }
        (Value::Float(old), Value::Float(new)) if old.to_bits() == new.to_bits() => {}
        (old, new) if old == new && !matches!(old, Value::Float(_)) => {}
        (old, new) => {
            changes.push(Change { path: path.clone(), old: Some(old.clone()), new: Some(new.clone()) });
        }
    }
}

fn step(
    path: &mut Vec<Segment>,
    segment: Segment,
    old: Option<&Value>,
    new: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    path.push(segment);
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, changes),
        (old, new) => changes.push(Change { path: path.clone(), old: old.cloned(), new: new.cloned() }),
    }
    path.pop();
}

/// Makes the changes of [`diff`]. A change whose place does not exist is left
/// out, so apply it only to the tree it was made from.
pub fn apply(tree: &mut Value, changes: &[Change]) {
    for change in changes {
        let Some((last, parents)) = change.path.split_last() else {
            if let Some(new) = &change.new {
                *tree = new.clone();
            }
            continue;
        };
        let parent = parents.iter().try_fold(&mut *tree, |here, segment| match segment {
            Segment::Key(key) => here.get_mut(key.as_str()),
            Segment::Index(at) => here.get_mut(*at),
        });
        match (parent, last, &change.new) {
            (Some(Value::Table(table)), Segment::Key(key), Some(new)) => {
                table.insert(key.clone(), new.clone());
            }
            (Some(Value::Table(table)), Segment::Key(key), None) => {
                table.remove(key);
            }
            (Some(Value::Array(array)), Segment::Index(at), Some(new)) if *at < array.len() => {
                array[*at] = new.clone();
            }
            (Some(Value::Array(array)), Segment::Index(at), Some(new)) if *at == array.len() => {
                array.push(new.clone());
            }
            (Some(Value::Array(array)), Segment::Index(at), None) if *at + 1 == array.len() => {
                array.pop();
            }
            _ => {}
        }
    }
}

impl Change {
    /// Keys joined by dots: `transit.fares[3].price`.
    pub fn path_text(&self) -> String {
        let mut text = String::new();
        for segment in &self.path {
            match segment {
                Segment::Key(key) if text.is_empty() => text.push_str(key),
                Segment::Key(key) => text.extend([".", key]),
                Segment::Index(at) => text.push_str(&format!("[{at}]")),
            }
        }
        text
    }

    fn shown(&self, value: Option<&Value>) -> String {
        let secret = self.path.iter().any(|segment| matches!(segment, Segment::Key(key) if is_secret(key)));
        match value {
            None => "-".to_owned(),
            Some(_) if secret => "***".to_owned(),
            Some(value) => redacted(value.clone()).to_string(),
        }
    }
}

fn redacted(value: Value) -> Value {
    match value {
        Value::Table(table) => Value::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let value =
                        if is_secret(&key) { Value::String("***".to_owned()) } else { redacted(value) };
                    (key, value)
                })
                .collect(),
        ),
        Value::Array(array) => Value::Array(array.into_iter().map(redacted).collect()),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            value
        }
    }
}

/// `net.port: 8443 → 9443`; secrets show as `***`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, new) = (self.shown(self.old.as_ref()), self.shown(self.new.as_ref()));
        write!(f, "{}: {old} → {new}", self.path_text())
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(text: &str) -> Value {
        Value::Table(toml::from_str(text).expect(text))
    }

    #[test]
    fn differences_read_as_sentences_and_tell_no_secret() {
        let old = tree("a = 1\n[net]\nport = 8443\npassphrase = \"old\"\nlist = [1, 2, 3]");
        let new = tree(
            "[net]\nport = 9443\npassphrase = \"new\"\nlist = [1, 5]\n[vault]\nsigning_key = \"k1\"\nfile = \"f\"",
        );
        let shown: Vec<String> = diff(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "a: 1 → -",
                "net.list[1]: 2 → 5",
                "net.list[2]: 3 → -",
                "net.passphrase: *** → ***",
                "net.port: 8443 → 9443",
                "vault: - → { file = \"f\", signing_key = \"***\" }",
            ]
        );
    }

    #[test]
    fn secret_names_are_known_by_their_words() {
        for name in ["passphrase", "key", "signing_key", "Client-Secret", "api-tokens", "keys"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["monkey", "port", "keyboard", "shipping"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i8>().prop_map(|n| Value::Integer(n.into())),
            any::<bool>().prop_map(Value::Boolean),
            prop_oneof![Just(f64::NAN), Just(0.0), Just(-0.0), Just(1.5)].prop_map(Value::Float),
            "[a-c]{0,2}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Table(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_differs_from_itself(one in value()) {
            prop_assert_eq!(diff(&one, &one), Vec::new());
        }

        #[test]
        fn the_differences_applied_to_the_old_make_the_new(old in value(), new in value()) {
            let mut made = old.clone();
            apply(&mut made, &diff(&old, &new));
            prop_assert_eq!(diff(&made, &new), Vec::new());
        }
    }
}
