package scalekit

import (
	"context"

	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/connections"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/connections/connectionsconnect"
)

type ListConnectionsResponse = connections.ListConnectionsResponse

// Connection lacks the calls for the connections of one organization, which the server does not offer yet.
type Connection interface {
	ListConnections(ctx context.Context, organizationId string) (*ListConnectionsResponse, error)
	ListConnectionsByDomain(ctx context.Context, domain string) (*ListConnectionsResponse, error)
}

type connectionCalls service[connectionsconnect.ConnectionServiceClient]

func (c *client) Connection() Connection {
	return &connectionCalls{c, grpcClient(c, connectionsconnect.NewConnectionServiceClient)}
}

// ListConnections asks for disabled and unfinished ones too, as ListConnectionsByDomain does.
func (n *connectionCalls) ListConnections(ctx context.Context, organizationId string) (*ListConnectionsResponse, error) {
	return call(ctx, n.c, n.rpcs.ListConnections, &connections.ListConnectionsRequest{OrganizationId: &organizationId, Include: given("all")})
}

func (n *connectionCalls) ListConnectionsByDomain(ctx context.Context, domain string) (*ListConnectionsResponse, error) {
	return call(ctx, n.c, n.rpcs.ListConnections, &connections.ListConnectionsRequest{Domain: &domain, Include: given("all")})
}
