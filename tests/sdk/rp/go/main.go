// golang.org/x/oauth2 with github.com/coreos/go-oidc as a relying party.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	ring      = "go-oidc"
	callback  = "http://localhost:3999/callback"
	signedOut = "http://localhost:3999/signed-out"
)

var failed bool

// check prints one line, as tests/sdk/run counts them.
func check(name string, block func() error) {
	err := func() (err error) {
		defer func() {
			if caught := recover(); caught != nil {
				err = fmt.Errorf("panic: %v", caught)
			}
		}()
		return block()
	}()
	if err == nil {
		fmt.Printf("PASS %s: %s\n", ring, name)
		return
	}
	failed = true
	fmt.Printf("FAIL %s: %s: %.600s\n", ring, name, strings.Join(strings.Fields(err.Error()), " "))
}

func wrong(format string, values ...any) error { return fmt.Errorf(format, values...) }

// browse signs in with the browser that all rings share, or visits a URL when there is no address; where it ends.
func browse(jar, target string, email ...string) (*url.URL, error) {
	arguments := append([]string{"-c", os.Getenv("NARTHEX_LOGIN") + ` --jar "$@"`, "sh", jar, target}, email...)
	command := exec.Command("/bin/sh", arguments...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, err
	}
	return url.Parse(strings.TrimSpace(string(output)))
}

func main() {
	ctx := context.Background()
	issuer := os.Getenv("SCALEKIT_ENVIRONMENT_URL")
	folder, err := os.MkdirTemp("", "narthex-jar-")
	if err != nil {
		panic(err)
	}
	jar := filepath.Join(folder, "jar")
	state, nonce, verifier := oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	email := "go-oidc-" + strings.NewReplacer("-", "x", "_", "x").Replace(strings.ToLower(state[:8])) + "@example.com"
	var provider *oidc.Provider
	var config oauth2.Config
	var tokens, renewed *oauth2.Token
	var idToken *oidc.IDToken
	var endSession struct {
		URL string `json:"end_session_endpoint"`
	}

	check("[DISC-01] discovery: the issuer of the document is the URL that it was asked at", func() error {
		var err error
		if provider, err = oidc.NewProvider(ctx, issuer); err != nil {
			return err
		}
		config = oauth2.Config{
			ClientID: os.Getenv("SCALEKIT_CLIENT_ID"), ClientSecret: os.Getenv("SCALEKIT_CLIENT_SECRET"),
			Endpoint: provider.Endpoint(), RedirectURL: callback,
			Scopes: []string{oidc.ScopeOpenID, "profile", "email", oidc.ScopeOfflineAccess},
		}
		return provider.Claims(&endSession)
	})

	check("[AUTHZ-09 OAUTH-04 OAUTH-07 OIDC-01 OIDC-02] code flow with PKCE, state and nonce; the library verifies ID token and at_hash", func() error {
		end, err := browse(jar, config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), email)
		if err != nil {
			return err
		}
		if found := end.Query().Get("state"); found != state {
			return wrong("state is %s", found)
		}
		if tokens, err = config.Exchange(ctx, end.Query().Get("code"), oauth2.VerifierOption(verifier)); err != nil {
			return err
		}
		raw, _ := tokens.Extra("id_token").(string)
		if idToken, err = provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(ctx, raw); err != nil {
			return err
		}
		var claims struct {
			Email    string `json:"email"`
			Verified bool   `json:"email_verified"`
		}
		if err := idToken.Claims(&claims); err != nil {
			return err
		}
		if idToken.Nonce != nonce || claims.Email != email || !claims.Verified || tokens.RefreshToken == "" {
			return wrong("nonce %s, %+v", idToken.Nonce, claims)
		}
		if _, err := provider.Verifier(&oidc.Config{ClientID: "skc_1"}).Verify(ctx, raw); err == nil {
			return wrong("taken for another client's")
		}
		return idToken.VerifyAccessToken(tokens.AccessToken)
	})

	check("[OAUTH-07] another verifier is refused, and the library tells why", func() error {
		end, err := browse(jar, config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)))
		if err != nil {
			return err
		}
		_, err = config.Exchange(ctx, end.Query().Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier()))
		var refusal *oauth2.RetrieveError
		if !errors.As(err, &refusal) || refusal.ErrorCode != "invalid_grant" {
			return wrong("%v", err)
		}
		return nil
	})

	check("[OAUTH-08] a token source refreshes: other tokens of the same subject", func() error {
		var err error
		if renewed, err = config.TokenSource(ctx, &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token(); err != nil {
			return err
		}
		raw, _ := renewed.Extra("id_token").(string)
		again, err := provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(ctx, raw)
		if err != nil {
			return err
		}
		if again.Subject != idToken.Subject || renewed.RefreshToken == tokens.RefreshToken || !renewed.Valid() {
			return wrong("subject %s, refresh token %v", again.Subject, renewed.RefreshToken == tokens.RefreshToken)
		}
		return nil
	})

	check("[OIDC-03] userinfo of the subject of the ID token", func() error {
		found, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(renewed))
		if err != nil {
			return err
		}
		if found.Subject != idToken.Subject || found.Email != email || !found.EmailVerified {
			return wrong("%+v", found)
		}
		return nil
	})

	check("[OIDC-06] RP-initiated logout leads to the application with the state", func() error {
		raw, _ := tokens.Extra("id_token").(string)
		query := url.Values{"id_token_hint": {raw}, "post_logout_redirect_uri": {signedOut}, "state": {"bye"}}
		end, err := browse(jar, endSession.URL+"?"+query.Encode())
		if err != nil {
			return err
		}
		if end.String() != signedOut+"?state=bye" {
			return wrong("ends at %s", end)
		}
		return nil
	})

	os.RemoveAll(folder)
	fmt.Printf("END %s\n", ring)
	if failed {
		os.Exit(1)
	}
}
