package scalekit

import (
	"context"

	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/roles"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/roles/rolesconnect"
)

type (
	CreateRoleResponse                     = roles.CreateRoleResponse
	GetRoleResponse                        = roles.GetRoleResponse
	ListRolesResponse                      = roles.ListRolesResponse
	UpdateRoleResponse                     = roles.UpdateRoleResponse
	GetRoleUsersCountResponse              = roles.GetRoleUsersCountResponse
	UpdateDefaultRolesResponse             = roles.UpdateDefaultRolesResponse
	ListDependentRolesResponse             = roles.ListDependentRolesResponse
	CreateOrganizationRoleResponse         = roles.CreateOrganizationRoleResponse
	GetOrganizationRoleResponse            = roles.GetOrganizationRoleResponse
	ListOrganizationRolesResponse          = roles.ListOrganizationRolesResponse
	UpdateOrganizationRoleResponse         = roles.UpdateOrganizationRoleResponse
	GetOrganizationRoleUsersCountResponse  = roles.GetOrganizationRoleUsersCountResponse
	UpdateDefaultOrganizationRolesResponse = roles.UpdateDefaultOrganizationRolesResponse
	CreatePermissionResponse               = roles.CreatePermissionResponse
	GetPermissionResponse                  = roles.GetPermissionResponse
	ListPermissionsResponse                = roles.ListPermissionsResponse
	UpdatePermissionResponse               = roles.UpdatePermissionResponse
	ListRolePermissionsResponse            = roles.ListRolePermissionsResponse
	AddPermissionsToRoleResponse           = roles.AddPermissionsToRoleResponse
	ListEffectiveRolePermissionsResponse   = roles.ListEffectiveRolePermissionsResponse
)

type RoleService interface {
	CreateRole(ctx context.Context, role *roles.CreateRole) (*CreateRoleResponse, error)
	GetRole(ctx context.Context, roleName string) (*GetRoleResponse, error)
	ListRoles(ctx context.Context) (*ListRolesResponse, error)
	UpdateRole(ctx context.Context, roleName string, role *roles.UpdateRole) (*UpdateRoleResponse, error)
	DeleteRole(ctx context.Context, roleName string, reassignRoleName ...string) error
	DeleteRoleBase(ctx context.Context, roleName string) error
	GetRoleUsersCount(ctx context.Context, roleName string) (*GetRoleUsersCountResponse, error)
	UpdateDefaultRoles(ctx context.Context, defaultCreatorRole, defaultMemberRole string) (*UpdateDefaultRolesResponse, error)
	ListDependentRoles(ctx context.Context, roleName string) (*ListDependentRolesResponse, error)
	CreateOrganizationRole(ctx context.Context, orgId string, role *roles.CreateOrganizationRole) (*CreateOrganizationRoleResponse, error)
	GetOrganizationRole(ctx context.Context, orgId, roleName string) (*GetOrganizationRoleResponse, error)
	ListOrganizationRoles(ctx context.Context, orgId string) (*ListOrganizationRolesResponse, error)
	UpdateOrganizationRole(ctx context.Context, orgId, roleName string, role *roles.UpdateRole) (*UpdateOrganizationRoleResponse, error)
	DeleteOrganizationRole(ctx context.Context, orgId, roleName string, reassignRoleName ...string) error
	DeleteOrganizationRoleBase(ctx context.Context, orgId, roleName string) error
	GetOrganizationRoleUsersCount(ctx context.Context, orgId, roleName string) (*GetOrganizationRoleUsersCountResponse, error)
	UpdateDefaultOrganizationRoles(ctx context.Context, orgId, defaultMemberRole string) (*UpdateDefaultOrganizationRolesResponse, error)
}

type roleCalls service[rolesconnect.RolesServiceClient]

func (c *client) Role() RoleService {
	return &roleCalls{c, grpcClient(c, rolesconnect.NewRolesServiceClient)}
}

// named is the first of an optional argument.
func named(name []string) *string {
	if len(name) == 0 {
		return nil
	}
	return &name[0]
}

func (r *roleCalls) CreateRole(ctx context.Context, role *roles.CreateRole) (*CreateRoleResponse, error) {
	return call(ctx, r.c, r.rpcs.CreateRole, &roles.CreateRoleRequest{Role: role})
}

func (r *roleCalls) GetRole(ctx context.Context, roleName string) (*GetRoleResponse, error) {
	return call(ctx, r.c, r.rpcs.GetRole, &roles.GetRoleRequest{RoleName: roleName})
}

