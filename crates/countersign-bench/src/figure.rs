use std::fmt;

/// One line of what was measured.
#[derive(Debug)]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// Without it, it is only told.
    target: Option<Target>,
    /// What is printed behind it, for people.
    detail: String,
}

/// What a figure should reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    pub(crate) fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: Option<Target>,
    ) -> Self {
        Self { name: name.into(), value, unit, target, detail: String::new() }
    }

    pub(crate) fn detail(mut self, detail: String) -> Self {
        self.detail = detail;
        self
    }

    pub(crate) fn value(&self) -> f64 {
        self.value
    }

    pub(crate) fn is_met(&self) -> bool {
        match self.target {
            Some(Target::AtMost(most)) => self.value <= most,
            Some(Target::AtLeast(least)) => self.value >= least,
            None => true,
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let target = self.target.map(|target| match target {
            Target::AtMost(target) | Target::AtLeast(target) => target,
        });
        serde_json::json!({
            "name": self.name,
            "value": (self.value * 1000.0).round() / 1000.0,
            "unit": self.unit,
            "target": target,
            "met": self.is_met(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, unit, target, detail } = self;
        let decimals = match *value {
            few if few < 10.0 => 3,
            some if some < 1000.0 => 2,
            _ => 0,
        };
        let target = target.map(|target| target.to_string()).unwrap_or_default();
        let verdict = if self.is_met() { "" } else { "  missed" };
        let line =
            format!("{name:<44} {value:>12.decimals$} {unit:<8} {target:<14} {detail}{verdict}");
        f.write_str(line.trim_end())
    }
}
