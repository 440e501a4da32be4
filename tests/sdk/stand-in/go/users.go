package scalekit

import (
	"context"

	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/users"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/users/usersconnect"
)

type (
	CreateUserAndMembershipResponse = users.CreateUserAndMembershipResponse
	UpdateUserResponse              = users.UpdateUserResponse
	GetUserResponse                 = users.GetUserResponse
	ListUsersResponse               = users.ListUsersResponse
	ListOrganizationUsersResponse   = users.ListOrganizationUsersResponse
	CreateMembershipResponse        = users.CreateMembershipResponse
	UpdateMembershipResponse        = users.UpdateMembershipResponse
	ListUserRolesResponse           = users.ListUserRolesResponse
	ListUserPermissionsResponse     = users.ListUserPermissionsResponse
)

type ListUsersOptions struct {
	PageSize  uint32
	PageToken string
}

// UserService has no siblings by external id: the SDK got those in 2.7.
type UserService interface {
	CreateUserAndMembership(ctx context.Context, organizationId string, user *users.CreateUser, sendInvitationEmail bool) (*CreateUserAndMembershipResponse, error)
	GetUser(ctx context.Context, userId string) (*GetUserResponse, error)
	ListUsers(ctx context.Context, options *ListUsersOptions) (*ListUsersResponse, error)
	ListOrganizationUsers(ctx context.Context, organizationId string, options *ListUsersOptions) (*ListOrganizationUsersResponse, error)
	UpdateUser(ctx context.Context, userId string, user *users.UpdateUser) (*UpdateUserResponse, error)
	DeleteUser(ctx context.Context, userId string) error
	CreateMembership(ctx context.Context, organizationId, userId string, membership *users.CreateMembership, sendInvitationEmail bool) (*CreateMembershipResponse, error)
	UpdateMembership(ctx context.Context, organizationId, userId string, membership *users.UpdateMembership) (*UpdateMembershipResponse, error)
	DeleteMembership(ctx context.Context, organizationId, userId string, cascade bool) error
	ResendInvite(ctx context.Context, organizationId, userId string) (*users.ResendInviteResponse, error)
	ListUserRoles(ctx context.Context, organizationId, userId string) (*ListUserRolesResponse, error)
	ListUserPermissions(ctx context.Context, organizationId, userId string) (*ListUserPermissionsResponse, error)
}

type userCalls service[usersconnect.UserServiceClient]

func (c *client) User() UserService {
	return &userCalls{c, grpcClient(c, usersconnect.NewUserServiceClient)}
}

// CreateUserAndMembership says whether to invite, always.
func (u *userCalls) CreateUserAndMembership(ctx context.Context, organizationId string, user *users.CreateUser, sendInvitationEmail bool) (*CreateUserAndMembershipResponse, error) {
	return call(ctx, u.c, u.rpcs.CreateUserAndMembership, &users.CreateUserAndMembershipRequest{OrganizationId: organizationId, User: user, SendInvitationEmail: &sendInvitationEmail})
}

func (u *userCalls) GetUser(ctx context.Context, userId string) (*GetUserResponse, error) {
	return call(ctx, u.c, u.rpcs.GetUser, &users.GetUserRequest{Identities: &users.GetUserRequest_Id{Id: userId}})
}

func (u *userCalls) ListUsers(ctx context.Context, options *ListUsersOptions) (*ListUsersResponse, error) {
	request := &users.ListUsersRequest{}
	if options != nil {
		request.PageSize, request.PageToken = options.PageSize, options.PageToken
	}
	return call(ctx, u.c, u.rpcs.ListUsers, request)
}

func (u *userCalls) ListOrganizationUsers(ctx context.Context, organizationId string, options *ListUsersOptions) (*ListOrganizationUsersResponse, error) {
	request := &users.ListOrganizationUsersRequest{OrganizationId: organizationId}
	if options != nil {
		request.PageSize, request.PageToken = options.PageSize, options.PageToken
	}
	return call(ctx, u.c, u.rpcs.ListOrganizationUsers, request)
}

func (u *userCalls) UpdateUser(ctx context.Context, userId string, user *users.UpdateUser) (*UpdateUserResponse, error) {
	return call(ctx, u.c, u.rpcs.UpdateUser, &users.UpdateUserRequest{Identities: &users.UpdateUserRequest_Id{Id: userId}, User: user})
}

func (u *userCalls) DeleteUser(ctx context.Context, userId string) error {
	return done(call(ctx, u.c, u.rpcs.DeleteUser, &users.DeleteUserRequest{Identities: &users.DeleteUserRequest_Id{Id: userId}}))
}

func (u *userCalls) CreateMembership(ctx context.Context, organizationId, userId string, membership *users.CreateMembership, sendInvitationEmail bool) (*CreateMembershipResponse, error) {
	return call(ctx, u.c, u.rpcs.CreateMembership, &users.CreateMembershipRequest{
		OrganizationId: organizationId, Identities: &users.CreateMembershipRequest_Id{Id: userId}, Membership: membership, SendInvitationEmail: &sendInvitationEmail,
	})
}

func (u *userCalls) UpdateMembership(ctx context.Context, organizationId, userId string, membership *users.UpdateMembership) (*UpdateMembershipResponse, error) {
	return call(ctx, u.c, u.rpcs.UpdateMembership, &users.UpdateMembershipRequest{
		OrganizationId: organizationId, Identities: &users.UpdateMembershipRequest_Id{Id: userId}, Membership: membership,
	})
}

// DeleteMembership alone of the SDKs' says whether the user goes with the last membership.
func (u *userCalls) DeleteMembership(ctx context.Context, organizationId, userId string, cascade bool) error {
	return done(call(ctx, u.c, u.rpcs.DeleteMembership, &users.DeleteMembershipRequest{
		OrganizationId: organizationId, Identities: &users.DeleteMembershipRequest_Id{Id: userId}, Cascade: &cascade,
	}))
}

func (u *userCalls) ResendInvite(ctx context.Context, organizationId, userId string) (*users.ResendInviteResponse, error) {
	return call(ctx, u.c, u.rpcs.ResendInvite, &users.ResendInviteRequest{OrganizationId: organizationId, Id: userId})
}

func (u *userCalls) ListUserRoles(ctx context.Context, organizationId, userId string) (*ListUserRolesResponse, error) {
	return call(ctx, u.c, u.rpcs.ListUserRoles, &users.ListUserRolesRequest{OrganizationId: organizationId, UserId: userId})
}

func (u *userCalls) ListUserPermissions(ctx context.Context, organizationId, userId string) (*ListUserPermissionsResponse, error) {
	return call(ctx, u.c, u.rpcs.ListUserPermissions, &users.ListUserPermissionsRequest{OrganizationId: organizationId, UserId: userId})
}
