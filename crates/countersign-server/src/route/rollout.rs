/// How far a route of an existing API has moved to signatures. Default: [`Rollout::Enforce`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollout {
    /// Every request passes without a look at it.
    Off,
    /// Every request passes, and is verified on the way: requests that would be refused are counted and logged.
    Observe,
    /// Requests that do not verify are refused.
    #[default]
    Enforce,
}

impl Rollout {
    /// `off`, `observe` or `enforce`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}
