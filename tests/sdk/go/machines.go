package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/scalekit-inc/scalekit-sdk-go/v2"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/clients"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/users"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const lastClient = "last client cannot be deleted"

func (s *session) machines() {
	externalID := unique("machines")
	org := s.create("Machines", scalekit.CreateOrganizationOptions{ExternalId: externalID}).Id
	s.organizationClients(org)
	s.applications()
	s.apiTokens(org, externalID)
	s.check("[ORG-05] the organization of the machines is deleted again", func() error { return s.orgs.DeleteOrganization(s.ctx, org) })
}

func claimsOf(client *clients.M2MClient) map[string]string {
	found := map[string]string{}
	for _, claim := range client.CustomClaims {
		found[claim.Key] = claim.Value
	}
	return found
}

// refusedToken wants the token endpoint to know no such client or secret.
func (s *session) refusedToken(clientID, secret string) error {
	if _, err := s.tokenOf(clientID, secret); err == nil {
		return fmt.Errorf("a token for a secret that is gone")
	}
	return nil
}

func (s *session) organizationClients(org string) {
	api := s.sdk.M2M()
	audience, scopes := []string{"https://api.example.com"}, []string{"deploy:applications", "write"}
	var id, secret string
	var firstSecret, added *clients.ClientSecret

	s.check("[M2M-01] an organization's client: m2morg_ id, its secret once, get, update of one field", func() error {
		made := must(api.CreateOrganizationClient(s.ctx, org, scalekit.CreateOrganizationClientOptions{
			Name: "Importer", Description: "Nightly", Scopes: scopes, Audience: audience, CustomClaims: []*clients.CustomClaim{{Key: "tier", Value: "gold"}},
		}))
		id, secret, firstSecret = made.Client.ClientId, made.PlainSecret, made.Client.Secrets[0]
		found := must(api.GetOrganizationClient(s.ctx, org, id)).Client
		updated := must(api.UpdateOrganizationClient(s.ctx, org, id, scalekit.UpdateOrganizationClientOptions{Description: "Hourly"})).Client
		return first(
			holds(strings.HasPrefix(id, "m2morg_"), "id %s", id),
			equal("suffix", firstSecret.SecretSuffix, secret[len(secret)-4:]),
			equal("organization and name", found.OrganizationId+found.Name, org+"Importer"),
			same("scopes", found.Scopes, scopes),
			same("audience", found.Audience, audience),
			same("claims", claimsOf(found), map[string]string{"tier": "gold"}),
			holds(found.Secrets[0].GetPlainSecret() == "", "get shows the secret"),
			equal("updated", updated.Name+" "+updated.Description, "Importer Hourly"),
			same("scopes after the update", updated.Scopes, scopes),
		)
	})

	s.check("[M2M-03 TOK-03] its token: audience and claims of the client, the scope asked for, checked against /keys", func() error {
		token := must(s.tokenOf(id, secret, "write"))
		claims := must(s.sdk.GetAccessTokenClaims(s.ctx, token))
		more := decoded(strings.Split(token, ".")[1])
		every := must(s.sdk.GetAccessTokenClaims(s.ctx, must(s.tokenOf(id, secret))))
		return first(
			equal("sub", claims.Subject, id),
			same("aud", claims.Audience, audience),
			equal("scope", claims.Scope, "write"),
			equal("oid", more["oid"], any(org)),
			equal("claims", fmt.Sprint(more["custom_claims"]), "map[tier:gold]"),
			equal("scopes when none are asked for", every.Scope, strings.Join(scopes, " ")),
		)
	})

	s.check("[MGMT-04] its token is none for the management API: PERMISSION_DENIED", func() error {
		_, err := scalekit.NewScalekitClient(s.url, id, secret).User().ListUsers(s.ctx, nil)
		return refused(err, connect.CodePermissionDenied, "PERMISSION_DENIED", "")
	})

	s.check("[M2M-02] a second secret works beside the first; a removed one does not; the last one stays", func() error {
		answer := must(api.CreateOrganizationClientSecret(s.ctx, org, id))
		added = answer.Secret
		must(s.tokenOf(id, secret))
		must(s.tokenOf(id, answer.PlainSecret))
		if err := api.DeleteOrganizationClientSecret(s.ctx, org, id, firstSecret.Id); err != nil {
			return err
		}
		must(s.tokenOf(id, answer.PlainSecret))
		return first(
			equal("suffix", added.SecretSuffix, answer.PlainSecret[len(answer.PlainSecret)-4:]),
			s.refusedToken(id, secret),
			invalid(lastClient, api.DeleteOrganizationClientSecret(s.ctx, org, id, added.Id)),
		)
	})

	s.check("[M2M-04] the list works without a page size, and in pages", func() error {
		wanted := []string{id}
		for n := range 10 {
			wanted = append(wanted, must(api.CreateOrganizationClient(s.ctx, org, scalekit.CreateOrganizationClientOptions{Name: fmt.Sprint("Exporter ", n)})).Client.ClientId)
		}
		listed := must(api.ListOrganizationClients(s.ctx, org, scalekit.ListOrganizationClientsOptions{}))
		start := must(api.ListOrganizationClients(s.ctx, org, scalekit.ListOrganizationClientsOptions{PageSize: 10}))
		end := must(api.ListOrganizationClients(s.ctx, org, scalekit.ListOrganizationClientsOptions{PageSize: 10, PageToken: start.NextPageToken}))
		var found []string
		for _, client := range append(start.Clients, end.Clients...) {
			found = append(found, client.ClientId)
		}
		slices.Sort(found)
		slices.Sort(wanted)
		return first(
			equal("total", listed.TotalSize, 11),
			holds(len(listed.Clients) >= 10, "%d without a page size", len(listed.Clients)),
			equal("pages", fmt.Sprintf("%d %d%s", len(start.Clients), len(end.Clients), end.NextPageToken), "10 1"),
			same("ids", found, wanted),
		)
	})

	s.check("[M2M-01] after delete the client is not found, and neither is anything of it", func() error {
		return first(
			api.DeleteOrganizationClient(s.ctx, org, id),
			notFound(
				failure(api.GetOrganizationClient(s.ctx, org, id)),
				failure(api.UpdateOrganizationClient(s.ctx, org, id, scalekit.UpdateOrganizationClientOptions{Name: "x"})),
				failure(api.CreateOrganizationClientSecret(s.ctx, org, id)),
				api.DeleteOrganizationClientSecret(s.ctx, org, id, added.Id),
				api.DeleteOrganizationClient(s.ctx, org, id),
				failure(api.CreateOrganizationClient(s.ctx, nowhere, scalekit.CreateOrganizationClientOptions{Name: "x"})),
			),
		)
	})
}

