use std::{collections::BTreeMap, fs, path::PathBuf};

use charts_rs::{
    Align, AxisType, BarChart, Color, LegendCategory, Series, SeriesCategory, Symbol,
    svg_to_png_with_size,
};
use clap::{Args, ValueEnum};
use countersign::Timestamp;
use countersign_store::{Usage, UsageDimension};

use super::{dimension::Step, question::Question};
use crate::{failure::Failure, moment, output::note, registry_args::RegistryArgs};

const WIDTH: f32 = 960.0;
const HEIGHT: f32 = 480.0;
/// A picture of pixels has twice as many in each direction, for screens that show them.
const PIXELS: u32 = 1920;
/// How many bars there are at most.
const MOST: u64 = 1000;
/// How many bars have room beside each other. More are drawn as areas.
const BARS: usize = 60;

const PASSED: &str = "passed";
const OTHERS: &str = "other refusals";
/// By Okabe and Ito: the colour-blind can tell them apart. The first is for calls that passed.
const COLOURS: [&str; 7] =
    ["#56B4E9", "#D55E00", "#E69F00", "#CC79A7", "#009E73", "#F0E442", "#555555"];

/// Draws the calls over time, by outcome, as a picture
///
/// Times are in UTC. The filters choose the calls, as in `countersign usage`.
#[derive(Args, Debug)]
pub(super) struct Plot {
    /// The picture: a file whose name ends with .svg or .png. A file of that name is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The time of a bar [default: what fits the range]
    #[arg(long)]
    step: Option<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Svg,
    Png,
}

impl Plot {
    pub(super) fn run(self, registry: &RegistryArgs, question: &Question) -> Result<(), Failure> {
        let format = self.format()?;
        let step = self.step.unwrap_or_else(|| Step::of(question.range, false));
        if question.range.length().as_secs().checked_div(step.seconds()).unwrap_or(0) > MOST {
            return Err(Failure::local(
                format!("these are more than {MOST} bars"),
                "take a longer --step, or a shorter time",
            ));
        }
        let query = question.query().group_by(UsageDimension::Outcome).step(step.asked());
        let usage = registry.ask(async |open| question.ask(open, "by outcome", query).await)?;
        let of = match (&question.filter.app, question.filter.key) {
            (_, Some(key)) => key.to_string(),
            (Some(name), None) => name.clone(),
            (None, None) => "all applications".into(),
        };
        let picture = Picture::new(&usage, step, question.range.now, &of);
        let drawn = picture.draw(format).map_err(|error| {
            Failure::local(format!("the picture cannot be drawn: {error}"), "take a shorter time")
        })?;
        fs::write(&self.out, drawn).map_err(|error| {
            Failure::local(
                format!("cannot write {}: {error}", self.out.display()),
                "name a file in a folder that exists and is yours",
            )
        })?;
        match picture.total {
            0 => note("no such calls: the picture is empty"),
            _ => note(format_args!("wrote {}", self.out.display())),
        }
        Ok(())
    }

    fn format(&self) -> Result<Format, Failure> {
        let ending = self.out.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("svg") => Ok(Format::Svg),
            Some("png") => Ok(Format::Png),
            _ => Err(Failure::local(
                format!("{}: the ending of a picture is .svg or .png", self.out.display()),
                "write --out FILE.svg or --out FILE.png",
            )),
        }
    }
}

/// Bars of calls, by outcome.
#[derive(Debug)]
struct Picture {
    about: String,
    step: Step,
    times: Vec<Timestamp>,
    /// Outcomes with their calls at each time, the calls that passed first.
    outcomes: Vec<(String, Vec<u64>)>,
    total: u64,
}

