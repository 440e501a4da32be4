package ring;

import static ring.Report.equal;
import static ring.Report.holds;
import static ring.Report.invalid;
import static ring.Report.notFound;
import static ring.Report.stands;

import com.scalekit.ScalekitClient;
import com.scalekit.api.OrganizationClient;
import com.scalekit.api.UserClient;
import com.scalekit.exceptions.APIException;
import com.scalekit.grpc.scalekit.v1.commons.MembershipStatus;
import com.scalekit.grpc.scalekit.v1.commons.OrganizationMembership;
import com.scalekit.grpc.scalekit.v1.commons.Role;
import com.scalekit.grpc.scalekit.v1.organizations.CreateOrganization;
import com.scalekit.grpc.scalekit.v1.users.CreateMembership;
import com.scalekit.grpc.scalekit.v1.users.CreateMembershipRequest;
import com.scalekit.grpc.scalekit.v1.users.CreateUser;
import com.scalekit.grpc.scalekit.v1.users.CreateUserAndMembershipRequest;
import com.scalekit.grpc.scalekit.v1.users.CreateUserProfile;
import com.scalekit.grpc.scalekit.v1.users.Invite;
import com.scalekit.grpc.scalekit.v1.users.ListOrganizationUsersRequest;
import com.scalekit.grpc.scalekit.v1.users.ListOrganizationUsersResponse;
import com.scalekit.grpc.scalekit.v1.users.ListUsersRequest;
import com.scalekit.grpc.scalekit.v1.users.SearchOrganizationUsersRequest;
import com.scalekit.grpc.scalekit.v1.users.SearchUsersRequest;
import com.scalekit.grpc.scalekit.v1.users.UpdateMembership;
import com.scalekit.grpc.scalekit.v1.users.UpdateMembershipRequest;
import com.scalekit.grpc.scalekit.v1.users.UpdateUser;
import com.scalekit.grpc.scalekit.v1.users.UpdateUserProfile;
import com.scalekit.grpc.scalekit.v1.users.UpdateUserRequest;
import com.scalekit.grpc.scalekit.v1.users.User;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** Users, their memberships and invitations as the Java SDK drives them. */
final class People {
  static final String NOBODY = "usr_100000000000000000";
  static final String NOWHERE = "org_100000000000000000";

  private final Report report;
  private final OrganizationClient orgs;
  private final UserClient api;
  private final List<String> made = new ArrayList<>();
  private String one;
  private String two;

  People(Report report, ScalekitClient client) {
    this.report = report;
    this.orgs = client.organizations();
    this.api = client.users();
  }

  static String address() {
    return "joe-" + UUID.randomUUID().toString().substring(0, 13) + "@example.com";
  }

  static String organization(OrganizationClient orgs, String name) {
    return orgs.create(CreateOrganization.newBuilder().setDisplayName(name).build()).getId();
  }

  static User create(UserClient api, String organizationId, CreateUser.Builder user, boolean invite) {
    CreateUserAndMembershipRequest request =
        CreateUserAndMembershipRequest.newBuilder().setUser(user).setSendInvitationEmail(invite).build();
    return api.createUserAndMembership(organizationId, request).getUser();
  }

  static CreateUser.Builder somebody() {
    return CreateUser.newBuilder().setEmail(address());
  }

  static OrganizationMembership membership(User user, String organizationId) {
    return user.getMembershipsList().stream().filter(found -> found.getOrganizationId().equals(organizationId)).findFirst().orElseThrow();
  }

  static List<String> roles(OrganizationMembership membership) {
    return membership.getRolesList().stream().map(Role::getName).sorted().toList();
  }

  private User create(String organizationId, CreateUser.Builder user, boolean invite) {
    User created = create(api, organizationId, user, invite);
    made.add(created.getId());
    return created;
  }

  private User update(String id, UpdateUser.Builder user) {
    return api.updateUser(id, UpdateUserRequest.newBuilder().setUser(user).build()).getUser();
  }

