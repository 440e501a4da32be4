"""Compares our contract with the one that the published Python SDK carries.

    compare.py SET.binpb        a google.protobuf.FileDescriptorSet with our files and their imports
    compare.py --self-test      proves on the SDK's own descriptors that each kind of difference is seen

Runs inside an environment that has scalekit-sdk-python 2.21.0. Every file, message, field (number, type,
label, oneof, proto3 presence, JSON name), enum value, RPC, HTTP rule, caller rule and validation rule is one
fact; the two sets of facts must be equal. Left out, because they are prose or concern one language only: see
DOCUMENTATION, OWN_WORDS, LANGUAGE and the names in `narthex.`.
"""

import importlib
import pathlib
import re
import sys
from collections import Counter

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

# Importing these registers the extensions, so that options of both sides decode to named fields.
import buf.validate.validate_pb2  # noqa: F401
import google.api.annotations_pb2  # noqa: F401
import google.api.field_behavior_pb2  # noqa: F401
import google.api.visibility_pb2  # noqa: F401
import protoc_gen_openapiv2.options.annotations_pb2  # noqa: F401
import scalekit
import scalekit.v1.options.options_pb2  # noqa: F401

# The published API documentation, carried as options.
DOCUMENTATION = re.compile(r"^\(grpc\.gateway\.protoc_gen_openapiv2\.")
# Texts that each side writes itself: what a CEL rule checks is named by its id; the words are not the contract.
OWN_WORDS = re.compile(r"\.cel\[\d+\]\.(message|expression)$|^\(scalekit\.v1\.options\.agent_tool\)\.(description|summary)$")
# Options that steer one language's code generator.
LANGUAGE = {"go_package", "java_package", "java_outer_classname", "java_multiple_files", "optimize_for"}

# Numbers of our own method options (package narthex.options); they never travel.
OWN_OPTION_NUMBERS = range(51000, 52000)

TYPES = {number: name for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()}
LABELS = {number: name for name, number in descriptor_pb2.FieldDescriptorProto.Label.items()}


def published_files():
    """The SDK's own files as FileDescriptorProto, by import path."""
    root = pathlib.Path(scalekit.__file__).parent
    files = {}
    for path in sorted((root / "v1").rglob("*_pb2.py")):
        module = importlib.import_module("scalekit." + ".".join(path.relative_to(root).with_suffix("").parts))
        files[module.DESCRIPTOR.name] = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    return files


def files_of_set(raw):
    """Our files under scalekit/v1 from a serialized FileDescriptorSet."""
    found = descriptor_pb2.FileDescriptorSet.FromString(raw)
    return {file.name: file for file in found.file if file.name.startswith("scalekit/v1/")}


def default_json_name(name):
    head, *tail = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


class Facts:
    """Facts of one contract: (subject, property) -> value, and how many of each kind there are."""

    def __init__(self):
        self.values = {}
        self.kinds = Counter()

    def add(self, kind, subject, prop, value):
        key = (subject, prop)
        if key in self.values:
            raise ValueError(f"the same fact twice: {key}")
        self.values[key] = value
        self.kinds[kind] += 1

    def options(self, kind_of, subject, options):
        for path, value in flatten(options):
            if DOCUMENTATION.search(path) or OWN_WORDS.search(path) or path in LANGUAGE:
                continue
            self.add(kind_of(path), subject, path, value)
        # An option that nobody declared would otherwise vanish unseen.
        for unknown in unknown_numbers(options):
            if unknown not in OWN_OPTION_NUMBERS:
                self.add("unknown option", subject, f"unknown option {unknown}", True)


def unknown_numbers(message):
    return {field.field_number for field in UnknownFieldSet(message)}


def flatten(message, prefix=""):
    """Every leaf of an options message as (path, value); repeated leaves carry their index."""
    for field, value in message.ListFields():
        name = f"({field.full_name})" if field.is_extension else field.name
        path = f"{prefix}.{name}" if prefix else name
        items = [(path, value)]
        if is_map(field):
            items = [(f"{path}[{key}]", value[key]) for key in sorted(value)]
        elif is_repeated(field):
            items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        for item_path, item in items:
            if not isinstance(item, Message):
                yield item_path, item
                continue
            leaves = list(flatten(item, item_path))
            if leaves:
                yield from leaves
            else:
                yield item_path, "{}"  # present and empty is a fact too


def is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def is_repeated(field):
    repeated = getattr(field, "is_repeated", None)
    return field.label == FieldDescriptor.LABEL_REPEATED if repeated is None else repeated


