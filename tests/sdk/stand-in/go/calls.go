package scalekit

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
)

// grpcClient builds a generated client as the SDK does: gRPC through http.DefaultClient (HTTP/2 by ALPN over TLS,
// HTTP/1.1 over plain http), the SDK's headers and its bearer on every call.
func grpcClient[T any](c *client, construct func(connect.HTTPClient, string, ...connect.ClientOption) T) T {
	headers := func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			request.Header().Set("user-agent", userAgent)
			request.Header().Set("x-sdk-version", sdkVersion)
			request.Header().Set("x-api-version", apiVersion)
			if token := c.token.Load(); token != nil {
				request.Header().Set("Authorization", "Bearer "+*token)
			}
			return next(ctx, request)
		}
	}
	return construct(http.DefaultClient, c.envURL, connect.WithGRPC(), connect.WithInterceptors(connect.UnaryInterceptorFunc(headers)))
}

// service is a generated client and whom its calls are made for.
type service[R any] struct {
	c    *client
	rpcs R
}

// done drops an answer that says nothing.
func done[R any](_ *R, err error) error { return err }

// call sends one request: a failed first token request is passed over, so that the call itself says what is wrong,
// and after UNAUTHENTICATED a token is fetched and the call is sent once more.
func call[Q, R any](ctx context.Context, c *client, rpc func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), request *Q) (*R, error) {
	if c.token.Load() == nil {
		_ = c.authenticate(ctx)
	}
	response, err := rpc(ctx, connect.NewRequest(request))
	var refusal *connect.Error
	if errors.As(err, &refusal) && refusal.Code() == connect.CodeUnauthenticated {
		if err := c.authenticate(ctx); err != nil {
			return nil, err
		}
		response, err = rpc(ctx, connect.NewRequest(request))
	}
	if err != nil {
		return nil, err
	}
	return response.Msg, nil
}
