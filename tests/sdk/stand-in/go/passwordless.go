package scalekit

import (
	"context"

	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/auth"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/auth/authconnect"
)

type (
	SendPasswordlessResponse   = auth.SendPasswordlessResponse
	VerifyPasswordLessResponse = auth.VerifyPasswordLessResponse
)

type SendPasswordlessOptions struct {
	MagiclinkAuthUri string
	State            string
	ExpiresIn        uint32
}

// VerifyPasswordlessOptions have a code or a link's token.
type VerifyPasswordlessOptions struct {
	Code          string
	LinkToken     string
	AuthRequestId string
}

type PasswordlessService interface {
	SendPasswordlessEmail(ctx context.Context, email string, options *SendPasswordlessOptions) (*SendPasswordlessResponse, error)
	VerifyPasswordlessEmail(ctx context.Context, options *VerifyPasswordlessOptions) (*VerifyPasswordLessResponse, error)
	ResendPasswordlessEmail(ctx context.Context, authRequestId string) (*SendPasswordlessResponse, error)
}

type passwordlessCalls struct {
	c    *client
	rpcs authconnect.PasswordlessServiceClient
}

func (c *client) Passwordless() PasswordlessService {
	return &passwordlessCalls{c, grpcClient(c, authconnect.NewPasswordlessServiceClient)}
}

func given[T comparable](value T) *T {
	var none T
	if value == none {
		return nil
	}
	return &value
}

func (p *passwordlessCalls) SendPasswordlessEmail(ctx context.Context, email string, options *SendPasswordlessOptions) (*SendPasswordlessResponse, error) {
	return call(ctx, p.c, p.rpcs.SendPasswordlessEmail, &auth.SendPasswordlessRequest{
		Email: email, MagiclinkAuthUri: given(options.MagiclinkAuthUri), State: given(options.State), ExpiresIn: given(options.ExpiresIn),
	})
}

func (p *passwordlessCalls) VerifyPasswordlessEmail(ctx context.Context, options *VerifyPasswordlessOptions) (*VerifyPasswordLessResponse, error) {
	request := &auth.VerifyPasswordLessRequest{AuthRequestId: given(options.AuthRequestId)}
	if options.Code != "" {
		request.AuthCredential = &auth.VerifyPasswordLessRequest_Code{Code: options.Code}
	} else {
		request.AuthCredential = &auth.VerifyPasswordLessRequest_LinkToken{LinkToken: options.LinkToken}
	}
	return call(ctx, p.c, p.rpcs.VerifyPasswordlessEmail, request)
}

func (p *passwordlessCalls) ResendPasswordlessEmail(ctx context.Context, authRequestId string) (*SendPasswordlessResponse, error) {
	return call(ctx, p.c, p.rpcs.ResendPasswordlessEmail, &auth.ResendPasswordlessRequest{AuthRequestId: authRequestId})
}
