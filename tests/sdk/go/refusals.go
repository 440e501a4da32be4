package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/scalekit-inc/scalekit-sdk-go/v2"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/clients"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/clients/clientsconnect"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/organizations"
)

// notBuiltYet calls an RPC of the SDK that the server does not offer yet. Take another one when this one is built.
func (s *session) notBuiltYet(organizationID string) error {
	_, err := s.sdk.Directory().ListDirectories(s.ctx, organizationID)
	return err
}

func (s *session) refusals() {
	externalID := unique("dup")
	org := s.create("Errors", scalekit.CreateOrganizationOptions{ExternalId: externalID})

	s.check("[ORG-02 ERR-03] an empty display name is an invalid argument that names the field and the rule", func() error {
		_, err := s.orgs.CreateOrganization(s.ctx, "", scalekit.CreateOrganizationOptions{})
		if err := refused(err, connect.CodeInvalidArgument, "INVALID_ARGUMENT", ""); err != nil {
			return err
		}
		for _, violation := range details(err).GetValidationErrorInfo().GetFieldViolations() {
			if strings.HasSuffix(violation.Field, "display_name") && violation.Constraint == "string.min_len" {
				return nil
			}
		}
		return fmt.Errorf("no violation names display_name: %v", details(err))
	})

	s.check("[ORG-04] a duplicate external id is an invalid argument that says: already exists", func() error {
		_, err := s.orgs.CreateOrganization(s.ctx, "Twin", scalekit.CreateOrganizationOptions{ExternalId: externalID})
		return refused(err, connect.CodeInvalidArgument, "INVALID_ARGUMENT", "already exists")
	})

	s.check("[ERR-01] an unknown organization is not found", func() error {
		_, err := s.orgs.GetOrganization(s.ctx, "org_100000000000000000")
		return refused(err, connect.CodeNotFound, "NOT_FOUND", "")
	})

	s.check("[MGMT-04] an RPC for workspace members refuses an API client with PERMISSION_DENIED", func() error {
		token, err := s.freshToken()
		if err != nil {
			return err
		}
		_, err = s.generated().GetPortalLinks(s.ctx, authorized(token, &organizations.GetPortalLinkRequest{Id: org.Id}))
		return refused(err, connect.CodePermissionDenied, "PERMISSION_DENIED", "")
	})

	s.check("[CTL-01 MGMT-01] without a token every call is UNAUTHENTICATED: Token empty", func() error {
		_, err := s.generated().ListOrganization(s.ctx, connect.NewRequest(&organizations.ListOrganizationsRequest{}))
		return refused(err, connect.CodeUnauthenticated, "UNAUTHENTICATED", "token empty")
	})

	s.check("[ERR-01 APP-09] a callback that the default application has already is there: ALREADY_EXISTS", func() error {
		// No method of the SDK: an RPC of its generated client.
		token := must(s.freshToken())
		rpcs := clientsconnect.NewClientServiceClient(http.DefaultClient, s.url, connect.WithGRPC())
		uri := "https://" + unique("twin") + ".example.com/callback"
		added := func() error {
			return failure(rpcs.AddEnvironmentRedirectUri(s.ctx, authorized(token, &clients.AddEnvironmentRedirectUriRequest{RedirectUri: uri})))
		}
		return first(
			added(),
			refused(added(), connect.CodeAlreadyExists, "ALREADY_EXISTS", ""),
			failure(rpcs.RemoveEnvironmentRedirectUri(s.ctx, authorized(token, &clients.RemoveEnvironmentRedirectUriRequest{RedirectUri: uri}))),
		)
	})

	s.check("an RPC that is not built yet is unimplemented, with details", func() error {
		return refused(s.notBuiltYet(org.Id), connect.CodeUnimplemented, "UNIMPLEMENTED", "")
	})

	s.check("[OAUTH-02] a client with a wrong secret gets the token endpoint's 401 and invalid_client", func() error {
		_, err := scalekit.NewScalekitClient(s.url, s.clientID, s.secret+"x").Organization().ListOrganization(s.ctx, nil)
		var refusal *scalekit.Error
		if !errors.As(err, &refusal) {
			return fmt.Errorf("expected *scalekit.Error, found %T: %v", err, err)
		}
		return first(equal("status", refusal.StatusCode, http.StatusUnauthorized), holds(strings.Contains(refusal.Message, "invalid_client"), "message %s", refusal.Message))
	})

	s.check("[ORG-05] the organization of these checks is deleted again", func() error { return s.orgs.DeleteOrganization(s.ctx, org.Id) })
}

// limits runs against a server that was started with a small API limit per minute.
func (s *session) limits() {
	s.check("[ERR-10 EVT-70] over the limit: RESOURCE_EXHAUSTED with RATE_LIMITED", func() error {
		limit, err := strconv.Atoi(os.Getenv("NARTHEX_LIMIT_PER_MINUTE"))
		if err != nil {
			return err
		}
		for answered := 0; answered <= limit*2; answered++ {
			if _, err := s.orgs.ListOrganization(s.ctx, &scalekit.ListOrganizationOptions{PageSize: 1}); err != nil {
				return refused(err, connect.CodeResourceExhausted, "RATE_LIMITED", "")
			}
		}
		return fmt.Errorf("no refusal although the limit is %d per minute", limit)
	})
}
