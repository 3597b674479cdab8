//! What is wanted of `/cluster`: in which form, and of which pair.

use axum::http::Uri;

use crate::publish::exposition::quality;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Text,
    Html,
}

/// Longest name that is looked up, in bytes: 253 characters of four.
const LONGEST: usize = 1_012;

/// By `format`, else by what is accepted; JSON where that says nothing. `None` if `format` names nothing.
pub(super) fn form(uri: &Uri, accept: Option<&str>) -> Option<Form> {
    match value(uri, "format").as_deref() {
        Some("html") => Some(Form::Html),
        Some("text") => Some(Form::Text),
        Some("json") => Some(Form::Json),
        Some(_) => None,
        None => {
            let of = |media| quality(accept.unwrap_or_default(), media);
            let (html, text, json) = (of("text/html"), of("text/plain"), of("application/json"));
            Some(match () {
                () if html > text.max(json) => Form::Html,
                () if text > json => Form::Text,
                () => Form::Json,
            })
        }
    }
}

/// The pair that is asked for, if one is; an end that was left out is empty.
pub(super) fn pair(uri: &Uri) -> Option<[String; 2]> {
    let ends = [value(uri, "from"), value(uri, "to")];
    ends.iter().any(Option::is_some).then(|| ends.map(Option::unwrap_or_default))
}

/// A value of the query, decoded as a form sends it (URL standard, `application/x-www-form-urlencoded`).
fn value(uri: &Uri, key: &str) -> Option<String> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key)?.1;
    decode(value).filter(|value| value.len() <= LONGEST)
}

/// `None` if it is not text.
fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit()? << 4 | digit()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_browsers_and_json_for_those_who_take_anything() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        for (uri, accept, wanted) in [
            ("/cluster", None, Some(Form::Json)),
            ("/cluster", Some("*/*"), Some(Form::Json)),
            ("/cluster", Some(browser), Some(Form::Html)),
            ("/cluster", Some("text/html, application/json"), Some(Form::Json)),
            ("/cluster", Some("text/html;q=0.5, application/json;q=0.4"), Some(Form::Html)),
            ("/cluster", Some("text/plain"), Some(Form::Text)),
            ("/cluster?format=html", Some("application/json"), Some(Form::Html)),
            ("/cluster?format=json", Some(browser), Some(Form::Json)),
            ("/cluster?format=text", Some(browser), Some(Form::Text)),
            ("/cluster?format=xml", Some(browser), None),
        ] {
            assert_eq!(form(&uri.parse().unwrap(), accept), wanted, "{uri} {accept:?}");
        }
    }

    #[test]
    fn names_come_as_they_were_sent() {
        for (uri, wanted) in [
            ("/cluster", None),
            ("/cluster?format=html", None),
            ("/cluster?from=a&to=b", Some(["a", "b"])),
            ("/cluster?from=fd00%3A%3A1&to=a+b%2B", Some(["fd00::1", "a b+"])),
            ("/cluster?to=%3Cb%3E", Some(["", "<b>"])),
            ("/cluster?from=%ff&to=b", Some(["", "b"])),
            ("/cluster?from=%4&to=%zz", None),
        ] {
            assert_eq!(pair(&uri.parse().unwrap()), wanted.map(|ends| ends.map(str::to_owned)), "{uri}");
        }
        let long: Uri = format!("/cluster?from={}&to=b", "a".repeat(2_000)).parse().unwrap();
        assert_eq!(pair(&long), Some([String::new(), "b".into()]));
    }
}
