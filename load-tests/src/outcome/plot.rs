//! Line charts as inline SVG: axes with round ticks, straight or logarithmic, no
//! script. Colours are classes of the page's style sheet.

use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From 0.
    Straight,
    /// Decades; values are greater than 0.
    Decades,
    /// `1 - p` in decades, for shares `p` below 1: 90 %, 99 %, 99.9 % lie at even
    /// distances.
    Nines,
}

/// One axis.
#[derive(Debug, Clone)]
pub struct Axis {
    pub scale: Scale,
    /// What is on it and in which unit.
    pub label: String,
}

/// One line of a chart.
#[derive(Debug, Clone)]
pub struct Line {
    pub label: String,
    /// Names the colour: `c0` and so on.
    pub colour: usize,
    pub filled: bool,
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Read aloud to those who do not see it.
    pub title: String,
    pub height: f64,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

/// Values and where they lie from 0 to 1 along the axis.
struct Range {
    scale: Scale,
    from: f64,
    to: f64,
}

impl Chart {
    /// The chart, or a sentence when there is nothing to show.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        if points().next().is_none() {
            return "<p class=\"none\">没有数据 nothing to show</p>".to_owned();
        }
        let x = Range::over(self.x.scale, points().map(|point| point.0));
        let y = Range::over(self.y.scale, points().map(|point| point.1));
        let (right, bottom) = (WIDTH - RIGHT, self.height - BOTTOM);
        let at_x = |value: f64| LEFT + x.place(value) * (right - LEFT);
        let at_y = |value: f64| bottom - y.place(value) * (bottom - TOP);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">\n",
            self.height,
            escaped(&self.title)
        );
        for (value, label) in y.ticks() {
            let at = at_y(value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            );
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for (value, label) in x.ticks() {
            let at = at_x(value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"
            );
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                bottom + 18.0
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            right,
            self.height - 6.0,
            escaped(&self.x.label)
        );
        let _ = writeln!(
            svg,
            "<text class=\"axis\" x=\"{LEFT}\" y=\"{}\">{}</text>",
            TOP - 12.0,
            escaped(&self.y.label)
        );
        for line in &self.lines {
            let path: Vec<_> =
                line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", at_x(*x), at_y(*y))).collect();
            if line.filled
                && let (Some(first), Some(last)) = (line.points.first(), line.points.last())
            {
                let _ = writeln!(
                    svg,
                    "<polygon class=\"area c{}\" points=\"{:.1},{bottom} {} {:.1},{bottom}\"/>",
                    line.colour,
                    at_x(first.0),
                    path.join(" "),
                    at_x(last.0)
                );
            }
            let _ =
                writeln!(svg, "<polyline class=\"line c{}\" points=\"{}\"/>", line.colour, path.join(" "));
            // A single point makes no line.
            if let [(x, y)] = line.points[..] {
                let _ = writeln!(
                    svg,
                    "<circle class=\"dot c{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                    line.colour,
                    at_x(x),
                    at_y(y)
                );
            }
        }
        svg + "</svg>\n"
    }

    /// What each line is, for above the chart.
    pub fn legend(&self) -> String {
        let entry = |line: &Line| {
            format!("<span><i class=\"key c{}\"></i>{}</span>", line.colour, escaped(&line.label))
        };
        self.lines.iter().map(entry).collect::<Vec<_>>().join(" ")
    }
}

impl Range {
    fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (least, most) = (least.min(value), most.max(value));
        }
        let (from, to) = match scale {
            Scale::Straight => (0.0, rounded_up(most)),
            Scale::Decades => {
                let from = least.max(1e-6).log10().floor();
                (from, most.max(1e-6).log10().ceil().max(from + 1.0))
            }
            Scale::Nines => (0.0, nines(most).max(1.0)),
        };
        Range { scale, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Straight => value,
            Scale::Decades => value.max(1e-6).log10(),
            Scale::Nines => nines(value),
        };
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    /// Values with a line of their own, and how they are written.
    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Straight => {
                let step = step(self.to);
                let count = (self.to / step).round() as usize;
                (0..=count).map(|nth| nth as f64 * step).map(|value| (value, number(value))).collect()
            }
            Scale::Decades => {
                // Few decades have room for lines between them.
                let within: &[f64] = if self.to - self.from < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let decades = self.from as i32..=self.to as i32;
                decades
                    .flat_map(|decade| within.iter().map(move |share| share * 10_f64.powi(decade)))
                    .filter(|value| value.log10() <= self.to + 1e-9)
                    .map(|value| (value, number(value)))
                    .collect()
            }
            Scale::Nines => [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999]
                .into_iter()
                .filter(|share| nines(*share) <= self.to + 1e-9)
                .map(|share| (share, format!("{} %", trimmed(share * 100.0, 3))))
                .collect(),
        }
    }
}

