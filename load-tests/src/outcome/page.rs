//! The page of a run: one file without script or anything from elsewhere.

use std::fmt::Write as _;

use super::{
    Distribution, GatewayOutcome, GatewaySecond, OperationOutcome, Outcome,
    plot::{Axis, Chart, Line, Scale, escaped, number},
};

/// The whole page.
pub fn page(outcome: &Outcome) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"zh-CN\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} · {} · onecard</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(&outcome.title_zh),
        escaped(&outcome.title_en)
    );
    page += &head(outcome);
    for (chart, zh, en, told) in charts(outcome) {
        let _ = write!(
            page,
            "<section>\n<h2>{zh} <small>{en}</small></h2>\n<p class=\"legend\">{}</p>\n{}<p class=\"told\">{told}</p>\n</section>\n",
            chart.legend(),
            chart.svg()
        );
    }
    page += &operations(outcome);
    page += &reasons(outcome);
    page += &beside(outcome);
    page + "</main>\n</body>\n</html>\n"
}

fn head(outcome: &Outcome) -> String {
    let holds = outcome.broken.is_empty();
    let verdict = if holds { "约定全部成立 every invariant holds" } else { "约定不成立 broken" };
    let mut head = format!(
        "<header>\n<h1>{} <small>{}</small></h1>\n<p class=\"verdict {}\">{verdict}</p>\n<p>{}</p>\n<p class=\"en\">{}</p>\n",
        escaped(&outcome.title_zh),
        escaped(&outcome.title_en),
        if holds { "good" } else { "bad" },
        escaped(&outcome.told_zh),
        escaped(&outcome.told_en)
    );
    if !holds {
        let items: String = outcome.broken.iter().map(|what| format!("<li>{}</li>", escaped(what))).collect();
        let _ = writeln!(head, "<ul class=\"broken\">{items}</ul>");
    }
    let (all, approved, late) = outcome.operations.iter().fold((0, 0, 0), |sum, operation| {
        (sum.0 + operation.all(), sum.1 + operation.approved, sum.2 + operation.late)
    });
    let facts = [
        ("到达 arrivals", number(outcome.plan.arrivals as f64)),
        ("峰值速率 peak rate", format!("{}/s", number(outcome.plan.rate))),
        ("时长 length", format!("{} s", outcome.plan.seconds)),
        ("通过 approved", percent(approved, all)),
        ("迟发 sent late", number(late as f64)),
        (
            "每批条目 entries a batch",
            outcome.ratios.get("entries_to_batches").map_or("–".to_owned(), |of| number(*of)),
        ),
        (
            "fdatasync p50 / p99",
            format!("{} / {} ms", ms(outcome.beside.fdatasync_us.p50), ms(outcome.beside.fdatasync_us.p99)),
        ),
        ("构建 build", format!("{} {}", outcome.build.version, outcome.build.profile)),
    ];
    head += "<dl>\n";
    for (what, value) in facts {
        let _ = writeln!(head, "<div><dt>{what}</dt><dd>{}</dd></div>", escaped(&value));
    }
    head + "</dl>\n</header>\n"
}