  private User join(String organizationId, String id, CreateMembership.Builder membership) {
    CreateMembershipRequest request = CreateMembershipRequest.newBuilder().setMembership(membership).setSendInvitationEmail(false).build();
    return api.createMembership(organizationId, id, request).getUser();
  }

  private OrganizationMembership change(String organizationId, String id, UpdateMembership.Builder membership) {
    UpdateMembershipRequest request = UpdateMembershipRequest.newBuilder().setMembership(membership).build();
    return membership(api.updateMembership(organizationId, id, request).getUser(), organizationId);
  }

  void run() {
    one = organization(orgs, "People One");
    two = organization(orgs, "People Two");
    users();
    memberships();
    seats();
    invitations();
    goodbye();
    report.check("[USR-12 ORG-05] what the ring made is deleted again; a second delete of a user succeeds", () -> {
      made.addAll(List.copyOf(made));
      made.forEach(api::deleteUser);
      orgs.deleteById(one);
      orgs.deleteById(two);
    });
  }

  private void users() {
    String email = address();
    String externalId = Organizations.unique("person");
    CreateUserProfile profile = CreateUserProfile.newBuilder().setFirstName("Ada").setLastName("Lovelace").setLocale("en-GB").build();
    User ada = create(one, CreateUser.newBuilder().setEmail(email).setExternalId(externalId).putMetadata("desk", "7").setUserProfile(profile), false);

    report.check("[USR-01] a user without an invitation is active, verified, and provisioned directly", () -> {
      OrganizationMembership held = membership(ada, one);
      equal("user", List.of(ada.getEmail(), ada.getExternalId(), ada.getMetadataMap()), List.of(email, externalId, Map.of("desk", "7")));
      equal("email_verified", ada.getUserProfile().getEmailVerified(), true);
      equal("status", held.getMembershipStatus(), MembershipStatus.ACTIVE);
      equal("provisioning", held.getProvisioningMethod(), "direct_provision");
    });

    report.check("[USR-04] first and last name, which this SDK's users send, come back as given and family name too, and the other way round", () -> {
      equal("given and family", ada.getUserProfile().getGivenName() + " " + ada.getUserProfile().getFamilyName(), "Ada Lovelace");
      UpdateUserProfile changed = UpdateUserProfile.newBuilder().setGivenName("Augusta").setFamilyName("King").build();
      var after = update(ada.getId(), UpdateUser.newBuilder().setUserProfile(changed)).getUserProfile();
      equal("first and last", after.getFirstName() + " " + after.getLastName(), "Augusta King");
      equal("locale, which the update left out", after.getLocale(), "en-GB");
    });

    report.check("[USR-09] get shows the environment and the membership with its role and permissions", () -> {
      User found = api.getUser(ada.getId()).getUser();
      holds(found.getEnvironmentId().startsWith("env_"), found.getEnvironmentId());
      equal("roles", roles(membership(found, one)), List.of("member"));
      holds(membership(found, one).getPermissionsList().contains("sk_org_users_read"), found.toString());
    });

    report.check("[USR-05 USR-07 USR-08] an external id in use, over-long names, too many groups and pairs give INVALID_ARGUMENT", () -> {
      invalid("already exists", () -> create(one, somebody().setExternalId(externalId), false));
      CreateUserProfile.Builder groups = CreateUserProfile.newBuilder();
      UpdateUser.Builder pairs = UpdateUser.newBuilder();
      for (int n = 0; n <= 50; n++) {
        groups.addGroups("group " + n);
        pairs.putMetadata("key" + n, "v");
      }
      invalid(
          "",
          () -> create(one, somebody().setUserProfile(groups), false),
          () -> create(one, somebody().setUserProfile(CreateUserProfile.newBuilder().setGivenName("x".repeat(256))), false),
          () -> create(one, CreateUser.newBuilder().setEmail("nobody"), false),
          () -> update(ada.getId(), pairs));
    });

    report.check("[USR-10] lists of users and of an organization's users: newest first, pages, total_size", () -> {
      User newest = create(one, somebody(), false);
      ListOrganizationUsersRequest request = ListOrganizationUsersRequest.newBuilder().setPageSize(1).build();
      ListOrganizationUsersResponse page = api.listOrganizationUsers(one, request);
      ListOrganizationUsersResponse rest = api.listOrganizationUsers(one, request.toBuilder().setPageToken(page.getNextPageToken()).build());
      equal("newest of all", api.listUsers(ListUsersRequest.newBuilder().setPageSize(1).build()).getUsers(0).getId(), newest.getId());
      equal("first page", List.of(page.getUsers(0).getId(), page.getUsersCount(), page.getTotalSize()), List.of(newest.getId(), 1, 2));
      equal("second page", List.of(rest.getUsers(0).getId(), rest.getNextPageToken()), List.of(ada.getId(), ""));
    });

    report.check("[USR-11] search by part of the address, id and external id; the other organization has no such user", () -> {
      for (String query : List.of(email.substring(0, 12).toUpperCase(java.util.Locale.ROOT), ada.getId(), externalId)) {
        SearchOrganizationUsersRequest within = SearchOrganizationUsersRequest.newBuilder().setQuery(query).build();
        equal("found " + query, api.searchUsers(SearchUsersRequest.newBuilder().setQuery(query).build()).getUsersList().stream().map(User::getId).toList(), List.of(ada.getId()));
        equal("within", api.searchOrganizationUsers(one, within).getUsersList().stream().map(User::getId).toList(), List.of(ada.getId()));
        equal("elsewhere", api.searchOrganizationUsers(two, within).getUsersCount(), 0);
      }
      invalid("", () -> api.searchUsers(SearchUsersRequest.newBuilder().setQuery("ab").build()));
      notFound(() -> api.searchOrganizationUsers(NOWHERE, SearchOrganizationUsersRequest.newBuilder().setQuery("abc").build()));
    });

    report.check("[ERR-01] an unknown user and an unknown organization are not found", () ->
        notFound(
            () -> api.getUser(NOBODY),
            () -> update(NOBODY, UpdateUser.newBuilder().putMetadata("desk", "1")),
            () -> create(NOWHERE, somebody(), false),
            () -> api.listOrganizationUsers(NOWHERE, ListOrganizationUsersRequest.getDefaultInstance()),
            () -> join(one, NOBODY, CreateMembership.newBuilder().putMetadata("desk", "1")),
            () -> api.listUserRoles(one, NOBODY),
            () -> api.listUserPermissions(one, NOBODY)));
  }

