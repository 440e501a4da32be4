//! The shape of the static table that the build generates from `proto/`: what a message looks like on the wire, which rules its
//! fields keep, how an RPC is reached and who may call it. Everything is `'static` data; nothing here interprets it.

use std::fmt;
use std::marker::PhantomData;

/// A protobuf message: its fields in declaration order.
pub struct Message {
    /// Full protobuf name, e.g. `scalekit.v1.organizations.Organization`.
    pub name: &'static str,
    /// Fields in declaration order.
    pub fields: &'static [Field],
    /// Names of the real oneofs (synthetic ones of `optional` are not listed).
    pub oneofs: &'static [Oneof],
    /// Message-level CEL rules (`buf.validate.message`).
    pub rules: &'static [Cel],
    /// Set for the types whose JSON form is special (ProtoJSON).
    pub well_known: Option<WellKnown>,
}

impl Message {
    /// The field with this number.
    pub fn field(&self, number: u32) -> Option<&'static Field> {
        // Nearly every message numbers its fields 1, 2, 3, …: the direct hit makes decoding independent of the width of a message.
        match self.fields.get((number as usize).wrapping_sub(1)) {
            Some(field) if field.number == number => Some(field),
            _ => self.fields.iter().find(|field| field.number == number),
        }
    }

    /// The field with this name, spelled as in the proto or in lowerCamelCase (ProtoJSON accepts both).
    pub fn field_named(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name || field.json_name == name)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A real oneof.
#[derive(Debug)]
pub struct Oneof {
    /// Name in the proto.
    pub name: &'static str,
    /// `buf.validate.oneof.required`: exactly one member must be set.
    pub required: bool,
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Name in the proto, which is also the name on the JSON wire.
    pub name: &'static str,
    /// lowerCamelCase twin, accepted on input.
    pub json_name: &'static str,
    /// Field number.
    pub number: u32,
    /// Type of one element.
    pub kind: Kind,
    /// How often it may stand, and whether absence is distinguishable.
    pub cardinality: Cardinality,
    /// Index into [`Message::oneofs`].
    pub oneof: Option<u16>,
    /// Validation rules (`buf.validate.field`).
    pub rules: &'static [Rule],
}

/// Element type of a field.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // the protobuf scalar types under their own names
pub enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Message(&'static Message),
    Enum(&'static Enum),
}

/// Presence and repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// proto3 scalar without presence: absent equals the zero value.
    Implicit,
    /// Presence is tracked: `optional`, oneof members and messages.
    Explicit,
    /// A list.
    Repeated,
    /// A map; the kind is the entry message with fields `key` = 1 and `value` = 2.
    Map,
}

/// A protobuf enum. Open: numbers that are not listed may occur on the wire.
pub struct Enum {
    /// Full protobuf name.
    pub name: &'static str,
    /// Names and numbers in declaration order; with aliases, the first name of a number is the one emitted.
    pub values: &'static [(&'static str, i32)],
}

impl Enum {
    /// The number of a name.
    pub fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(candidate, _)| *candidate == name).map(|(_, number)| *number)
    }

    /// The name of a number.
    pub fn name_of(&self, number: i32) -> Option<&'static str> {
        self.values.iter().find(|(_, candidate)| *candidate == number).map(|(name, _)| *name)
    }
}

impl fmt::Debug for Enum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Messages with a JSON form of their own (ProtoJSON).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the types under their own names
pub enum WellKnown {
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    Any,
    /// `google.protobuf.*Value`: a scalar with presence.
    Wrapper,
}