func (r *roleCalls) ListRoles(ctx context.Context) (*ListRolesResponse, error) {
	return call(ctx, r.c, r.rpcs.ListRoles, &roles.ListRolesRequest{})
}

func (r *roleCalls) UpdateRole(ctx context.Context, roleName string, role *roles.UpdateRole) (*UpdateRoleResponse, error) {
	return call(ctx, r.c, r.rpcs.UpdateRole, &roles.UpdateRoleRequest{RoleName: roleName, Role: role})
}

func (r *roleCalls) DeleteRole(ctx context.Context, roleName string, reassignRoleName ...string) error {
	return done(call(ctx, r.c, r.rpcs.DeleteRole, &roles.DeleteRoleRequest{RoleName: roleName, ReassignRoleName: named(reassignRoleName)}))
}

func (r *roleCalls) DeleteRoleBase(ctx context.Context, roleName string) error {
	return done(call(ctx, r.c, r.rpcs.DeleteRoleBase, &roles.DeleteRoleBaseRequest{RoleName: roleName}))
}

func (r *roleCalls) GetRoleUsersCount(ctx context.Context, roleName string) (*GetRoleUsersCountResponse, error) {
	return call(ctx, r.c, r.rpcs.GetRoleUsersCount, &roles.GetRoleUsersCountRequest{RoleName: roleName})
}

// UpdateDefaultRoles sends both names, even an empty one.
func (r *roleCalls) UpdateDefaultRoles(ctx context.Context, defaultCreatorRole, defaultMemberRole string) (*UpdateDefaultRolesResponse, error) {
	return call(ctx, r.c, r.rpcs.UpdateDefaultRoles, &roles.UpdateDefaultRolesRequest{DefaultCreatorRole: &defaultCreatorRole, DefaultMemberRole: &defaultMemberRole})
}

func (r *roleCalls) ListDependentRoles(ctx context.Context, roleName string) (*ListDependentRolesResponse, error) {
	return call(ctx, r.c, r.rpcs.ListDependentRoles, &roles.ListDependentRolesRequest{RoleName: roleName})
}

func (r *roleCalls) CreateOrganizationRole(ctx context.Context, orgId string, role *roles.CreateOrganizationRole) (*CreateOrganizationRoleResponse, error) {
	return call(ctx, r.c, r.rpcs.CreateOrganizationRole, &roles.CreateOrganizationRoleRequest{OrgId: orgId, Role: role})
}

func (r *roleCalls) GetOrganizationRole(ctx context.Context, orgId, roleName string) (*GetOrganizationRoleResponse, error) {
	return call(ctx, r.c, r.rpcs.GetOrganizationRole, &roles.GetOrganizationRoleRequest{OrgId: orgId, RoleName: roleName})
}

func (r *roleCalls) ListOrganizationRoles(ctx context.Context, orgId string) (*ListOrganizationRolesResponse, error) {
	return call(ctx, r.c, r.rpcs.ListOrganizationRoles, &roles.ListOrganizationRolesRequest{OrgId: orgId})
}

func (r *roleCalls) UpdateOrganizationRole(ctx context.Context, orgId, roleName string, role *roles.UpdateRole) (*UpdateOrganizationRoleResponse, error) {
	return call(ctx, r.c, r.rpcs.UpdateOrganizationRole, &roles.UpdateOrganizationRoleRequest{OrgId: orgId, RoleName: roleName, Role: role})
}

func (r *roleCalls) DeleteOrganizationRole(ctx context.Context, orgId, roleName string, reassignRoleName ...string) error {
	return done(call(ctx, r.c, r.rpcs.DeleteOrganizationRole, &roles.DeleteOrganizationRoleRequest{
		OrgId: orgId, RoleName: roleName, ReassignRoleName: named(reassignRoleName),
	}))
}

func (r *roleCalls) DeleteOrganizationRoleBase(ctx context.Context, orgId, roleName string) error {
	return done(call(ctx, r.c, r.rpcs.DeleteOrganizationRoleBase, &roles.DeleteOrganizationRoleBaseRequest{OrgId: orgId, RoleName: roleName}))
}

func (r *roleCalls) GetOrganizationRoleUsersCount(ctx context.Context, orgId, roleName string) (*GetOrganizationRoleUsersCountResponse, error) {
	return call(ctx, r.c, r.rpcs.GetOrganizationRoleUsersCount, &roles.GetOrganizationRoleUsersCountRequest{OrgId: orgId, RoleName: roleName})
}

