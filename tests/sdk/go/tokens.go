package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/scalekit-inc/scalekit-sdk-go/v2"
)

var base64url = base64.RawURLEncoding

// freshToken asks the token endpoint itself: the SDK keeps its own token to itself.
func (s *session) freshToken() (string, error) { return s.tokenOf(s.clientID, s.secret) }

// tokenOf is a token of any machine client; with no scopes asked for it has all of the client's.
func (s *session) tokenOf(clientID, secret string, scopes ...string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret}}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	response, err := http.PostForm(s.url+"/oauth/token", form)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return "", err
	}
	return answer.AccessToken, first(equal("status", response.StatusCode, 200), equal("token_type", answer.TokenType, "Bearer"))
}

func segment(value map[string]any) string {
	text, _ := json.Marshal(value)
	return base64url.EncodeToString(text)
}

func decoded(part string) map[string]any {
	text, _ := base64url.DecodeString(part)
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	value := map[string]any{}
	_ = decoder.Decode(&value)
	return value
}

func with(value map[string]any, changes map[string]any) map[string]any {
	changed := maps.Clone(value)
	maps.Copy(changed, changes)
	return changed
}

// forgeries look like the given genuine token and must be refused everywhere.
func forgeries(token string) map[string]string {
	parts := strings.Split(token, ".")
	header, claims := decoded(parts[0]), decoded(parts[1])
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	signed := func(claims map[string]any) string {
		text := segment(header) + "." + segment(claims)
		digest := sha256.Sum256([]byte(text))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		if err != nil {
			panic(err)
		}
		return text + "." + base64url.EncodeToString(signature)
	}
	none := segment(with(header, map[string]any{"alg": "none"}))
	hourAgo := time.Now().Add(-time.Hour).Unix()
	return map[string]string{
		"signed by a foreign key under the genuine kid": signed(claims),
		"with a genuine signature under changed claims": parts[0] + "." + segment(with(claims, map[string]any{"sub": "skc_1"})) + "." + parts[2],
		"expired an hour ago":                           signed(with(claims, map[string]any{"exp": hourAgo})),
		"alg none without signature":                    none + "." + parts[1] + ".",
		"alg none with the genuine signature":           none + "." + parts[1] + "." + parts[2],
		"not a JWT":                                     "garbage",
	}
}

// status of GET /api/v1/organizations with this bearer, and the error_code of its answer.
func (s *session) restAnswer(token string) (int, string, error) {
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.url+"/api/v1/organizations", nil)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	var body struct {
		Details []struct {
			ErrorCode string `json:"error_code"`
		} `json:"details"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return 0, "", err
	}
	if len(body.Details) == 0 {
		return response.StatusCode, "", nil
	}
	return response.StatusCode, body.Details[0].ErrorCode, nil
}

func (s *session) tokens() {
	var token string
	s.check("[OAUTH-01] the SDK validates a token against /keys and decodes its claims strictly", func() error {
		var err error
		if token, err = s.freshToken(); err != nil {
			return err
		}
		valid, err := s.sdk.ValidateAccessToken(s.ctx, token)
		if err != nil {
			return err
		}
		if _, err := s.sdk.GetAccessTokenClaims(s.ctx, token); err != nil {
			return err
		}
		return first(
			equal("validity", valid, true),
			equal("iss", decoded(strings.Split(token, ".")[1])["iss"], any(s.origin)),
			equal("sub", decoded(strings.Split(token, ".")[1])["sub"], any(s.clientID)),
		)
	})

	forged := forgeries(token)
	for _, what := range slices.Sorted(maps.Keys(forged)) {
		s.check("[MGMT-02] a token "+what+": refused by the SDK, and by the server with 401", func() error {
			valid, err := s.sdk.ValidateAccessToken(s.ctx, forged[what])
			status, code, restErr := s.restAnswer(forged[what])
			return first(
				holds(!valid && err != nil, "the SDK took it"),
				restErr,
				equal("status", status, http.StatusUnauthorized),
				equal("error_code", code, "UNAUTHENTICATED"),
			)
		})
	}
}

// slashed makes a client whose base URL ends in a slash: it asks for //oauth/token and //keys.
func (s *session) slashed() {
	s.check("a base URL that ends in a slash works: //oauth/token and //keys are answered", func() error {
		client := scalekit.NewScalekitClient(s.url+"/", s.clientID, s.secret)
		if _, err := client.Organization().ListOrganization(s.ctx, nil); err != nil {
			return err
		}
		token, err := s.freshToken()
		if err != nil {
			return err
		}
		_, err = client.ValidateAccessToken(s.ctx, token)
		return err
	})
}

// shell runs a command that the runner has put into the environment.
func shell(variable string) error {
	if output, err := exec.Command("/bin/sh", "-c", os.Getenv(variable)).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", variable, err, output)
	}
	return nil
}

func kid(token string) any { return decoded(strings.Split(token, ".")[0])["kid"] }

// allTake wants every client and the server to accept every token.
func (s *session) allTake(clients []scalekit.Scalekit, tokens ...string) error {
	for _, token := range tokens {
		for number, client := range clients {
			if valid, err := client.ValidateAccessToken(s.ctx, token); err != nil || !valid {
				return fmt.Errorf("client %d on the token of %v: %v %w", number, kid(token), valid, err)
			}
		}
		if status, _, err := s.restAnswer(token); err != nil || status != http.StatusOK {
			return fmt.Errorf("server on the token of %v: %d %w", kid(token), status, err)
		}
	}
	return nil
}

// rotation publishes a new signing key, which signs later: SDK clients fetch /keys once and live on with it.
func (s *session) rotation() {
	before, during := s.sdk, scalekit.NewScalekitClient(s.url, s.clientID, s.secret)
	var old string

	s.check("[CTL-45 DISC-03] keys rotate publishes a key that does not sign yet: nothing changes for anyone", func() error {
		var err error
		if old, err = s.freshToken(); err != nil {
			return err
		}
		if _, err := before.ValidateAccessToken(s.ctx, old); err != nil { // fetches /keys for good
			return err
		}
		if err := shell("NARTHEX_ROTATE"); err != nil {
			return err
		}
		token, err := s.freshToken()
		if err != nil {
			return err
		}
		return first(equal("signing key", kid(token), kid(old)), s.allTake([]scalekit.Scalekit{before, during}, old, token))
	})

	s.check("[CTL-45 DISC-03] after the overlap the new key signs: clients made during it and later take old and new tokens", func() error {
		if err := shell("NARTHEX_PASS_OVERLAP"); err != nil {
			return err
		}
		renewed, err := s.freshToken()
		if err != nil {
			return err
		}
		after := scalekit.NewScalekitClient(s.url, s.clientID, s.secret)
		return first(
			holds(kid(renewed) != kid(old), "both tokens are signed by %v", kid(old)),
			s.allTake([]scalekit.Scalekit{during, after}, old, renewed),
			s.allTake([]scalekit.Scalekit{before}, old),
		)
	})
}
