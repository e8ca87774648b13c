/// Whether a limit or a restriction refuses requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// The request is refused.
    #[default]
    Enforce,
    /// The request is counted, and passes.
    Report,
}
