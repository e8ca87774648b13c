use std::fmt;

/// One line of what was measured.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// At most this; without it, it is only told.
    pub(crate) target: Option<f64>,
}

impl Figure {
    pub(crate) fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: Option<f64>,
    ) -> Self {
        Self { name: name.into(), value, unit, target }
    }

    pub(crate) fn is_met(&self) -> bool {
        self.target.is_none_or(|most| self.value <= most)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "value": (self.value * 1000.0).round() / 1000.0,
            "unit": self.unit,
            "target": self.target,
            "met": self.is_met(),
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, unit, target } = self;
        let decimals = if *value < 1000.0 { 2 } else { 0 };
        let target = target.map(|most| format!("at most {most}")).unwrap_or_default();
        let verdict = if self.is_met() { "" } else { "  missed" };
        let line = format!("{name:<44} {value:>12.decimals$} {unit:<8} {target:<14}{verdict}");
        f.write_str(line.trim_end())
    }
}