  private static Role role(String name) {
    return Role.newBuilder().setName(name).build();
  }

  private void memberships() {
    User user = create(one, somebody(), false);
    String id = user.getId();
    CreateMembership.Builder wanted = CreateMembership.newBuilder().addRoles(role("admin")).putMetadata("team", "blue");

    report.check("[MEM-01] a user joins a second organization, with roles and metadata", () -> {
      OrganizationMembership joined = membership(join(two, id, wanted), two);
      equal("membership", List.of(roles(joined), joined.getMetadataMap()), List.of(List.of("admin"), Map.of("team", "blue")));
      equal("status", joined.getMembershipStatus(), MembershipStatus.ACTIVE);
    });

    report.check("[MEM-02] a membership that exists already is refused: by id, and for the address", () ->
        invalid("already exists", () -> join(two, id, wanted), () -> create(two, CreateUser.newBuilder().setEmail(user.getEmail()), false)));

    report.check("[MEM-03] an update replaces roles and metadata; what it leaves empty stays", () -> {
      OrganizationMembership member = change(two, id, UpdateMembership.newBuilder().addRoles(role("member")));
      equal("after new roles", List.of(roles(member), member.getMetadataMap()), List.of(List.of("member"), Map.of("team", "blue")));
      OrganizationMembership desk = change(two, id, UpdateMembership.newBuilder().putMetadata("desk", "9"));
      equal("after new metadata", List.of(roles(desk), desk.getMetadataMap()), List.of(List.of("member"), Map.of("desk", "9")));
    });

    report.check("the user's roles and permissions in one organization; an unknown role gives INVALID_ARGUMENT", () -> {
      equal("roles", api.listUserRoles(two, id).getRolesList().stream().map(found -> found.getName()).toList(), List.of("member"));
      equal(
          "permissions",
          api.listUserPermissions(two, id).getPermissionsList().stream().map(found -> found.getName()).sorted().toList(),
          List.of("sk_org_settings_read", "sk_org_users_read"));
      invalid("", () -> change(two, id, UpdateMembership.newBuilder().addRoles(role(Access.word("no")))));
    });

    report.check("a membership that was deleted is not found; the user stays for the other one", () -> {
      api.deleteMembership(two, id);
      equal("memberships", api.getUser(id).getUser().getMembershipsCount(), 1);
      notFound(() -> change(two, id, UpdateMembership.newBuilder().putMetadata("desk", "1")), () -> api.deleteMembership(two, id));
    });
  }

