//! Without the feature `user-agents`: no patterns for products and systems.

#[derive(Debug)]
pub(super) struct Patterns;

impl Patterns {
    pub(super) const fn load() -> Result<Self, String> {
        Ok(Self)
    }

    pub(super) const fn product(&self, _: &str) -> Option<String> {
        None
    }

    pub(super) const fn system(&self, _: &str) -> Option<String> {
        None
    }
}