impl Picture {
    fn new(usage: &Usage, step: Step, now: Timestamp, of: &str) -> Self {
        let start = |time: Timestamp| {
            let past = time.unix().checked_rem(step.seconds()).unwrap_or(0);
            time.unix().saturating_sub(past)
        };
        let until = usage.to.min(Timestamp::from_unix(now.unix().saturating_add(1)));
        let bars = until.unix().saturating_sub(start(usage.from)).div_ceil(step.seconds());
        let times: Vec<_> = (0..bars)
            .map(|bar| bar.saturating_mul(step.seconds()).saturating_add(start(usage.from)))
            .map(Timestamp::from_unix)
            .collect();
        let mut by_outcome: BTreeMap<&str, (u64, Vec<u64>)> = BTreeMap::new();
        for row in &usage.rows {
            let (Some(at), [Some(outcome)]) = (row.at, row.group.as_slice()) else { continue };
            let Ok(place) = times.binary_search(&at) else { continue };
            let empty = || (0, vec![0; times.len()]);
            let (sum, counts) = by_outcome.entry(outcome).or_insert_with(empty);
            *sum = sum.saturating_add(row.count.calls);
            if let Some(count) = counts.get_mut(place) {
                *count = count.saturating_add(row.count.calls);
            }
        }
        let total = by_outcome.values().fold(0, |total: u64, (sum, _)| total.saturating_add(*sum));
        let passed = by_outcome.remove(PASSED);
        let mut outcomes: Vec<_> =
            passed.into_iter().map(|(_, counts)| (PASSED.to_owned(), counts)).collect();
        let mut refused: Vec<_> = by_outcome.into_iter().collect();
        refused.sort_by_key(|(_, (sum, _))| std::cmp::Reverse(*sum));
        // One colour is for calls that passed, and one for others.
        let apart = COLOURS.len().saturating_sub(2).min(refused.len());
        let others = refused.split_off(apart);
        outcomes.extend(refused.into_iter().map(|(name, (_, counts))| (name.to_owned(), counts)));
        if !others.is_empty() {
            let mut counts = vec![0_u64; times.len()];
            for (_, (_, more)) in &others {
                counts
                    .iter_mut()
                    .zip(more)
                    .for_each(|(sum, more)| *sum = sum.saturating_add(*more));
            }
            outcomes.push((OTHERS.to_owned(), counts));
        }
        let minute = |time: Timestamp| {
            let text = moment::show(time);
            text.get(..16).map_or_else(|| text.clone(), |text| text.replace('T', " "))
        };
        let about = format!(
            "{of}, {} to {} UTC, {total} {}",
            minute(usage.from),
            minute(until),
            if total == 1 { "call" } else { "calls" },
        );
        Self { about, step, times, outcomes, total }
    }

    fn draw(&self, format: Format) -> Result<Vec<u8>, charts_rs::Error> {
        let svg = self.chart().svg()?;
        match format {
            Format::Svg => Ok(svg.into_bytes()),
            Format::Png => svg_to_png_with_size(&svg, Some(PIXELS), None),
        }
    }

    fn chart(&self) -> BarChart {
        let as_areas = self.times.len() > BARS;
        let series = |(name, counts): &(String, Vec<u64>)| Series {
            name: name.clone(),
            data: counts.iter().map(|count| Some(approximate(*count))).collect(),
            stack: Some("calls".into()),
            category: as_areas.then_some(SeriesCategory::Line),
            fill: Some(as_areas),
            symbol: Some(Symbol::None),
            ..Series::default()
        };
        let mut chart = BarChart::new(self.outcomes.iter().map(series).collect(), Vec::new());
        chart.width = WIDTH;
        chart.height = HEIGHT;
        chart.margin = (16.0, 24.0, 16.0, 16.0).into();
        chart.title.text = "Calls by outcome".into();
        chart.title.align = Align::Left;
        chart.sub_title.text.clone_from(&self.about);
        chart.sub_title.align = Align::Left;
        chart.legend.align = Align::Right;
        chart.legend.category = LegendCategory::RoundRect;
        chart.empty_text = Some("no calls".into());
        chart.x_axis.kind = AxisType::Time;
        #[expect(clippy::cast_precision_loss, reason = "seconds of our age are exact")]
        let seconds = |time: &Timestamp| time.unix() as f64;
        chart.x_axis.values = self.times.iter().map(seconds).collect();
        chart.x_axis.title = "time (UTC)".into();
        chart.series.colors = self.colours();
        chart.series.fill_opacity = Some(0.9);
        // Hardly any: the line of an outcome without calls would lie on top of the others.
        chart.series.stroke_width = 0.1;
        let (most, intervals) = scale(self.highest());
        for axis in &mut chart.y_axis_configs {
            axis.title = Some(format!("calls each {}", self.step.name()));
            axis.formatter = Some("{t}".into());
            (axis.min, axis.max, axis.split_number) =
                (Some(0.0), Some(approximate(most)), intervals);
        }
        chart
    }

