//! Line charts as SVG files that need nothing else and follow the reader's light or dark scheme.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Room around the plane: left, top, right, bottom.
const MARGIN: [f64; 4] = [72.0, 56.0, 40.0, 52.0];

/// Colours that stand out on white and on black, and a dash each, for readers who see no colours.
const STROKES: [(&str, &str); 4] =
    [("#0a84c6", "none"), ("#e0731d", "7 4"), ("#2f9e6b", "2 3"), ("#b565c9", "10 3 2 3")];

const STYLE: &str = "\
svg{font:13px system-ui,sans-serif}\
.paper{fill:#fff}.ink{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d9dee3}\
@media(prefers-color-scheme:dark){.paper{fill:#0d1117}.ink{fill:#e6edf3}.soft{fill:#9198a1}.grid{stroke:#2f353d}}";

/// A chart over a logarithmic axis of sizes.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) across: &'static str,
    pub(crate) up: &'static str,
    /// Whether the upright axis is logarithmic, too; otherwise it begins at 0.
    pub(crate) is_log: bool,
    pub(crate) lines: Vec<Line>,
}

/// A line of a chart.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Where a value stands between the ends of its axis, from 0 to 1.
struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    ticks: Vec<f64>,
}

impl Axis {
    fn log(values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let high = values.fold(0.0, f64::max).log10().ceil().max(low + 1.0);
        let decades = std::iter::successors(Some(low), |decade| Some(decade + 1.0));
        let ticks = decades.take_while(|decade| *decade <= high).map(|decade| 10_f64.powf(decade)).collect();
        Self { low, high, is_log: true, ticks }
    }

    fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let most = values.fold(0.0, f64::max);
        let decade = 10_f64.powf(most.log10().floor());
        let steps = [0.2, 0.5, 1.0, 2.0].map(|step| step * decade);
        let step = steps.into_iter().find(|step| most / step <= 6.0).unwrap_or(decade * 2.0);
        let high = (most / step).ceil() * step;
        let ticks = std::iter::successors(Some(0.0), |tick| Some(tick + step));
        Self {
            low: 0.0,
            high,
            is_log: false,
            ticks: ticks.take_while(|tick| *tick <= high + step / 2.0).collect(),
        }
    }

    fn at(&self, value: f64) -> f64 {
        let value = if self.is_log { value.log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }
}

impl Chart {
    /// The chart as a whole file.
    pub(crate) fn svg(&self) -> String {
        let points = self.lines.iter().flat_map(|line| &line.points);
        let across = Axis::log(points.clone().map(|point| point.0));
        let heights = points.map(|point| point.1);
        let up = if self.is_log { Axis::log(heights) } else { Axis::from_zero(heights) };
        let [left, top, right, bottom] = MARGIN;
        let x = |value: f64| left + across.at(value) * (WIDTH - left - right);
        let y = |value: f64| HEIGHT - bottom - up.at(value) * (HEIGHT - top - bottom);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n",
            self.title
        );
        let text = |class: &str, x: f64, y: f64, anchor: &str, text: &str| {
            format!(
                "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n"
            )
        };
        svg += &text("ink\" font-weight=\"600", left, 24.0, "start", &self.title);
        svg += &text("soft", (left + WIDTH - right) / 2.0, HEIGHT - 12.0, "middle", self.across);
        svg += &text("soft", left - 8.0, top - 16.0, "end", self.up);
        for tick in &up.ticks {
            let y = y(*tick);
            svg += &grid(left, y, WIDTH - right, y);
            svg += &text("soft", left - 8.0, y + 4.0, "end", &short(*tick));
        }
        for tick in &across.ticks {
            let x = x(*tick);
            svg += &grid(x, top, x, HEIGHT - bottom);
            svg += &text("soft", x, HEIGHT - bottom + 18.0, "middle", &short(*tick));
        }
        for (line, (colour, dash)) in self.lines.iter().zip(STROKES.iter().cycle()) {
            let path: Vec<String> =
                line.points.iter().map(|(across, up)| format!("{:.1},{:.1}", x(*across), y(*up))).collect();
            svg += &format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\n",
                path.join(" ")
            );
            for point in &path {
                let (x, y) = point.split_once(',').expect("two numbers");
                svg += &format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"3.5\" fill=\"{colour}\"/>\n");
            }
        }
        svg += &self.legend();
        svg + "</svg>\n"
    }

    /// The names of the lines, one below the other, on paper of their own.
    fn legend(&self) -> String {
        let longest = self.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        let width = 48.0 + 7.0 * crate::traffic::exact(longest as u64);
        let (left, top) = if self.is_log {
            (MARGIN[0] + 10.0, MARGIN[1] + 8.0)
        } else {
            (
                MARGIN[0] + 10.0,
                HEIGHT - MARGIN[3] - 12.0 - 20.0 * crate::traffic::exact(self.lines.len() as u64),
            )
        };
        let height = 20.0 * crate::traffic::exact(self.lines.len() as u64) + 4.0;
        let mut svg = format!(
            "<rect class=\"paper\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"4\" opacity=\"0.9\"/>\n"
        );
        let mut y = top + 16.0;
        for (line, (colour, dash)) in self.lines.iter().zip(STROKES.iter().cycle()) {
            let (x, end) = (left + 6.0, left + 34.0);
            writeln!(svg, "<line x1=\"{x}\" y1=\"{0}\" x2=\"{end}\" y2=\"{0}\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/><text class=\"ink\" x=\"{1}\" y=\"{y}\">{2}</text>", y - 4.0, left + 40.0, line.name).expect("a String takes everything");
            y += 20.0;
        }
        svg
    }
}

fn grid(x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!("<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n")
}

/// A number as people write it on an axis: `0.1`, `10`, `1 000`, `2 M`.
pub(crate) fn short(value: f64) -> String {
    let (value, unit) = if value >= 1e6 { (value / 1e6, " M") } else { (value, "") };
    let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let text = match text.len() {
        length if length > 3 && !text.contains('.') => {
            format!("{} {}", &text[..length - 3], &text[length - 3..])
        }
        _ => text.to_owned(),
    };
    text + unit
}
