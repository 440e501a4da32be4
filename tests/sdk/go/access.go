package main

import (
	"fmt"
	"strings"

	"github.com/scalekit-inc/scalekit-sdk-go/v2"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/roles"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/users"
)

const assigned = "role cannot be deleted as it is assigned to users"

func word(prefix string) string { return strings.ReplaceAll(unique(prefix), "-", "_") }

func (s *session) access() {
	org := s.create("Access", scalekit.CreateOrganizationOptions{}).Id
	read, write := word("docs")+":read", word("docs")+":write"
	s.permissions(read, write)
	s.environmentRoles(org, read, write)
	s.organizationRoles(org, read)
	s.defaults(org)
	s.check("a deleted permission is not found", func() error {
		api := s.sdk.Permission()
		for _, name := range []string{read, write} {
			if err := api.DeletePermission(s.ctx, name); err != nil {
				return err
			}
		}
		return first(
			notFound(failure(api.GetPermission(s.ctx, read)), api.DeletePermission(s.ctx, read)),
			s.orgs.DeleteOrganization(s.ctx, org),
		)
	})
}

func (s *session) permissions(read, write string) {
	api := s.sdk.Permission()
	s.check("permissions: create, get, update of the description, the newest first in the list", func() error {
		made := must(api.CreatePermission(s.ctx, &roles.CreatePermission{Name: read, Description: "Read documents"})).Permission
		must(api.CreatePermission(s.ctx, &roles.CreatePermission{Name: write, Description: "Write documents"}))
		changed := must(api.UpdatePermission(s.ctx, read, &roles.CreatePermission{Name: read, Description: "Read all documents"})).Permission
		page := must(api.ListPermissions(s.ctx, "", 1))
		next := must(api.ListPermissions(s.ctx, page.NextPageToken, 1))
		return first(
			holds(strings.HasPrefix(made.Id, "perm_") && !made.IsScalekitPermission, "made %v", made),
			equal("made", made.Name+" "+made.Description, read+" Read documents"),
			equal("changed", changed.Description, "Read all documents"),
			equal("found", must(api.GetPermission(s.ctx, read)).Permission.Description, "Read all documents"),
			equal("pages", fmt.Sprint(names(page.Permissions), names(next.Permissions)), fmt.Sprint([]string{write}, []string{read})),
			holds(len(must(api.ListPermissions(s.ctx, "", 0)).Permissions) > 2, "without a page size"),
		)
	})

	s.check("a permission that exists, and names with a hyphen or the reserved sk_, are invalid arguments", func() error {
		made := func(name string) error {
			return failure(api.CreatePermission(s.ctx, &roles.CreatePermission{Name: name, Description: "x"}))
		}
		return first(invalid("already exists", made(read)), invalid("", made("docs-read"), made(word("sk"))))
	})
}

