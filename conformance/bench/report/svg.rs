//! A plot. Times are on a logarithmic scale, the only one on which all of them can be seen.

use std::fmt::Write as _;

use super::markdown::show;
use super::{Report, Subject};
use crate::bench::numbers::{Spread, float, size};

const WIDTH: f64 = 900.0;
/// Where the bars begin and end.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 830.0;
const BAR: f64 = 13.0;
const GAP: f64 = 12.0;
const COLORS: [&str; 6] = ["#1b6ca8", "#d1495b", "#edae49", "#8d96a3", "#66a182", "#5b4b8a"];

/// One part of the plot.
struct Panel {
    title: &'static str,
    figure: &'static str,
    is_logarithmic: bool,
}

const PANELS: [Panel; 2] = [
    Panel {
        title: "Processor time of the server, µs per operation", figure: "cpu_us", is_logarithmic: true
    },
    Panel { title: "Memory of an idle session, KiB", figure: "kib_per_session", is_logarithmic: false },
];

/// From a value to its place.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// From one power of ten to another.
    Logarithmic { low: f64, high: f64 },
    /// From nothing to so many steps.
    Linear { step: f64, count: f64 },
}

impl Scale {
    /// `None` where there is nothing to be seen.
    fn around(values: &[f64], is_logarithmic: bool) -> Option<Self> {
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let (least, most) = (positive().min_by(f64::total_cmp)?, positive().max_by(f64::total_cmp)?);
        if is_logarithmic {
            let (low, high) = (least.log10().floor(), most.log10().ceil());
            return Some(Self::Logarithmic { low, high: if high > low { high } else { low + 1.0 } });
        }
        let power = 10_f64.powf(most.log10().floor());
        let step = if most / power < 4.0 { power / 2.0 } else { power };
        Some(Self::Linear { step, count: (most / step).ceil() })
    }

    fn x(self, value: f64) -> f64 {
        let part = match self {
            Self::Logarithmic { low, high } => (value.max(f64::MIN_POSITIVE).log10() - low) / (high - low),
            Self::Linear { step, count } => value / (step * count),
        };
        LEFT + part.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    /// The values that have a line.
    fn lines(self) -> Vec<f64> {
        let from = |first: f64, last: f64| {
            std::iter::successors(Some(first), |n| Some(n + 1.0)).take_while(move |n| *n <= last)
        };
        match self {
            Self::Logarithmic { low, high } => from(low, high).map(|power| 10_f64.powf(power)).collect(),
            Self::Linear { step, count } => from(0.0, count).map(|n| n * step).collect(),
        }
    }
}

// Writing to a string does not fail.

impl Report {
    pub(crate) fn svg(&self) -> String {
        let mut body = String::new();
        let mut y = 24.0;
        self.legend(&mut body, y);
        y += 30.0;
        for panel in &PANELS {
            y = self.panel(&mut body, panel, y);
        }
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{y}' viewBox='0 0 {WIDTH} {y}' \
             font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n{body}</svg>\n"
        )
    }

    fn legend(&self, out: &mut String, y: f64) {
        for (index, subject) in self.subjects.iter().enumerate() {
            let x = 20.0 + 210.0 * float(size(index));
            let (top, text) = (y - 10.0, x + 18.0);
            let name = crate::xml::escape(&subject.full_name());
            let _ = writeln!(out, "<rect x='{x}' y='{top}' width='12' height='12' fill='{}'/>", color(index));
            let _ = writeln!(out, "<text x='{text}' y='{y}'>{name}</text>");
        }
    }