/// One rule of `buf.validate`. The comment of each gives the rule id reported as `constraint`.
#[derive(Debug)]
pub enum Rule {
    /// `required`
    Required,
    /// `ignore: IGNORE_IF_ZERO_VALUE`: the other rules do not apply to the zero value.
    IgnoreIfZero,
    /// `string.min_len`, in Unicode code points
    MinLen(u64),
    /// `string.max_len`, in Unicode code points
    MaxLen(u64),
    /// `string.len`, in Unicode code points
    Len(u64),
    /// `string.min_bytes` / `bytes.min_len`
    MinBytes(u64),
    /// `string.max_bytes` / `bytes.max_len`
    MaxBytes(u64),
    /// `string.prefix`
    Prefix(&'static str),
    /// `string.pattern` (RE2)
    Pattern(&'static str),
    /// `string.in`
    StringIn(&'static [&'static str]),
    /// `string.not_in`
    StringNotIn(&'static [&'static str]),
    /// `string.email`
    Email,
    /// `string.uri`
    Uri,
    /// `string.uuid`
    Uuid,
    /// `string.hostname`
    Hostname,
    /// `enum.defined_only`
    DefinedOnly,
    /// `enum.in`, `int32.in`, …
    NumberIn(&'static [i64]),
    /// `enum.not_in`, `int32.not_in`, …
    NumberNotIn(&'static [i64]),
    /// `int32.gt`, `uint64.gt`, …
    Gt(i64),
    /// `int32.gte`, …
    Gte(i64),
    /// `int32.lt`, …
    Lt(i64),
    /// `int32.lte`, …
    Lte(i64),
    /// `repeated.min_items`
    MinItems(u64),
    /// `repeated.max_items`
    MaxItems(u64),
    /// `repeated.unique`
    Unique,
    /// `repeated.items`
    Items(&'static [Rule]),
    /// `map.min_pairs`
    MinPairs(u64),
    /// `map.max_pairs`
    MaxPairs(u64),
    /// `map.keys`
    Keys(&'static [Rule]),
    /// `map.values`
    Values(&'static [Rule]),
    /// `duration.gt`, in seconds and nanoseconds
    DurationGt(i64, i32),
    /// `duration.gte`
    DurationGte(i64, i32),
    /// `duration.lt`
    DurationLt(i64, i32),
    /// `duration.lte`
    DurationLte(i64, i32),
    /// `cel`
    Cel(Cel),
}

/// A CEL rule. The expressions in use are few and stand by hand in the runtime, found by their text: an unknown one fails its start.
#[derive(Debug)]
pub struct Cel {
    /// Rule id, reported as `constraint`; may be empty.
    pub id: &'static str,
    /// The expression.
    pub expression: &'static str,
    /// The text shown to callers; may be empty.
    pub message: &'static str,
}

/// An RPC.
pub struct Method {
    /// Position in [`crate::METHODS`].
    pub index: usize,
    /// gRPC path, `/package.Service/Method`.
    pub path: &'static str,
    /// Full service name.
    pub service: &'static str,
    /// RPC name.
    pub name: &'static str,
    /// Request message.
    pub input: &'static Message,
    /// Response message.
    pub output: &'static Message,
    /// Who may call; `None` or no kinds means blocked.
    pub auth: Auth,
    /// REST bindings, the primary one first.
    pub http: &'static [Http],
    /// Absent from the public REST documentation.
    pub preview: bool,
    /// REST answers 201 on success.
    pub created: bool,
    /// Open to an organization's own machine client as well, for that organization alone.
    pub organization_client: bool,
    /// Callable by an assistant: name and whether it writes.
    pub agent_tool: Option<AgentTool>,
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

/// `scalekit.v1.options.AuthOption`.
#[derive(Debug, Clone, Copy)]
pub struct Auth {
    /// Bits of `AuthenticationType`; 0 is blocked, 1 public.
    pub kinds: u32,
    /// Any one of these satisfies, in the spelling of operators (`sso:read`) or that of sessions (`connections_read`).
    pub permissions: &'static [&'static str],
    /// What lets an end user call whose kind fits.
    pub end_users: EndUsers,
    /// About the operator or the workspace, not about what is in an environment.
    pub workspace_wide: bool,
}

/// What lets an end user call an RPC (`narthex.options.EndUsers`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndUsers {
    /// Any one of these permissions; where there is none, nothing does.
    Permitted(&'static [&'static str]),
    /// That it is about themselves alone, which the service sees to.
    Themselves,
    /// Anything.
    Everybody,
    /// That they are signed in to the product's own environment.
    Operators,
}

/// `scalekit.v1.options.AgentToolOption`.
#[derive(Debug, Clone, Copy)]
pub struct AgentTool {
    /// Tool name.
    pub name: &'static str,
    /// Whether the tool changes state.
    pub writes: bool,
}

/// One `google.api.http` binding.
#[derive(Debug)]
pub struct Http {
    /// HTTP method, upper case.
    pub verb: &'static str,
    /// Path template, e.g. `/api/v1/organizations/{id}`.
    pub template: &'static str,
    /// What the request body holds.
    pub body: Body,
}

/// `HttpRule.body`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// No body; fields come from path and query.
    None,
    /// The body is the whole message.
    Whole,
    /// The body is this field.
    Field(&'static str),
}

/// An RPC with the Rust types of its messages.
pub struct Rpc<I, O> {
    /// Its row.
    pub method: &'static Method,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O> Clone for Rpc<I, O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<I, O> Copy for Rpc<I, O> {}

impl<I, O> Rpc<I, O> {
    pub(crate) const fn new(method: &'static Method) -> Self {
        Self { method, types: PhantomData }
    }
}