func (s *session) environmentRoles(org, read, write string) {
	api, permissions, people := s.sdk.Role(), s.sdk.Permission(), s.sdk.User()
	base, child := word("editor"), word("chief")

	s.check("roles: create with a base, get, list, update, dependents", func() error {
		made := must(api.CreateRole(s.ctx, &roles.CreateRole{Name: base, DisplayName: "Editor", Permissions: []string{read}})).Role
		below := must(api.CreateRole(s.ctx, &roles.CreateRole{Name: child, DisplayName: "Chief", Extends: &base})).Role
		updated := must(api.UpdateRole(s.ctx, base, &roles.UpdateRole{DisplayName: pointer("Editor in charge")})).Role
		listed := fmt.Sprint(names(must(api.ListRoles(s.ctx)).Roles))
		return first(
			holds(strings.HasPrefix(made.Id, "role_") && !made.IsOrgRole && !made.DefaultCreator && !made.DefaultMember, "made %v", made),
			equal("base", below.GetExtends()+must(api.GetRole(s.ctx, child)).Role.GetExtends(), base+base),
			equal("updated", updated.Name+" "+updated.DisplayName, base+" Editor in charge"),
			holds(strings.Contains(listed, "admin") && strings.Contains(listed, base) && strings.Contains(listed, child), "listed %s", listed),
			same("dependents", names(must(api.ListDependentRoles(s.ctx, base)).Roles), []string{child}),
		)
	})

	s.check("permissions of a role: add keeps the others, effective ones include the base's, remove", func() error {
		added := must(permissions.AddPermissionsToRole(s.ctx, child, []string{write}))
		own := must(permissions.ListRolePermissions(s.ctx, child))
		effective := fmt.Sprint(names(must(permissions.ListEffectiveRolePermissions(s.ctx, child)).Permissions))
		if err := permissions.RemovePermissionFromRole(s.ctx, child, write); err != nil {
			return err
		}
		unknown := word("no")
		return first(
			equal("added and own", fmt.Sprint(names(added.Permissions), names(own.Permissions)), fmt.Sprint([]string{write}, []string{write})),
			holds(strings.Contains(effective, read) && strings.Contains(effective, write), "effective %s", effective),
			equal("after removal", len(must(permissions.ListRolePermissions(s.ctx, child)).Permissions), 0),
			notFound(
				permissions.RemovePermissionFromRole(s.ctx, child, unknown+":thing"),
				failure(permissions.ListRolePermissions(s.ctx, unknown)),
				failure(permissions.ListEffectiveRolePermissions(s.ctx, unknown)),
				failure(permissions.AddPermissionsToRole(s.ctx, unknown, []string{write})),
			),
		)
	})

	s.check("without its base a role has its own permissions only", func() error {
		if err := api.DeleteRoleBase(s.ctx, child); err != nil {
			return err
		}
		return first(
			holds(must(api.GetRole(s.ctx, child)).Role.Extends == nil, "extends is still set"),
			equal("effective", len(must(permissions.ListEffectiveRolePermissions(s.ctx, child)).Permissions), 0),
		)
	})

	s.check("a role that users hold: "+assigned+"; with a replacement they get that one", func() error {
		membership := &users.CreateMembership{Roles: held(child)}
		user := must(people.CreateUserAndMembership(s.ctx, org, &users.CreateUser{Email: address(), Membership: membership}, false)).User.Id
		count := must(api.GetRoleUsersCount(s.ctx, child)).Count
		held := api.DeleteRole(s.ctx, child)
		if err := api.DeleteRole(s.ctx, child, base); err != nil {
			return err
		}
		return first(
			equal("count", count, 1),
			stands(assigned, held),
			same("roles", names(must(people.ListUserRoles(s.ctx, org, user)).Roles), []string{base}),
			same("permissions", names(must(people.ListUserPermissions(s.ctx, org, user)).Permissions), []string{read}),
			notFound(failure(api.GetRole(s.ctx, child))),
			people.DeleteUser(s.ctx, user),
			equal("count afterwards", must(api.GetRoleUsersCount(s.ctx, base)).Count, 0),
		)
	})

	s.check("a role name that exists, a malformed one and an unknown base are invalid; an unknown role is not found", func() error {
		unknown := word("no")
		return first(
			invalid("",
				failure(api.CreateRole(s.ctx, &roles.CreateRole{Name: base, DisplayName: "Twin"})),
				failure(api.CreateRole(s.ctx, &roles.CreateRole{Name: "not-a-name", DisplayName: "x"})),
				failure(api.CreateRole(s.ctx, &roles.CreateRole{Name: word("orphan"), DisplayName: "x", Extends: &unknown})),
			),
			notFound(
				failure(api.GetRole(s.ctx, unknown)),
				failure(api.UpdateRole(s.ctx, unknown, &roles.UpdateRole{DisplayName: pointer("x")})),
				api.DeleteRole(s.ctx, unknown),
				api.DeleteRoleBase(s.ctx, unknown),
				failure(api.ListDependentRoles(s.ctx, unknown)),
				failure(api.GetRoleUsersCount(s.ctx, unknown)),
			),
			api.DeleteRole(s.ctx, base),
		)
	})
}

