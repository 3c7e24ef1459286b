//! The rounds of a run, folded into a table and the last line.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::{
    Contender,
    drive::{Measured, histogram},
    half::HalfLoad,
    upload::Uploaded,
};
use crate::{
    postgres::Engine,
    report::{Summary, table},
};

/// Every key of the last line with a gateway on this engine.
pub const fn keys(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Embedded => KEYS,
        Engine::Postgres => POSTGRES_KEYS,
    }
}

const POSTGRES_KEYS: &[&str] =
    &["plain_per_s", "postgres_per_s", "plain_ratio", "p50_ms", "p99_ms", "p999_ms"];

const KEYS: &[&str] = &[
    "echo_per_s",
    "unary_per_s",
    "unary_ratio",
    "p50_ms",
    "p99_ms",
    "p999_ms",
    "tonic_per_s",
    "echo_to_tonic",
    "stream_echo_per_s",
    "stream_per_s",
    "stream_ratio",
    "half_p99_ms",
    "sync_p99_ms",
    "half_over_sync_ms",
    "upload_per_s",
    "upload_lag_start",
    "upload_lag_end",
];

/// What was measured, by round.
#[derive(Default)]
pub struct Figures {
    rounds: Vec<BTreeMap<Contender, Measured>>,
    /// Times of plain syncs, beside it all.
    pub syncs: Vec<Duration>,
    /// The stretch at half speed, where `unary` was measured.
    pub half: Option<HalfLoad>,
    /// The stretch of uploads, where there was one.
    pub upload: Option<Uploaded>,
}

impl Figures {
    /// Opens a round.
    pub fn begin_round(&mut self) {
        self.rounds.push(BTreeMap::new());
    }

    /// Adds a stretch to the round that was opened last.
    pub fn add(&mut self, contender: Contender, measured: Measured) {
        if let Some(round) = self.rounds.last_mut() {
            round.insert(contender, measured);
        }
    }

    fn of(&self, contender: Contender) -> Vec<&Measured> {
        self.rounds.iter().filter_map(|round| round.get(&contender)).collect()
    }

    fn each(&self, contender: Contender, figure: impl Fn(&Measured) -> f64) -> Vec<f64> {
        self.of(contender).into_iter().map(figure).collect()
    }

    /// The median over rounds of one contender's speed over another's in the same
    /// round.
    fn ratio(&self, of: Contender, to: Contender) -> Option<f64> {
        let paired = |round: &BTreeMap<Contender, Measured>| {
            Some(round.get(&of)?.per_second() / round.get(&to)?.per_second())
        };
        median(&self.rounds.iter().filter_map(paired).collect::<Vec<_>>())
    }

    /// The faster baseline of each round, which may be another in the next.
    fn plain(&self) -> Vec<Option<f64>> {
        let speed = |round: &BTreeMap<Contender, Measured>| {
            let speeds =
                [Contender::Plain16, Contender::Plain64].into_iter().filter_map(|plain| round.get(&plain));
            speeds.map(Measured::per_second).max_by(f64::total_cmp)
        };
        self.rounds.iter().map(speed).collect()
    }

    /// The gateway's speed over the faster baseline's in the same round, median.
    fn plain_ratio(&self) -> Option<f64> {
        let paired = self
            .rounds
            .iter()
            .zip(self.plain())
            .filter_map(|(round, plain)| Some(round.get(&Contender::Unary)?.per_second() / plain?));
        median(&paired.collect::<Vec<_>>())
    }

    fn database_cpu(&self, contender: Contender) -> Vec<f64> {
        self.of(contender).into_iter().filter_map(Measured::database_micros).collect()
    }

    /// Half of the calls a second that `unary` was measured at.
    pub fn half_speed(&self) -> Option<f64> {
        median(&self.each(Contender::Unary, Measured::per_second)).map(|speed| speed / 2.0)
    }

    /// The plain sync that so many of a hundred did not exceed.
    fn sync(&self, share: usize) -> Duration {
        let mut syncs = self.syncs.clone();
        syncs.sort_unstable();
        syncs.get(syncs.len() * share / 100).copied().unwrap_or_default()
    }

    fn latency(&self, contender: Contender) -> Histogram<u64> {
        let mut all = histogram();
        for measured in self.of(contender) {
            all.add(&measured.latency).expect("all histograms have the same bounds");
        }
        all
    }

    /// One row a contender.
    pub fn table(&self) -> String {
        const HEADS: [&str; 10] = [
            "contender",
            "calls/s (median)",
            "min",
            "max",
            "p50 µs",
            "p99 µs",
            "p999 µs",
            "server CPU µs/call",
            "database CPU µs/call",
            "server MiB",
        ];
        let row = |contender: &Contender| {
            let speeds = self.each(*contender, Measured::per_second);
            let latency = self.latency(*contender);
            let resident = self.of(*contender).last()?.resident_mib;
            Some(vec![
                contender.name().to_owned(),
                format!("{:.0}", median(&speeds)?),
                format!("{:.0}", speeds.iter().copied().fold(f64::INFINITY, f64::min)),
                format!("{:.0}", speeds.iter().copied().fold(0.0, f64::max)),
                latency.value_at_quantile(0.5).to_string(),
                latency.value_at_quantile(0.99).to_string(),
                latency.value_at_quantile(0.999).to_string(),
                format!("{:.1}", median(&self.each(*contender, Measured::cpu_micros))?),
                median(&self.database_cpu(*contender))
                    .map_or("-".to_owned(), |micros| format!("{micros:.1}")),
                resident.to_string(),
            ])
        };
        table(&HEADS, &Contender::ALL.iter().filter_map(row).collect::<Vec<_>>())
    }