// applications are what of the four SDKs only this one manages.
func (s *session) applications() {
	api := s.sdk.Client()
	site := "https://" + unique("web") + ".example.com"
	var id string

	s.check("[APP-02 APP-05] applications: a web app with PKCE is created and found, by id and in the list", func() error {
		made := must(api.CreateClient(s.ctx, &clients.CreateClient{
			Name: "Shop", ClientType: "WEB_APP", PostLoginUris: []string{site + "/callback"}, PostLogoutRedirectUris: []string{site + "/bye"},
			BackChannelLogoutUris: []string{site + "/backchannel"}, AccessTokenExpiry: 3600, EnforcePkce: wrapperspb.Bool(true),
		})).Client
		id = made.Id
		found := must(api.GetClient(s.ctx, id)).Client
		listed := must(api.ListClients(s.ctx, &scalekit.ListClientsOptions{PageSize: 30, Filter: &clients.ListClientsRequest_Filter{ClientType: []string{"WEB_APP"}}}))
		return first(
			equal("found", fmt.Sprint(found.Name, found.ClientType, found.GetAccessTokenExpiry(), found.EnforcePkce), fmt.Sprint("Shop", "WEB_APP", 3600, true)),
			equal("addresses", fmt.Sprint(found.PostLoginUris, found.PostLogoutRedirectUris, found.BackChannelLogoutUris), fmt.Sprintf("[%s/callback] [%[1]s/bye] [%[1]s/backchannel]", site)),
			holds(slices.ContainsFunc(listed.Clients, func(one *clients.Client) bool { return one.Id == id }), "not in the list"),
			equal("without options, which means the environment's own", must(api.ListClients(s.ctx, nil)).Clients[0].Id, s.clientID),
		)
	})

	s.check("an update with a mask changes what the mask names, and nothing else", func() error {
		mask := &fieldmaskpb.FieldMask{Paths: []string{"name", "access_token_expiry"}}
		must(api.UpdateClient(s.ctx, id, &clients.UpdateClient{Name: "Store", AccessTokenExpiry: 1800, PostLoginUris: []string{site + "/other"}}, mask))
		found := must(api.GetClient(s.ctx, id)).Client
		return first(
			equal("changed", fmt.Sprint(found.Name, found.GetAccessTokenExpiry()), fmt.Sprint("Store", 1800)),
			same("left", found.PostLoginUris, []string{site + "/callback"}),
		)
	})

	s.check("[APP-03] its secrets: a new one works for the management API, a removed one does not", func() error {
		one, two := must(api.AddClientSecret(s.ctx, id)), must(api.AddClientSecret(s.ctx, id))
		works := func(secret string) error {
			return failure(scalekit.NewScalekitClient(s.url, id, secret).Organization().ListOrganization(s.ctx, nil))
		}
		before := works(one.PlainSecret)
		return first(
			before,
			equal("suffix", two.Secret.SecretSuffix, two.PlainSecret[len(two.PlainSecret)-4:]),
			api.RemoveClientSecret(s.ctx, id, one.Secret.Id),
			works(two.PlainSecret),
			holds(works(one.PlainSecret) != nil, "the removed secret works"),
		)
	})

	s.check("[APP-06] an application that may not use the management API is refused as unauthorized", func() error {
		made := must(api.CreateClient(s.ctx, &clients.CreateClient{Name: "Kiosk", ClientType: "WEB_APP", DisallowScalekitApiAccess: wrapperspb.Bool(true)})).Client.Id
		secret := must(api.AddClientSecret(s.ctx, made)).PlainSecret
		err := failure(scalekit.NewScalekitClient(s.url, made, secret).Organization().ListOrganization(s.ctx, nil))
		var refusal *scalekit.Error
		return first(
			holds(errors.As(err, &refusal) && strings.Contains(refusal.Message, "unauthorized_client"), "refused with %v", err),
			api.DeleteClient(s.ctx, made),
		)
	})

	s.check("[APP-01] the default application stays: a precondition that fails", func() error {
		return stands("default", api.DeleteClient(s.ctx, s.clientID))
	})

	s.check("[APP-04] a callback that is no address and an unknown type are invalid arguments; after delete nothing is found", func() error {
		return first(
			invalid("",
				failure(api.CreateClient(s.ctx, &clients.CreateClient{Name: "x", ClientType: "WEB_APP", PostLoginUris: []string{"nowhere"}})),
				failure(api.CreateClient(s.ctx, &clients.CreateClient{Name: "x", ClientType: "TOASTER"})),
			),
			api.DeleteClient(s.ctx, id),
			notFound(
				failure(api.GetClient(s.ctx, id)),
				failure(api.UpdateClient(s.ctx, id, &clients.UpdateClient{Name: "x"}, &fieldmaskpb.FieldMask{Paths: []string{"name"}})),
				failure(api.AddClientSecret(s.ctx, id)),
				api.RemoveClientSecret(s.ctx, id, "sks_100000000000000000"),
				api.DeleteClient(s.ctx, id),
			),
		)
	})
}

