// Package scalekit stands in for the published Go SDK in Narthex's tests, under its import path and with its names
// for the calls that the tests make. It is our own code on the libraries that the SDK uses (connect, go-jose), and it
// speaks as sdk-clients.md says that the SDK does: one base URL, a token before the first call, one resend after
// UNAUTHENTICATED, /keys fetched once, gRPC through http.DefaultClient.
package scalekit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	sdkVersion = "Scalekit-Go/2.6.0"
	apiVersion = "20260312"
	userAgent  = sdkVersion + " Go/go1 (stand-in)"
	timeout    = 10 * time.Second
)

// Scalekit is the part of the SDK's client interface that the tests use.
type Scalekit interface {
	Organization() Organization
	Directory() Directory
	Passwordless() PasswordlessService
	User() UserService
	Role() RoleService
	Permission() PermissionService
	M2M() M2MService
	Client() ClientService
	Token() TokenService
	Domain() Domain
	Session() SessionService
	WebAuthn() WebAuthnService
	Connection() Connection
	GetAccessTokenClaims(ctx context.Context, accessToken string) (*AccessTokenClaims, error)
	ValidateAccessToken(ctx context.Context, accessToken string) (bool, error)
	GetAuthorizationUrl(redirectUri string, options AuthorizationUrlOptions) (*url.URL, error)
	AuthenticateWithCode(ctx context.Context, code, redirectUri string, options AuthenticationOptions) (*AuthenticationResponse, error)
	RefreshAccessToken(ctx context.Context, refreshToken string) (*TokenResponse, error)
	GetLogoutUrl(options LogoutUrlOptions) (*url.URL, error)
}

// Error is an answer of the token or key endpoint that is not 2xx.
type Error struct {
	StatusCode int
	Message    string
}

func (e *Error) Error() string { return fmt.Sprintf("%d: %s", e.StatusCode, e.Message) }

var (
	errTokenExpired = errors.New("token has expired")
	errNoExpiry     = errors.New("invalid exp claim format")
)

type client struct {
	envURL, clientID, secret string
	token                    atomic.Pointer[string]
	keys                     atomic.Pointer[jose.JSONWebKeySet]
	http                     *http.Client
}

// NewScalekitClient makes a client; nothing is sent until the first call.
func NewScalekitClient(envURL, clientID string, secret ...string) Scalekit {
	c := &client{envURL: envURL, clientID: clientID, http: &http.Client{Timeout: timeout}}
	if len(secret) > 0 {
		c.secret = secret[0]
	}
	return c
}

func (c *client) Organization() Organization { return newOrganization(c) }
func (c *client) Directory() Directory       { return newDirectory(c) }

// send makes one HTTP call of the SDK: its headers, its cached bearer even where it is not needed.
func (c *client) send(ctx context.Context, method, path string, form url.Values, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.envURL+"/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("user-agent", userAgent)
	request.Header.Set("x-sdk-version", sdkVersion)
	request.Header.Set("x-api-version", apiVersion)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token := c.token.Load(); token != nil {
		request.Header.Set("Authorization", "Bearer "+*token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 8<<10))
		return &Error{StatusCode: response.StatusCode, Message: string(body)}
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (c *client) authenticate(ctx context.Context) error {
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.clientID}, "client_secret": {c.secret}}
	if err := c.send(ctx, http.MethodPost, "oauth/token", form, &answer); err != nil {
		return err
	}
	c.token.Store(&answer.AccessToken)
	return nil
}

// AccessTokenClaims are decoded strictly: a claim of another JSON type fails the whole token.
type AccessTokenClaims struct {
	Issuer     string   `json:"iss"`
	Subject    string   `json:"sub"`
	Audience   []string `json:"aud"`
	Expiration int64    `json:"exp"`
	IssuedAt   int64    `json:"iat"`
	NotBefore  int64    `json:"nbf"`
	ID         string   `json:"jti"`
	ClientID   string   `json:"client_id"`
	Scope      string   `json:"scope"`
}

// verified checks a token's signature against the keys, which are fetched once, and decodes its claims.
func (c *client) verified(ctx context.Context, token string, claims any) error {
	keys := c.keys.Load()
	if keys == nil {
		keys = &jose.JSONWebKeySet{}
		if err := c.send(ctx, http.MethodGet, "keys", nil, keys); err != nil {
			return err
		}
		c.keys.Store(keys)
	}
	signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return err
	}
	found := keys.Key(signed.Signatures[0].Header.KeyID)
	if len(found) == 0 {
		return errors.New("no such key")
	}
	payload, err := signed.Verify(found[0])
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, claims)
}

func alive(expiration int64) error {
	if expiration == 0 {
		return errNoExpiry
	}
	if time.Now().Unix() >= expiration {
		return errTokenExpired
	}
	return nil
}

func (c *client) GetAccessTokenClaims(ctx context.Context, accessToken string) (*AccessTokenClaims, error) {
	claims := &AccessTokenClaims{}
	if err := c.verified(ctx, accessToken, claims); err != nil {
		return nil, err
	}
	return claims, alive(claims.Expiration)
}

func (c *client) ValidateAccessToken(ctx context.Context, accessToken string) (bool, error) {
	if _, err := c.GetAccessTokenClaims(ctx, accessToken); err != nil {
		return false, err
	}
	return true, nil
}
