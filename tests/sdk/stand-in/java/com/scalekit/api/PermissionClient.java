package com.scalekit.api;

import com.scalekit.grpc.scalekit.v1.roles.AddPermissionsToRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.AddPermissionsToRoleResponse;
import com.scalekit.grpc.scalekit.v1.roles.CreatePermissionRequest;
import com.scalekit.grpc.scalekit.v1.roles.CreatePermissionResponse;
import com.scalekit.grpc.scalekit.v1.roles.DeletePermissionRequest;
import com.scalekit.grpc.scalekit.v1.roles.GetPermissionRequest;
import com.scalekit.grpc.scalekit.v1.roles.GetPermissionResponse;
import com.scalekit.grpc.scalekit.v1.roles.ListEffectiveRolePermissionsRequest;
import com.scalekit.grpc.scalekit.v1.roles.ListEffectiveRolePermissionsResponse;
import com.scalekit.grpc.scalekit.v1.roles.ListPermissionsRequest;
import com.scalekit.grpc.scalekit.v1.roles.ListPermissionsResponse;
import com.scalekit.grpc.scalekit.v1.roles.ListRolePermissionsRequest;
import com.scalekit.grpc.scalekit.v1.roles.ListRolePermissionsResponse;
import com.scalekit.grpc.scalekit.v1.roles.RemovePermissionFromRoleRequest;
import com.scalekit.grpc.scalekit.v1.roles.RolesServiceGrpc.RolesServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.roles.RolesServiceGrpc;
import com.scalekit.grpc.scalekit.v1.roles.UpdatePermissionRequest;
import com.scalekit.grpc.scalekit.v1.roles.UpdatePermissionResponse;
import java.util.function.Function;

/** Permissions, and which a role has, each call one RPC. */
public final class PermissionClient {
  private final Calls calls;

  public PermissionClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<RolesServiceBlockingStub, R> rpc) {
    return calls.call(RolesServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public CreatePermissionResponse createPermission(CreatePermissionRequest request) {
    return call(stub -> stub.createPermission(request));
  }

  public GetPermissionResponse getPermission(String permissionName) {
    return call(stub -> stub.getPermission(GetPermissionRequest.newBuilder().setPermissionName(permissionName).build()));
  }

  public ListPermissionsResponse listPermissions() {
    return call(stub -> stub.listPermissions(ListPermissionsRequest.getDefaultInstance()));
  }

  public ListPermissionsResponse listPermissions(String pageToken) {
    return call(stub -> stub.listPermissions(ListPermissionsRequest.newBuilder().setPageToken(pageToken).build()));
  }

  public UpdatePermissionResponse updatePermission(String permissionName, UpdatePermissionRequest request) {
    return call(stub -> stub.updatePermission(request.toBuilder().setPermissionName(permissionName).build()));
  }

  public void deletePermission(String permissionName) {
    call(stub -> stub.deletePermission(DeletePermissionRequest.newBuilder().setPermissionName(permissionName).build()));
  }

  public ListRolePermissionsResponse listRolePermissions(String roleName) {
    return call(stub -> stub.listRolePermissions(ListRolePermissionsRequest.newBuilder().setRoleName(roleName).build()));
  }

  public AddPermissionsToRoleResponse addPermissionsToRole(String roleName, AddPermissionsToRoleRequest request) {
    return call(stub -> stub.addPermissionsToRole(request.toBuilder().setRoleName(roleName).build()));
  }

  public void removePermissionFromRole(String roleName, String permissionName) {
    RemovePermissionFromRoleRequest request =
        RemovePermissionFromRoleRequest.newBuilder()
            .setRoleName(roleName)
            .setPermissionName(permissionName)
            .build();
    call(stub -> stub.removePermissionFromRole(request));
  }

  public ListEffectiveRolePermissionsResponse listEffectiveRolePermissions(String roleName) {
    return call(stub -> stub.listEffectiveRolePermissions(ListEffectiveRolePermissionsRequest.newBuilder().setRoleName(roleName).build()));
  }
}