    /// What must be read beside the figures: the disk, the machine, and whether
    /// the client was ready in time.
    pub fn beside(&self, load_before: &str, load_after: &str) -> String {
        let tapped = [Contender::Unary, Contender::Stream].map(|contender| self.of(contender));
        let late: u64 = tapped.iter().flatten().map(|measured| measured.made_late).sum();
        let mut text = format!(
            "a plain fdatasync of 4 KiB: p50 {} µs, p99 {} µs; load average {load_before} before, {load_after} after",
            self.sync(50).as_micros(),
            self.sync(99).as_micros()
        );
        if let Some(HalfLoad { per_second, record }) = &self.half {
            let at = |share: f64| record.latency.value_at_quantile(share);
            text += &format!(
                "\nat half speed, open loop, {per_second:.0} taps/s: p50 {} µs, p99 {} µs, p999 {} µs; {} sent late",
                at(0.5),
                at(0.99),
                at(0.999),
                record.late
            );
        }
        if late > 0 {
            text += &format!(
                "\ntaps ran out {late} times and were made while measuring; the client was slower for it"
            );
        }
        text
    }

    /// The last line; a contender that was not measured has no figure there.
    pub fn summary(&self, engine: Engine) -> Summary {
        use Contender::{Echo, EchoStream, Stream, Tonic, Unary};
        let mut summary = Summary::new("headline");
        let mut put = |key, value: Option<f64>, decimals| {
            if let Some(value) = value {
                summary = std::mem::replace(&mut summary, Summary::new("")).measure(key, value, decimals);
            }
        };
        let speed = |contender| median(&self.each(contender, Measured::per_second));
        // Quantiles by round, then the median: one bad second of the machine must
        // not be the figure of all rounds.
        let quantile = |share: f64| {
            #[allow(clippy::cast_precision_loss, reason = "microseconds of a call are far below 2^53")]
            median(&self.each(Unary, |measured| measured.latency.value_at_quantile(share) as f64 / 1_000.0))
        };
        match engine {
            Engine::Embedded => {
                put("echo_per_s", speed(Echo), 0);
                put("unary_per_s", speed(Unary), 0);
                put("unary_ratio", self.ratio(Unary, Echo), 3);
            }
            Engine::Postgres => {
                let plain: Vec<_> = self.plain().into_iter().flatten().collect();
                put("plain_per_s", median(&plain), 0);
                put("postgres_per_s", speed(Unary), 0);
                put("plain_ratio", self.plain_ratio(), 3);
            }
        }
        put("p50_ms", quantile(0.5), 3);
        put("p99_ms", quantile(0.99), 3);
        put("p999_ms", quantile(0.999), 3);
        put("tonic_per_s", speed(Tonic), 0);
        put("echo_to_tonic", self.ratio(Echo, Tonic), 3);
        put("stream_echo_per_s", speed(EchoStream), 0);
        put("stream_per_s", speed(Stream), 0);
        put("stream_ratio", self.ratio(Stream, EchoStream), 3);
        if let Some(half) = &self.half {
            let sync_ms = self.sync(99).as_secs_f64() * 1_000.0;
            put("half_p99_ms", Some(half.p99_ms()), 3);
            put("sync_p99_ms", Some(sync_ms), 3);
            put("half_over_sync_ms", Some(half.p99_ms() - sync_ms), 3);
        }
        let lag = self.upload.as_ref().and_then(Uploaded::lag_ends);
        put("upload_per_s", self.upload.as_ref().map(Uploaded::per_second), 0);
        put("upload_lag_start", lag.map(|(start, _)| start), 0);
        put("upload_lag_end", lag.map(|(_, end)| end), 0);
        summary
    }

    /// A line about the uploads; empty where there were none.
    pub fn of_upload(&self) -> String {
        let Some(upload) = &self.upload else { return String::new() };
        #[allow(clippy::cast_precision_loss, reason = "taps of a run are far below 2^53")]
        let each = upload.cpu.as_secs_f64() * 1e6 / upload.taps.max(1) as f64;
        let most = upload.lag.iter().copied().fold(0.0, f64::max);
        format!(
            "upload: {:.0} taps/s over {} s, server CPU {each:.1} µs a tap, index lag at most {most:.0} taps",
            upload.per_second(),
            upload.length.as_secs()
        )
    }

