"""Connections of the environment as the Python SDK drives them. There are none of organizations yet."""

from google.protobuf.wrappers_pb2 import BoolValue
from scalekit.common.exceptions import ScalekitBadRequestException, ScalekitNotFoundException
from scalekit.v1.connections.connections_pb2 import (
    ConnectionType, CreateConnection, DeleteEnvironmentConnectionRequest, ListConnectionsRequest, UpdateConnection,
)
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization

from people import NOWHERE
from report import equal, refused

UNKNOWN = "conn_100000000000000000"


def run(report, client):
    api = client.connection
    org = client.organization.create_organization(CreateOrganization(display_name="Connections"))[0].organization.id
    try:
        with report.check("connections of an organization and of a domain: none, as those of the environment belong to neither"):
            for options in ({}, {"include": "all"}):
                equal(len(api.list_connections(org, **options)[0].connections), 0, "connections of the organization")
                equal(len(api.list_connections_by_domain("example.org", **options)[0].connections), 0, "connections of a domain")
            refused(lambda: api.list_connections(NOWHERE), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
            refused(
                lambda: api.list_connections_by_domain("d" * 33),
                ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
            )
        if hasattr(api, "get_environment_connection"):  # SDK 2.10.0 has none
            of_the_environment(report, api)
    finally:
        client.organization.delete_organization(org)


def of_the_environment(report, api):
    service, execute = api.connection_service, api.core_client.grpc_exec

    def passkeys():
        every = execute(service.ListConnections.with_call, ListConnectionsRequest(include="all"))[0].connections
        return [found.id for found in every if found.type == ConnectionType.WEBAUTHN]

    asked = {"type": ConnectionType.WEBAUTHN, "provider_key": "SCALEKIT", "key_id": "WEBAUTHN"}

    with report.check("the environment's connection for passkeys: there is one, which has no twin; deleted it is not found, and made anew"):
        (known,) = passkeys()
        refused(
            lambda: api.create_environment_connection(CreateConnection(**asked)),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT", says="already exists",
        )
        # The SDK deletes none of the environment's; its generated client does.
        execute(service.DeleteEnvironmentConnection.with_call, DeleteEnvironmentConnectionRequest(connection_id=known))
        refused(lambda: api.get_environment_connection(known), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        made = api.create_environment_connection(CreateConnection(**asked))[0].connection
        equal((made.type, made.key_id, made.enabled), (ConnectionType.WEBAUTHN, "WEBAUTHN", False))
        equal(passkeys(), [made.id])

    with report.check("an update changes what it names; an unknown connection is not found"):
        changed = UpdateConnection(**asked, debug_enabled=BoolValue(value=True))
        equal(api.update_environment_connection(made.id, changed)[0].connection.debug_enabled, True, "answer")
        found = api.get_environment_connection(made.id)[0].connection
        equal((found.debug_enabled, found.enabled, found.webauthn_config), (True, False, made.webauthn_config))
        for call in (
            lambda: api.get_environment_connection(UNKNOWN),
            lambda: api.update_environment_connection(UNKNOWN, changed),
        ):
            refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
