package scalekit

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// AuthorizationUrlOptions are what an authorization URL may ask for; what is empty is left out.
type AuthorizationUrlOptions struct {
	Scopes              []string
	State               string
	Nonce               string
	CodeChallenge       string
	CodeChallengeMethod string
	Prompt              string
}

type AuthenticationOptions struct {
	CodeVerifier string
}

type LogoutUrlOptions struct {
	IdTokenHint           string
	PostLogoutRedirectUri string
	State                 string
}

// IdTokenClaims are decoded strictly: a claim of another JSON type fails the login.
type IdTokenClaims struct {
	Issuer            string   `json:"iss"`
	Audience          []string `json:"aud"`
	Expiration        int64    `json:"exp"`
	IssuedAt          int64    `json:"iat"`
	AuthorizedParty   string   `json:"azp"`
	ClientID          string   `json:"client_id"`
	AccessTokenHash   string   `json:"at_hash"`
	CodeHash          string   `json:"c_hash"`
	Amr               []string `json:"amr"`
	OrganizationID    string   `json:"oid"`
	SessionID         string   `json:"sid"`
	Nonce             string   `json:"nonce"`
	Id                string   `json:"sub"`
	Email             string   `json:"email"`
	EmailVerified     bool     `json:"email_verified"`
	Name              string   `json:"name"`
	GivenName         string   `json:"given_name"`
	FamilyName        string   `json:"family_name"`
	PreferredUsername string   `json:"preferred_username"`
	Picture           string   `json:"picture"`
	Locale            string   `json:"locale"`
	UpdatedAt         string   `json:"updated_at"`
	Metadata          string   `json:"metadata"`
}

type AuthenticationResponse struct {
	User         IdTokenClaims
	IdToken      string
	AccessToken  string
	ExpiresIn    int
	RefreshToken string
}

type TokenResponse struct {
	AccessToken  string `json:"access_token"`
	IdToken      string `json:"id_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int    `json:"expires_in"`
}

func (c *client) address(path string, parameters ...[2]string) (*url.URL, error) {
	query := url.Values{}
	for _, pair := range parameters {
		if pair[1] != "" {
			query.Set(pair[0], pair[1])
		}
	}
	return url.Parse(c.envURL + "/" + path + "?" + query.Encode())
}

// GetAuthorizationUrl builds the URL; nothing is sent.
func (c *client) GetAuthorizationUrl(redirectUri string, options AuthorizationUrlOptions) (*url.URL, error) {
	scopes := options.Scopes
	if len(scopes) == 0 {
		scopes = []string{"openid", "profile", "email"}
	}
	return c.address("oauth/authorize",
		[2]string{"response_type", "code"}, [2]string{"client_id", c.clientID}, [2]string{"redirect_uri", redirectUri},
		[2]string{"scope", strings.Join(scopes, " ")}, [2]string{"state", options.State}, [2]string{"nonce", options.Nonce},
		[2]string{"code_challenge", options.CodeChallenge}, [2]string{"code_challenge_method", options.CodeChallengeMethod},
		[2]string{"prompt", options.Prompt})
}

// GetLogoutUrl builds the URL; nothing is sent.
func (c *client) GetLogoutUrl(options LogoutUrlOptions) (*url.URL, error) {
	return c.address("oidc/logout", [2]string{"id_token_hint", options.IdTokenHint},
		[2]string{"post_logout_redirect_uri", options.PostLogoutRedirectUri}, [2]string{"state", options.State})
}

// tokens sends a grant; the secret goes along when the client has one.
func (c *client) tokens(ctx context.Context, form url.Values) (*TokenResponse, error) {
	form.Set("client_id", c.clientID)
	if c.secret != "" {
		form.Set("client_secret", c.secret)
	}
	answer := &TokenResponse{}
	if err := c.send(ctx, http.MethodPost, "oauth/token", form, answer); err != nil {
		return nil, err
	}
	if answer.AccessToken == "" {
		return nil, errors.New("no access token")
	}
	return answer, nil
}

// AuthenticateWithCode exchanges a code and verifies the ID token.
func (c *client) AuthenticateWithCode(ctx context.Context, code, redirectUri string, options AuthenticationOptions) (*AuthenticationResponse, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectUri}}
	if options.CodeVerifier != "" {
		form.Set("code_verifier", options.CodeVerifier)
	}
	answer, err := c.tokens(ctx, form)
	if err != nil {
		return nil, err
	}
	claims := IdTokenClaims{}
	if err := c.verified(ctx, answer.IdToken, &claims); err != nil {
		return nil, err
	}
	if err := alive(claims.Expiration); err != nil {
		return nil, err
	}
	return &AuthenticationResponse{claims, answer.IdToken, answer.AccessToken, answer.ExpiresIn, answer.RefreshToken}, nil
}

func (c *client) RefreshAccessToken(ctx context.Context, refreshToken string) (*TokenResponse, error) {
	return c.tokens(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
}
