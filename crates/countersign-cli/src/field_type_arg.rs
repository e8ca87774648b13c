use countersign::FieldType;
use http::HeaderName;

/// Reads `NAME=item|list|dictionary`.
pub(crate) fn parse(text: &str) -> Result<(&'static str, FieldType), String> {
    let (name, field_type) = text
        .split_once('=')
        .ok_or_else(|| "write it as NAME=item, NAME=list or NAME=dictionary".to_owned())?;
    let field_type = field_type.parse::<FieldType>().map_err(|error| error.to_string())?;
    let name = name.parse::<HeaderName>().map_err(|_| format!("{name} is no field name"))?;
    // An argument lives as long as the process.
    Ok((name.as_str().to_owned().leak(), field_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_type_are_read_and_nothing_else() {
        assert_eq!(parse("x-limits=list"), Ok(("x-limits", FieldType::List)));
        assert_eq!(parse("Signature-Agent=item"), Ok(("signature-agent", FieldType::Item)));
        for text in ["", "x", "x=", "=item", "x=Item", "x y=item", "x=item=list", "@path=item"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