def method_kind(path):
    if path.startswith("(google.api.http)"):
        return "HTTP rule"
    if path.startswith("(scalekit.v1.options.auth_option)"):
        return "caller rule"
    return "other option"


def rule_kind(path):
    return "validation rule" if path.startswith("(buf.validate.") else "other option"


def add_field(facts, subject, field, real_oneofs):
    facts.add("field", subject, "number", field.number)
    facts.add("field", subject, "type", TYPES[field.type] + (" " + field.type_name if field.type_name else ""))
    facts.add("field", subject, "label", LABELS[field.label])
    facts.add("field", subject, "optional", field.proto3_optional)
    facts.add("field", subject, "JSON name", field.json_name or default_json_name(field.name))
    oneof = ""
    if field.HasField("oneof_index") and not field.proto3_optional:
        oneof = real_oneofs[field.oneof_index].name
    facts.add("field", subject, "oneof", oneof)
    if field.HasField("extendee"):
        facts.add("field", subject, "extends", field.extendee)
    facts.options(rule_kind, subject, field.options)


def add_enum(facts, scope, enum):
    subject = f"enum {scope}.{enum.name}"
    facts.add("enum", subject, "exists", True)
    facts.options(rule_kind, subject, enum.options)
    for value in enum.value:
        facts.add("enum value", f"{subject}.{value.name}", "number", value.number)
        facts.options(rule_kind, f"{subject}.{value.name}", value.options)


def add_message(facts, scope, message):
    name = f"{scope}.{message.name}"
    subject = f"message {name}"
    facts.add("message", subject, "exists", True)
    facts.options(rule_kind, subject, message.options)
    for field in message.field:
        add_field(facts, f"field {name}.{field.name}", field, message.oneof_decl)
    synthetic = {field.oneof_index for field in message.field if field.proto3_optional}
    for index, oneof in enumerate(message.oneof_decl):
        if index not in synthetic:
            facts.add("oneof", f"oneof {name}.{oneof.name}", "exists", True)
            facts.options(rule_kind, f"oneof {name}.{oneof.name}", oneof.options)
    for nested in message.nested_type:
        add_message(facts, name, nested)
    for enum in message.enum_type:
        add_enum(facts, name, enum)
    for extension in message.extension:
        add_field(facts, f"extension {name}.{extension.name}", extension, [])


def add_service(facts, package, service):
    subject = f"service {package}.{service.name}"
    facts.add("service", subject, "exists", True)
    facts.options(method_kind, subject, service.options)
    for method in service.method:
        rpc = f"rpc {package}.{service.name}.{method.name}"
        facts.add("RPC", rpc, "request", method.input_type)
        facts.add("RPC", rpc, "response", method.output_type)
        facts.add("RPC", rpc, "streams", (method.client_streaming, method.server_streaming))
        facts.options(method_kind, rpc, method.options)


def facts_of(files):
    facts = Facts()
    for name, file in files.items():
        facts.add("file", f"file {name}", "package", file.package)
        facts.add("file", f"file {name}", "syntax", file.syntax)
        facts.options(rule_kind, f"file {name}", file.options)
        for message in file.message_type:
            add_message(facts, file.package, message)
        for enum in file.enum_type:
            add_enum(facts, file.package, enum)
        for service in file.service:
            add_service(facts, file.package, service)
        for extension in file.extension:
            add_field(facts, f"extension {file.package}.{extension.name}", extension, [])
    return facts


def differences(published, ours):
    """Lines that say what differs; empty when the contracts are equal."""
    lines = []
    for key in sorted(published.values.keys() | ours.values.keys()):
        theirs, own = published.values.get(key), ours.values.get(key)
        if theirs == own:
            continue
        subject, prop = key
        if key not in ours.values:
            lines.append(f"missing: {subject}: {prop} = {theirs!r}")
        elif key not in published.values:
            lines.append(f"not in the published contract: {subject}: {prop} = {own!r}")
        else:
            lines.append(f"differs: {subject}: {prop} is {own!r}, published {theirs!r}")
    return lines


def compare(path):
    published = facts_of(published_files())
    ours = facts_of(files_of_set(pathlib.Path(path).read_bytes()))
    lines = differences(published, ours)
    for line in lines[:200]:
        print(line)
    if len(lines) > 200:
        print(f"… and {len(lines) - 200} more")
    print("contract: " + ", ".join(f"{count} {kind} facts" for kind, count in sorted(published.kinds.items())))
    equal = sum(1 for key, value in published.values.items() if ours.values.get(key) == value)
    # A comparison of next to nothing must not pass for one that found no difference.
    good = not lines and len(published.values) > 5000
    print(
        f"{'PASS' if good else 'FAIL'} contract: {equal} of {len(published.values)} published facts equal, "
        f"{len(lines)} differences"
    )
    print("END contract")
    return 0 if good else 1


