package scalekit

import (
	"context"

	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/domains"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/domains/domainsconnect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type (
	CreateDomainResponse = domains.CreateDomainResponse
	GetDomainResponse    = domains.GetDomainResponse
	ListDomainResponse   = domains.ListDomainResponse
	// DomainType is the name of a type on the wire.
	DomainType = string
)

const (
	DomainTypeAllowedEmail DomainType = "ALLOWED_EMAIL_DOMAIN"
	DomainTypeOrganization DomainType = "ORGANIZATION_DOMAIN"
	domainsPerPage                    = 100
)

type CreateDomainOptions struct {
	DomainType DomainType
}

type ListDomainOptions struct {
	DomainType DomainType
	PageSize   uint32
	PageNumber uint32
}

type Domain interface {
	CreateDomain(ctx context.Context, organizationId, name string, options ...*CreateDomainOptions) (*CreateDomainResponse, error)
	GetDomain(ctx context.Context, id, organizationId string) (*GetDomainResponse, error)
	ListDomains(ctx context.Context, organizationId string, options ...*ListDomainOptions) (*ListDomainResponse, error)
	DeleteDomain(ctx context.Context, id, organizationId string) error
}

type domainCalls service[domainsconnect.DomainServiceClient]

func (c *client) Domain() Domain {
	return &domainCalls{c, grpcClient(c, domainsconnect.NewDomainServiceClient)}
}

func (d *domainCalls) CreateDomain(ctx context.Context, organizationId, name string, options ...*CreateDomainOptions) (*CreateDomainResponse, error) {
	domain := &domains.CreateDomain{Domain: name}
	for _, one := range options {
		domain.DomainType = domains.DomainType(domains.DomainType_value[one.DomainType])
	}
	return call(ctx, d.c, d.rpcs.CreateDomain, &domains.CreateDomainRequest{
		Identities: &domains.CreateDomainRequest_OrganizationId{OrganizationId: organizationId}, Domain: domain,
	})
}

// GetDomain takes the domain's id first, as DeleteDomain does.
func (d *domainCalls) GetDomain(ctx context.Context, id, organizationId string) (*GetDomainResponse, error) {
	return call(ctx, d.c, d.rpcs.GetDomain, &domains.GetDomainRequest{
		Identities: &domains.GetDomainRequest_OrganizationId{OrganizationId: organizationId}, Id: id,
	})
}

func (d *domainCalls) ListDomains(ctx context.Context, organizationId string, options ...*ListDomainOptions) (*ListDomainResponse, error) {
	request := &domains.ListDomainRequest{
		Identities: &domains.ListDomainRequest_OrganizationId{OrganizationId: organizationId}, PageSize: wrapperspb.Int32(domainsPerPage),
	}
	for _, one := range options {
		request.DomainType = domains.DomainType(domains.DomainType_value[one.DomainType])
		if one.PageSize > 0 {
			request.PageSize = wrapperspb.Int32(int32(one.PageSize))
		}
		if one.PageNumber > 0 {
			request.PageNumber = wrapperspb.Int32(int32(one.PageNumber))
		}
	}
	return call(ctx, d.c, d.rpcs.ListDomains, request)
}

func (d *domainCalls) DeleteDomain(ctx context.Context, id, organizationId string) error {
	return done(call(ctx, d.c, d.rpcs.DeleteDomain, &domains.DeleteDomainRequest{
		Identities: &domains.DeleteDomainRequest_OrganizationId{OrganizationId: organizationId}, Id: id,
	}))
}
