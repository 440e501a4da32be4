"""Writes the part of the contract that the stand-in clients generate code from.

    strip.py CONTRACT.binpb OUT.binpb

Keeps the services they call and what those need, drops every option (routes, permissions, validation: a client
needs none of them) with the imports that only options use, and names the packages as the published SDKs do.
Prints the kept files that need generated code, one a line.
"""

import pathlib
import sys

from google.protobuf import descriptor_pb2

ROOTS = (
    "scalekit/v1/organizations/organizations.proto",
    "scalekit/v1/directories/directories.proto",
    "scalekit/v1/auth/passwordless.proto",
    "scalekit/v1/auth/webauthn.proto",
    "scalekit/v1/users/users.proto",
    "scalekit/v1/roles/roles.proto",
    "scalekit/v1/clients/clients.proto",
    "scalekit/v1/tokens/tokens.proto",
    "scalekit/v1/domains/domains.proto",
    "scalekit/v1/sessions/sessions.proto",
    "scalekit/v1/connections/connections.proto",
    "scalekit/v1/errdetails/errdetails.proto",
)
GO_MODULE = "github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc"
OPTIONS_ONLY = ("google/api/", "buf/validate/", "narthex/", "scalekit/v1/options/")


def used_types(file):
    """Every type name that the file's messages and services mention."""

    def of_message(message):
        for field in message.field:
            if field.type_name:
                yield field.type_name
        for nested in message.nested_type:
            yield from of_message(nested)

    for message in file.message_type:
        yield from of_message(message)
    for service in file.service:
        for method in service.method:
            yield method.input_type
            yield method.output_type


def clear_options(file):
    def of_enum(enum):
        alias = enum.options.allow_alias
        enum.ClearField("options")
        if alias:
            enum.options.allow_alias = True
        for value in enum.value:
            value.ClearField("options")

    def of_message(message):
        map_entry = message.options.map_entry
        message.ClearField("options")
        if map_entry:
            message.options.map_entry = True
        for field in message.field:
            field.ClearField("options")
        for oneof in message.oneof_decl:
            oneof.ClearField("options")
        for nested in message.nested_type:
            of_message(nested)
        for enum in message.enum_type:
            of_enum(enum)

    for message in file.message_type:
        of_message(message)
    for enum in file.enum_type:
        of_enum(enum)
    for service in file.service:
        service.ClearField("options")
        for method in service.method:
            method.ClearField("options")


def main(source, target):
    files = {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(source).read_bytes()).file}
    kept, waiting = {}, list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        file = kept[name] = files[name]
        needed = [path for path in file.dependency if not path.startswith(OPTIONS_ONLY)]
        if name.startswith("scalekit/"):
            # An import that nothing mentions would be an unused import in the generated Go code.
            mentioned = {type_name[1:].rsplit(".", 1)[0] for type_name in used_types(file)}
            needed = [path for path in needed if path.startswith("google/protobuf/") or any(
                package == files[path].package or package.startswith(files[path].package + ".") for package in mentioned
            )]
            clear_options(file)
            directory = str(pathlib.PurePath(name).parent)
            file.options.Clear()
            file.options.go_package = f"{GO_MODULE}/{directory}"
            file.options.java_package = "com.scalekit.grpc." + file.package
            file.options.java_multiple_files = True
        del file.dependency[:], file.public_dependency[:], file.weak_dependency[:]
        file.dependency.extend(needed)
        file.ClearField("source_code_info")
        waiting.extend(needed)

    ordered = descriptor_pb2.FileDescriptorSet()

    def add(name):
        if all(file.name != name for file in ordered.file):
            for dependency in kept[name].dependency:
                add(dependency)
            ordered.file.append(kept[name])

    for name in sorted(kept):
        add(name)
    pathlib.Path(target).write_bytes(ordered.SerializeToString())
    for file in ordered.file:
        if file.name.startswith("scalekit/"):
            print(file.name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
