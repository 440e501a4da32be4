package com.scalekit.api;

import com.scalekit.grpc.scalekit.v1.users.CreateMembershipRequest;
import com.scalekit.grpc.scalekit.v1.users.CreateMembershipResponse;
import com.scalekit.grpc.scalekit.v1.users.CreateUserAndMembershipRequest;
import com.scalekit.grpc.scalekit.v1.users.CreateUserAndMembershipResponse;
import com.scalekit.grpc.scalekit.v1.users.DeleteMembershipRequest;
import com.scalekit.grpc.scalekit.v1.users.DeleteUserRequest;
import com.scalekit.grpc.scalekit.v1.users.GetUserRequest;
import com.scalekit.grpc.scalekit.v1.users.GetUserResponse;
import com.scalekit.grpc.scalekit.v1.users.ListOrganizationUsersRequest;
import com.scalekit.grpc.scalekit.v1.users.ListOrganizationUsersResponse;
import com.scalekit.grpc.scalekit.v1.users.ListUserPermissionsRequest;
import com.scalekit.grpc.scalekit.v1.users.ListUserPermissionsResponse;
import com.scalekit.grpc.scalekit.v1.users.ListUserRolesRequest;
import com.scalekit.grpc.scalekit.v1.users.ListUserRolesResponse;
import com.scalekit.grpc.scalekit.v1.users.ListUsersRequest;
import com.scalekit.grpc.scalekit.v1.users.ListUsersResponse;
import com.scalekit.grpc.scalekit.v1.users.ResendInviteRequest;
import com.scalekit.grpc.scalekit.v1.users.ResendInviteResponse;
import com.scalekit.grpc.scalekit.v1.users.SearchOrganizationUsersRequest;
import com.scalekit.grpc.scalekit.v1.users.SearchOrganizationUsersResponse;
import com.scalekit.grpc.scalekit.v1.users.SearchUsersRequest;
import com.scalekit.grpc.scalekit.v1.users.SearchUsersResponse;
import com.scalekit.grpc.scalekit.v1.users.UpdateMembershipRequest;
import com.scalekit.grpc.scalekit.v1.users.UpdateMembershipResponse;
import com.scalekit.grpc.scalekit.v1.users.UpdateUserRequest;
import com.scalekit.grpc.scalekit.v1.users.UpdateUserResponse;
import com.scalekit.grpc.scalekit.v1.users.UserServiceGrpc;
import com.scalekit.grpc.scalekit.v1.users.UserServiceGrpc.UserServiceBlockingStub;
import java.util.function.Function;

/** Users, memberships and invitations, each call one RPC. Ids that a method takes go into the request that it is given. */
public final class UserClient {
  private final Calls calls;

  public UserClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<UserServiceBlockingStub, R> rpc) {
    return calls.call(UserServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public CreateUserAndMembershipResponse createUserAndMembership(String organizationId, CreateUserAndMembershipRequest request) {
    return call(stub -> stub.createUserAndMembership(request.toBuilder().setOrganizationId(organizationId).build()));
  }

  public GetUserResponse getUser(String userId) {
    return call(stub -> stub.getUser(GetUserRequest.newBuilder().setId(userId).build()));
  }

  public ListUsersResponse listUsers(ListUsersRequest request) {
    return call(stub -> stub.listUsers(request));
  }

  public ListOrganizationUsersResponse listOrganizationUsers(String organizationId, ListOrganizationUsersRequest request) {
    return call(stub -> stub.listOrganizationUsers(request.toBuilder().setOrganizationId(organizationId).build()));
  }

  public SearchUsersResponse searchUsers(SearchUsersRequest request) {
    return call(stub -> stub.searchUsers(request));
  }

  public SearchOrganizationUsersResponse searchOrganizationUsers(String organizationId, SearchOrganizationUsersRequest request) {
    return call(stub -> stub.searchOrganizationUsers(request.toBuilder().setOrganizationId(organizationId).build()));
  }

  public UpdateUserResponse updateUser(String userId, UpdateUserRequest request) {
    return call(stub -> stub.updateUser(request.toBuilder().setId(userId).build()));
  }

  public void deleteUser(String userId) {
    call(stub -> stub.deleteUser(DeleteUserRequest.newBuilder().setId(userId).build()));
  }

  public CreateMembershipResponse createMembership(String organizationId, String userId, CreateMembershipRequest request) {
    return call(stub -> stub.createMembership(request.toBuilder().setOrganizationId(organizationId).setId(userId).build()));
  }

  public UpdateMembershipResponse updateMembership(String organizationId, String userId, UpdateMembershipRequest request) {
    return call(stub -> stub.updateMembership(request.toBuilder().setOrganizationId(organizationId).setId(userId).build()));
  }

  /** Says nothing of whether the user goes with the last membership. */
  public void deleteMembership(String organizationId, String userId) {
    DeleteMembershipRequest request =
        DeleteMembershipRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setId(userId)
            .build();
    call(stub -> stub.deleteMembership(request));
  }

  public ResendInviteResponse resendInvite(String organizationId, String userId) {
    return call(stub -> stub.resendInvite(ResendInviteRequest.newBuilder().setOrganizationId(organizationId).setId(userId).build()));
  }

  public ListUserRolesResponse listUserRoles(String organizationId, String userId) {
    return call(stub -> stub.listUserRoles(ListUserRolesRequest.newBuilder().setOrganizationId(organizationId).setUserId(userId).build()));
  }

  public ListUserPermissionsResponse listUserPermissions(String organizationId, String userId) {
    ListUserPermissionsRequest request =
        ListUserPermissionsRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setUserId(userId)
            .build();
    return call(stub -> stub.listUserPermissions(request));
  }
}
