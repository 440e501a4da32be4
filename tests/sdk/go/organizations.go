package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/scalekit-inc/scalekit-sdk-go/v2"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/commons"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/organizations"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/organizations/organizationsconnect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var organizationID = regexp.MustCompile(`^org_[0-9]{15,28}$`)

func unique(prefix string) string {
	var random [6]byte
	_, _ = rand.Read(random[:])
	return prefix + "-" + hex.EncodeToString(random[:])
}

func pointer[T any](value T) *T { return &value }

// generated is the SDK's generated client with one bearer, for the calls that the SDK wraps in types of its own.
func (s *session) generated() organizationsconnect.OrganizationServiceClient {
	return organizationsconnect.NewOrganizationServiceClient(http.DefaultClient, s.url, connect.WithGRPC())
}

func authorized[T any](token string, message *T) *connect.Request[T] {
	request := connect.NewRequest(message)
	request.Header().Set("Authorization", "Bearer "+token)
	return request
}

func (s *session) create(name string, options scalekit.CreateOrganizationOptions) *organizations.Organization {
	answer, err := s.orgs.CreateOrganization(s.ctx, name, options)
	if err != nil {
		panic(fmt.Sprintf("create %s: %v", name, err))
	}
	return answer.Organization
}

func (s *session) organizations() {
	var made []string
	create := func(name string, options scalekit.CreateOrganizationOptions) *organizations.Organization {
		organization := s.create(name, options)
		made = append(made, organization.Id)
		return organization
	}
	s.life(create)
	s.settings(create)
	s.sessionPolicy(create)
	s.endOfLife()
	s.check("[ORG-05] what the ring made is deleted again", func() error {
		for _, id := range made {
			if err := s.orgs.DeleteOrganization(s.ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

type creator func(string, scalekit.CreateOrganizationOptions) *organizations.Organization

func (s *session) life(create creator) {
	s.check("[ORG-01 API-06] create with a display name only: org_ id and both timestamps", func() error {
		plain := create("Plain Organization", scalekit.CreateOrganizationOptions{})
		return first(
			holds(organizationID.MatchString(plain.Id), "id %s", plain.Id),
			equal("display name", plain.DisplayName, "Plain Organization"),
			holds(time.Since(plain.CreateTime.AsTime()).Abs() < 5*time.Minute, "create_time %v", plain.CreateTime.AsTime()),
			equal("update_time", plain.UpdateTime.AsTime(), plain.CreateTime.AsTime()),
			holds(plain.ExternalId == nil && plain.Slug == nil, "unset fields came back set"),
		)
	})

	externalID := unique("crm")
	var full *organizations.Organization
	s.check("[ORG-03 ORG-06] external id and metadata come back from create, get and get by external id", func() error {
		full = create("Full Organization", scalekit.CreateOrganizationOptions{ExternalId: externalID, Metadata: map[string]string{"plan": "gold", "tier-2": "ü€"}})
		byID, err := s.orgs.GetOrganization(s.ctx, full.Id)
		if err != nil {
			return err
		}
		byExternal, err := s.orgs.GetOrganizationByExternalId(s.ctx, externalID)
		if err != nil {
			return err
		}
		for _, found := range []*organizations.Organization{full, byID.Organization, byExternal.Organization} {
			if err := first(
				equal("id", found.Id, full.Id),
				equal("external id", found.GetExternalId(), externalID),
				equal("metadata", fmt.Sprint(found.Metadata), "map[plan:gold tier-2:ü€]"),
			); err != nil {
				return err
			}
		}
		return nil
	})

	s.check("[ORG-10] the organization created last is the first of the list; nil options mean the server's page size", func() error {
		newest := create("Newest Organization", scalekit.CreateOrganizationOptions{})
		page, err := s.orgs.ListOrganization(s.ctx, nil)
		if err != nil {
			return err
		}
		return first(equal("first id", page.Organizations[0].Id, newest.Id), holds(len(page.Organizations) <= 10, "%d rows", len(page.Organizations)))
	})

	s.check("[ORG-07] an update of one field leaves the others", func() error {
		updated, err := s.orgs.UpdateOrganization(s.ctx, full.Id, &scalekit.UpdateOrganization{DisplayName: pointer("Renamed")})
		if err != nil {
			return err
		}
		return first(
			equal("display name", updated.Organization.DisplayName, "Renamed"),
			equal("external id", updated.Organization.GetExternalId(), externalID),
			equal("metadata", fmt.Sprint(updated.Organization.Metadata), "map[plan:gold tier-2:ü€]"),
		)
	})

	s.check("[ORG-08 ORG-09] update by external id sets slug and logo; empty text clears them", func() error {
		slug := unique("acme") + ".example.com"
		set, err := s.orgs.UpdateOrganizationByExternalId(s.ctx, externalID, &scalekit.UpdateOrganization{Slug: &slug, LogoUrl: pointer("https://cdn.example.com/logo")})
		if err != nil {
			return err
		}
		cleared, err := s.orgs.UpdateOrganizationByExternalId(s.ctx, externalID, &scalekit.UpdateOrganization{Slug: pointer(""), LogoUrl: pointer("")})
		if err != nil {
			return err
		}
		return first(
			equal("slug", set.Organization.GetSlug(), slug),
			equal("logo", set.Organization.GetLogoUrl(), "https://cdn.example.com/logo"),
			equal("cleared slug", cleared.Organization.GetSlug(), ""),
			equal("cleared logo", cleared.Organization.GetLogoUrl(), ""),
		)
	})
}

func features(organization *organizations.Organization) string {
	text := ""
	for _, feature := range organization.Settings.Features[:2] {
		text += fmt.Sprintf("%s=%v ", feature.Name, feature.Enabled)
	}
	return text
}

func (s *session) settings(create creator) {
	org := create("Settings Organization", scalekit.CreateOrganizationOptions{})

	s.check("[ORG-12] features: sso then dir_sync, off at first; only the named one changes; unknown ones are refused", func() error {
		found, err := s.orgs.GetOrganization(s.ctx, org.Id)
		if err != nil {
			return err
		}
		on, err := s.orgs.UpdateOrganizationSettings(s.ctx, org.Id, scalekit.OrganizationSettings{Features: []scalekit.Feature{{Name: "sso", Enabled: true}}})
		if err != nil {
			return err
		}
		_, unknown := s.orgs.UpdateOrganizationSettings(s.ctx, org.Id, scalekit.OrganizationSettings{Features: []scalekit.Feature{{Name: "teleport", Enabled: true}}})
		return first(
			equal("features", features(found.Organization), "sso=false dir_sync=false "),
			equal("features", features(on.Organization), "sso=true dir_sync=false "),
			refused(unknown, connect.CodeInvalidArgument, "INVALID_ARGUMENT", ""),
		)
	})

	s.check("[CTL-57] a portal link for a disabled feature is refused; the plain one has a location and expires later", func() error {
		token, err := s.freshToken()
		if err != nil {
			return err
		}
		_, disabled := s.generated().GeneratePortalLink(s.ctx, authorized(token, &organizations.GeneratePortalLinkRequest{
			Id: org.Id, Features: []organizations.Feature{organizations.Feature_dir_sync},
		}))
		link, err := s.orgs.GeneratePortalLink(s.ctx, org.Id)
		if err != nil {
			return err
		}
		return first(
			refused(disabled, connect.CodeInvalidArgument, "INVALID_ARGUMENT", ""),
			holds(strings.HasPrefix(link.Id, "lnk_"), "id %s", link.Id),
			holds(strings.HasPrefix(link.Location, s.origin+"/"), "location %s", link.Location),
			holds(link.ExpireTime.AsTime().After(time.Now()), "expires %v", link.ExpireTime.AsTime()),
		)
	})

	s.check("seat cap: set, 0 comes back as an explicit 0, nil clears it", func() error {
		set, err := s.orgs.UpsertUserManagementSettings(s.ctx, org.Id, scalekit.OrganizationUserManagementSettings{MaxAllowedUsers: pointer(int32(25))})
		if err != nil {
			return err
		}
		zero, err := s.orgs.UpsertUserManagementSettings(s.ctx, org.Id, scalekit.OrganizationUserManagementSettings{MaxAllowedUsers: pointer(int32(0))})
		if err != nil {
			return err
		}
		cleared, err := s.orgs.UpsertUserManagementSettings(s.ctx, org.Id, scalekit.OrganizationUserManagementSettings{})
		if err != nil {
			return err
		}
		return first(
			equal("cap", set.MaxAllowedUsers.GetValue(), 25),
			holds(zero.MaxAllowedUsers != nil && zero.MaxAllowedUsers.Value == 0, "0 came back as %v", zero.MaxAllowedUsers),
			holds(cleared.MaxAllowedUsers == nil, "cleared came back as %v", cleared.MaxAllowedUsers),
		)
	})
}

func (s *session) sessionPolicy(create creator) {
	s.check("[ORG-14] session policy: APPLICATION at first; CUSTOM in DAYS and HOURS comes back in MINUTES; reverted", func() error {
		org := create("Policy Organization", scalekit.CreateOrganizationOptions{})
		token, err := s.freshToken()
		if err != nil {
			return err
		}
		get := func() (*organizations.OrganizationSessionPolicySettings, error) {
			answer, err := s.generated().GetOrganizationSessionPolicy(s.ctx, authorized(token, &organizations.GetOrganizationSessionPolicyRequest{OrganizationId: org.Id}))
			if err != nil {
				return nil, err
			}
			return answer.Msg.Policy, nil
		}
		update := func(request *organizations.UpdateOrganizationSessionPolicyRequest) error {
			request.OrganizationId = org.Id
			_, err := s.generated().UpdateOrganizationSessionPolicy(s.ctx, authorized(token, request))
			return err
		}
		before, err := get()
		if err != nil {
			return err
		}
		if err := update(&organizations.UpdateOrganizationSessionPolicyRequest{
			PolicySource:               organizations.SessionPolicyType_CUSTOM,
			AbsoluteSessionTimeout:     wrapperspb.Int32(2),
			AbsoluteSessionTimeoutUnit: commons.TimeUnit_DAYS.Enum(),
			IdleSessionTimeoutEnabled:  wrapperspb.Bool(true),
			IdleSessionTimeout:         wrapperspb.Int32(5),
			IdleSessionTimeoutUnit:     commons.TimeUnit_HOURS.Enum(),
		}); err != nil {
			return err
		}
		custom, err := get()
		if err != nil {
			return err
		}
		if err := update(&organizations.UpdateOrganizationSessionPolicyRequest{PolicySource: organizations.SessionPolicyType_APPLICATION}); err != nil {
			return err
		}
		after, err := get()
		if err != nil {
			return err
		}
		return first(
			holds(before.PolicySource == organizations.SessionPolicyType_APPLICATION && before.AbsoluteSessionTimeout == nil, "before: %v", before),
			equal("absolute", custom.AbsoluteSessionTimeout.GetValue(), 2880),
			equal("absolute unit", custom.GetAbsoluteSessionTimeoutUnit(), commons.TimeUnit_MINUTES),
			equal("idle", custom.IdleSessionTimeout.GetValue(), 300),
			equal("idle unit", custom.GetIdleSessionTimeoutUnit(), commons.TimeUnit_MINUTES),
			holds(after.PolicySource == organizations.SessionPolicyType_APPLICATION && after.AbsoluteSessionTimeout == nil, "after: %v", after),
		)
	})
}

func (s *session) endOfLife() {
	s.check("[ORG-05] after delete: not found; the external id is free at once", func() error {
		externalID := unique("gone")
		doomed := s.create("Doomed", scalekit.CreateOrganizationOptions{ExternalId: externalID})
		if err := s.orgs.DeleteOrganization(s.ctx, doomed.Id); err != nil {
			return err
		}
		_, byID := s.orgs.GetOrganization(s.ctx, doomed.Id)
		_, byExternal := s.orgs.GetOrganizationByExternalId(s.ctx, externalID)
		again := s.create("Reborn", scalekit.CreateOrganizationOptions{ExternalId: externalID})
		return first(
			refused(byID, connect.CodeNotFound, "NOT_FOUND", ""),
			refused(byExternal, connect.CodeNotFound, "NOT_FOUND", ""),
			holds(again.Id != doomed.Id, "the same id came back"),
			s.orgs.DeleteOrganization(s.ctx, again.Id),
			refused(s.orgs.DeleteOrganization(s.ctx, again.Id), connect.CodeNotFound, "NOT_FOUND", ""),
		)
	})
}
