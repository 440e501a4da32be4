package scalekit

import (
	"context"

	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/tokens"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/tokens/tokensconnect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type (
	CreateTokenResponse   = tokens.CreateTokenResponse
	ValidateTokenResponse = tokens.ValidateTokenResponse
	ListTokensResponse    = tokens.ListTokensResponse
	UpdateTokenResponse   = tokens.UpdateTokenResponse
)

type CreateTokenOptions struct {
	UserId       string
	CustomClaims map[string]string
	Expiry       *timestamppb.Timestamp
	Description  string
}

type ListTokensOptions struct {
	UserId    string
	PageSize  int32
	PageToken string
}

// UpdateTokenOptions: no description leaves it, an empty one clears it.
type UpdateTokenOptions struct {
	CustomClaims map[string]string
	Description  *string
}

type TokenService interface {
	CreateToken(ctx context.Context, organizationId string, options CreateTokenOptions) (*CreateTokenResponse, error)
	ValidateToken(ctx context.Context, token string) (*ValidateTokenResponse, error)
	InvalidateToken(ctx context.Context, token string) error
	ListTokens(ctx context.Context, organizationId string, options ListTokensOptions) (*ListTokensResponse, error)
	UpdateToken(ctx context.Context, token string, options UpdateTokenOptions) (*UpdateTokenResponse, error)
}

type tokenCalls service[tokensconnect.ApiTokenServiceClient]

func (c *client) Token() TokenService {
	return &tokenCalls{c, grpcClient(c, tokensconnect.NewApiTokenServiceClient)}
}

func (t *tokenCalls) CreateToken(ctx context.Context, organizationId string, options CreateTokenOptions) (*CreateTokenResponse, error) {
	return call(ctx, t.c, t.rpcs.CreateToken, &tokens.CreateTokenRequest{Token: &tokens.CreateToken{
		OrganizationId: organizationId, UserId: options.UserId, CustomClaims: options.CustomClaims, Expiry: options.Expiry, Description: options.Description,
	}})
}

func (t *tokenCalls) ValidateToken(ctx context.Context, token string) (*ValidateTokenResponse, error) {
	return call(ctx, t.c, t.rpcs.ValidateToken, &tokens.ValidateTokenRequest{Token: token})
}

func (t *tokenCalls) InvalidateToken(ctx context.Context, token string) error {
	return done(call(ctx, t.c, t.rpcs.InvalidateToken, &tokens.InvalidateTokenRequest{Token: token}))
}

func (t *tokenCalls) ListTokens(ctx context.Context, organizationId string, options ListTokensOptions) (*ListTokensResponse, error) {
	return call(ctx, t.c, t.rpcs.ListTokens, &tokens.ListTokensRequest{
		OrganizationId: organizationId, UserId: given(options.UserId), PageSize: options.PageSize, PageToken: options.PageToken,
	})
}

func (t *tokenCalls) UpdateToken(ctx context.Context, token string, options UpdateTokenOptions) (*UpdateTokenResponse, error) {
	return call(ctx, t.c, t.rpcs.UpdateToken, &tokens.UpdateTokenRequest{Token: token, CustomClaims: options.CustomClaims, Description: options.Description})
}