func (s *session) apiTokens(org, externalID string) {
	api, mail, ownerID := s.sdk.Token(), address(), unique("owner")
	user := must(s.sdk.User().CreateUserAndMembership(s.ctx, org, &users.CreateUser{Email: mail, ExternalId: &ownerID}, false)).User.Id
	var plain, owned *scalekit.CreateTokenResponse

	s.check("[APIT-01] a token of an organization and one of a user, with claims, expiry and description", func() error {
		plain = must(api.CreateToken(s.ctx, org, scalekit.CreateTokenOptions{}))
		expiry := timestamppb.New(time.Now().Add(time.Hour).Truncate(time.Second))
		owned = must(api.CreateToken(s.ctx, org, scalekit.CreateTokenOptions{UserId: user, CustomClaims: map[string]string{"env": "ci"}, Expiry: expiry, Description: "CI"}))
		info := owned.TokenInfo
		return first(
			holds(strings.HasPrefix(plain.TokenId, "apit_") && len(plain.Token) > 20, "plain %s", plain.TokenId),
			holds(plain.TokenInfo.Expiry == nil && plain.TokenInfo.GetUserId() == "", "expiry or user on a plain token"),
			equal("owned", info.GetUserId()+info.GetDescription()+info.TokenSuffix, user+"CI"+owned.Token[len(owned.Token)-4:]),
			same("claims", info.CustomClaims, map[string]string{"env": "ci"}),
			equal("expiry", info.Expiry.Seconds, expiry.Seconds),
		)
	})

	s.check("[APIT-02] by value and by id the token shows organization, user and roles; any other is not found", func() error {
		for _, handedIn := range []string{owned.Token, owned.TokenId} {
			info := must(api.ValidateToken(s.ctx, handedIn)).TokenInfo
			if err := first(
				equal("organization", info.OrganizationId+info.OrganizationExternalId, org+externalID),
				equal("user", info.GetUserId()+info.GetUserExternalId()+info.GetEmail(), user+ownerID+mail),
				equal("roles and claims", fmt.Sprint(info.Roles, info.CustomClaims), "[member] map[env:ci]"),
			); err != nil {
				return err
			}
		}
		return notFound(failure(api.ValidateToken(s.ctx, owned.Token[1:]+"x")), failure(api.ValidateToken(s.ctx, "apit_100000000000000000")))
	})

	s.check("claims that are given replace all, none leave them; an empty description clears, none leaves it", func() error {
		changed := must(api.UpdateToken(s.ctx, owned.Token, scalekit.UpdateTokenOptions{CustomClaims: map[string]string{"region": "eu"}})).TokenInfo
		cleared := must(api.UpdateToken(s.ctx, owned.TokenId, scalekit.UpdateTokenOptions{Description: pointer("")})).TokenInfo
		return first(
			equal("changed", fmt.Sprintf("%v %s", changed.CustomClaims, changed.GetDescription()), "map[region:eu] CI"),
			equal("cleared", fmt.Sprintf("%v %s", cleared.CustomClaims, cleared.GetDescription()), "map[region:eu] "),
		)
	})

	s.check("[APIT-04] lists: of the organization in pages, of the user, active ones only", func() error {
		page := must(api.ListTokens(s.ctx, org, scalekit.ListTokensOptions{PageSize: 1}))
		rest := must(api.ListTokens(s.ctx, org, scalekit.ListTokensOptions{PageSize: 1, PageToken: page.NextPageToken}))
		own := must(api.ListTokens(s.ctx, org, scalekit.ListTokensOptions{UserId: user}))
		if err := api.InvalidateToken(s.ctx, plain.Token); err != nil {
			return err
		}
		left := must(api.ListTokens(s.ctx, org, scalekit.ListTokensOptions{}))
		return first(
			equal("total", page.TotalCount, 2),
			same("pages", []string{page.Tokens[0].TokenId, rest.Tokens[0].TokenId}, []string{owned.TokenId, plain.TokenId}),
			equal("the user's", fmt.Sprint(len(own.Tokens), own.Tokens[0].TokenId), fmt.Sprint(1, owned.TokenId)),
			equal("after an invalidation", fmt.Sprint(len(left.Tokens), left.Tokens[0].TokenId), fmt.Sprint(1, owned.TokenId)),
		)
	})

	s.check("[APIT-03] an invalidated token is not found at once; invalidating it again succeeds, an unknown one not", func() error {
		return first(
			api.InvalidateToken(s.ctx, owned.TokenId),
			api.InvalidateToken(s.ctx, owned.Token),
			notFound(
				failure(api.ValidateToken(s.ctx, owned.Token)),
				api.InvalidateToken(s.ctx, "apit_100000000000000000"),
				failure(api.UpdateToken(s.ctx, owned.TokenId, scalekit.UpdateTokenOptions{Description: pointer("x")})),
			),
		)
	})

	s.check("[APIT-01] no token for an unknown organization or for a user who is no member, nor one that has expired", func() error {
		return first(
			notFound(failure(api.CreateToken(s.ctx, nowhere, scalekit.CreateTokenOptions{}))),
			invalid("",
				failure(api.CreateToken(s.ctx, org, scalekit.CreateTokenOptions{UserId: nobody})),
				failure(api.CreateToken(s.ctx, org, scalekit.CreateTokenOptions{Expiry: timestamppb.New(time.Now().Add(-time.Minute))})),
			),
			s.sdk.User().DeleteUser(s.ctx, user),
		)
	})
}
