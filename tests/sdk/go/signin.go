package main

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/scalekit-inc/scalekit-sdk-go/v2"
)

const (
	callback  = "http://localhost:3999/callback"
	signedOut = "http://localhost:3999/signed-out"
)

var everything = []string{"openid", "profile", "email", "offline_access"}

// browse signs in with the browser that all rings share, or visits a URL when there is no address; where it ends.
func browse(jar string, target *url.URL, email ...string) (*url.URL, error) {
	arguments := append([]string{"-c", os.Getenv("NARTHEX_LOGIN") + ` --jar "$@"`, "sh", jar, target.String()}, email...)
	command := exec.Command("/bin/sh", arguments...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, err
	}
	return url.Parse(strings.TrimSpace(string(output)))
}

// refusedGrant wants the SDK's error with this status and this OAuth error.
func refusedGrant(err error, says string) error {
	var refusal *scalekit.Error
	if !errors.As(err, &refusal) {
		return fmt.Errorf("expected *scalekit.Error, found %T: %v", err, err)
	}
	return first(
		equal("status", refusal.StatusCode, http.StatusBadRequest),
		holds(strings.Contains(refusal.Message, says), "%q does not say %s", refusal.Message, says),
	)
}

func random() string {
	bytes := make([]byte, 32)
	_, _ = rand.Read(bytes)
	return base64url.EncodeToString(bytes)
}

func (s *session) signin() {
	folder, err := os.MkdirTemp("", "narthex-jar-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	jar := filepath.Join(folder, "jar")
	email := "gil-" + strings.ToLower(random()[:8]) + "x@example.com"
	state, nonce, verifier := random(), random(), random()
	digest := sha256.Sum256([]byte(verifier))
	challenge := base64url.EncodeToString(digest[:])
	begin := func(jar string, options scalekit.AuthorizationUrlOptions, email ...string) (url.Values, error) {
		target, err := s.sdk.GetAuthorizationUrl(callback, options)
		if err != nil {
			return nil, err
		}
		end, err := browse(jar, target, email...)
		if err != nil {
			return nil, err
		}
		return end.Query(), nil
	}
	var code string
	var found *scalekit.AuthenticationResponse
	var refreshed *scalekit.TokenResponse

	s.check("[AUTHZ-09] from the SDK's authorization URL through a login to the callback, which has the state", func() error {
		answer, err := begin(jar, scalekit.AuthorizationUrlOptions{
			Scopes: everything, State: state, Nonce: nonce, CodeChallenge: challenge, CodeChallengeMethod: "S256",
		}, email)
		if err != nil {
			return err
		}
		code = answer.Get("code")
		return first(equal("state", answer.Get("state"), state), holds(code != "", "no code: %v", answer))
	})

	s.check("[OAUTH-04 OIDC-01 AUTHZ-09] the code becomes a user, a verified ID token, an access token and a refresh token", func() error {
		var err error
		if found, err = s.sdk.AuthenticateWithCode(s.ctx, code, callback, scalekit.AuthenticationOptions{CodeVerifier: verifier}); err != nil {
			return err
		}
		user := found.User
		return first(
			equal("email", user.Email, email),
			equal("email_verified", user.EmailVerified, true),
			equal("nonce", user.Nonce, nonce),
			equal("iss", user.Issuer, s.origin),
			equal("aud and azp", strings.Join(user.Audience, " ")+" "+user.AuthorizedParty, s.clientID+" "+s.clientID),
			holds(strings.HasPrefix(user.Id, "usr_") && strings.HasPrefix(user.OrganizationID, "org_") && strings.HasPrefix(user.SessionID, "ses_"), "%+v", user),
			holds(len(user.Amr) == 1 && user.AccessTokenHash != "" && user.CodeHash != "", "%+v", user),
			holds(found.RefreshToken != "" && found.ExpiresIn > 0, "refresh token or lifetime"),
		)
	})

	s.check("[TOK-01] the SDK validates the access token and decodes its claims strictly; it says who, where and what", func() error {
		claims, err := s.sdk.GetAccessTokenClaims(s.ctx, found.AccessToken)
		if err != nil {
			return err
		}
		all := decoded(strings.Split(found.AccessToken, ".")[1])
		return first(
			equal("sub", claims.Subject, found.User.Id),
			equal("scope", claims.Scope, strings.Join(everything, " ")),
			equal("lifetime", claims.Expiration-claims.IssuedAt, 300),
			equal("oid", all["oid"], any(found.User.OrganizationID)),
			equal("sid", all["sid"], any(found.User.SessionID)),
			equal("roles", fmt.Sprint(all["roles"]), "[admin]"),
			equal("scopes", fmt.Sprint(all["scopes"]), "["+strings.Join(everything, " ")+"]"),
		)
	})

	s.check("[OAUTH-08] a refresh gives another refresh token and a fresh access token of the same session", func() error {
		var err error
		if refreshed, err = s.sdk.RefreshAccessToken(s.ctx, found.RefreshToken); err != nil {
			return err
		}
		_, invented := s.sdk.RefreshAccessToken(s.ctx, "rt_invented")
		_, err = s.sdk.ValidateAccessToken(s.ctx, refreshed.AccessToken)
		return first(
			err,
			holds(refreshed.RefreshToken != "" && refreshed.RefreshToken != found.RefreshToken, "the refresh token is the same"),
			equal("sid", decoded(strings.Split(refreshed.AccessToken, ".")[1])["sid"], any(found.User.SessionID)),
			refusedGrant(invented, "invalid_grant"),
		)
	})

	s.check("[AUTHZ-09] an error comes back with the state as well: prompt=none and nobody signed in", func() error {
		answer, err := begin(filepath.Join(folder, "stranger"), scalekit.AuthorizationUrlOptions{State: state, Prompt: "none"})
		return first(err, equal("error", answer.Get("error"), "login_required"), equal("state", answer.Get("state"), state))
	})

	s.check("[OAUTH-05] a code is good once, and its second use ends what came of the first", func() error {
		_, again := s.sdk.AuthenticateWithCode(s.ctx, code, callback, scalekit.AuthenticationOptions{CodeVerifier: verifier})
		_, refresh := s.sdk.RefreshAccessToken(s.ctx, refreshed.RefreshToken)
		return first(refusedGrant(again, "invalid_grant"), refusedGrant(refresh, "invalid_grant"))
	})

	s.check("[OIDC-06] the SDK's logout URL leads to the application with the state, and nobody is signed in afterwards", func() error {
		out, err := s.sdk.GetLogoutUrl(scalekit.LogoutUrlOptions{IdTokenHint: found.IdToken, PostLogoutRedirectUri: signedOut, State: state})
		if err != nil {
			return err
		}
		end, err := browse(jar, out)
		if err != nil {
			return err
		}
		answer, err := begin(jar, scalekit.AuthorizationUrlOptions{Prompt: "none"})
		return first(err, equal("end", end.String(), signedOut+"?state="+state), equal("error", answer.Get("error"), "login_required"))
	})
}
