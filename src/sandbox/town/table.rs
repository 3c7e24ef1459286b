//! What the sandbox tells people when it runs: endpoints, cards, commands to try.

use std::{fmt::Write as _, path::Path};

use super::{Prepared, RegionPlan};
use crate::sandbox::people::SampleHolder;

/// Numbered cards of a region that are listed; the others are like them.
const CARDS_SHOWN: usize = 2;

/// The whole text. `program` is the binary people type, `data` the folder as they
/// named it.
pub fn render(prepared: &Prepared, program: &Path, data: &Path) -> String {
    let mut text = String::new();
    heading(&mut text, "端点 Endpoints");
    text.push_str(&rows(&endpoints(prepared)));
    heading(&mut text, "样卡 Sample cards");
    text.push_str(&rows(&cards(prepared)));
    let _ = writeln!(text, "  另有 more: {}", data.join("cards").display());
    heading(&mut text, "试一试 Commands to try");
    for (told, command) in commands(prepared, program, data) {
        let _ = writeln!(text, "  # {told}\n  {command}");
    }
    text
}

fn heading(text: &mut String, words: &str) {
    let _ = writeln!(text, "\n{words}");
}

fn endpoints(prepared: &Prepared) -> Vec<Vec<String>> {
    let mut table =
        vec![line(["地区 region", "终端 gRPC", "运维 ops", "互联 peers", "图书馆 library", "医保 insurer"])];
    for region in &prepared.plan.regions {
        let at = |port: u16| RegionPlan::at(port).to_string();
        table.push(vec![
            region_name(region.home.province),
            at(region.grpc),
            format!("http://{}/metrics", at(region.ops)),
            at(region.peers),
            at(region.library),
            at(region.insurer),
        ]);
    }
    table
}

fn cards(prepared: &Prepared) -> Vec<Vec<String>> {
    let mut table = vec![line(["卡 card", "发卡地 home", "姓名 name", "状态 state"])];
    for region in &prepared.plan.regions {
        let of_region = |holder: &&SampleHolder| holder.region / 10_000 == region.home.province / 10_000;
        let of_region: Vec<_> = prepared.holders.iter().filter(of_region).collect();
        let numbered = of_region.iter().copied().filter(|holder| holder.is_numbered()).take(CARDS_SHOWN);
        let special = of_region.iter().copied().filter(|holder| !holder.is_numbered());
        for holder in numbered.chain(special) {
            table.push(vec![
                holder.short_name.clone(),
                region_name(region.home.province),
                holder.person.name.clone(),
                state(holder).to_owned(),
            ]);
        }
    }
    table
}

fn state(holder: &SampleHolder) -> &'static str {
    match (holder.state, holder.short_name.ends_with("-expired")) {
        (1, true) => "已过有效期 expired",
        (1, false) => "正常 normal",
        (0, _) => "未启用 not activated",
        (4, _) => "临时挂失 temporarily lost",
        _ => "其他 other",
    }
}

fn region_name(province: u32) -> String {
    match province {
        110_000 => "北京 Beijing".to_owned(),
        120_000 => "天津 Tianjin".to_owned(),
        130_000 => "河北 Hebei".to_owned(),
        other => other.to_string(),
    }
}

