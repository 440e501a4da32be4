//! From the parts of a REST request to the wire bytes of its message. What comes later on the wire wins: query, then body, then path.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use narthex_api::contract::{Body, Cardinality, Field, Kind, Message, WellKnown};
use narthex_core::{Error, Kind as ErrorKind};

use crate::error::Refusal;
use crate::json;
use crate::malformed::{Malformed, Result};
use crate::route::Binding;
use crate::wire::{put_delimited, put_key};

/// Fields that name one query parameter, `a.b.c`.
const MAX_QUERY_DEPTH: usize = 8;

/// A body must be JSON; a missing content type is taken for it.
pub(crate) fn check_content_type(headers: &HeaderMap) -> std::result::Result<(), Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or("-").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.is_empty()
        || essence == "application/json"
        || essence.starts_with("application/") && essence.ends_with("+json")
    {
        return Ok(());
    }
    Err(unsupported_media_type("the content type must be application/json"))
}

/// 415.
pub(crate) fn unsupported_media_type(message: &'static str) -> Refusal {
    Refusal {
        error: Error::new(ErrorKind::InvalidArgument, message),
        status: Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        allow: None,
    }
}

/// The message that path, query and body spell together.
pub(crate) fn assemble(
    binding: &Binding,
    values: &[Cow<'_, str>],
    query: Option<&str>,
    body: &[u8],
) -> Result<Vec<u8>> {
    let message = binding.method.input;
    let mut out = Vec::with_capacity(body.len() + 64);
    let mask = message.fields.iter().find(|field| is_mask(field));
    let mut mask_given = false;
    let taken = |field: &Field| {
        let by_body = match binding.http.body {
            Body::None => false,
            Body::Field(name) => name == field.name,
            // The body is the whole message; the mask alone may stand beside it.
            Body::Whole => mask.is_none_or(|mask| mask.number != field.number),
        };
        by_body || binding.variables.iter().any(|variable| variable.number == field.number)
    };
    for (fields, text) in Query::new(message, query.unwrap_or_default(), taken) {
        let fields = fields?;
        // Another member of the path's oneof names another thing: which of the two is meant must not be a matter of order.
        if let Some(variable) = binding.variables.iter().find(|v| v.oneof.is_some() && v.oneof == fields[0].oneof) {
            let problem = Malformed::new(format!("cannot stand beside {} in the path", variable.name));
            return Err(problem.within(fields[0].name));
        }
        mask_given |= mask.is_some_and(|mask| mask.number == fields[0].number);
        put_query(&fields, &text, &mut out)?;
    }
    let body = if body.iter().all(u8::is_ascii_whitespace) { &[][..] } else { body };
    if !body.is_empty() {
        if let Some(mask) = mask
            && !mask_given
            && binding.http.verb == "PATCH"
        {
            put_derived_mask(binding, mask, body, &mut out)?;
        }
        match binding.http.body {
            // A body where none belongs (DELETE with `{}`) is tolerated.
            Body::None => {}
            Body::Whole => out.extend_from_slice(&json::decode(message, body)?),
            Body::Field(name) => {
                let field = message.fields.iter().find(|field| field.name == name);
                json::decode_field(field.ok_or_else(|| Malformed::new("no such body field"))?, body, &mut out)?;
            }
        }
    }
    for (field, value) in binding.variables.iter().zip(values) {
        json::put_text_field(field, value, true, &mut out).map_err(|problem| problem.within(field.name))?;
    }
    Ok(out)
}

/// Whether this is the field that says what an update touches.
fn is_mask(field: &Field) -> bool {
    matches!(field.kind, Kind::Message(message) if message.well_known == Some(WellKnown::FieldMask))
        && matches!(field.name, "update_mask" | "mask")
}

/// A PATCH without a mask touches what its body names (control plane reference §16).
fn put_derived_mask(binding: &Binding, mask: &Field, body: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let message = match binding.http.body {
        Body::None => return Ok(()),
        Body::Whole => binding.method.input,
        Body::Field(name) => {
            match binding.method.input.field_named(name).map(|field| (field.kind, field.cardinality)) {
                Some((Kind::Message(message), Cardinality::Explicit)) => message,
                _ => return Ok(()),
            }
        }
    };
    let mut paths = json::field_paths(message, body)?;
    if matches!(binding.http.body, Body::Whole) {
        if paths.iter().any(|path| path == mask.name) {
            return Ok(());
        }
        paths.retain(|path| !binding.variables.iter().any(|variable| variable.name == path));
    }
    if paths.is_empty() {
        return Ok(());
    }
    put_key(out, mask.number, 2);
    put_delimited(out, |out| {
        for path in &paths {
            put_key(out, 1, 2);
            put_delimited(out, |out| {
                out.extend_from_slice(path.as_bytes());
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// The query parameters that name fields of a message; others are passed over.
struct Query<'q, T> {
    message: &'static Message,
    pairs: std::str::Split<'q, char>,
    /// Whether a field comes from path or body, so that a parameter of its name says nothing.
    taken: T,
    /// Singular fields and oneofs that have been set, by their path.
    seen: Vec<String>,
}

impl<'q, T: Fn(&Field) -> bool> Query<'q, T> {
    fn new(message: &'static Message, query: &'q str, taken: T) -> Self {
        Self { message, pairs: query.split('&'), taken, seen: Vec::new() }
    }

    /// The fields that a name like `a.b.c` stands for; `None` if it is not one of the message's.
    fn resolve(&self, name: &str) -> Option<Vec<&'static Field>> {
        let mut message = self.message;
        let mut fields = Vec::new();
        let mut names = name.split('.').peekable();
        while let Some(name) = names.next() {
            let field = message.field_named(name).filter(|_| fields.len() < MAX_QUERY_DEPTH)?;
            fields.push(field);
            if names.peek().is_some() {
                message = match field.kind {
                    Kind::Message(inner)
                        if field.cardinality == Cardinality::Explicit && inner.well_known.is_none() =>
                    {
                        inner
                    }
                    _ => return None,
                };
            }
        }
        Some(fields)
    }

    /// A singular field, or a oneof, is given once.
    fn note(&mut self, fields: &[&'static Field]) -> Result<()> {
        let Some((last, parents)) = fields.split_last() else { return Ok(()) };
        if last.cardinality == Cardinality::Repeated {
            return Ok(());
        }
        let mut path: String = parents.iter().flat_map(|field| [field.name, "."]).collect();
        match last.oneof {
            Some(oneof) => path.extend(["#", &oneof.to_string()]),
            None => path.push_str(last.name),
        }
        if self.seen.contains(&path) {
            return Err(Malformed::new("is given twice"));
        }
        self.seen.push(path);
        Ok(())
    }
}

impl<T: Fn(&Field) -> bool> Iterator for Query<'_, T> {
    type Item = (Result<Vec<&'static Field>>, String);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let pair = self.pairs.next()?;
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(fields) = unescape(name).and_then(|name| self.resolve(&name)) else { continue };
            if (self.taken)(fields[0]) {
                continue;
            }
            let within =
                |problem: Malformed| fields.iter().rev().fold(problem, |problem, field| problem.within(field.name));
            let Some(text) = unescape(value) else {
                return Some((Err(within(Malformed::new("is not percent-encoded UTF-8"))), String::new()));
            };
            let last = fields[fields.len() - 1];
            if text.is_empty() && !takes_empty(last.kind) {
                continue;
            }
            if let Err(problem) = self.note(&fields) {
                return Some((Err(within(problem)), String::new()));
            }
            return Some((Ok(fields), text));
        }
    }
}

/// Whether empty text is a value of this kind: `page_size=` says nothing, `name=` may.
fn takes_empty(kind: Kind) -> bool {
    match kind {
        Kind::String | Kind::Bytes => true,
        Kind::Message(message) if message.well_known == Some(WellKnown::Wrapper) => takes_empty(message.fields[0].kind),
        _ => false,
    }
}

/// Undoes the encoding of a query.
fn unescape(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

/// Appends a parameter; one that names a nested field becomes an occurrence of the outer message, which the wire merges.
fn put_query(fields: &[&'static Field], text: &str, out: &mut Vec<u8>) -> Result<()> {
    let Some((field, inner)) = fields.split_first() else { return Ok(()) };
    if inner.is_empty() {
        return json::put_text_field(field, text, false, out).map_err(|problem| problem.within(field.name));
    }
    put_key(out, field.number, 2);
    put_delimited(out, |out| put_query(inner, text, out)).map_err(|problem| problem.within(field.name))
}
