package ring;

import static ring.Report.equal;
import static ring.Report.holds;
import static ring.Report.invalid;
import static ring.Report.notFound;
import static ring.Report.stands;

import com.scalekit.ScalekitClient;
import com.scalekit.api.OrganizationClient;
import com.scalekit.api.PermissionClient;
import com.scalekit.api.RoleClient;
import com.scalekit.api.UserClient;
import com.scalekit.grpc.scalekit.v1.roles.AddPermissionsToRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.CreateOrganizationRole;
import com.scalekit.grpc.scalekit.v1.roles.CreateOrganizationRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.CreatePermission;
import com.scalekit.grpc.scalekit.v1.roles.CreatePermissionRequest;
import com.scalekit.grpc.scalekit.v1.roles.CreateRole;
import com.scalekit.grpc.scalekit.v1.roles.CreateRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.ListPermissionsResponse;
import com.scalekit.grpc.scalekit.v1.roles.Permission;
import com.scalekit.grpc.scalekit.v1.roles.Role;
import com.scalekit.grpc.scalekit.v1.roles.UpdateDefaultOrganizationRolesRequest;
import com.scalekit.grpc.scalekit.v1.roles.UpdateDefaultRolesResponse;
import com.scalekit.grpc.scalekit.v1.roles.UpdateOrganizationRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.UpdatePermissionRequest;
import com.scalekit.grpc.scalekit.v1.roles.UpdateRole;
import com.scalekit.grpc.scalekit.v1.roles.UpdateRoleRequest;
import com.scalekit.grpc.scalekit.v1.users.CreateMembership;
import com.scalekit.grpc.scalekit.v1.users.User;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** Roles and permissions of the environment and of an organization as the Java SDK drives them. */
final class Access {
  private static final String ASSIGNED = "role cannot be deleted as it is assigned to users";

  private final Report report;
  private final OrganizationClient orgs;
  private final RoleClient roles;
  private final PermissionClient permissions;
  private final UserClient users;
  private final String read = word("docs") + ":read";
  private final String write = word("docs") + ":write";
  private String org;

  Access(Report report, ScalekitClient client) {
    this.report = report;
    this.orgs = client.organizations();
    this.roles = client.roles();
    this.permissions = client.permissions();
    this.users = client.users();
  }

  static String word(String prefix) {
    return Organizations.unique(prefix).replace('-', '_');
  }

  void run() {
    org = People.organization(orgs, "Access");
    permissions();
    environmentRoles();
    organizationRoles();
    defaults();
    report.check("a deleted permission is not found", () -> {
      permissions.deletePermission(read);
      permissions.deletePermission(write);
      notFound(() -> permissions.getPermission(read), () -> permissions.deletePermission(read));
      orgs.deleteById(org);
    });
  }

  private Permission permission(String name, String description) {
    CreatePermission permission = CreatePermission.newBuilder().setName(name).setDescription(description).build();
    return permissions.createPermission(CreatePermissionRequest.newBuilder().setPermission(permission).build()).getPermission();
  }

  private Role role(CreateRole.Builder role) {
    return roles.createRole(CreateRoleRequest.newBuilder().setRole(role).build()).getRole();
  }

  private static CreateRole.Builder named(String name, String displayName) {
    return CreateRole.newBuilder().setName(name).setDisplayName(displayName);
  }

  private static UpdateRole.Builder shown(String displayName) {
    return UpdateRole.newBuilder().setDisplayName(displayName);
  }

  private static List<String> names(List<Permission> found) {
    return found.stream().map(Permission::getName).sorted().toList();
  }

  private void permissions() {
    report.check("permissions: create, get, update of the description, the newest first in the list", () -> {
      Permission made = permission(read, "Read documents");
      holds(made.getId().startsWith("perm_") && !made.getIsScalekitPermission(), made.toString());
      equal("made", List.of(made.getName(), made.getDescription()), List.of(read, "Read documents"));
      permission(write, "Write documents");
      CreatePermission changed = CreatePermission.newBuilder().setName(read).setDescription("Read all documents").build();
      permissions.updatePermission(read, UpdatePermissionRequest.newBuilder().setPermission(changed).build());
      equal("found", permissions.getPermission(read).getPermission().getDescription(), "Read all documents");
      ListPermissionsResponse page = permissions.listPermissions();
      equal("newest", List.of(page.getPermissions(0).getName(), page.getPermissions(1).getName()), List.of(write, read));
      if (!page.getNextPageToken().isEmpty()) {
        ListPermissionsResponse next = permissions.listPermissions(page.getNextPageToken());
        holds(next.getPermissionsCount() > 0 && !next.getPermissionsList().contains(page.getPermissions(0)), "the second page");
      }
    });

    report.check("a permission that exists, and names with a hyphen or the reserved sk_, give INVALID_ARGUMENT", () -> {
      invalid("already exists", () -> permission(read, "x"));
      invalid("", () -> permission("docs-read", "x"), () -> permission(word("sk"), "x"));
    });
  }

