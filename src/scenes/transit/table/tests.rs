use proptest::prelude::*;

use super::*;
use crate::{
    model::ParticipantId,
    scenes::transit::{FareBook, FareProblem, OperatorTable, samples},
};

const NOW: Millis = 1_795_305_600_000;
const HOUR: i64 = 3_600_000;

fn table(operator: &str) -> &'static FareTable {
    let operator: ParticipantId = operator.parse().expect("well formed");
    samples::book().table(&operator, NOW).expect("configured")
}

#[track_caller]
fn price(operator: &str, ride: Ride) -> i64 {
    table(operator).sections[0].rule.price(ride).get()
}

#[track_caller]
fn quote(
    operator: &str,
    from: (&str, &str),
    to: (&str, &str),
    ridden_ms: i64,
) -> Result<Quote, QuoteDeclined> {
    let table = table(operator);
    let place = |(line, station): (&str, &str)| table.place(line, station).expect("listed");
    table.quote(&place(from), &place(to), ridden_ms)
}

#[track_caller]
fn check(operator: &str, from: &str, to: &str, fare: i64, amount: i64) {
    let quote = quote(operator, ("", from), ("", to), HOUR).expect("a fare");
    assert_eq!((quote.fare.get(), quote.amount.get()), (fare, amount), "{from} {to}");
}

#[test]
fn the_bands_of_distance_end_where_the_notices_say() {
    let beijing = [
        (0, 300),
        (6_000, 300),
        (6_001, 400),
        (12_000, 400),
        (12_001, 500),
        (22_000, 500),
        (22_001, 600),
        (32_000, 600),
        (32_001, 700),
        (52_000, 700),
        (52_001, 800),
        (72_000, 800),
        (72_001, 900),
        (112_001, 1_100),
    ];
    let shijiazhuang = [
        (6_000, 200),
        (6_001, 300),
        (13_000, 300),
        (13_001, 400),
        (20_000, 400),
        (20_001, 500),
        (28_000, 500),
        (28_001, 600),
        (36_001, 700),
        (45_001, 800),
        (54_000, 800),
        (54_001, 900),
        (64_000, 900),
        (64_001, 1_000),
    ];
    let bus = [(0, 200), (10_000, 200), (10_001, 300), (15_000, 300), (15_001, 400)];
    let cases = [("bj-metro", &beijing[..]), ("sjz-metro", &shijiazhuang[..]), ("bj-bus", &bus[..])];
    for (operator, bands) in cases {
        for (metres, fen) in bands {
            assert_eq!(price(operator, Ride { metres: *metres, intervals: 99 }), *fen, "{operator} {metres}");
        }
    }
}

#[test]
fn tianjin_counts_stations() {
    for (stations, fen) in
        [(1, 200), (5, 200), (6, 300), (10, 300), (11, 400), (16, 400), (17, 500), (60, 500)]
    {
        let ride = Ride { metres: 99_999, intervals: stations - 1 };
        assert_eq!(price("tj-metro", ride), fen, "{stations} stations");
    }
}

#[test]
fn rides_in_beijing_cost_what_their_distance_says() {
    check("bj-metro", "西单", "天安门东", 300, 300);
    check("bj-metro", "北京西站", "北京南站", 400, 400);
    check("bj-metro", "西直门", "国贸", 400, 400);
    check("bj-metro", "苹果园", "国贸", 600, 600);
    check("bj-metro", "安河桥北", "天宫院", 700, 700);
    check("bj-metro", "香山", "俸伯", 800, 800);
    check("bj-metro", "昌平西山口", "环球度假区", 900, 900);
}

#[test]
fn the_card_pays_its_share_in_tianjin_and_on_buses_in_beijing() {
    check("tj-metro", "营口道", "小白楼", 200, 180);
    check("tj-metro", "营口道", "刘园", 400, 360);
    check("tj-metro", "西站", "天津站", 300, 270);
    check("tj-metro", "刘园", "双林", 500, 450);
    let quote = quote("bj-bus", ("sandbox-1", "公主坟"), ("sandbox-1", "四惠枢纽站"), HOUR).expect("a fare");
    assert_eq!((quote.fare, quote.discount, quote.amount), (Fen::yuan(4), Fen::yuan(2), Fen::yuan(2)));
    assert_eq!(quote.measured, Ride { metres: 13 * 1_250, intervals: 0 });
}

#[test]
fn shijiazhuang_takes_the_shortest_path() {
    check("sjz-metro", "新百广场", "石家庄站", 200, 200);
    check("sjz-metro", "义堂", "烈士陵园", 300, 300);
    check("sjz-metro", "西王", "洨河大道", 500, 500);
}

