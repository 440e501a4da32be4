"""Roles and permissions of the environment and of an organization as the Python SDK drives them."""

import uuid

from scalekit.common.exceptions import ScalekitBadRequestException, ScalekitNotFoundException
from scalekit.v1.commons.commons_pb2 import Role
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization
from scalekit.v1.roles.roles_pb2 import (
    CreateOrganizationRole, CreatePermission, CreateRole, UpdateDefaultOrganizationRolesRequest, UpdateRole,
)
from scalekit.v1.users.users_pb2 import CreateMembership, CreateUser

from people import address, names
from report import equal, holds, refused

ASSIGNED = "role cannot be deleted as it is assigned to users"


def word(prefix):
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


def run(report, client):
    org = client.organization.create_organization(CreateOrganization(display_name="Access"))[0].organization.id
    try:
        read, write = permissions(report, client.permissions)
        roles(report, client, org, read, write)
        organization_roles(report, client, org, read)
        defaults(report, client, org)
        for name in (read, write):
            client.permissions.delete_permission(name)
        with report.check("a deleted permission is not found"):
            refused(lambda: client.permissions.get_permission(read), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
            refused(lambda: client.permissions.delete_permission(read), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
    finally:
        client.organization.delete_organization(org)


def permissions(report, permissions):
    read, write = f"{word('docs')}:read", f"{word('docs')}:write"
    with report.check("permissions: create, get, update of the description, the newest first in the list"):
        made = permissions.create_permission(CreatePermission(name=read, description="Read documents"))[0].permission
        holds(made.id.startswith("perm_"), made.id)
        equal((made.name, made.description, made.is_scalekit_permission), (read, "Read documents", False))
        permissions.create_permission(CreatePermission(name=write, description="Write documents"))
        changed = CreatePermission(name=read, description="Read all documents")
        equal(permissions.update_permission(read, changed)[0].permission.description, "Read all documents", "description")
        equal(permissions.get_permission(read)[0].permission.description, "Read all documents", "description")
        page = permissions.list_permissions(page_size=1)[0]
        equal([found.name for found in page.permissions], [write], "first page")
        next_page = permissions.list_permissions(page_size=1, page_token=page.next_page_token)[0]
        equal([found.name for found in next_page.permissions], [read], "second page")

    with report.check("a permission that exists, and names with a hyphen or the reserved sk_, are bad requests"):
        for name in (read, "docs-read", word("sk")):
            refused(
                lambda name=name: permissions.create_permission(CreatePermission(name=name, description="x")),
                ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT", says="already exists" if name == read else "",
            )
    return read, write


def roles(report, client, org, read, write):
    roles, permissions = client.roles, client.permissions
    base, child = word("editor"), word("chief")

    with report.check("roles: create with a base, get, list, update, dependents"):
        made = roles.create_role(CreateRole(name=base, display_name="Editor", permissions=[read]))[0].role
        holds(made.id.startswith("role_"), made.id)
        equal((made.name, made.display_name, made.is_org_role), (base, "Editor", False))
        equal((made.default_creator, made.default_member), (False, False), "default flags")
        equal(roles.create_role(CreateRole(name=child, display_name="Chief", extends=base))[0].role.extends, base, "extends")
        equal(roles.get_role(child)[0].role.extends, base, "extends")
        holds({"admin", "member", base, child} <= set(names(roles.list_roles()[0].roles)), "a role is not in the list")
        updated = roles.update_role(base, UpdateRole(display_name="Editor in charge"))[0].role
        equal((updated.name, updated.display_name), (base, "Editor in charge"))
        equal(names(roles.list_dependent_roles(base)[0].roles), [child], "dependents")

    with report.check("permissions of a role: add keeps the others, effective ones include the base's, remove"):
        equal(names(permissions.add_permissions_to_role(child, [write])[0].permissions), [write], "added")
        equal(names(permissions.list_role_permissions(child)[0].permissions), [write], "direct")
        equal(names(permissions.list_effective_role_permissions(child)[0].permissions), sorted([read, write]), "effective")
        permissions.remove_permission_from_role(child, write)
        equal(names(permissions.list_role_permissions(child)[0].permissions), [], "after removal")
        for call in (
            lambda: permissions.remove_permission_from_role(child, f"{word('no')}:thing"),
            lambda: permissions.list_role_permissions(word("no")),
            lambda: permissions.list_effective_role_permissions(word("no")),
        ):
            refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")

    with report.check("without its base a role has its own permissions only"):
        roles.delete_role_base(child)
        holds(not roles.get_role(child)[0].role.HasField("extends"), "extends is still set")
        equal(names(permissions.list_effective_role_permissions(child)[0].permissions), [], "effective")

    with report.check(f"a role that users hold: {ASSIGNED}; with a replacement they get that one"):
        membership = CreateMembership(roles=[Role(name=child)])
        user = client.users.create_user_and_membership(org, CreateUser(email=address(), membership=membership), False)[0].user
        equal(roles.get_role_users_count(child)[0].count, 1, "count")
        try:
            roles.delete_role(child)
        except ScalekitBadRequestException as error:
            equal(error.message, ASSIGNED, "message")
        else:
            raise AssertionError("not refused")
        roles.delete_role(child, reassign_role_name=base)
        equal(names(client.users.list_user_roles(org, user.id)[0].roles), [base], "the user's roles")
        refused(lambda: roles.get_role(child), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        equal(names(client.users.list_user_permissions(org, user.id)[0].permissions), [read], "the user's permissions")
        client.users.delete_user(user.id)
        equal(roles.get_role_users_count(base)[0].count, 0, "count")

    with report.check("a role name that exists, a malformed one and an unknown base are bad requests; an unknown role is not found"):
        for role in (
            CreateRole(name=base, display_name="Twin"),
            CreateRole(name="not-a-name", display_name="x"),
            CreateRole(name=word("orphan"), display_name="x", extends=word("no")),
        ):
            refused(lambda role=role: roles.create_role(role), ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        unknown = word("no")
        for call in (
            lambda: roles.get_role(unknown),
            lambda: roles.update_role(unknown, UpdateRole(display_name="x")),
            lambda: roles.delete_role(unknown),
            lambda: roles.list_dependent_roles(unknown),
            lambda: roles.get_role_users_count(unknown),
        ):
            refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
    roles.delete_role(base)


def organization_roles(report, client, org, read):
    roles, name, child = client.roles, word("lead"), word("deputy")
    with report.check("organization roles: create, get, list beside the environment's, update, base, count, delete"):
        role = CreateOrganizationRole(name=name, display_name="Lead", permissions=[read])
        made = roles.create_organization_role(org, role)[0].role
        equal((made.name, made.is_org_role), (name, True))
        roles.create_organization_role(org, CreateOrganizationRole(name=child, display_name="Deputy", extends=name))
        equal(roles.get_organization_role(org, child)[0].role.extends, name, "extends")
        listed = {found.name: found.is_org_role for found in roles.list_organization_roles(org)[0].roles}
        equal((listed[name], listed["member"]), (True, False), "is_org_role of own and environment role")
        holds(name not in names(roles.list_roles()[0].roles), "an organization's role in the environment's list")
        equal(roles.update_organization_role(org, name, UpdateRole(display_name="Head"))[0].role.display_name, "Head")
        roles.delete_organization_role_base(org, child)
        holds(not roles.get_organization_role(org, child)[0].role.HasField("extends"), "extends is still set")
        equal(roles.get_organization_role_users_count(org, name)[0].count, 0, "count")

    with report.check("[MEM-06] the organization's default member role goes before the environment's"):
        asked = UpdateDefaultOrganizationRolesRequest(org_id=org, default_member_role=name)
        equal(roles.update_default_organization_roles(org, asked)[0].default_member.name, name, "default member role")
        user = client.users.create_user_and_membership(org, CreateUser(email=address()), False)[0].user
        equal(names(user.memberships[0].roles), [name], "roles without any given")
        client.users.delete_user(user.id)

    with report.check("a deleted organization role is not found"):
        for gone in (child, name):
            roles.delete_organization_role(org, gone)
            refused(lambda gone=gone: roles.get_organization_role(org, gone), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")


def defaults(report, client, org):
    roles, name = client.roles, word("guest")
    roles.create_role(CreateRole(name=name, display_name="Guest"))
    with report.check("[MEM-06] the environment's default member role is what a member without roles gets; a default role stays"):
        try:
            moved = roles.update_default_roles(default_creator_role="admin", default_member_role=name)[0]
            equal((moved.default_creator.name, moved.default_member.name), ("admin", name))
            user = client.users.create_user_and_membership(org, CreateUser(email=address()), False)[0].user
            equal(names(user.memberships[0].roles), [name], "roles without any given")
            client.users.delete_user(user.id)
            try:
                roles.delete_role(name)
            except ScalekitBadRequestException as error:
                holds("default" in error.message, error.message)
            else:
                raise AssertionError("a default role was deleted")
        finally:
            back = roles.update_default_roles(default_creator_role="admin", default_member_role="member")[0]
        equal(back.default_member.name, "member")
    roles.delete_role(name)
