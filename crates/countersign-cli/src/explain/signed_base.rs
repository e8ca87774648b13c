use serde_json::Value;

use crate::failure::Failure;

/// The signature base of the other side, as it comes: the base itself, a JSON object that has it as `signature_base`, or a
/// whole HTTP response with such an object as content.
///
/// `countersign sign --json` prints such an object. The refusal of a server in explain mode is another.
pub(super) fn read(file: &str, content: &str) -> Result<String, Failure> {
    let content = match content.starts_with("HTTP/") {
        // A response as `curl -i` prints it, perhaps after the heads of proxies.
        true => content.find('{').and_then(|at| content.get(at..)).unwrap_or_default(),
        false => content,
    };
    if !content.trim_start().starts_with('{') && !content.is_empty() {
        return Ok(content.to_owned());
    }
    // An object and what follows it, such as the line break of a terminal.
    let mut objects = serde_json::Deserializer::from_str(content).into_iter::<Value>();
    let object = objects.next().and_then(Result::ok).unwrap_or_default();
    if let Some(base) = object.get("signature_base").and_then(Value::as_str) {
        return Ok(base.to_owned());
    }
    Err(match object.get("code").and_then(Value::as_str) {
        Some("signature-invalid") => Failure::local(
            format!("the refusal in {file} has no signature base: the server does not explain"),
            "ask its operator to set `insecure_explain` on a test server, and send the request again",
        ),
        Some(_) => Failure::local(
            format!("the refusal in {file} has no signature base: the signature is not its reason"),
            "its `detail` and `hint` say what to change",
        ),
        None => Failure::local(
            format!("{file} has no signature base"),
            "name the file of a signature base, of a refusal with `signature_base`, or of `countersign sign --json`",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_found_however_it_comes() {
        let base = "\"@method\": GET\n\"@signature-params\": (\"@method\")";
        let object = serde_json::json!({ "code": "signature-invalid", "signature_base": base });
        let response = format!("HTTP/1.1 401 Unauthorized\r\nDate: now\r\n\r\n{object}\n");
        let proxied = format!("HTTP/1.1 200 Connection established\r\n\r\n{response}");
        for content in [base, &object.to_string(), &format!("{object}\n"), &response, &proxied] {
            assert_eq!(read("f", content).unwrap(), base, "{content}");
        }
    }

    #[test]
    fn what_has_no_base_is_told_for_what_it_is() {
        let table = [
            (r#"{"code":"signature-invalid"}"#, "does not explain"),
            (r#"{"code":"signature-stale"}"#, "not its reason"),
            (r#"{"signature_base":5}"#, "has no signature base"),
            ("{", "has no signature base"),
            ("", "has no signature base"),
            ("HTTP/1.1 401 Unauthorized\r\n\r\n", "has no signature base"),
        ];
        for (content, said) in table {
            let failure = read("f", content).unwrap_err().to_string();
            assert!(failure.contains(said), "{content}: {failure}");
        }
    }
}