#[test]
fn the_airport_line_is_flat_and_behind_gates_of_its_own() {
    let airport = |station| ("首都机场线", station);
    let within = quote("bj-metro", airport("3号航站楼"), airport("东直门"), 9 * HOUR);
    assert_eq!(within.map(|quote| quote.amount), Ok(Fen::yuan(25)));
    let short = quote("bj-metro", airport("三元桥"), airport("东直门"), HOUR).expect("a fare");
    assert_eq!(short.amount, Fen::yuan(25));
    // Both ends without a line: the network comes first. One end on the airport
    // line only: the ride was on it.
    check("bj-metro", "三元桥", "东直门", 300, 300);
    check("bj-metro", "东直门", "2号航站楼", 2_500, 2_500);
    let across = quote("bj-metro", airport("3号航站楼"), ("13号线", "东直门"), HOUR);
    assert_eq!(across, Err(NoFareBetween.into()));
    assert_eq!(quote("bj-metro", ("", "3号航站楼"), ("", "公主坟"), HOUR), Err(NoFareBetween.into()));
}

#[test]
fn a_place_is_known_by_line_and_station() {
    let metro = table("bj-metro");
    assert!(metro.place("", "西单").is_some() && metro.place("4号线", "西单").is_some());
    assert!(metro.place("2号线", "西单").is_none(), "line 2 does not stop there");
    assert!(metro.place("99号线", "西单").is_none() && metro.place("", "西单 ").is_none());
    assert!(table("bj-bus").place("", "公主坟").is_none(), "a bus must name its route");
}

#[test]
fn time_is_up_one_millisecond_after_the_limit() {
    let (from, to) = (("", "西单"), ("", "天安门东"));
    let at_limit = quote("bj-metro", from, to, 4 * HOUR).expect("a fare");
    assert_eq!((at_limit.surcharge, at_limit.amount), (Fen::ZERO, Fen::yuan(3)));
    let over = quote("bj-metro", from, to, 4 * HOUR + 1).expect("a fare");
    assert_eq!((over.surcharge, over.amount), (Fen::yuan(3), Fen::yuan(6)));
    let (from, to) = (("", "营口道"), ("", "小白楼"));
    assert!(quote("tj-metro", from, to, 3 * HOUR).is_ok());
    assert_eq!(
        quote("tj-metro", from, to, 3 * HOUR + 1),
        Err(StayTooLong { ridden_ms: 3 * HOUR + 1, limit_ms: 3 * HOUR }.into())
    );
}

const TWO_STATIONS: &str = "line,seq,station,metres_from_previous\nA,1,x,0\nA,2,y,900\n";
const SMALL: &str = r#"
name = "small"
version = "1"
source = "test"
verified = true
network = { stations = "two", transfers = true, sandbox = false }
unfinished = { refuse_minutes = 0, then = "forgiven", source = "test", verified = true }
[[section]]
name = "all"
fare = { kind = "flat", fen = 301 }
same_station = { free_minutes = 30, source = "test", verified = true }
card = { pays_percent = 50, source = "test", verified = true }
"#;

fn small(edit: impl Fn(&str) -> String) -> Result<FareBook, Vec<FareProblem>> {
    let operators = [OperatorTable { participant: "op".to_owned(), table: "small".to_owned() }];
    let texts = [("small.toml".to_owned(), edit(SMALL))];
    FareBook::parse(&texts, &|name| (name == "two").then(|| TWO_STATIONS.to_owned()), &operators)
}

#[test]
fn an_exit_where_the_ride_began_may_be_free_for_a_while() {
    let book = small(str::to_owned).expect("right");
    let table = book.table(&"op".parse().expect("well formed"), NOW).expect("configured");
    let x = table.place("", "x").expect("listed");
    let amount = |ridden_ms| table.quote(&x, &x, ridden_ms).map(|quote| quote.amount.get());
    assert_eq!(amount(30 * 60_000), Ok(0));
    // Half of 301 fen is rounded half up, once; the holder bears the half fen.
    assert_eq!(amount(30 * 60_000 + 1), Ok(151));
    assert!(table.settle(&x).is_none(), "forgiven");
    assert_eq!(book.check(), []);
}

#[track_caller]
fn refused(find: &str, replace: &str, expect: &str) {
    let edit = |text: &str| {
        assert!(text.contains(find), "the test edits what is there");
        text.replace(find, replace)
    };
    let problems = small(edit).expect_err("must be refused");
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|problem| problem.contains(expect)), "{told:?}");
}

