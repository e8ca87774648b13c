/// How far a route of an existing API has moved to signatures. Default: [`Rollout::Enforce`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollout {
    /// Every request passes, and nobody looks at it.
    Off,
    /// Every request passes as it did before, and is verified on the way: what would be refused is counted and logged.
    Observe,
    /// What does not verify is refused.
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
