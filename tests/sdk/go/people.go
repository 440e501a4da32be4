package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scalekit-inc/scalekit-sdk-go/v2"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/commons"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/users"
)

const (
	nobody  = "usr_100000000000000000"
	nowhere = "org_100000000000000000"
)

func address() string { return unique("gil") + "@example.com" }

// names of roles, permissions and whatever else has one, in order.
func names[T interface{ GetName() string }](found []T) []string {
	sorted := []string{}
	for _, one := range found {
		sorted = append(sorted, one.GetName())
	}
	slices.Sort(sorted)
	return sorted
}

func membershipIn(user *users.User, organizationID string) *commons.OrganizationMembership {
	for _, membership := range user.Memberships {
		if membership.OrganizationId == organizationID {
			return membership
		}
	}
	panic(fmt.Sprintf("no membership in %s: %v", organizationID, user.Memberships))
}

// maker makes somebody who is deleted at the end.
type maker func(organizationID string, user *users.CreateUser, invite bool) (*users.User, error)

func (s *session) people() {
	api := s.sdk.User()
	one := s.create("People One", scalekit.CreateOrganizationOptions{}).Id
	two := s.create("People Two", scalekit.CreateOrganizationOptions{}).Id
	var made []string
	create := func(organizationID string, user *users.CreateUser, invite bool) (*users.User, error) {
		answer, err := api.CreateUserAndMembership(s.ctx, organizationID, user, invite)
		if err != nil {
			return nil, err
		}
		made = append(made, answer.User.Id)
		return answer.User, nil
	}
	s.users(api, create, one)
	s.memberships(api, create, one, two)
	s.seats(api, create, two)
	s.invitations(api, create, one)
	s.goodbye(api, one, two)
	s.check("[USR-12 ORG-05] what the ring made is deleted again; a second delete of a user succeeds", func() error {
		for _, id := range append(made, made...) {
			if err := api.DeleteUser(s.ctx, id); err != nil {
				return err
			}
		}
		return first(s.orgs.DeleteOrganization(s.ctx, one), s.orgs.DeleteOrganization(s.ctx, two))
	})
}