    fn colours(&self) -> Vec<Color> {
        let refusals = COLOURS.get(1..).unwrap_or_default();
        let mut refusals = refusals.iter();
        let colour = |(name, _): &(String, Vec<u64>)| match name.as_str() {
            PASSED => COLOURS.first(),
            OTHERS => COLOURS.last(),
            _ => refusals.next(),
        };
        self.outcomes.iter().filter_map(colour).map(|colour| Color::from(*colour)).collect()
    }

    /// The calls of the highest bar.
    fn highest(&self) -> u64 {
        let bars = 0..self.times.len();
        let height = |bar: usize| {
            let counts = self.outcomes.iter().filter_map(|(_, counts)| counts.get(bar));
            counts.fold(0, |sum: u64, count| sum.saturating_add(*count))
        };
        bars.map(height).max().unwrap_or(0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a picture has no more than some thousand pixels")]
const fn approximate(count: u64) -> f32 {
    count as f32
}

/// The end of an axis for this number, and its intervals: 4 to 6 of a round width.
fn scale(highest: u64) -> (u64, usize) {
    let mut power = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let width = power.saturating_mul(factor);
            let intervals = highest.div_ceil(width).max(1);
            if intervals <= 6 || width == u64::MAX {
                let places = usize::try_from(intervals).unwrap_or(1);
                return (width.saturating_mul(intervals), places);
            }
        }
        power = power.saturating_mul(10);
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_a_little_above_the_highest_bar() {
        for (highest, end, intervals) in [
            (0, 1, 1),
            (1, 1, 1),
            (6, 6, 6),
            (7, 8, 4),
            (13, 15, 3),
            (99, 100, 5),
            (2304, 2500, 5),
            (1_000_001, 1_200_000, 6),
        ] {
            assert_eq!(scale(highest), (end, intervals), "{highest}");
        }
        assert!(scale(u64::MAX).1 <= 6);
    }

    #[test]
    fn a_picture_is_drawn_in_both_formats_whether_it_has_few_bars_or_many() {
        for (hours, shape) in [(30, "<rect"), (300, "<path")] {
            let times: Vec<_> = (0..hours).map(|hour| Timestamp::from_unix(hour * 3600)).collect();
            let outcomes = vec![
                (PASSED.to_owned(), vec![1000; times.len()]),
                ("signature-invalid".to_owned(), vec![100; times.len()]),
                (OTHERS.to_owned(), (0..hours).collect()),
            ];
            let about = "<shop> & others".to_owned();
            let picture = Picture { about, step: Step::Hour, times, outcomes, total: 1 };
            let svg = String::from_utf8(picture.draw(Format::Svg).unwrap()).unwrap();
            let texts =
                ["signature-invalid", "&lt;shop&gt; &amp; others", "time (UTC)", "calls each hour"];
            for text in texts.into_iter().chain([shape]) {
                assert!(svg.contains(text), "{text}");
            }
            for colour in [COLOURS[0], COLOURS[1], COLOURS[6]] {
                assert!(svg.to_uppercase().contains(colour), "{colour}");
            }
            assert!(picture.draw(Format::Png).unwrap().starts_with(b"\x89PNG"));
        }
    }
}