    /// Every call must have been answered as it should.
    pub fn broken(&self) -> Vec<String> {
        let failed = |contender: &Contender| {
            let errors: u64 = self.of(*contender).iter().map(|measured| measured.errors).sum();
            let first = self.of(*contender).iter().find_map(|measured| measured.first_error.clone());
            (errors > 0).then(|| {
                format!(
                    "{errors} calls of {} failed, the first: {}",
                    contender.name(),
                    first.unwrap_or_default()
                )
            })
        };
        let half = self.half.as_ref().and_then(HalfLoad::broken);
        let of_upload = self.upload.iter().flat_map(Uploaded::broken);
        Contender::ALL.iter().filter_map(failed).chain(half).chain(of_upload).collect()
    }
}

/// The middle of the figures; of an even number the mean of the two.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_loop::{Answer, Record};

    fn measured(answered: u64, micros: u64, errors: u64) -> Measured {
        let mut latency = histogram();
        latency.record_n(micros, answered).expect("within bounds");
        Measured {
            answered,
            length: Duration::from_secs(1),
            latency,
            cpu: Duration::from_millis(answered / 100),
            database_cpu: None,
            resident_mib: 30,
            errors,
            first_error: (errors > 0).then(|| "no".to_owned()),
            made_late: 0,
            sample: bytes::Bytes::new(),
            answer_bytes: 0,
        }
    }

    fn figures(rounds: &[[u64; 5]]) -> Figures {
        let mut figures = Figures::default();
        for round in rounds {
            figures.begin_round();
            for (contender, answered) in Contender::ALL.into_iter().zip(round) {
                figures.add(contender, measured(*answered, 2_000, 0));
            }
        }
        figures
    }

    /// A thousand taps at half speed that all took as long and ended alike.
    fn half_load(took: Duration, answer: Answer) -> HalfLoad {
        HalfLoad { per_second: 1_000.0, record: Record::of(1_000, took, &answer) }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians() {
        let mut figures = figures(&[
            [2000, 1000, 900, 3000, 1500],
            [2000, 2000, 400, 3000, 300],
            [2000, 4000, 2000, 1000, 800],
        ]);
        assert_eq!(figures.half_speed(), Some(450.0));
        figures.syncs = (1..=100).map(Duration::from_micros).collect();
        figures.half = Some(half_load(Duration::from_micros(1_500), Answer::Approved));
        let line = figures.summary(Engine::Embedded).line();
        assert_eq!(
            line,
            "headline: echo_per_s=2000 unary_per_s=900 unary_ratio=0.500 p50_ms=2.000 p99_ms=2.000 \
             p999_ms=2.000 tonic_per_s=2000 echo_to_tonic=1.000 stream_echo_per_s=3000 stream_per_s=800 \
             stream_ratio=0.500 half_p99_ms=1.500 sync_p99_ms=0.100 half_over_sync_ms=1.400"
        );
        let keys: Vec<_> = line.split(' ').skip(1).filter_map(|word| word.split('=').next()).collect();
        assert_eq!(keys, KEYS[..KEYS.len() - 3], "all but those of uploads");
    }

    #[test]
    fn the_baseline_is_the_faster_one_of_each_round() {
        use Contender::{Plain16, Plain64, Unary};
        let mut figures = Figures::default();
        for [plain16, unary, plain64] in [[100, 600, 200], [400, 800, 100], [100, 900, 300]] {
            figures.begin_round();
            for (contender, answered) in [(Plain16, plain16), (Unary, unary), (Plain64, plain64)] {
                figures.add(contender, measured(answered, 2_000, 0));
            }
        }
        let line = figures.summary(Engine::Postgres).line();
        assert_eq!(
            line,
            "headline: plain_per_s=300 postgres_per_s=800 plain_ratio=3.000 p50_ms=2.000 p99_ms=2.000 \
             p999_ms=2.000"
        );
        let keys: Vec<_> = line.split(' ').skip(1).filter_map(|word| word.split('=').next()).collect();
        assert_eq!(keys, POSTGRES_KEYS);
    }

    #[test]
    fn one_failed_call_breaks_the_run() {
        let mut figures = figures(&[[100; 5]]);
        assert_eq!(figures.broken(), Vec::<String>::new());
        figures.begin_round();
        figures.add(Contender::Unary, measured(100, 10, 3));
        assert_eq!(figures.broken(), ["3 calls of unary failed, the first: no"]);
    }

    #[test]
    fn one_tap_at_half_speed_that_is_not_approved_breaks_the_run() {
        let took = Duration::from_millis(1);
        let mut figures = Figures { half: Some(half_load(took, Answer::Approved)), ..Figures::default() };
        assert_eq!(figures.broken(), Vec::<String>::new());
        figures.half = Some(half_load(took, Answer::Declined("COUNTER".to_owned())));
        assert_eq!(figures.broken(), ["1000 taps at half speed were not approved, for example: COUNTER"]);
    }

    #[test]
    fn who_was_not_measured_has_no_figure() {
        let mut figures = Figures::default();
        figures.begin_round();
        figures.add(Contender::Echo, measured(100, 10, 0));
        assert_eq!(figures.summary(Engine::Embedded).line(), "headline: echo_per_s=100");
        assert_eq!(figures.table().lines().count(), 2);
    }

    #[test]
    fn the_median_of_two_is_their_mean() {
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }
}