func (s *session) organizationRoles(org, read string) {
	api, people := s.sdk.Role(), s.sdk.User()
	name, child := word("lead"), word("deputy")
	s.check("organization roles: create, get, list beside the environment's, update, base, count", func() error {
		made := must(api.CreateOrganizationRole(s.ctx, org, &roles.CreateOrganizationRole{Name: name, DisplayName: "Lead", Permissions: []string{read}})).Role
		must(api.CreateOrganizationRole(s.ctx, org, &roles.CreateOrganizationRole{Name: child, DisplayName: "Deputy", Extends: &name}))
		extends := must(api.GetOrganizationRole(s.ctx, org, child)).Role.GetExtends()
		own := map[string]bool{}
		for _, role := range must(api.ListOrganizationRoles(s.ctx, org)).Roles {
			own[role.Name] = role.IsOrgRole
		}
		head := must(api.UpdateOrganizationRole(s.ctx, org, name, &roles.UpdateRole{DisplayName: pointer("Head")})).Role
		if err := api.DeleteOrganizationRoleBase(s.ctx, org, child); err != nil {
			return err
		}
		_, environments := own["member"]
		return first(
			holds(made.Name == name && made.IsOrgRole, "made %v", made),
			equal("extends", extends, name),
			holds(own[name] && environments && !own["member"], "listed %v", own),
			equal("updated", head.DisplayName, "Head"),
			holds(must(api.GetOrganizationRole(s.ctx, org, child)).Role.Extends == nil, "extends is still set"),
			equal("count", must(api.GetOrganizationRoleUsersCount(s.ctx, org, name)).Count, 0),
		)
	})

	s.check("[MEM-06] the organization's default member role goes before the environment's", func() error {
		moved := must(api.UpdateDefaultOrganizationRoles(s.ctx, org, name)).DefaultMember.Name
		user := must(people.CreateUserAndMembership(s.ctx, org, &users.CreateUser{Email: address()}, false)).User
		return first(
			equal("default member role", moved, name),
			same("roles", names(user.Memberships[0].Roles), []string{name}),
			people.DeleteUser(s.ctx, user.Id),
		)
	})

	s.check("a deleted organization role is not found", func() error {
		return first(
			api.DeleteOrganizationRole(s.ctx, org, child),
			api.DeleteOrganizationRole(s.ctx, org, name),
			notFound(
				failure(api.GetOrganizationRole(s.ctx, org, name)),
				api.DeleteOrganizationRole(s.ctx, org, name),
				failure(api.GetOrganizationRoleUsersCount(s.ctx, org, name)),
			),
		)
	})
}

func (s *session) defaults(org string) {
	api, people, name := s.sdk.Role(), s.sdk.User(), word("guest")
	s.check("[MEM-06] the environment's default member role is what a member without roles gets; a default role stays", func() error {
		must(api.CreateRole(s.ctx, &roles.CreateRole{Name: name, DisplayName: "Guest"}))
		defer func() {
			must(api.UpdateDefaultRoles(s.ctx, "admin", "member"))
			if err := api.DeleteRole(s.ctx, name); err != nil {
				panic(err)
			}
		}()
		moved := must(api.UpdateDefaultRoles(s.ctx, "admin", name))
		user := must(people.CreateUserAndMembership(s.ctx, org, &users.CreateUser{Email: address()}, false)).User
		return first(
			equal("defaults", moved.DefaultCreator.Name+" "+moved.DefaultMember.Name, "admin "+name),
			same("roles", names(user.Memberships[0].Roles), []string{name}),
			people.DeleteUser(s.ctx, user.Id),
			stands("default", api.DeleteRole(s.ctx, name)),
		)
	})
}
