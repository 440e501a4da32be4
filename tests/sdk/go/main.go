// The Go SDK's calls against a running server: `ring core | plain | rotation | limits`. Reads SCALEKIT_… from the environment.
// `plain` speaks to NARTHEX_HTTP_URL, where Go's gRPC travels inside HTTP/1.1.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/scalekit-inc/scalekit-sdk-go/v2"
)

// session is what every part of the ring works with.
type session struct {
	*report
	ctx                           context.Context
	sdk                           scalekit.Scalekit
	orgs                          scalekit.Organization
	url, origin, clientID, secret string
}

func main() {
	part := os.Args[1]
	s := &session{
		report:   &report{ring: "go stand-in over https"},
		ctx:      context.Background(),
		origin:   os.Getenv("SCALEKIT_ENVIRONMENT_URL"),
		clientID: os.Getenv("SCALEKIT_CLIENT_ID"),
		secret:   os.Getenv("SCALEKIT_CLIENT_SECRET"),
	}
	// Links and issuers name the environment's canonical origin, whatever scheme and port the caller used.
	s.url = s.origin
	if part == "plain" {
		s.ring, s.url = "go stand-in over http", os.Getenv("NARTHEX_HTTP_URL")
	}
	s.sdk = scalekit.NewScalekitClient(s.url, s.clientID, s.secret)
	s.orgs = s.sdk.Organization()

	switch part {
	case "limits":
		s.limits()
	case "rotation":
		s.rotation()
	case "core", "plain":
		s.organizations()
		s.pagination()
		s.people()
		s.access()
		s.machines()
		s.domains()
		s.sessions()
		s.refusals()
		s.tokens()
		s.signin()
		s.passwordless()
		s.slashed()
	default:
		fmt.Fprintln(os.Stderr, "ring core | plain | rotation | limits")
		os.Exit(2)
	}
	s.end()
}
