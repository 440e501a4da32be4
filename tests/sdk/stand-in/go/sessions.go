package scalekit

import (
	"context"

	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/auth"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/auth/authconnect"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/sessions"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/sessions/sessionsconnect"
)

type (
	SessionDetails                = sessions.SessionDetails
	UserSessionDetails            = sessions.UserSessionDetails
	UserSessionFilter             = sessions.UserSessionFilter
	RevokeSessionResponse         = sessions.RevokeSessionResponse
	RevokeAllUserSessionsResponse = sessions.RevokeAllUserSessionsResponse
	ListCredentialsResponse       = auth.ListCredentialsResponse
	UpdateCredentialResponse      = auth.UpdateCredentialResponse
	DeleteCredentialResponse      = auth.DeleteCredentialResponse
)

type SessionService interface {
	GetSession(ctx context.Context, sessionId string) (*SessionDetails, error)
	GetUserSessions(ctx context.Context, userId string, pageSize uint32, pageToken string, filter *UserSessionFilter) (*UserSessionDetails, error)
	RevokeSession(ctx context.Context, sessionId string) (*RevokeSessionResponse, error)
	RevokeAllUserSessions(ctx context.Context, userId string) (*RevokeAllUserSessionsResponse, error)
}

type sessionCalls service[sessionsconnect.SessionServiceClient]

func (c *client) Session() SessionService {
	return &sessionCalls{c, grpcClient(c, sessionsconnect.NewSessionServiceClient)}
}

func (s *sessionCalls) GetSession(ctx context.Context, sessionId string) (*SessionDetails, error) {
	return call(ctx, s.c, s.rpcs.GetSession, &sessions.SessionDetailsRequest{SessionId: sessionId})
}

func (s *sessionCalls) GetUserSessions(ctx context.Context, userId string, pageSize uint32, pageToken string, filter *UserSessionFilter) (*UserSessionDetails, error) {
	return call(ctx, s.c, s.rpcs.GetUserSessions, &sessions.UserSessionDetailsRequest{UserId: userId, PageSize: pageSize, PageToken: pageToken, Filter: filter})
}

func (s *sessionCalls) RevokeSession(ctx context.Context, sessionId string) (*RevokeSessionResponse, error) {
	return call(ctx, s.c, s.rpcs.RevokeSession, &sessions.RevokeSessionRequest{SessionId: sessionId})
}

func (s *sessionCalls) RevokeAllUserSessions(ctx context.Context, userId string) (*RevokeAllUserSessionsResponse, error) {
	return call(ctx, s.c, s.rpcs.RevokeAllUserSessions, &sessions.RevokeAllUserSessionsRequest{UserId: userId})
}

// WebAuthnService manages passkeys; browsers make and use them.
type WebAuthnService interface {
	ListCredentials(ctx context.Context, userId string) (*ListCredentialsResponse, error)
	UpdateCredential(ctx context.Context, credentialId, displayName string) (*UpdateCredentialResponse, error)
	DeleteCredential(ctx context.Context, credentialId string) (*DeleteCredentialResponse, error)
}

type passkeyCalls service[authconnect.WebAuthnServiceClient]

func (c *client) WebAuthn() WebAuthnService {
	return &passkeyCalls{c, grpcClient(c, authconnect.NewWebAuthnServiceClient)}
}

func (w *passkeyCalls) ListCredentials(ctx context.Context, userId string) (*ListCredentialsResponse, error) {
	return call(ctx, w.c, w.rpcs.ListCredentials, &auth.ListCredentialsRequest{UserId: userId})
}

func (w *passkeyCalls) UpdateCredential(ctx context.Context, credentialId, displayName string) (*UpdateCredentialResponse, error) {
	return call(ctx, w.c, w.rpcs.UpdateCredential, &auth.UpdateCredentialRequest{CredentialId: credentialId, DisplayName: displayName})
}

func (w *passkeyCalls) DeleteCredential(ctx context.Context, credentialId string) (*DeleteCredentialResponse, error) {
	return call(ctx, w.c, w.rpcs.DeleteCredential, &auth.DeleteCredentialRequest{CredentialId: credentialId})
}