func (s *session) users(api scalekit.UserService, create maker, org string) {
	email, externalID := address(), unique("person")
	var ada *users.User

	s.check("[USR-01] a user without an invitation is active, verified, and provisioned directly", func() error {
		ada = must(create(org, &users.CreateUser{
			Email: email, ExternalId: &externalID, Metadata: map[string]string{"desk": "7"},
			UserProfile: &users.CreateUserProfile{GivenName: "Ada", FamilyName: "Lovelace", Locale: "en-GB"},
		}, false))
		held := membershipIn(ada, org)
		return first(
			equal("email", ada.Email, email),
			equal("external id", ada.GetExternalId(), externalID),
			same("metadata", ada.Metadata, map[string]string{"desk": "7"}),
			equal("email_verified", ada.UserProfile.EmailVerified, true),
			equal("status", held.MembershipStatus, commons.MembershipStatus_ACTIVE),
			equal("provisioning", held.GetProvisioningMethod(), "direct_provision"),
		)
	})

	s.check("[USR-04] given and family name, all that this SDK's users send, come back as first and last name too", func() error {
		changed := &users.UpdateUser{UserProfile: &users.UpdateUserProfile{GivenName: pointer("Augusta"), FamilyName: pointer("King")}}
		before, after := ada.UserProfile, must(api.UpdateUser(s.ctx, ada.Id, changed)).User.UserProfile
		return first(
			equal("before", before.FirstName+" "+before.LastName, "Ada Lovelace"),
			equal("after", after.FirstName+" "+after.LastName+" "+after.GivenName+" "+after.FamilyName, "Augusta King Augusta King"),
			equal("locale, which the update left out", after.Locale, "en-GB"),
		)
	})

	s.check("[USR-09] get shows the environment and the membership with its role and permissions", func() error {
		found := must(api.GetUser(s.ctx, ada.Id)).User
		held := membershipIn(found, org)
		return first(
			holds(len(found.EnvironmentId) > 4 && found.EnvironmentId[:4] == "env_", "environment %q", found.EnvironmentId),
			same("roles", names(held.Roles), []string{"member"}),
			holds(slices.Contains(held.Permissions, "sk_org_users_read"), "permissions %v", held.Permissions),
		)
	})

	s.check("[USR-05 USR-07 USR-08] an external id in use, over-long names, too many groups and pairs are invalid arguments", func() error {
		pairs := map[string]string{}
		for n := range 21 {
			pairs[fmt.Sprintf("key%d", n)] = "v"
		}
		groups := make([]string, 51)
		for n := range groups {
			groups[n] = fmt.Sprintf("group %d", n)
		}
		long := strings.Repeat("x", 256)
		var refusals []error
		for _, over := range []*users.CreateUserProfile{{GivenName: long}, {Groups: groups}, {CustomAttributes: pairs}} {
			refusals = append(refusals, failure(create(org, &users.CreateUser{Email: address(), UserProfile: over}, false)))
		}
		refusals = append(refusals, failure(api.UpdateUser(s.ctx, ada.Id, &users.UpdateUser{Metadata: pairs})), failure(create(org, &users.CreateUser{Email: "nobody"}, false)))
		return first(
			invalid("already exists", failure(create(org, &users.CreateUser{Email: address(), ExternalId: &externalID}, false))),
			invalid("", refusals...),
		)
	})

	s.check("[USR-10] lists of users and of an organization's users: newest first, pages, total_size; no options mean the server's size", func() error {
		newest := must(create(org, &users.CreateUser{Email: address()}, false))
		page := must(api.ListOrganizationUsers(s.ctx, org, &scalekit.ListUsersOptions{PageSize: 1}))
		rest := must(api.ListOrganizationUsers(s.ctx, org, &scalekit.ListUsersOptions{PageSize: 1, PageToken: page.NextPageToken}))
		return first(
			equal("newest of all", must(api.ListUsers(s.ctx, &scalekit.ListUsersOptions{PageSize: 1})).Users[0].Id, newest.Id),
			equal("newest without options", must(api.ListUsers(s.ctx, nil)).Users[0].Id, newest.Id),
			equal("everybody without options", len(must(api.ListOrganizationUsers(s.ctx, org, nil)).Users), 2),
			equal("first page", fmt.Sprint(page.Users[0].Id, len(page.Users), page.TotalSize), fmt.Sprint(newest.Id, 1, 2)),
			equal("second page", rest.Users[0].Id+rest.NextPageToken, ada.Id),
		)
	})

	s.check("[ERR-01] an unknown user and an unknown organization are not found", func() error {
		return notFound(
			failure(api.GetUser(s.ctx, nobody)),
			failure(api.UpdateUser(s.ctx, nobody, &users.UpdateUser{Metadata: map[string]string{"desk": "1"}})),
			failure(create(nowhere, &users.CreateUser{Email: address()}, false)),
			failure(api.ListOrganizationUsers(s.ctx, nowhere, nil)),
			failure(api.CreateMembership(s.ctx, org, nobody, &users.CreateMembership{}, false)),
			failure(api.ListUserRoles(s.ctx, org, nobody)),
			failure(api.ListUserPermissions(s.ctx, org, nobody)),
		)
	})
}

// held are roles as a membership names them.
func held(names ...string) []*commons.Role {
	var found []*commons.Role
	for _, name := range names {
		found = append(found, &commons.Role{Name: name})
	}
	return found
}

func (s *session) memberships(api scalekit.UserService, create maker, one, two string) {
	var user *users.User
	s.check("[MEM-01] a user joins a second organization, with roles and metadata", func() error {
		user = must(create(one, &users.CreateUser{Email: address()}, false))
		wanted := &users.CreateMembership{Roles: held("admin"), Metadata: map[string]string{"team": "blue"}}
		joined := membershipIn(must(api.CreateMembership(s.ctx, two, user.Id, wanted, false)).User, two)
		return first(
			same("roles", names(joined.Roles), []string{"admin"}),
			same("metadata", joined.Metadata, map[string]string{"team": "blue"}),
			equal("status", joined.MembershipStatus, commons.MembershipStatus_ACTIVE),
		)
	})

	s.check("[MEM-02] a membership that exists already is refused: by id, and for the address", func() error {
		return invalid("already exists",
			failure(api.CreateMembership(s.ctx, two, user.Id, &users.CreateMembership{}, false)),
			failure(create(two, &users.CreateUser{Email: user.Email}, false)),
		)
	})

	s.check("[MEM-03] an update replaces roles and metadata; what it leaves empty stays", func() error {
		member := membershipIn(must(api.UpdateMembership(s.ctx, two, user.Id, &users.UpdateMembership{Roles: held("member")})).User, two)
		desk := membershipIn(must(api.UpdateMembership(s.ctx, two, user.Id, &users.UpdateMembership{Metadata: map[string]string{"desk": "9"}})).User, two)
		return first(
			equal("after new roles", fmt.Sprint(names(member.Roles), member.Metadata), "[member] map[team:blue]"),
			equal("after new metadata", fmt.Sprint(names(desk.Roles), desk.Metadata), "[member] map[desk:9]"),
		)
	})

	s.check("the user's roles and permissions in one organization; an unknown role is an invalid argument", func() error {
		return first(
			same("roles", names(must(api.ListUserRoles(s.ctx, two, user.Id)).Roles), []string{"member"}),
			same("permissions", names(must(api.ListUserPermissions(s.ctx, two, user.Id)).Permissions), []string{"sk_org_settings_read", "sk_org_users_read"}),
			invalid("", failure(api.UpdateMembership(s.ctx, two, user.Id, &users.UpdateMembership{Roles: held(word("no"))}))),
		)
	})

	s.check("without cascade, which only this SDK sends, a user outlives the last membership; gone memberships are not found", func() error {
		if err := first(api.DeleteMembership(s.ctx, two, user.Id, false), api.DeleteMembership(s.ctx, one, user.Id, false)); err != nil {
			return err
		}
		return first(
			equal("memberships", len(must(api.GetUser(s.ctx, user.Id)).User.Memberships), 0),
			notFound(
				failure(api.UpdateMembership(s.ctx, two, user.Id, &users.UpdateMembership{Metadata: map[string]string{"desk": "1"}})),
				api.DeleteMembership(s.ctx, two, user.Id, false),
				failure(api.ListUserRoles(s.ctx, two, user.Id)),
			),
		)
	})
}