# --- self-test: one deliberate change of each kind -------------------------------------------------------------


def organizations(files):
    return files["scalekit/v1/organizations/organizations.proto"]


def message(files, name):
    return next(found for found in organizations(files).message_type if found.name == name)


def field(files, owner, name):
    return next(found for found in message(files, owner).field if found.name == name)


def method(files, name):
    return next(found for found in organizations(files).service[0].method if found.name == name)


def extension(options, name):
    return next(value for found, value in options.ListFields() if found.is_extension and found.full_name == name)


def changes():
    """(what is changed, how): each must make exactly the named subject differ."""
    http, auth, rules = "google.api.http", "scalekit.v1.options.auth_option", "buf.validate.field"
    yield "field number", lambda f: setattr(field(f, "Organization", "slug"), "number", 19)
    yield "field type", lambda f: setattr(field(f, "ListOrganizationsRequest", "page_size"), "type", 5)
    yield "field label", lambda f: setattr(field(f, "Organization", "display_name"), "label", 3)
    yield "presence", lambda f: setattr(field(f, "ListOrganizationsRequest", "external_id"), "proto3_optional", False)
    yield "JSON name", lambda f: setattr(field(f, "Organization", "slug"), "json_name", "slugName")
    yield "oneof of a field", lambda f: field(f, "GetOrganizationRequest", "id").ClearField("oneof_index")
    yield "field dropped", lambda f: message(f, "Organization").field.pop()
    yield "message dropped", lambda f: organizations(f).message_type.remove(message(f, "Link"))
    yield "enum value number", lambda f: setattr(organizations(f).enum_type[0].value[1], "number", 77)
    yield "enum value dropped", lambda f: organizations(f).enum_type[0].value.pop()
    yield "RPC dropped", lambda f: organizations(f).service[0].method.remove(method(f, "SearchOrganization"))
    yield "RPC response", lambda f: setattr(method(f, "ListOrganization"), "output_type", ".google.protobuf.Empty")
    yield "HTTP path", lambda f: setattr(extension(method(f, "GetOrganization").options, http), "get", "/v2/x")
    yield "HTTP body", lambda f: extension(method(f, "CreateOrganization").options, http).ClearField("body")
    yield "additional binding", lambda f: drop_binding(f, http)
    yield "caller kinds", lambda f: setattr(extension(method(f, "ListOrganization").options, auth), "authentication_type", 4)
    yield "permission", lambda f: extension(method(f, "ListOrganization").options, auth).permissions.append("x:y")
    yield "validation bound", lambda f: setattr(extension(field(f, "UpdateOrganization", "display_name").options, rules).string, "max_len", 201)
    yield "validation dropped", lambda f: field(f, "SearchOrganizationsRequest", "query").options.Clear()
    yield "CEL rule id", lambda f: rename_cel(f)
    yield "file dropped", lambda f: f.pop("scalekit/v1/errdetails/errdetails.proto")
    yield "file added", lambda f: f.update({"scalekit/v1/x.proto": descriptor_pb2.FileDescriptorProto(name="x", package="x")})
    yield "unknown option", lambda f: method(f, "ListOrganization").options.MergeFromString(b"\xa0\xf7\x29\x01")  # field 85876


def drop_binding(files, http):
    for file in files.values():
        for service in file.service:
            for rpc in service.method:
                for found, value in rpc.options.ListFields():
                    if found.full_name == http and value.additional_bindings:
                        value.additional_bindings.pop()
                        return
    raise LookupError("no RPC has an additional binding")


def rename_cel(files):
    for file in files.values():
        for found in file.message_type:
            for owner in [found, *found.field]:
                for option, value in owner.options.ListFields():
                    if option.full_name.startswith("buf.validate.") and value.cel:
                        value.cel[0].id = "renamed"
                        return
    raise LookupError("no CEL rule found")


def self_test():
    failed = 0
    published = facts_of(published_files())
    untouched = differences(published, facts_of(published_files()))
    print(f"{'PASS' if not untouched else 'FAIL'} contract self-test: the published contract equals itself")
    failed += bool(untouched)
    for what, change in changes():
        files = published_files()
        change(files)
        seen = differences(published, facts_of(files))
        print(f"{'PASS' if seen else 'FAIL'} contract self-test: a change is seen: {what}" + (f" ({seen[0]})" if seen else ""))
        failed += not seen
    print("END contract self-test")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(self_test() if sys.argv[1] == "--self-test" else compare(sys.argv[1]))
