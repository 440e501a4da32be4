package main

import (
	"os"
	"os/exec"
	"strings"

	"github.com/scalekit-inc/scalekit-sdk-go/v2"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/users"
)

// withPasskey signs somebody in who has a passkey; the ids of user, session and passkey.
func withPasskey(email string) (ids [3]string, err error) {
	command := exec.Command("/bin/sh", "-c", os.Getenv("NARTHEX_PASSKEY")+` "$1"`, "sh", email)
	command.Stderr = os.Stderr
	output, err := command.Output()
	copy(ids[:], strings.Fields(string(output)))
	return ids, err
}

// sessions of users and their passkeys.
func (s *session) sessions() {
	sessions, passkeys := s.sdk.Session(), s.sdk.WebAuthn()
	var user, session, passkey string

	s.check("[SES-01 SES-05] a session shows its user, its device and that it is active; it is listed for the user", func() error {
		ids := must(withPasskey(address()))
		user, session, passkey = ids[0], ids[1], ids[2]
		found := must(sessions.GetSession(s.ctx, session))
		listed := must(sessions.GetUserSessions(s.ctx, user, 10, "", &scalekit.UserSessionFilter{Status: []string{"ACTIVE"}}))
		every := must(sessions.GetUserSessions(s.ctx, user, 0, "", nil))
		return first(
			equal("found", found.SessionId+found.UserId+found.Status+found.Device.Browser, session+user+"active"+"Firefox"),
			equal("listed", listed.Sessions[0].SessionId, session),
			equal("active and every session", listed.TotalSize+every.TotalSize, 2),
		)
	})

	s.check("[WAN-03 WAN-09] the user's passkeys are listed; one gets a name, then it is deleted and gone", func() error {
		before := must(passkeys.ListCredentials(s.ctx, user))
		renamed := must(passkeys.UpdateCredential(s.ctx, passkey, "Gil's laptop")).Credential
		gone := must(passkeys.DeleteCredential(s.ctx, passkey))
		return first(
			equal("listed", before.Credentials[0].Id+before.Credentials[0].UserId, passkey+user),
			equal("relying party", before.AllAcceptedCredentialsOptions.RpId, "localhost"),
			equal("renamed", renamed.Id+renamed.GetDisplayName(), passkey+"Gil's laptop"),
			holds(gone.Success && gone.UnknownCredentialOptions.CredentialId != "", "gone: %v", gone),
			equal("left", len(must(passkeys.ListCredentials(s.ctx, user)).Credentials), 0),
			notFound(
				failure(passkeys.UpdateCredential(s.ctx, passkey, "x")),
				failure(passkeys.DeleteCredential(s.ctx, passkey)),
				failure(passkeys.ListCredentials(s.ctx, nobody)),
			),
			invalid("", failure(passkeys.UpdateCredential(s.ctx, passkey, strings.Repeat("x", 121))), failure(passkeys.ListCredentials(s.ctx, ""))),
		)
	})

	s.check("[SES-06] a session is revoked, then nothing is left to revoke; all of a user's sessions at once", func() error {
		revoked := must(sessions.RevokeSession(s.ctx, session)).RevokedSession
		none := must(sessions.RevokeAllUserSessions(s.ctx, user))
		again := must(withPasskey(must(s.sdk.User().GetUser(s.ctx, user)).User.Email))
		all := must(sessions.RevokeAllUserSessions(s.ctx, user))
		return first(
			equal("revoked", revoked.SessionId+revoked.UserId, session+user),
			equal("left", none.TotalRevoked, 0),
			equal("the same user", again[0], user),
			equal("all", all.TotalRevoked, 1),
			equal("its session", all.RevokedSessions[0].SessionId, again[1]),
			holds(must(sessions.GetSession(s.ctx, again[1])).Status != "active", "still active"),
			s.sdk.User().DeleteUser(s.ctx, user),
		)
	})

	s.check("a user who never signed in has no sessions; an unknown session is not found; another kind of id is invalid", func() error {
		org := s.create("Sessions", scalekit.CreateOrganizationOptions{}).Id
		stranger := must(s.sdk.User().CreateUserAndMembership(s.ctx, org, &users.CreateUser{Email: address()}, false)).User.Id
		const unknown = "ses_100000000000000000"
		page := must(sessions.GetUserSessions(s.ctx, stranger, 0, "", nil))
		return first(
			equal("sessions", len(page.Sessions), 0),
			notFound(failure(sessions.GetSession(s.ctx, unknown)), failure(sessions.RevokeSession(s.ctx, unknown))),
			invalid("", failure(sessions.GetSession(s.ctx, nobody)), failure(sessions.RevokeSession(s.ctx, "x")), failure(sessions.RevokeAllUserSessions(s.ctx, "x"))),
			s.sdk.User().DeleteUser(s.ctx, stranger),
			s.orgs.DeleteOrganization(s.ctx, org),
		)
	})
}