func (r *roleCalls) UpdateDefaultOrganizationRoles(ctx context.Context, orgId, defaultMemberRole string) (*UpdateDefaultOrganizationRolesResponse, error) {
	return call(ctx, r.c, r.rpcs.UpdateDefaultOrganizationRoles, &roles.UpdateDefaultOrganizationRolesRequest{OrgId: orgId, DefaultMemberRole: defaultMemberRole})
}

type PermissionService interface {
	CreatePermission(ctx context.Context, permission *roles.CreatePermission) (*CreatePermissionResponse, error)
	GetPermission(ctx context.Context, permissionName string) (*GetPermissionResponse, error)
	ListPermissions(ctx context.Context, pageToken string, pageSize uint32) (*ListPermissionsResponse, error)
	UpdatePermission(ctx context.Context, permissionName string, permission *roles.CreatePermission) (*UpdatePermissionResponse, error)
	DeletePermission(ctx context.Context, permissionName string) error
	ListRolePermissions(ctx context.Context, roleName string) (*ListRolePermissionsResponse, error)
	AddPermissionsToRole(ctx context.Context, roleName string, permissionNames []string) (*AddPermissionsToRoleResponse, error)
	RemovePermissionFromRole(ctx context.Context, roleName, permissionName string) error
	ListEffectiveRolePermissions(ctx context.Context, roleName string) (*ListEffectiveRolePermissionsResponse, error)
}

type permissionCalls service[rolesconnect.RolesServiceClient]

func (c *client) Permission() PermissionService {
	return &permissionCalls{c, grpcClient(c, rolesconnect.NewRolesServiceClient)}
}

func (p *permissionCalls) CreatePermission(ctx context.Context, permission *roles.CreatePermission) (*CreatePermissionResponse, error) {
	return call(ctx, p.c, p.rpcs.CreatePermission, &roles.CreatePermissionRequest{Permission: permission})
}

func (p *permissionCalls) GetPermission(ctx context.Context, permissionName string) (*GetPermissionResponse, error) {
	return call(ctx, p.c, p.rpcs.GetPermission, &roles.GetPermissionRequest{PermissionName: permissionName})
}

func (p *permissionCalls) ListPermissions(ctx context.Context, pageToken string, pageSize uint32) (*ListPermissionsResponse, error) {
	return call(ctx, p.c, p.rpcs.ListPermissions, &roles.ListPermissionsRequest{PageToken: given(pageToken), PageSize: given(pageSize)})
}

func (p *permissionCalls) UpdatePermission(ctx context.Context, permissionName string, permission *roles.CreatePermission) (*UpdatePermissionResponse, error) {
	return call(ctx, p.c, p.rpcs.UpdatePermission, &roles.UpdatePermissionRequest{PermissionName: permissionName, Permission: permission})
}

func (p *permissionCalls) DeletePermission(ctx context.Context, permissionName string) error {
	return done(call(ctx, p.c, p.rpcs.DeletePermission, &roles.DeletePermissionRequest{PermissionName: permissionName}))
}

func (p *permissionCalls) ListRolePermissions(ctx context.Context, roleName string) (*ListRolePermissionsResponse, error) {
	return call(ctx, p.c, p.rpcs.ListRolePermissions, &roles.ListRolePermissionsRequest{RoleName: roleName})
}

func (p *permissionCalls) AddPermissionsToRole(ctx context.Context, roleName string, permissionNames []string) (*AddPermissionsToRoleResponse, error) {
	return call(ctx, p.c, p.rpcs.AddPermissionsToRole, &roles.AddPermissionsToRoleRequest{RoleName: roleName, PermissionNames: permissionNames})
}

func (p *permissionCalls) RemovePermissionFromRole(ctx context.Context, roleName, permissionName string) error {
	return done(call(ctx, p.c, p.rpcs.RemovePermissionFromRole, &roles.RemovePermissionFromRoleRequest{RoleName: roleName, PermissionName: permissionName}))
}

func (p *permissionCalls) ListEffectiveRolePermissions(ctx context.Context, roleName string) (*ListEffectiveRolePermissionsResponse, error) {
	return call(ctx, p.c, p.rpcs.ListEffectiveRolePermissions, &roles.ListEffectiveRolePermissionsRequest{RoleName: roleName})
}
