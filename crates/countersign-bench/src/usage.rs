mod recording;

use crate::figure::Figure;

/// What usage costs.
pub(crate) async fn figures() -> Vec<Figure> {
    recording::figures()
}