/// How many nines a share has, as a continuous number.
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-9).log10()
}

/// A distance between ticks that gives four to eight of them.
fn step(to: f64) -> f64 {
    let rough = to / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let nice = [1.0, 2.0, 5.0, 10.0].into_iter().find(|nice| nice * decade >= rough * 0.999);
    nice.unwrap_or(10.0) * decade
}

fn rounded_up(most: f64) -> f64 {
    let most = if most > 0.0 { most } else { 1.0 };
    let step = step(most);
    (most / step - 1e-9).ceil() * step
}

/// As people write it: 0.25, 3, 1,200.
pub fn number(value: f64) -> String {
    let text = trimmed(value, if value.abs() < 10.0 { 3 } else { 0 });
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { grouped } else { format!("{grouped}.{rest}") }
}

fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Safe in text and in attributes.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, values: &[f64]) -> Vec<String> {
        Range::over(scale, values.iter().copied()).ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_what_is_shown() {
        assert_eq!(labels(Scale::Straight, &[3.0, 17.0]), ["0", "5", "10", "15", "20"]);
        assert_eq!(labels(Scale::Straight, &[1_150.0]), ["0", "500", "1,000", "1,500"]);
        assert_eq!(labels(Scale::Decades, &[0.4, 250.0]), ["0.1", "1", "10", "100", "1,000"]);
        assert_eq!(labels(Scale::Decades, &[2.0, 9.0]), ["1", "2", "5", "10"]);
        assert_eq!(labels(Scale::Nines, &[0.2, 0.9995]), ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
        assert_eq!(
            labels(Scale::Straight, &[0.0]).first().map(String::as_str),
            Some("0"),
            "silence is shown"
        );
    }

    #[test]
    fn nines_lie_at_even_distances() {
        let range = Range::over(Scale::Nines, [0.0, 0.999].into_iter());
        let places = [0.0, 0.9, 0.99, 0.999].map(|share| range.place(share));
        for (nth, place) in places.iter().enumerate() {
            assert!((place - nth as f64 / 3.0).abs() < 1e-6, "{places:?}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in
            [(0.0, "0"), (0.25, "0.25"), (12.0, "12"), (1_234_567.0, "1,234,567"), (-1_500.0, "-1,500")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_chart_stays_in_its_frame_and_says_nothing_it_was_not_given() {
        let axis = |label: &str| Axis { scale: Scale::Straight, label: label.to_owned() };
        let line =
            Line { label: "<b>".to_owned(), colour: 1, filled: true, points: vec![(0.0, 1.0), (2.0, 8.0)] };
        let chart = Chart {
            title: "t \"q\"".to_owned(),
            height: 200.0,
            x: axis("s"),
            y: axis("n"),
            lines: vec![line],
        };
        let svg = chart.svg();
        assert!(svg.contains("t &quot;q&quot;") && chart.legend().contains("&lt;b&gt;"), "{svg}");
        let points = svg.split("polyline").nth(1).and_then(|rest| rest.split('"').nth(3)).expect("a line");
        for pair in points.split(' ') {
            let (x, y) = pair.split_once(',').expect("a pair");
            assert!((LEFT..=WIDTH - RIGHT).contains(&x.parse().expect("x")), "{pair}");
            assert!((TOP..=200.0 - BOTTOM).contains(&y.parse().expect("y")), "{pair}");
        }
        assert!(Chart { lines: Vec::new(), ..chart }.svg().contains("nothing to show"));
    }
}
