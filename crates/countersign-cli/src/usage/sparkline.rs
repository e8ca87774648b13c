use countersign::Timestamp;
use countersign_store::UsageRow;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How many bars a line has at most.
const WIDTH: usize = 24;

/// Counts in equal parts of a time, drawn as a line of bars.
#[derive(Clone, Debug)]
pub(super) struct Sparkline {
    from: Timestamp,
    /// The seconds of a part.
    part: u64,
    counts: Vec<u64>,
}

impl Sparkline {
    /// An empty line of a time whose counts come in steps of so many seconds.
    pub(super) fn new(from: Timestamp, to: Timestamp, step: u64) -> Self {
        let steps = to.unix().saturating_sub(from.unix()).div_ceil(step.max(1)).max(1);
        let width = u64::try_from(WIDTH).unwrap_or(u64::MAX);
        let part = steps.div_ceil(width).saturating_mul(step.max(1));
        let parts = to.unix().saturating_sub(from.unix()).div_ceil(part.max(1)).max(1);
        let parts = usize::try_from(parts).unwrap_or(WIDTH).min(WIDTH);
        Self { from, part, counts: vec![0; parts] }
    }

    pub(super) fn add(&mut self, row: &UsageRow) {
        let Some(at) = row.at else { return };
        let past = at.unix().saturating_sub(self.from.unix()).checked_div(self.part).unwrap_or(0);
        let place = usize::try_from(past).ok().and_then(|place| self.counts.get_mut(place));
        if let Some(count) = place {
            *count = count.saturating_add(row.count.calls);
        }
    }

    /// Draws the bars. A part without calls is blank, so that few calls can be told from none.
    pub(super) fn draw(&self) -> String {
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1);
        let bar = |count: &u64| {
            let eighth = u128::from(*count).saturating_mul(8).div_ceil(u128::from(most));
            let place = usize::try_from(eighth).ok().and_then(|eighth| eighth.checked_sub(1));
            place.and_then(|place| BARS.get(place)).copied().unwrap_or(' ')
        };
        self.counts.iter().map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(counts: &[u64]) -> String {
        Sparkline { from: Timestamp::from_unix(0), part: 1, counts: counts.to_vec() }.draw()
    }

    #[test]
    fn few_calls_can_be_told_from_none() {
        assert_eq!(drawn(&[0, 1, 50, 100, 1_000_000]), " ▁▁▁█");
        assert_eq!(drawn(&[1, 2, 3, 4, 5, 6, 7, 8]), "▁▂▃▄▅▆▇█");
        assert_eq!(drawn(&[0, 0]), "  ");
        assert_eq!(drawn(&[u64::MAX, 1]), "█▁");
    }

    #[test]
    fn a_line_has_a_bounded_width_and_whole_steps() {
        for (steps, parts, part) in
            [(0, 1, 60), (1, 1, 60), (24, 24, 60), (25, 13, 120), (10_000, 24, 25_020)]
        {
            let to = Timestamp::from_unix(steps * 60);
            let line = Sparkline::new(Timestamp::from_unix(0), to, 60);
            assert_eq!((line.counts.len(), line.part), (parts, part), "{steps}");
        }
    }
}
