use countersign::Component;

use crate::failure::Failure;

/// Parses the components of `--component`.
pub(crate) fn chosen_coverage(identifiers: &[String]) -> Result<Vec<Component<'static>>, Failure> {
    let read = |text: &String| {
        text.parse::<Component<'static>>().map_err(|error| {
            Failure::local(
                format!("--component {text}: {error}"),
                "a component is like @method, content-type or '\"@query-param\";name=\"page\"'",
            )
        })
    };
    identifiers.iter().map(read).collect()
}