  private void environmentRoles() {
    String base = word("editor");
    String child = word("chief");

    report.check("roles: create with a base, get, list, update, dependents", () -> {
      Role made = role(named(base, "Editor").addPermissions(read));
      holds(made.getId().startsWith("role_") && !made.getIsOrgRole() && !made.getDefaultCreator() && !made.getDefaultMember(), made.toString());
      equal("base", role(named(child, "Chief").setExtends(base)).getExtends(), base);
      equal("base of the one that is found", roles.getRole(child).getRole().getExtends(), base);
      List<String> listed = roles.listRoles().getRolesList().stream().map(Role::getName).toList();
      holds(listed.containsAll(List.of("admin", "member", base, child)), listed.toString());
      UpdateRoleRequest update = UpdateRoleRequest.newBuilder().setRole(shown("Editor in charge")).build();
      equal("updated", roles.updateRole(base, update).getRole().getDisplayName(), "Editor in charge");
      equal("dependents", roles.listDependentRoles(base).getRolesList().stream().map(Role::getName).toList(), List.of(child));
    });

    report.check("permissions of a role: add keeps the others, effective ones include the base's, remove", () -> {
      AddPermissionsToRoleRequest more = AddPermissionsToRoleRequest.newBuilder().addPermissionNames(write).build();
      equal("added", names(permissions.addPermissionsToRole(child, more).getPermissionsList()), List.of(write));
      equal("own", names(permissions.listRolePermissions(child).getPermissionsList()), List.of(write));
      List<String> both = List.of(read, write).stream().sorted().toList();
      equal("effective", names(permissions.listEffectiveRolePermissions(child).getPermissionsList()), both);
      permissions.removePermissionFromRole(child, write);
      equal("after removal", permissions.listRolePermissions(child).getPermissionsCount(), 0);
      AddPermissionsToRoleRequest unknown = AddPermissionsToRoleRequest.newBuilder().addPermissionNames(word("no") + ":thing").build();
      equal("an unknown one is passed over", permissions.addPermissionsToRole(child, unknown).getPermissionsCount(), 0);
      notFound(
          () -> permissions.removePermissionFromRole(child, word("no") + ":thing"),
          () -> permissions.listRolePermissions(word("no")),
          () -> permissions.listEffectiveRolePermissions(word("no")),
          () -> permissions.addPermissionsToRole(word("no"), more));
    });

    report.check("without its base a role has its own permissions only", () -> {
      roles.deleteRoleBase(child);
      holds(!roles.getRole(child).getRole().hasExtends(), "extends is still set");
      equal("effective", permissions.listEffectiveRolePermissions(child).getPermissionsCount(), 0);
    });

    report.check("a role that users hold: " + ASSIGNED + "; with a replacement they get that one", () -> {
      CreateMembership held =
          CreateMembership.newBuilder().addRoles(com.scalekit.grpc.scalekit.v1.commons.Role.newBuilder().setName(child)).build();
      User user = People.create(users, org, People.somebody().setMembership(held), false);
      equal("count", roles.getRoleUsersCount(child).getCount(), 1L);
      stands(ASSIGNED, () -> roles.deleteRole(child));
      roles.deleteRole(child, base);
      equal("roles", users.listUserRoles(org, user.getId()).getRolesList().stream().map(found -> found.getName()).toList(), List.of(base));
      equal(
          "permissions",
          users.listUserPermissions(org, user.getId()).getPermissionsList().stream().map(found -> found.getName()).toList(),
          List.of(read));
      notFound(() -> roles.getRole(child));
      users.deleteUser(user.getId());
      equal("count afterwards", roles.getRoleUsersCount(base).getCount(), 0L);
    });

    report.check("a role name that exists, a malformed one and an unknown base are invalid; an unknown role is not found", () -> {
      String unknown = word("no");
      invalid(
          "",
          () -> role(named(base, "Twin")),
          () -> role(named("not-a-name", "x")),
          () -> role(named(word("orphan"), "x").setExtends(unknown)));
      notFound(
          () -> roles.getRole(unknown),
          () -> roles.updateRole(unknown, UpdateRoleRequest.newBuilder().setRole(shown("x")).build()),
          () -> roles.deleteRole(unknown),
          () -> roles.deleteRoleBase(unknown),
          () -> roles.listDependentRoles(unknown),
          () -> roles.getRoleUsersCount(unknown));
      roles.deleteRole(base);
    });
  }

