/// Whether a request over a limit, or against a restriction, is refused or only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// The request is refused.
    #[default]
    Enforce,
    /// The request is counted and accepted.
    Report,
}
