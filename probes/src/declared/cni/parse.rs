//! What one CNI file says, decoded as the runtimes' library does it.
//!
//! A list's top is a map: `name` is a text, `plugins` a list. A plugin is a record with typed fields, of which those that
//! every plugin has are checked here; `null` is as good as nothing. What serde refuses and Go takes (deeper nesting,
//! halves of surrogate pairs) is not known to be wrong, and says so.

use serde_json::error::Category;
use serde_json::{Map, Value};

use super::{Invalid, Plugin};
use crate::fact::{Reason, Source, Unread};

/// A file as it stands, without what may lie in a folder beside it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) name: String,
    pub(super) version: String,
    /// None where it leaves them to the folder.
    pub(super) plugins: Option<Vec<Plugin>>,
    /// Whether more plugins may lie in that folder.
    pub(super) loads_more: bool,
}

/// Decodes a file of this name.
///
/// # Errors
/// If it cannot be told whether runtimes take it.
pub(super) fn file(name: &str, text: &str) -> Result<Result<List, Invalid>, Unread> {
    let value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return syntax(name, text, &error).map(Err),
    };
    Ok(if name.ends_with(".conflist") { list(value) } else { single(value) })
}

/// One of a record's fields, whatever the case of its letters. Keys come in order: the last one counts.
pub(in crate::declared) fn folded<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let mut named = fields.iter().rev().filter(|(name, value)| name.eq_ignore_ascii_case(key) && !value.is_null());
    named.next().map(|(_, value)| value)
}

fn syntax(name: &str, text: &str, error: &serde_json::Error) -> Result<Invalid, Unread> {
    let whole = error.to_string();
    let why = whole.split_once(" at line ").map_or(whole.as_str(), |(why, _)| why);
    if why.contains("recursion limit") || why.contains("hex escape") {
        let what = format!("{name}: {whole}");
        return Err(Unread::new(Source::HostFiles, Reason::Malformed { what }));
    }
    let why = match error.classify() {
        _ if text.trim_ascii().is_empty() => "it is empty".to_owned(),
        _ if text.starts_with('\u{feff}') => "it begins with a byte order mark, which JSON does not have".to_owned(),
        Category::Eof => "it ends too early".to_owned(),
        _ => format!("it is no JSON: {why}"),
    };
    let place = |number: usize| Some(number).filter(|&number| number > 0);
    Ok(Invalid { why, line: place(error.line()), column: place(error.column()) })
}

fn list(value: Value) -> Result<List, Invalid> {
    let mut top = match value {
        Value::Object(top) => top,
        Value::Null => Map::new(),
        other => return Err(wrong(format!("it is {}, not an object", kind(&other)))),
    };
    let name = match top.remove("name") {
        Some(Value::String(name)) => name,
        None => return Err(wrong("it has no `name`")),
        Some(other) => return Err(wrong(format!("its `name` is {}, not a text", kind(&other)))),
    };
    let version = match top.remove("cniVersion") {
        Some(Value::String(version)) => version,
        None => String::new(),
        Some(other) => return Err(wrong(format!("its `cniVersion` is {}, not a text", kind(&other)))),
    };
    switch(&top, "disableCheck")?;
    let only_these = switch(&top, "loadOnlyInlinedPlugins").unwrap_or(false);
    let plugins = match top.remove("plugins") {
        None => None,
        Some(Value::Array(plugins)) if plugins.is_empty() => return Err(wrong("it lists no plugin")),
        Some(Value::Array(plugins)) => {
            let numbered = plugins.into_iter().enumerate();
            let one = |(index, value)| plugin(value).map_err(|why| wrong(format!("plugin {}: {why}", index + 1)));
            Some(numbered.map(one).collect::<Result<_, _>>()?)
        }
        Some(other) => return Err(wrong(format!("its `plugins` are {}, not a list", kind(&other)))),
    };
    Ok(List { name, version, plugins, loads_more: !only_these })
}

fn single(value: Value) -> Result<List, Invalid> {
    let listed = value.get("plugins").is_some();
    let plugin = plugin(value).map_err(|why| match listed {
        true => wrong(format!("{why}: a list of plugins belongs in a file that ends in .conflist")),
        false => wrong(why),
    })?;
    let text = |key| plugin.field(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, version) = (text("name"), text("cniVersion"));
    Ok(List { name, version, plugins: Some(vec![plugin]), loads_more: false })
}

fn plugin(value: Value) -> Result<Plugin, String> {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        other => return Err(format!("it is {}, not an object", kind(&other))),
    };
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let fits = match key.to_ascii_lowercase().as_str() {
            "type" | "name" | "cniversion" => value.is_string(),
            "capabilities" => {
                value.as_object().is_some_and(|all| all.values().all(|one| one.is_boolean() || one.is_null()))
            }
            "ipam" => has_texts(value, &["type"]),
            "dns" => has_texts(value, &["domain"]),
            "prevresult" => value.is_object(),
            _ => true,
        };
        if !fits {
            return Err(format!(
                "its `{}` is {}, or something in it is, where no plugin may have that",
                short(key),
                kind(value)
            ));
        }
    }
    let kind = folded(&fields, "type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind.is_empty() {
        return Err("it has no `type`".into());
    }
    Ok(Plugin { kind, fields })
}

fn has_texts(value: &Value, keys: &[&str]) -> bool {
    let Value::Object(fields) = value else { return false };
    keys.iter().all(|key| folded(fields, key).is_none_or(Value::is_string))
}

/// A switch that is also written as a text.
fn switch(top: &Map<String, Value>, key: &str) -> Result<bool, Invalid> {
    match top.get(key) {
        None => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(Value::String(word)) if word.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(word)) if word.eq_ignore_ascii_case("false") => Ok(false),
        Some(other) => Err(wrong(format!("its `{key}` is {}, neither true nor false", kind(other)))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn short(key: &str) -> String {
    key.chars().take(40).collect()
}

fn wrong(why: impl Into<String>) -> Invalid {
    Invalid::new(why)
}