  private void organizationRoles() {
    String name = word("lead");
    String child = word("deputy");

    report.check("organization roles: create, get, list beside the environment's, update, base, count", () -> {
      CreateOrganizationRole.Builder lead = CreateOrganizationRole.newBuilder().setName(name).setDisplayName("Lead").addPermissions(read);
      holds(roles.createOrganizationRole(org, CreateOrganizationRoleRequest.newBuilder().setRole(lead).build()).getRole().getIsOrgRole(), name);
      CreateOrganizationRole.Builder deputy = CreateOrganizationRole.newBuilder().setName(child).setDisplayName("Deputy").setExtends(name);
      roles.createOrganizationRole(org, CreateOrganizationRoleRequest.newBuilder().setRole(deputy).build());
      equal("extends", roles.getOrganizationRole(org, child).getRole().getExtends(), name);
      Map<String, Boolean> own =
          roles.listOrganizationRoles(org).getRolesList().stream().collect(Collectors.toMap(Role::getName, Role::getIsOrgRole));
      equal("is_org_role of own and environment role", List.of(own.get(name), own.get("member")), List.of(true, false));
      UpdateOrganizationRoleRequest head = UpdateOrganizationRoleRequest.newBuilder().setRole(shown("Head")).build();
      equal("updated", roles.updateOrganizationRole(org, name, head).getRole().getDisplayName(), "Head");
      roles.deleteOrganizationRoleBase(org, child);
      holds(!roles.getOrganizationRole(org, child).getRole().hasExtends(), "extends is still set");
      equal("count", roles.getOrganizationRoleUsersCount(org, name).getCount(), 0L);
    });

    report.check("[MEM-06] the organization's default member role goes before the environment's", () -> {
      UpdateDefaultOrganizationRolesRequest moved = UpdateDefaultOrganizationRolesRequest.newBuilder().setDefaultMemberRole(name).build();
      equal("default", roles.updateDefaultOrganizationRoles(org, moved).getDefaultMember().getName(), name);
      User user = People.create(users, org, People.somebody(), false);
      equal("roles", People.roles(user.getMemberships(0)), List.of(name));
      stands(ASSIGNED, () -> roles.deleteOrganizationRole(org, name));
      roles.deleteOrganizationRole(org, name, child);
      equal("roles after a replacement", users.listUserRoles(org, user.getId()).getRoles(0).getName(), child);
      users.deleteUser(user.getId());
    });

    report.check("a deleted organization role is not found", () -> {
      roles.deleteOrganizationRole(org, child);
      notFound(
          () -> roles.getOrganizationRole(org, child),
          () -> roles.deleteOrganizationRole(org, child),
          () -> roles.getOrganizationRoleUsersCount(org, child));
    });
  }

  private void defaults() {
    String name = word("guest");
    report.check("[MEM-06] the environment's default member role, moved alone, is what a member without roles gets; a default role stays", () -> {
      role(named(name, "Guest"));
      try {
        UpdateDefaultRolesResponse moved = roles.updateDefaultRoles(null, name);
        equal("default member role", moved.getDefaultMember().getName(), name);
        User user = People.create(users, org, People.somebody(), false);
        equal("roles", People.roles(user.getMemberships(0)), List.of(name));
        users.deleteUser(user.getId());
        stands("default", () -> roles.deleteRole(name));
      } finally {
        UpdateDefaultRolesResponse back = roles.updateDefaultRoles("admin", "member");
        equal("defaults", List.of(back.getDefaultCreator().getName(), back.getDefaultMember().getName()), List.of("admin", "member"));
        roles.deleteRole(name);
      }
    });
  }
}
