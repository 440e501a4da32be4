package com.scalekit.api;

import com.scalekit.grpc.scalekit.v1.roles.CreateOrganizationRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.CreateOrganizationRoleResponse;
import com.scalekit.grpc.scalekit.v1.roles.CreateRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.CreateRoleResponse;
import com.scalekit.grpc.scalekit.v1.roles.DeleteOrganizationRoleBaseRequest;
import com.scalekit.grpc.scalekit.v1.roles.DeleteOrganizationRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.DeleteRoleBaseRequest;
import com.scalekit.grpc.scalekit.v1.roles.DeleteRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.GetOrganizationRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.GetOrganizationRoleResponse;
import com.scalekit.grpc.scalekit.v1.roles.GetOrganizationRoleUsersCountRequest;
import com.scalekit.grpc.scalekit.v1.roles.GetOrganizationRoleUsersCountResponse;
import com.scalekit.grpc.scalekit.v1.roles.GetRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.GetRoleResponse;
import com.scalekit.grpc.scalekit.v1.roles.GetRoleUsersCountRequest;
import com.scalekit.grpc.scalekit.v1.roles.GetRoleUsersCountResponse;
import com.scalekit.grpc.scalekit.v1.roles.ListDependentRolesRequest;
import com.scalekit.grpc.scalekit.v1.roles.ListDependentRolesResponse;
import com.scalekit.grpc.scalekit.v1.roles.ListOrganizationRolesRequest;
import com.scalekit.grpc.scalekit.v1.roles.ListOrganizationRolesResponse;
import com.scalekit.grpc.scalekit.v1.roles.ListRolesRequest;
import com.scalekit.grpc.scalekit.v1.roles.ListRolesResponse;
import com.scalekit.grpc.scalekit.v1.roles.RolesServiceGrpc.RolesServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.roles.RolesServiceGrpc;
import com.scalekit.grpc.scalekit.v1.roles.UpdateDefaultOrganizationRolesRequest;
import com.scalekit.grpc.scalekit.v1.roles.UpdateDefaultOrganizationRolesResponse;
import com.scalekit.grpc.scalekit.v1.roles.UpdateDefaultRolesRequest;
import com.scalekit.grpc.scalekit.v1.roles.UpdateDefaultRolesResponse;
import com.scalekit.grpc.scalekit.v1.roles.UpdateOrganizationRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.UpdateOrganizationRoleResponse;
import com.scalekit.grpc.scalekit.v1.roles.UpdateRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.UpdateRoleResponse;
import java.util.function.Function;

/** Roles of the environment and of organizations, each call one RPC. */
public final class RoleClient {
  private final Calls calls;

  public RoleClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<RolesServiceBlockingStub, R> rpc) {
    return calls.call(RolesServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public CreateRoleResponse createRole(CreateRoleRequest request) {
    return call(stub -> stub.createRole(request));
  }

  public GetRoleResponse getRole(String roleName) {
    return call(stub -> stub.getRole(GetRoleRequest.newBuilder().setRoleName(roleName).build()));
  }

  public ListRolesResponse listRoles() {
    return call(stub -> stub.listRoles(ListRolesRequest.getDefaultInstance()));
  }

  public UpdateRoleResponse updateRole(String roleName, UpdateRoleRequest request) {
    return call(stub -> stub.updateRole(request.toBuilder().setRoleName(roleName).build()));
  }

  public void deleteRole(String roleName) {
    call(stub -> stub.deleteRole(DeleteRoleRequest.newBuilder().setRoleName(roleName).build()));
  }

  public void deleteRole(String roleName, String reassignRoleName) {
    call(stub -> stub.deleteRole(DeleteRoleRequest.newBuilder().setRoleName(roleName).setReassignRoleName(reassignRoleName).build()));
  }

  public void deleteRoleBase(String roleName) {
    call(stub -> stub.deleteRoleBase(DeleteRoleBaseRequest.newBuilder().setRoleName(roleName).build()));
  }

  public GetRoleUsersCountResponse getRoleUsersCount(String roleName) {
    return call(stub -> stub.getRoleUsersCount(GetRoleUsersCountRequest.newBuilder().setRoleName(roleName).build()));
  }

  /** {@code null} leaves the one default that it stands for. */
  public UpdateDefaultRolesResponse updateDefaultRoles(String defaultCreatorRole, String defaultMemberRole) {
    UpdateDefaultRolesRequest.Builder request = UpdateDefaultRolesRequest.newBuilder();
    if (defaultCreatorRole != null) {
      request.setDefaultCreatorRole(defaultCreatorRole);
    }
    if (defaultMemberRole != null) {
      request.setDefaultMemberRole(defaultMemberRole);
    }
    return call(stub -> stub.updateDefaultRoles(request.build()));
  }

  public ListDependentRolesResponse listDependentRoles(String roleName) {
    return call(stub -> stub.listDependentRoles(ListDependentRolesRequest.newBuilder().setRoleName(roleName).build()));
  }

  public CreateOrganizationRoleResponse createOrganizationRole(String orgId, CreateOrganizationRoleRequest request) {
    return call(stub -> stub.createOrganizationRole(request.toBuilder().setOrgId(orgId).build()));
  }

  public GetOrganizationRoleResponse getOrganizationRole(String orgId, String roleName) {
    return call(stub -> stub.getOrganizationRole(GetOrganizationRoleRequest.newBuilder().setOrgId(orgId).setRoleName(roleName).build()));
  }

  public ListOrganizationRolesResponse listOrganizationRoles(String orgId) {
    return call(stub -> stub.listOrganizationRoles(ListOrganizationRolesRequest.newBuilder().setOrgId(orgId).build()));
  }

  public UpdateOrganizationRoleResponse updateOrganizationRole(String orgId, String roleName, UpdateOrganizationRoleRequest request) {
    return call(stub -> stub.updateOrganizationRole(request.toBuilder().setOrgId(orgId).setRoleName(roleName).build()));
  }

  public void deleteOrganizationRole(String orgId, String roleName) {
    call(stub -> stub.deleteOrganizationRole(DeleteOrganizationRoleRequest.newBuilder().setOrgId(orgId).setRoleName(roleName).build()));
  }

  public void deleteOrganizationRole(String orgId, String roleName, String reassignRoleName) {
    DeleteOrganizationRoleRequest request =
        DeleteOrganizationRoleRequest.newBuilder()
            .setOrgId(orgId)
            .setRoleName(roleName)
            .setReassignRoleName(reassignRoleName)
            .build();
    call(stub -> stub.deleteOrganizationRole(request));
  }

  public void deleteOrganizationRoleBase(String orgId, String roleName) {
    DeleteOrganizationRoleBaseRequest request =
        DeleteOrganizationRoleBaseRequest.newBuilder()
            .setOrgId(orgId)
            .setRoleName(roleName)
            .build();
    call(stub -> stub.deleteOrganizationRoleBase(request));
  }

  public GetOrganizationRoleUsersCountResponse getOrganizationRoleUsersCount(String orgId, String roleName) {
    GetOrganizationRoleUsersCountRequest request =
        GetOrganizationRoleUsersCountRequest.newBuilder()
            .setOrgId(orgId)
            .setRoleName(roleName)
            .build();
    return call(stub -> stub.getOrganizationRoleUsersCount(request));
  }

  public UpdateDefaultOrganizationRolesResponse updateDefaultOrganizationRoles(String orgId, UpdateDefaultOrganizationRolesRequest request) {
    return call(stub -> stub.updateDefaultOrganizationRoles(request.toBuilder().setOrgId(orgId).build()));
  }
}
