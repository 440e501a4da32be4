package main

import (
	"strings"

	"github.com/scalekit-inc/scalekit-sdk-go/v2"
)

// domains of an organization, and the connections that belong to one: of these there can be none yet.
func (s *session) domains() {
	api, org := s.sdk.Domain(), s.create("Domains", scalekit.CreateOrganizationOptions{}).Id
	listed := func(options ...*scalekit.ListDomainOptions) []string {
		found := []string{}
		for _, domain := range must(api.ListDomains(s.ctx, org, options...)).Domains {
			found = append(found, domain.Id)
		}
		return found
	}

	s.check("domains: create of both types, get, list by type, delete", func() error {
		var made []string
		for _, kind := range []scalekit.DomainType{scalekit.DomainTypeOrganization, scalekit.DomainTypeAllowedEmail} {
			name := unique("d") + ".example.org"
			domain := must(api.CreateDomain(s.ctx, org, name, &scalekit.CreateDomainOptions{DomainType: kind})).Domain
			found := must(api.GetDomain(s.ctx, domain.Id, org)).Domain
			if err := first(
				holds(strings.HasPrefix(domain.Id, "dom_"), "id %s", domain.Id),
				equal("made", domain.Domain+" "+domain.DomainType.String(), name+" "+kind),
				equal("found", found.Id+found.OrganizationId, domain.Id+org),
				same("list of "+kind, listed(&scalekit.ListDomainOptions{DomainType: kind}), []string{domain.Id}),
			); err != nil {
				return err
			}
			made = append(made, domain.Id)
		}
		before, paged := len(listed()), len(listed(&scalekit.ListDomainOptions{PageSize: 1, PageNumber: 1}))
		return first(
			equal("domains of any type", before, 2),
			equal("domains on the second page of one", paged, 1),
			api.DeleteDomain(s.ctx, made[0], org),
			api.DeleteDomain(s.ctx, made[1], org),
			equal("domains after delete", len(listed()), 0),
		)
	})

	s.check("[DOM-02] a public or disposable name is no allowed email domain", func() error {
		allowed := &scalekit.CreateDomainOptions{DomainType: scalekit.DomainTypeAllowedEmail}
		return invalid("", failure(api.CreateDomain(s.ctx, org, "gmail.com", allowed)), failure(api.CreateDomain(s.ctx, org, "mailinator.com", allowed)))
	})

	s.check("an unknown domain and an unknown organization are not found; a name that is none is an invalid argument", func() error {
		const unknown = "dom_100000000000000000"
		return first(
			notFound(failure(api.GetDomain(s.ctx, unknown, org)), api.DeleteDomain(s.ctx, unknown, org), failure(api.CreateDomain(s.ctx, nowhere, unique("d")+".example.org"))),
			invalid("", failure(api.CreateDomain(s.ctx, org, "not a domain"))),
		)
	})

	s.check("connections of an organization and of a domain: none, as those of the environment belong to neither", func() error {
		connections := s.sdk.Connection()
		return first(
			equal("of the organization", len(must(connections.ListConnections(s.ctx, org)).Connections), 0),
			equal("of a domain", len(must(connections.ListConnectionsByDomain(s.ctx, "example.org")).Connections), 0),
			notFound(failure(connections.ListConnections(s.ctx, nowhere))),
			invalid("", failure(connections.ListConnectionsByDomain(s.ctx, strings.Repeat("d", 33)))),
			s.orgs.DeleteOrganization(s.ctx, org),
		)
	})
}