func (s *session) seats(api scalekit.UserService, create maker, org string) {
	s.check("[MEM-08] an organization that is full takes nobody: a precondition that fails, and says the limit", func() error {
		must(create(org, &users.CreateUser{Email: address()}, false))
		must(s.orgs.UpsertUserManagementSettings(s.ctx, org, scalekit.OrganizationUserManagementSettings{MaxAllowedUsers: pointer(int32(1))}))
		full := first(
			stands("limit", failure(create(org, &users.CreateUser{Email: address()}, false))),
			stands("limit", failure(create(org, &users.CreateUser{Email: address()}, true))),
		)
		must(s.orgs.UpsertUserManagementSettings(s.ctx, org, scalekit.OrganizationUserManagementSettings{}))
		must(create(org, &users.CreateUser{Email: address()}, false))
		return full
	})
}

func (s *session) invitations(api scalekit.UserService, create maker, org string) {
	var guest *users.User
	var held *commons.OrganizationMembership
	s.check("an invited user is pending, unverified, and the invitation runs out later", func() error {
		guest = must(create(org, &users.CreateUser{Email: address()}, true))
		held = membershipIn(guest, org)
		return first(
			equal("status", held.MembershipStatus, commons.MembershipStatus_PENDING_INVITE),
			equal("provisioning", held.GetProvisioningMethod(), "invitation"),
			equal("email_verified", guest.UserProfile.EmailVerified, false),
			holds(held.ExpiresAt.AsTime().Sub(held.CreatedAt.AsTime()) > 24*time.Hour, "runs out at %v", held.ExpiresAt.AsTime()),
		)
	})

	s.check("[INV-03] resending a valid invitation: pending, sent again once, same end", func() error {
		invite := must(api.ResendInvite(s.ctx, org, guest.Id)).Invite
		return first(
			equal("invitation", invite.OrganizationId+invite.UserId+invite.Status, org+guest.Id+"PENDING_INVITE"),
			equal("resent", invite.ResentCount, 1),
			equal("end", invite.ExpiresAt.AsTime(), held.ExpiresAt.AsTime()),
			holds(invite.ResentAt != nil, "no resent_at"),
		)
	})

	s.check("[INV-05] no invitation for an active member, nor for an unknown user", func() error {
		active := must(create(org, &users.CreateUser{Email: address()}, false))
		return first(
			holds(failure(api.ResendInvite(s.ctx, org, active.Id)) != nil, "an active member was invited again"),
			notFound(failure(api.ResendInvite(s.ctx, org, nobody))),
		)
	})
}

func (s *session) goodbye(api scalekit.UserService, one, two string) {
	s.check("[USR-12] a deleted user is not found and in no list; with cascade the last membership takes the user along", func() error {
		gone := must(api.CreateUserAndMembership(s.ctx, one, &users.CreateUser{Email: address()}, false)).User.Id
		left := must(api.CreateUserAndMembership(s.ctx, two, &users.CreateUser{Email: address()}, false)).User.Id
		if err := first(api.DeleteUser(s.ctx, gone), api.DeleteMembership(s.ctx, two, left, true)); err != nil {
			return err
		}
		for _, user := range must(api.ListOrganizationUsers(s.ctx, one, nil)).Users {
			if user.Id == gone {
				return fmt.Errorf("still in the list")
			}
		}
		return notFound(failure(api.GetUser(s.ctx, gone)), failure(api.GetUser(s.ctx, left)))
	})
}
