package ring;

import static ring.Report.equal;
import static ring.Report.holds;
import static ring.Report.invalid;
import static ring.Report.notFound;

import com.scalekit.ScalekitClient;
import com.scalekit.api.SessionClient;
import com.scalekit.api.WebAuthnClient;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.DeleteCredentialResponse;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.ListCredentialsResponse;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.WebAuthnCredential;
import com.scalekit.grpc.scalekit.v1.sessions.RevokeAllUserSessionsResponse;
import com.scalekit.grpc.scalekit.v1.sessions.SessionDetails;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Sessions of users, and their passkeys. */
final class Sessions {
  private static final String UNKNOWN = "ses_100000000000000000";

  private Sessions() {}

  /** Signs somebody in who has a passkey; the ids of user, session and passkey. */
  private static String[] withPasskey(String email) throws Exception {
    Process process = new ProcessBuilder("/bin/sh", "-c", System.getenv("NARTHEX_PASSKEY") + " \"$1\"", "sh", email).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
    equal("exit status of the browser, which said " + output, process.waitFor(), 0);
    return output.split(" ");
  }

  static void run(Report report, ScalekitClient client) throws Exception {
    SessionClient sessions = client.sessions();
    WebAuthnClient passkeys = client.webAuthn();
    String[] ids = withPasskey(People.address());
    String user = ids[0];
    String session = ids[1];
    String passkey = ids[2];

    report.check("[SES-01 SES-05] a session shows its user, its device and that it is active; it is listed for the user", () -> {
      SessionDetails found = sessions.getSession(session);
      equal("found", List.of(found.getUserId(), found.getStatus(), found.getDevice().getBrowser()), List.of(user, "active", "Firefox"));
      equal("listed", sessions.getUserSessions(user).getSessionsList().stream().map(SessionDetails::getSessionId).toList(), List.of(session));
    });

    report.check("[WAN-03 WAN-09] the user's passkeys are listed; one gets a name, then it is deleted and gone", () -> {
      ListCredentialsResponse before = passkeys.listCredentials(user);
      equal("listed", List.of(before.getCredentials(0).getId(), before.getCredentials(0).getUserId()), List.of(passkey, user));
      equal("relying party", before.getAllAcceptedCredentialsOptions().getRpId(), "localhost");
      WebAuthnCredential renamed = passkeys.updateCredential(passkey, "Joe's laptop").getCredential();
      equal("renamed", List.of(renamed.getId(), renamed.getDisplayName()), List.of(passkey, "Joe's laptop"));
      invalid("", () -> passkeys.updateCredential(passkey, "x".repeat(121)), () -> passkeys.listCredentials(""));
      DeleteCredentialResponse gone = passkeys.deleteCredential(passkey);
      holds(gone.getSuccess() && !gone.getUnknownCredentialOptions().getCredentialId().isEmpty(), gone.toString());
      equal("left", passkeys.listCredentials(user).getCredentialsCount(), 0);
      notFound(
          () -> passkeys.updateCredential(passkey, "x"),
          () -> passkeys.deleteCredential(passkey),
          () -> passkeys.listCredentials(People.NOBODY));
    });

    report.check("[SES-06] a session is revoked, then nothing is left to revoke; all of a user's sessions at once", () -> {
      equal("revoked", sessions.revokeSession(session).getRevokedSession().getSessionId(), session);
      equal("left", sessions.revokeAllUserSessions(user).getTotalRevoked(), 0);
      String[] again = withPasskey(client.users().getUser(user).getUser().getEmail());
      RevokeAllUserSessionsResponse all = sessions.revokeAllUserSessions(user);
      equal("all", List.of(again[0], all.getTotalRevoked(), all.getRevokedSessions(0).getSessionId()), List.of(user, 1, again[1]));
      holds(!sessions.getSession(again[1]).getStatus().equals("active"), "still active");
      client.users().deleteUser(user);
    });

    report.check("a user who never signed in has no sessions; an unknown session is not found; another kind of id is invalid", () -> {
      String org = People.organization(client.organizations(), "Sessions");
      String stranger = People.create(client.users(), org, People.somebody(), false).getId();
      equal("sessions", sessions.getUserSessions(stranger).getTotalSize(), 0);
      notFound(() -> sessions.getSession(UNKNOWN), () -> sessions.revokeSession(UNKNOWN));
      invalid("", () -> sessions.getSession(People.NOBODY), () -> sessions.revokeSession("x"), () -> sessions.revokeAllUserSessions("x"));
      client.users().deleteUser(stranger);
      client.organizations().deleteById(org);
    });
  }
}
