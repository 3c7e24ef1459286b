//! Turns the deserializer's sentences into what is wrong and what would be
//! right, in two languages.

use super::check::Text;

/// What is wrong, what would be right, and the field a missing or unknown name
/// speaks of.
pub(super) struct Explained {
    pub(super) wrong: Text,
    pub(super) right: Text,
    pub(super) field: Option<String>,
}

/// Explains `message`. With `secret`, what the file says is not repeated.
pub(super) fn explain(message: &str, secret: bool) -> Explained {
    missing(message).or_else(|| unknown(message)).or_else(|| invalid(message, secret)).unwrap_or_else(|| {
        let told = if secret { "the value (not shown) is not valid" } else { message };
        Explained {
            wrong: Text::new(format!("取值无效：{told}"), told),
            right: Text::new("见该项的说明", "see the description of this field"),
            field: None,
        }
    })
}

fn missing(message: &str) -> Option<Explained> {
    let field = message.strip_prefix("missing field `")?.split('`').next()?;
    Some(Explained {
        wrong: Text::new(format!("缺少 `{field}`"), format!("`{field}` is missing")),
        right: Text::new(format!("补上 `{field} = …`"), format!("add `{field} = …`")),
        field: Some(field.to_owned()),
    })
}

fn unknown(message: &str) -> Option<Explained> {
    let is_field = message.starts_with("unknown field `");
    let rest =
        message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    let (name, rest) = rest.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let near = known.iter().copied().min_by_key(|known| distance(name, known));
    let right = match near.filter(|near| distance(name, near) <= 2) {
        Some(near) => Text::new(format!("是否指 `{near}`？"), format!("did you mean `{near}`?")),
        None if known.is_empty() => Text::new("此处没有可填的项", "nothing can be set here"),
        None => Text::new(format!("以下之一：{}", known.join("、")), format!("one of {}", known.join(", "))),
    };
    let wrong = if is_field {
        Text::new(format!("未知的项 `{name}`"), format!("there is no field `{name}`"))
    } else {
        Text::new(format!("未知的取值 `{name}`"), format!("there is no choice `{name}`"))
    };
    Some(Explained { wrong, right, field: is_field.then(|| name.to_owned()) })
}

fn invalid(message: &str, secret: bool) -> Option<Explained> {
    let (kind_zh, kind_en) = if message.starts_with("invalid type: ") {
        ("类型不对", "the type is wrong")
    } else if message.starts_with("invalid value: ") {
        ("取值不对", "the value is wrong")
    } else if message.starts_with("invalid length ") {
        ("长度不对", "the length is wrong")
    } else {
        return None;
    };
    let (found, expected) = message.split_once(", expected ")?;
    let found =
        found.trim_start_matches("invalid ").trim_start_matches("type: ").trim_start_matches("value: ");
    let told = if secret { "(value not shown)" } else { found };
    Some(Explained {
        wrong: Text::new(format!("{kind_zh}：{told}"), format!("{kind_en}: {told}")),
        right: expectation(expected),
        field: None,
    })
}

/// The deserializer names Rust types; a person who runs a gateway wants words.
fn expectation(expected: &str) -> Text {
    let range = |low: &str, high: &str| {
        Text::new(format!("{low} 到 {high} 的整数"), format!("an integer from {low} to {high}"))
    };
    match expected {
        "u8" => range("0", "255"),
        "u16" => range("0", "65535"),
        "u32" => range("0", "4294967295"),
        "u64" | "usize" => Text::new("非负整数", "an integer, not negative"),
        "i8" | "i16" | "i32" | "i64" | "isize" => Text::new("整数", "an integer"),
        "f32" | "f64" => Text::new("数", "a number"),
        "a boolean" | "bool" => Text::new("true 或 false", "true or false"),
        "a string" | "string" | "str" => Text::new("加引号的字符串", "a string in quotes"),
        "a sequence" => Text::new("数组 [ … ]", "an array [ … ]"),
        "a map" => Text::new("表", "a table"),
        other if other.starts_with("struct ") => Text::new("表", "a table"),
        other => Text::new(other, other),
    }
}

/// Letters to add, drop or change to get from one name to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, d) in other.iter().enumerate() {
            let changed = diagonal + usize::from(c != *d);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_become_help_in_two_languages() {
        let check = |message: &str, zh: &str, right_en: &str| {
            let explained = explain(message, false);
            assert_eq!(
                (explained.wrong.zh.as_str(), explained.right.en.as_str()),
                (zh, right_en),
                "{message}"
            );
        };
        check("missing field `port`", "缺少 `port`", "add `port = …`");
        check("unknown field `prot`, expected `port` or `host`", "未知的项 `prot`", "did you mean `port`?");
        check("unknown field `x`, expected `port` or `host`", "未知的项 `x`", "one of port, host");
        check("unknown field `x`, there are no fields", "未知的项 `x`", "nothing can be set here");
        check(
            "invalid type: string \"a\", expected u16",
            "类型不对：string \"a\"",
            "an integer from 0 to 65535",
        );
        check(
            "region is not well formed",
            "取值无效：region is not well formed",
            "see the description of this field",
        );
    }

    #[test]
    fn a_secret_is_not_repeated() {
        for message in ["invalid type: string \"hunter2\", expected u16", "bad: hunter2"] {
            let explained = explain(message, true);
            assert!(!format!("{:?}{:?}", explained.wrong, explained.right).contains("hunter2"));
        }
    }
}