    /// Draws one panel from `top` on and returns where the next may begin.
    fn panel(&self, out: &mut String, panel: &Panel, top: f64) -> f64 {
        let rows: Vec<(String, Vec<(usize, Spread)>)> = self
            .operations()
            .into_iter()
            .map(|name| {
                let bars = self.bars(&name, panel.figure);
                (name, bars)
            })
            .filter(|(_, bars)| !bars.is_empty())
            .collect();
        let medians: Vec<f64> = rows.iter().flat_map(|(_, bars)| bars).map(|(_, bar)| bar.median).collect();
        let Some(scale) = Scale::around(&medians, panel.is_logarithmic) else { return top };
        let mut y = top + 30.0;
        let mut bars = String::new();
        for (name, values) in &rows {
            let middle = y + BAR * float(size(values.len())) / 2.0 + 4.0;
            let label = LEFT - 8.0;
            let name = crate::xml::escape(name);
            let _ = writeln!(bars, "<text x='{label}' y='{middle}' text-anchor='end'>{name}</text>");
            for (index, spread) in values {
                bar(&mut bars, scale, y, *index, *spread);
                y += BAR;
            }
            y += GAP;
        }
        let _ = writeln!(out, "<text x='20' y='{}' font-weight='bold'>{}</text>", top + 8.0, panel.title);
        for value in scale.lines() {
            let (x, label) = (scale.x(value), top + 24.0);
            let _ = writeln!(
                out,
                "<line x1='{x:.1}' x2='{x:.1}' y1='{label}' y2='{y}' stroke='#ddd'/>\
                 <text x='{x:.1}' y='{label}' text-anchor='middle' fill='#666'>{value}</text>"
            );
        }
        out.push_str(&bars);
        y + 20.0
    }

    fn bars(&self, name: &str, figure: &str) -> Vec<(usize, Spread)> {
        let spread = |subject: &Subject| self.find(name, subject)?.spread(figure);
        let bars = self.subjects.iter().enumerate();
        bars.filter_map(|(index, subject)| Some((index, spread(subject)?))).collect()
    }
}

fn bar(out: &mut String, scale: Scale, y: f64, index: usize, spread: Spread) {
    let (end, min, max) = (scale.x(spread.median), scale.x(spread.min), scale.x(spread.max));
    let (height, middle, text) = (BAR - 2.0, y + BAR / 2.0 - 1.0, y + BAR - 3.5);
    let _ = writeln!(
        out,
        "<rect x='{LEFT}' y='{y}' width='{:.1}' height='{height}' fill='{}'/>\
         <line x1='{min:.1}' x2='{max:.1}' y1='{middle}' y2='{middle}' stroke='black'/>\
         <text x='{:.1}' y='{text}' font-size='10'>{}</text>",
        (end - LEFT).max(1.0),
        color(index),
        max.max(end) + 4.0,
        show(spread.median),
    );
}

fn color(index: usize) -> &'static str {
    COLORS.iter().cycle().nth(index).copied().unwrap_or("black")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::report;
    use super::*;

    #[test]
    fn scales_end_at_round_values() {
        let scale = Scale::around(&[0.0, 5.0, 210.0], true).unwrap();
        assert_eq!(scale.lines(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((scale.x(1.0) - LEFT).abs() < 1e-9 && (scale.x(1000.0) - RIGHT).abs() < 1e-9);
        assert!((scale.x(0.0) - LEFT).abs() < 1e-9);
        assert!(Scale::around(&[0.0], true).is_none());
        assert_eq!(Scale::around(&[10.0], true).unwrap().lines(), [10.0, 100.0]);
        assert_eq!(Scale::around(&[12.0], false).unwrap().lines(), [0.0, 5.0, 10.0, 15.0]);
        let scale = Scale::around(&[12.0, 90.0], false).unwrap();
        assert_eq!(scale.lines().len(), 10);
        assert!((scale.x(90.0) - RIGHT).abs() < 1e-9 && (scale.x(0.0) - LEFT).abs() < 1e-9);
    }

    #[test]
    fn the_plot_is_one_xml_document_with_a_bar_for_each_value() {
        let svg = report().svg();
        let elements = crate::xml::fragment(&svg).unwrap();
        assert_eq!(elements.len(), 1);
        assert_eq!(svg.matches("stroke='black'").count(), 5, "{svg}");
        assert!(svg.contains("Prosody 0.12.3 &amp; more"), "{svg}");
    }
}