type Told = (Chart, &'static str, &'static str, &'static str);

fn charts(outcome: &Outcome) -> Vec<Told> {
    let axis = |scale, label: &str| Axis { scale, label: label.to_owned() };
    let chart = |title: &str, height, x, y, lines| Chart { title: title.to_owned(), height, x, y, lines };
    let seconds = || axis(Scale::Straight, "秒 seconds into the run →");
    vec![
        (
            chart(
                "latency by percentile",
                380.0,
                axis(Scale::Nines, "调用的百分位 percentile of the calls →"),
                axis(Scale::Decades, "↑ 时延 latency, ms"),
                by_operation(outcome, |operation| curve(&operation.latency_us)),
            ),
            "时延百分位",
            "Latency by percentile",
            "自“应到时刻”起算，等候也算时延；横轴每格多一个 9。From the instant a call was due, so waiting counts; \
             each step to the right is one nine more.",
        ),
        (
            chart(
                "throughput over time",
                260.0,
                seconds(),
                axis(Scale::Straight, "↑ 每秒 a second"),
                throughput(outcome),
            ),
            "吞吐",
            "Throughput over time",
            "应到与已答；两线分开处就是排队。Due and answered: where the lines part, a queue grows.",
        ),
        (
            chart(
                "99th percentile over time",
                260.0,
                seconds(),
                axis(Scale::Decades, "↑ p99, ms"),
                by_operation(outcome, |operation| {
                    let due = operation.seconds.iter().enumerate().filter(|(_, second)| second.due > 0);
                    due.map(|(at, second)| (at as f64 + 0.5, second.p99 as f64 / 1_000.0)).collect()
                }),
            ),
            "逐秒 p99",
            "99th percentile over time",
            "按应到的那一秒归类。By the second in which calls were due.",
        ),
        (
            chart(
                "entries in a batch over time",
                240.0,
                seconds(),
                axis(Scale::Straight, "↑ 每批条目 entries a batch"),
                by_gateway(outcome, |second| second.batch),
            ),
            "批次大小",
            "Batch size over time",
            "同一次落盘里的条目数：负载越高，一次同步分摊得越多。Entries made durable together: the more come, the \
             more share one sync.",
        ),
        (
            chart(
                "time of a commit over time",
                240.0,
                seconds(),
                axis(Scale::Straight, "↑ 落盘 commit, ms"),
                by_gateway(outcome, |second| second.commit_ms),
            ),
            "落盘耗时",
            "Time of a commit",
            "一批从写入到同步完成，逐秒平均。From writing a batch to the end of its sync, mean of the second.",
        ),
    ]
}

fn by_operation(outcome: &Outcome, points: impl Fn(&OperationOutcome) -> Vec<(f64, f64)>) -> Vec<Line> {
    let line = |(place, operation): (usize, &OperationOutcome)| Line {
        label: format!("{} {}", operation.zh, operation.en),
        colour: place,
        filled: false,
        points: points(operation),
    };
    outcome.operations.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect()
}

fn by_gateway(outcome: &Outcome, value: impl Fn(&GatewaySecond) -> Option<f64>) -> Vec<Line> {
    let line = |(place, gateway): (usize, &GatewayOutcome)| Line {
        label: region_name(&gateway.region).to_owned(),
        colour: place,
        filled: false,
        points: gateway
            .seconds
            .iter()
            .filter(|second| second.at_s <= length_of(outcome))
            .filter_map(|second| Some((second.at_s, value(second)?)))
            .collect(),
    };
    outcome.gateways.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect()
}

/// How far the axes of time go: the audit after the run has batches too, which are
/// no load.
fn length_of(outcome: &Outcome) -> f64 {
    outcome.operations.iter().map(|operation| operation.seconds.len()).max().unwrap_or(0) as f64 + 1.0
}

fn throughput(outcome: &Outcome) -> Vec<Line> {
    let seconds = outcome.operations.iter().map(|operation| operation.seconds.len()).max().unwrap_or(0);
    let sum = |of: fn(&super::SecondOutcome) -> u64| -> Vec<(f64, f64)> {
        let at = |second: usize| {
            outcome
                .operations
                .iter()
                .filter_map(|operation| operation.seconds.get(second))
                .map(of)
                .sum::<u64>()
        };
        (0..seconds).map(|second| (second as f64 + 0.5, at(second) as f64)).collect()
    };
    vec![
        Line { label: "应到 due".to_owned(), colour: 7, filled: true, points: sum(|second| second.due) },
        Line {
            label: "已答 answered".to_owned(),
            colour: 0,
            filled: false,
            points: sum(|second| second.answered),
        },
    ]
}

/// Share of the calls that took at most so many milliseconds.
fn curve(of: &Distribution) -> Vec<(f64, f64)> {
    let total = of.quantiles.count as f64;
    let mut before = 0_u64;
    let mut points = Vec::with_capacity(of.buckets.len() + 1);
    for (micros, count) in &of.buckets {
        points.push((before as f64 / total, *micros as f64 / 1_000.0));
        before += count;
    }
    // The slowest call stands at its own share, not at 100 %, which lies nowhere.
    if let Some((micros, _)) = of.buckets.last() {
        points.push((1.0 - 0.5 / total, *micros as f64 / 1_000.0));
    }
    points
}

fn operations(outcome: &Outcome) -> String {
    let mut table = "<section>\n<h2>各项操作 <small>Operations</small></h2>\n<div class=\"wide\"><table>\n<tr><th>操作 operation</th>\
         <th>次数 calls</th><th>通过 approved</th><th>待确认 pending</th><th>拒绝 declined, refused</th>\
         <th>失败 failed</th><th>迟发 late</th><th>p50 ms</th><th>p90 ms</th><th>p99 ms</th><th>p99.9 ms</th>\
         <th>最大 max ms</th><th>闭环会说 p99 <small>a closed loop's p99</small></th></tr>\n"
        .to_owned();
    for (place, operation) in outcome.operations.iter().enumerate() {
        let took = &operation.latency_us.quantiles;
        let counts = [
            operation.all(),
            operation.approved,
            operation.pending,
            operation.declined + operation.refused,
            operation.failed,
            operation.late,
        ]
        .map(|count| number(count as f64));
        let times =
            [took.p50, took.p90, took.p99, took.p999, took.max, operation.service_us.quantiles.p99].map(ms);
        let cells: String = counts.iter().chain(&times).map(|cell| format!("<td>{cell}</td>")).collect();
        let _ = writeln!(
            table,
            "<tr><td><i class=\"key c{place}\"></i>{} <small>{}</small></td>{cells}</tr>",
            escaped(&operation.zh),
            escaped(&operation.en)
        );
    }
    table + "</table></div>\n</section>\n"
}

fn reasons(outcome: &Outcome) -> String {
    let rows: String = outcome
        .operations
        .iter()
        .flat_map(|operation| operation.words.iter().map(move |(word, count)| (operation, word, count)))
        .map(|(operation, word, count)| {
            format!(
                "<tr><td>{}</td><td class=\"text\"><code>{}</code></td><td>{}</td></tr>\n",
                escaped(&operation.zh),
                escaped(word),
                number(*count as f64)
            )
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<section>\n<h2>未通过的原因 <small>Why not approved</small></h2>\n<table>\n<tr><th>操作 operation</th>\
         <th class=\"text\">原因 reason</th><th>次数 calls</th></tr>\n{rows}</table>\n</section>\n"
    )
}

fn beside(outcome: &Outcome) -> String {
    let Outcome { machine, beside, plan, .. } = outcome;
    let figures: String = outcome
        .figures
        .iter()
        .map(|(key, value)| format!("<code>{}={}</code> ", escaped(key), number(*value)))
        .collect();
    format!(
        "<footer>\n<p>{figures}</p>\n<p>{} · {} 核 cores · {} MiB · Linux {} · 平均负载 load average {} → {} · 种子 seed {} · \
         连接 connections {} · 在途上限 in flight at most {} · {} · onecard {} ({})</p>\n</footer>\n",
        escaped(&machine.cpu),
        machine.cores,
        number(machine.memory_mib as f64),
        escaped(&machine.kernel),
        escaped(&beside.load_average_before),
        escaped(&beside.load_average_after),
        plan.seed,
        plan.connections,
        plan.in_flight,
        escaped(&outcome.recorded_at),
        escaped(&outcome.build.version),
        escaped(&outcome.build.profile)
    )
}

fn region_name(region: &str) -> &str {
    match region {
        "beijing" => "北京 Beijing",
        "tianjin" => "天津 Tianjin",
        "hebei" => "河北 Hebei",
        other => other,
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.2} %", part as f64 * 100.0 / whole as f64) }
}

/// Microseconds as milliseconds, with as many decimals as mean something.
fn ms(micros: u64) -> String {
    let ms = micros as f64 / 1_000.0;
    if ms < 10.0 {
        format!("{ms:.2}")
    } else if ms < 100.0 {
        format!("{ms:.1}")
    } else {
        number(ms)
    }
}

/// Light and dark, by the reader's own setting.
const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1d2430; --soft: #667085; --paper: #ffffff; --back: #f3f5f8;
  --rule: #e4e8ee; --good: #12734a; --good-back: #e2f5ec; --bad: #b42318; --bad-back: #fdeceb;
  --c0: #2563c9; --c1: #d1495b; --c2: #1f9e89; --c3: #e08e1b; --c4: #7d53b5; --c5: #5a8f29; --c6: #c2569c;
  --c7: #8a97a8; --c8: #a06a3c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #98a2b3; --paper: #171c25; --back: #0f131a;
  --rule: #2a313d; --good: #6fd6a5; --good-back: #12301f; --bad: #ff9b92; --bad-back: #3b1715;
  --c0: #6ea8fe; --c1: #f28b98; --c2: #57cdb8; --c3: #f2b354; --c4: #b894e6; --c5: #9ccc65; --c6: #e79acb;
  --c7: #76839a; --c8: #cf9d6f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.6 system-ui, 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', 'WenQuanYi Zen Hei', sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 16px 48px; }
header, section { background: var(--paper); border: 1px solid var(--rule); border-radius: 12px; padding: 20px 24px;
  margin-bottom: 16px; }
h1 { margin: 0; font-size: 28px; } h2 { margin: 0 0 4px; font-size: 18px; }
h1 small, h2 small { color: var(--soft); font-weight: 400; font-size: .72em; margin-left: 6px; }
header p { margin: 6px 0; max-width: 72em; } header .en { color: var(--soft); font-size: 14px; }
.verdict { display: inline-block; padding: 2px 12px; border-radius: 999px; font-size: 14px; font-weight: 600; }
.good { color: var(--good); background: var(--good-back); } .bad { color: var(--bad); background: var(--bad-back); }
.broken { color: var(--bad); }
dl { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px 24px; margin: 18px 0 0; }
dl div { border-left: 3px solid var(--rule); padding-left: 12px; }
dt { color: var(--soft); font-size: 13px; } dd { margin: 0; font-size: 20px; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.legend { margin: 0 0 6px; font-size: 13px; color: var(--soft); } .legend span { margin-right: 16px; white-space: nowrap; }
.key { display: inline-block; width: 12px; height: 4px; border-radius: 2px; margin: 0 6px 3px 0; vertical-align: middle; }
.told { margin: 4px 0 0; font-size: 13px; color: var(--soft); }
svg { display: block; width: 100%; height: auto; } .grid { stroke: var(--rule); stroke-width: 1; }
.tick, .axis { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; } .area { opacity: .16; stroke: none; }
.line.c0 { stroke: var(--c0); } .line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); }
.line.c3 { stroke: var(--c3); } .line.c4 { stroke: var(--c4); } .line.c5 { stroke: var(--c5); }
.line.c6 { stroke: var(--c6); } .line.c7 { stroke: var(--c7); } .line.c8 { stroke: var(--c8); }
.c0 { background: var(--c0); fill: var(--c0); } .c1 { background: var(--c1); fill: var(--c1); }
.c2 { background: var(--c2); fill: var(--c2); } .c3 { background: var(--c3); fill: var(--c3); }
.c4 { background: var(--c4); fill: var(--c4); } .c5 { background: var(--c5); fill: var(--c5); }
.c6 { background: var(--c6); fill: var(--c6); } .c7 { background: var(--c7); fill: var(--c7); }
.c8 { background: var(--c8); fill: var(--c8); } svg .line { fill: none; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 13px;
  font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 500; text-align: right; vertical-align: bottom; }
td { text-align: right; white-space: nowrap; } th, td { padding: 6px 8px; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child, .text { text-align: left; } td small { color: var(--soft); }
footer { color: var(--soft); font-size: 13px; padding: 0 8px; } code { font-size: 12px; }
.none { color: var(--soft); }
@media (max-width: 720px) { dl { grid-template-columns: repeat(2, 1fr); } }
";