#[test]
fn a_table_that_is_not_right_is_refused() {
    refused("version = \"1\"", "version = \"1\"\nversoin = 2", "unknown field");
    refused("fen = 301", "fen = 301, extra = 1", "unknown field");
    refused("fen = 301", "fen = -1", "-1 fen");
    refused("pays_percent = 50", "pays_percent = 101", "101 percent");
    refused("stations = \"two\"", "stations = \"three\"", "no file of stations three");
    refused("name = \"all\"", "name = \"all\"\nlines = [\"B\"]", "names B");
    refused("kind = \"flat\"", "kind = \"boarding\"", "stands alone");
    refused("version = \"1\"", "version = \"1\"\nvalid_from = \"2026-02-30\"", "not a day");
    refused(
        "version = \"1\"",
        "version = \"1\"\nvalid_from = \"2026-02-02\"\nvalid_until = \"2026-02-01\"",
        "ends before",
    );
    refused("name = \"small\"", "name = \"other\"", "no table small");
    refused("name = \"small\"", "name = \"Small\"", "name must be");
}

#[test]
fn a_ride_is_charged_by_the_table_of_its_day() {
    let version = |version: &str, line: &str| {
        let text = SMALL.replace("version = \"1\"", &format!("version = \"{version}\"\n{line}"));
        (format!("{version}.toml"), text)
    };
    let old = version("old", "valid_until = \"2026-11-21\"");
    let new = version("new", "valid_from = \"2026-11-22\"");
    let stations = |_: &str| Some(TWO_STATIONS.to_owned());
    let operators = [OperatorTable { participant: "op".to_owned(), table: "small".to_owned() }];
    let book = FareBook::parse(&[old.clone(), new], &stations, &operators).expect("right");
    let op = "op".parse().expect("well formed");
    let label = |at| book.table(&op, at).map(FareTable::label);
    let midnight = NOW - 8 * HOUR;
    assert_eq!(label(midnight - 1), Some("small/old"));
    assert_eq!(label(midnight), Some("small/new"));
    let overlapping = version("new", "valid_from = \"2026-11-21\"");
    let problems = FareBook::parse(&[old, overlapping], &stations, &operators).expect_err("overlap");
    assert_eq!(problems[0].fault, FareFault::Overlap("small/old".to_owned()));
}

#[test]
fn what_is_unverified_or_a_placeholder_is_told() {
    let notices = samples::book().check();
    let about = |table: &str, what: &str| {
        notices.iter().any(|notice| {
            let told = notice.to_string();
            told.starts_with(table) && told.contains(what)
        })
    };
    assert!(about("shijiazhuang-metro", "the time limit") && about("tianjin-metro", "the discount"));
    assert!(about("tianjin-metro", "placeholders") && !about("beijing-metro", "placeholders"));
    assert!(notices.iter().all(|notice| !notice.to_string().contains("not connected")), "{notices:?}");
    assert!(!about("tianjin-metro", "the table is not verified"));
}

fn any_place(table: &'static FareTable) -> impl Strategy<Value = Places> {
    let most = table.parts[0].network.len();
    (0..most).prop_map(move |at| {
        let name = table.parts[0].network.nth_name(at);
        table.place("", name).expect("listed")
    })
}

proptest! {
    #[test]
    fn a_ride_costs_the_same_both_ways_and_never_less_than_the_lowest_fare(
        from in any_place(table("bj-metro")), to in any_place(table("bj-metro")), ridden_ms in 0i64..20 * HOUR,
    ) {
        let table = table("bj-metro");
        let there = table.quote(&from, &to, ridden_ms).expect("connected");
        prop_assert_eq!(Ok(there), table.quote(&to, &from, ridden_ms));
        prop_assert!(there.fare >= Fen::yuan(3) && there.discount >= Fen::ZERO);
        prop_assert_eq!(there.amount.get(), there.fare.get() + there.surcharge.get() - there.discount.get());
    }
}

#[test]
#[ignore = "measures; run alone: cargo test --lib --release transit::table -- --ignored --nocapture"]
fn a_tap_out_is_priced_in_under_two_microseconds() {
    let table = table("bj-metro");
    let (rounds, mut sum) = (1_000_000i64, 0);
    let begun = std::time::Instant::now();
    for round in 0..rounds {
        let from = table.place("", "昌平西山口").expect("listed");
        let to = table.place("", if round % 2 == 0 { "环球度假区" } else { "西单" }).expect("listed");
        sum += table.quote(&from, &to, round).expect("a fare").amount.get();
    }
    let each = begun.elapsed().as_nanos() / 1_000_000;
    println!("{each} ns a tap-out, {} yuan", sum / 100);
    assert!(each < 2_000, "{each} ns");
}
