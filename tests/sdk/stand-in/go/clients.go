package scalekit

import (
	"context"

	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/clients"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/clients/clientsconnect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

type (
	CreateOrganizationClientResponse       = clients.CreateOrganizationClientResponse
	GetOrganizationClientResponse          = clients.GetOrganizationClientResponse
	UpdateOrganizationClientResponse       = clients.UpdateOrganizationClientResponse
	CreateOrganizationClientSecretResponse = clients.CreateOrganizationClientSecretResponse
	ListOrganizationClientsResponse        = clients.ListOrganizationClientsResponse
	CreateClientResponse                   = clients.CreateClientResponse
	GetClientResponse                      = clients.GetClientResponse
	ListClientsResponse                    = clients.ListClientsResponse
	UpdateClientResponse                   = clients.UpdateClientResponse
	CreateClientSecretResponse             = clients.CreateClientSecretResponse
	ListClientsOptions                     = clients.ListClientsRequest
)

// CreateOrganizationClientOptions know no lifetime of tokens.
type CreateOrganizationClientOptions struct {
	Name         string
	Description  string
	CustomClaims []*clients.CustomClaim
	Audience     []string
	Scopes       []string
}

// UpdateOrganizationClientOptions: what is empty stays.
type UpdateOrganizationClientOptions CreateOrganizationClientOptions

type ListOrganizationClientsOptions struct {
	PageSize  uint32
	PageToken string
}

// M2MService has the machine clients of organizations.
type M2MService interface {
	CreateOrganizationClient(ctx context.Context, organizationId string, options CreateOrganizationClientOptions) (*CreateOrganizationClientResponse, error)
	GetOrganizationClient(ctx context.Context, organizationId, clientId string) (*GetOrganizationClientResponse, error)
	UpdateOrganizationClient(ctx context.Context, organizationId, clientId string, options UpdateOrganizationClientOptions) (*UpdateOrganizationClientResponse, error)
	DeleteOrganizationClient(ctx context.Context, organizationId, clientId string) error
	CreateOrganizationClientSecret(ctx context.Context, organizationId, clientId string) (*CreateOrganizationClientSecretResponse, error)
	DeleteOrganizationClientSecret(ctx context.Context, organizationId, clientId, secretId string) error
	ListOrganizationClients(ctx context.Context, organizationId string, options ListOrganizationClientsOptions) (*ListOrganizationClientsResponse, error)
}

type m2mCalls service[clientsconnect.ClientServiceClient]

func (c *client) M2M() M2MService {
	return &m2mCalls{c, grpcClient(c, clientsconnect.NewClientServiceClient)}
}

func (o CreateOrganizationClientOptions) message() *clients.OrganizationClient {
	return &clients.OrganizationClient{Name: o.Name, Description: o.Description, CustomClaims: o.CustomClaims, Audience: o.Audience, Scopes: o.Scopes}
}

func (m *m2mCalls) CreateOrganizationClient(ctx context.Context, organizationId string, options CreateOrganizationClientOptions) (*CreateOrganizationClientResponse, error) {
	return call(ctx, m.c, m.rpcs.CreateOrganizationClient, &clients.CreateOrganizationClientRequest{OrganizationId: organizationId, Client: options.message()})
}

func (m *m2mCalls) GetOrganizationClient(ctx context.Context, organizationId, clientId string) (*GetOrganizationClientResponse, error) {
	return call(ctx, m.c, m.rpcs.GetOrganizationClient, &clients.GetOrganizationClientRequest{OrganizationId: organizationId, ClientId: clientId})
}

func (m *m2mCalls) UpdateOrganizationClient(ctx context.Context, organizationId, clientId string, options UpdateOrganizationClientOptions) (*UpdateOrganizationClientResponse, error) {
	return call(ctx, m.c, m.rpcs.UpdateOrganizationClient, &clients.UpdateOrganizationClientRequest{
		OrganizationId: organizationId, ClientId: clientId, Client: CreateOrganizationClientOptions(options).message(),
	})
}

func (m *m2mCalls) DeleteOrganizationClient(ctx context.Context, organizationId, clientId string) error {
	return done(call(ctx, m.c, m.rpcs.DeleteOrganizationClient, &clients.DeleteOrganizationClientRequest{OrganizationId: organizationId, ClientId: clientId}))
}

func (m *m2mCalls) CreateOrganizationClientSecret(ctx context.Context, organizationId, clientId string) (*CreateOrganizationClientSecretResponse, error) {
	return call(ctx, m.c, m.rpcs.CreateOrganizationClientSecret, &clients.CreateOrganizationClientSecretRequest{OrganizationId: organizationId, ClientId: clientId})
}

func (m *m2mCalls) DeleteOrganizationClientSecret(ctx context.Context, organizationId, clientId, secretId string) error {
	return done(call(ctx, m.c, m.rpcs.DeleteOrganizationClientSecret, &clients.DeleteOrganizationClientSecretRequest{
		OrganizationId: organizationId, ClientId: clientId, SecretId: secretId,
	}))
}

func (m *m2mCalls) ListOrganizationClients(ctx context.Context, organizationId string, options ListOrganizationClientsOptions) (*ListOrganizationClientsResponse, error) {
	return call(ctx, m.c, m.rpcs.ListOrganizationClients, &clients.ListOrganizationClientsRequest{
		OrganizationId: organizationId, PageSize: options.PageSize, PageToken: options.PageToken,
	})
}

// ClientService has the applications of the environment.
type ClientService interface {
	CreateClient(ctx context.Context, client *clients.CreateClient) (*CreateClientResponse, error)
	GetClient(ctx context.Context, clientId string) (*GetClientResponse, error)
	ListClients(ctx context.Context, options *ListClientsOptions) (*ListClientsResponse, error)
	UpdateClient(ctx context.Context, clientId string, client *clients.UpdateClient, mask *fieldmaskpb.FieldMask) (*UpdateClientResponse, error)
	DeleteClient(ctx context.Context, clientId string) error
	AddClientSecret(ctx context.Context, clientId string) (*CreateClientSecretResponse, error)
	RemoveClientSecret(ctx context.Context, clientId, secretId string) error
}

type applicationCalls service[clientsconnect.ClientServiceClient]

func (c *client) Client() ClientService {
	return &applicationCalls{c, grpcClient(c, clientsconnect.NewClientServiceClient)}
}

func (a *applicationCalls) CreateClient(ctx context.Context, client *clients.CreateClient) (*CreateClientResponse, error) {
	return call(ctx, a.c, a.rpcs.CreateClient, &clients.CreateClientRequest{Client: client})
}

func (a *applicationCalls) GetClient(ctx context.Context, clientId string) (*GetClientResponse, error) {
	return call(ctx, a.c, a.rpcs.GetClient, &clients.GetClientRequest{ClientId: clientId})
}

// ListClients sends a zero-length message for no options.
func (a *applicationCalls) ListClients(ctx context.Context, options *ListClientsOptions) (*ListClientsResponse, error) {
	return call(ctx, a.c, a.rpcs.ListClient, options)
}

func (a *applicationCalls) UpdateClient(ctx context.Context, clientId string, client *clients.UpdateClient, mask *fieldmaskpb.FieldMask) (*UpdateClientResponse, error) {
	return call(ctx, a.c, a.rpcs.UpdateClient, &clients.UpdateClientRequest{ClientId: clientId, Client: client, Mask: mask})
}

func (a *applicationCalls) DeleteClient(ctx context.Context, clientId string) error {
	return done(call(ctx, a.c, a.rpcs.DeleteClient, &clients.DeleteClientRequest{ClientId: clientId}))
}

func (a *applicationCalls) AddClientSecret(ctx context.Context, clientId string) (*CreateClientSecretResponse, error) {
	return call(ctx, a.c, a.rpcs.CreateClientSecret, &clients.CreateClientSecretRequest{ClientId: clientId})
}

func (a *applicationCalls) RemoveClientSecret(ctx context.Context, clientId, secretId string) error {
	return done(call(ctx, a.c, a.rpcs.DeleteClientSecret, &clients.DeleteClientSecretRequest{ClientId: clientId, SecretId: secretId}))
}