  private void seats() {
    report.check("[MEM-08] an organization that is full takes nobody: FAILED_PRECONDITION, which says the limit", () -> {
      create(two, somebody(), false);
      orgs.upsertUserManagementSettings(two, 1);
      stands("limit", () -> create(two, somebody(), false), () -> create(two, somebody(), true));
      orgs.upsertUserManagementSettings(two, null);
      create(two, somebody(), false);
    });
  }

  private void invitations() {
    User guest = create(one, somebody(), true);
    OrganizationMembership held = membership(guest, one);

    report.check("an invited user is pending, unverified, and the invitation runs out later", () -> {
      equal("status", held.getMembershipStatus(), MembershipStatus.PENDING_INVITE);
      equal("provisioning", held.getProvisioningMethod(), "invitation");
      equal("email_verified", guest.getUserProfile().getEmailVerified(), false);
      holds(held.getExpiresAt().getSeconds() - held.getCreatedAt().getSeconds() > 86_400, held.toString());
    });

    report.check("[INV-03] resending a valid invitation: pending, sent again once, same end", () -> {
      Invite invite = api.resendInvite(one, guest.getId()).getInvite();
      equal("invitation", List.of(invite.getOrganizationId(), invite.getUserId(), invite.getStatus()), List.of(one, guest.getId(), "PENDING_INVITE"));
      equal("resent", invite.getResentCount(), 1);
      equal("end", invite.getExpiresAt().getSeconds(), held.getExpiresAt().getSeconds());
      holds(invite.hasResentAt(), invite.toString());
    });

    report.check("[INV-05] no invitation for an active member, nor for an unknown user", () -> {
      User active = create(one, somebody(), false);
      try {
        api.resendInvite(one, active.getId());
        throw new AssertionError("an active member was invited again");
      } catch (APIException error) {
        holds(error.getGrpcStatusCode() == 3 || error.getGrpcStatusCode() == 9, error.getMessage());
      }
      notFound(() -> api.resendInvite(one, NOBODY));
    });
  }

  private void goodbye() {
    report.check("[USR-12] a deleted user is not found and in no list; the last membership takes the user along, as the SDK leaves cascade unset", () -> {
      String gone = create(api, one, somebody(), false).getId();
      String left = create(api, two, somebody(), false).getId();
      api.deleteUser(gone);
      api.deleteMembership(two, left);
      ListOrganizationUsersResponse listed = api.listOrganizationUsers(one, ListOrganizationUsersRequest.newBuilder().setPageSize(100).build());
      holds(listed.getUsersList().stream().noneMatch(user -> user.getId().equals(gone)), "still in the list");
      notFound(() -> api.getUser(gone), () -> api.getUser(left));
    });
  }
}