/// What each is, and the command as it is typed.
pub fn commands(prepared: &Prepared, program: &Path, data: &Path) -> Vec<(&'static str, String)> {
    let program = word(program);
    let folder = word(data);
    let town_of = |command: &str| {
        if data == Path::new(".onecard") {
            format!("{program} {command}")
        } else {
            format!("{program} {command} --data {folder}")
        }
    };
    let (terminal, statement) = (town_of("terminal"), town_of("statement"));
    let ops = RegionPlan::at(prepared.plan.regions[0].ops);
    vec![
        (
            "天津的卡进北京地铁 a Tianjin card enters the Beijing metro",
            format!("{terminal} tap --card tj-001 --region beijing --station 西直门 --in"),
        ),
        (
            "出站扣费 and pays at the exit",
            format!("{terminal} tap --card tj-001 --region beijing --station 国贸 --out"),
        ),
        (
            "河北的卡在天津借书 a Hebei card borrows a book in Tianjin",
            format!("{terminal} library checkout --card he-001 --region tianjin --item B0001"),
        ),
        (
            "用电子社保卡码认证 or the holder shows an e-card code",
            format!("{terminal} authenticate code --card he-002 --region tianjin --as tj-library-desk-01"),
        ),
        (
            "用上一步的会话借书 and borrows under that session",
            format!(
                "{terminal} library checkout --session SESSION --region tianjin --as tj-library-desk-01 --item B0002"
            ),
        ),
        (
            "北京的卡在河北柜台芯片认证 a Beijing chip card at a counter in Hebei",
            format!("{terminal} authenticate chip --card bj-001 --region hebei --as he-hall-counter-01"),
        ),
        (
            "北京的卡在北京看门诊并结算 a Beijing card sees a doctor and settles",
            format!("{terminal} medical visit --card bj-001 --region beijing"),
        ),
        ("挂失 report a card lost", format!("{terminal} card loss --card tj-002 --region hebei")),
        ("解挂 lift the loss", format!("{terminal} card lift --card tj-002 --region hebei")),
        (
            "查询交易结果 what became of a transaction",
            format!("{terminal} status --region beijing --as bj-metro-gate-01 --request REQUEST_ID"),
        ),
        (
            "预授权 reserve in a holder's purse",
            format!("{terminal} money reserve --card bj-003 --region beijing --amount-fen 5000"),
        ),
        ("地铁日结单 the metro's statement of the day", format!("{statement} --participant bj-metro")),
        (
            "离线校验账本 check a journal without its gateway",
            format!(
                "{program} journal verify {} --town {folder} --region beijing",
                word(&data.join("beijing/journal"))
            ),
        ),
        ("指标 metrics", format!("curl -s http://{ops}/metrics")),
    ]
}

/// A path as a shell takes it for one word.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn line<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Lines up columns by what a terminal shows, where a Chinese character takes two
/// places.
fn rows(table: &[Vec<String>]) -> String {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| {
        table.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let mut text = String::new();
    for row in table {
        let mut line = String::from(" ");
        for (cell, wide) in row.iter().zip(&widths) {
            let _ = write!(line, " {cell}{}", " ".repeat(wide - width(cell) + 1));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Places a text takes in a terminal.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// East Asian wide and full-width forms, as far as our texts use them.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::town::TownPlan;

    #[test]
    fn columns_line_up_where_chinese_is_twice_as_wide() {
        let table = vec![line(["卡 card", "x"]), line(["tj-001", "y"])];
        assert_eq!(rows(&table), "  卡 card  x\n  tj-001   y\n");
        let starts: Vec<usize> = rows(&table)
            .lines()
            .map(|line| width(&line[..line.rfind(['x', 'y']).expect("a cell")]))
            .collect();
        assert_eq!(starts, [11, 11]);
    }

    #[test]
    fn the_table_names_every_endpoint_and_the_cards_people_need() {
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = Prepared::make(folder.path(), &TownPlan::standard(1)).expect("made");
        let text = render(&prepared, Path::new("/opt/my tools/onecard"), Path::new(".onecard"));
        for port in [7110, 7111, 7112, 7120, 7121, 7122, 7130, 7131, 7132, 7161, 7173] {
            assert!(text.contains(&format!("127.0.0.1:{port}")), "{port}: {text}");
        }
        for words in [
            "tj-001",
            "he-lost",
            "临时挂失",
            "已过有效期",
            "'/opt/my tools/onecard' terminal tap",
            "journal verify .onecard/beijing/journal",
            "statement --participant bj-metro",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn another_folder_is_in_every_command_that_needs_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = Prepared::make(folder.path(), &TownPlan::standard(1)).expect("made");
        for (_, command) in commands(&prepared, Path::new("onecard"), Path::new("/tmp/town")) {
            let needs = [" terminal ", " statement ", " journal "].iter().any(|word| command.contains(word));
            assert_eq!(needs, command.contains("/tmp/town"), "{command}");
        }
    }
}
