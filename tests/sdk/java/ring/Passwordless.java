package ring;

import static ring.Report.equal;
import static ring.Report.refused;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.scalekit.api.PasswordlessClient;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.SendPasswordlessRequest;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.SendPasswordlessResponse;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.VerifyPasswordLessRequest;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.VerifyPasswordLessResponse;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.UUID;

/** Codes and links by mail that the application itself sends and verifies. */
final class Passwordless {
  private static final int INVALID_ARGUMENT = 3;
  private static final int NOT_FOUND = 5;

  private Passwordless() {}

  private static String mailedCode(String url, String email) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/dev/mail?to=" + email)).build();
    String mails = HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body();
    return new ObjectMapper().readTree(mails).get(0).get("otp").asText();
  }

  static void run(Report report, PasswordlessClient api, String url) throws Exception {
    String email = "joe-" + UUID.randomUUID() + "@example.com";
    SendPasswordlessRequest send =
        SendPasswordlessRequest.newBuilder().setEmail(email).setMagiclinkAuthUri("http://localhost:3999/magic").setState("s-1").setExpiresIn(600).build();
    SendPasswordlessResponse sent = api.sendPasswordlessEmail(send);
    String code = mailedCode(url, email);
    VerifyPasswordLessRequest right =
        VerifyPasswordLessRequest.newBuilder().setAuthRequestId(sent.getAuthRequestId()).setCode(code).build();

    report.check("[PWL-01 PWL-04 PWL-05] a mail is sent; its code verifies once and gives back address and state", () -> {
      equal("lifetime", sent.getExpiresIn(), 600);
      VerifyPasswordLessResponse verified = api.verifyPasswordlessEmail(right);
      equal("email", verified.getEmail(), email);
      equal("state", verified.getState(), "s-1");
    });

    report.check("a mail is sent again for the same request, with a code that verifies", () -> {
      String again = People.address();
      String asked = api.sendPasswordlessEmail(send.toBuilder().setEmail(again).build()).getAuthRequestId();
      equal("request", api.resendPasswordlessEmail(asked).getAuthRequestId(), asked);
      VerifyPasswordLessRequest answer = VerifyPasswordLessRequest.newBuilder().setAuthRequestId(asked).setCode(mailedCode(url, again)).build();
      equal("email", api.verifyPasswordlessEmail(answer).getEmail(), again);
    });

    report.check("[PWL-13 PWL-06] a code that was used already, a wrong one, an unknown link and an unknown request are refused", () -> {
      for (VerifyPasswordLessRequest wrong :
          new VerifyPasswordLessRequest[] {
            right,
            right.toBuilder().setCode("00000x").build(),
            VerifyPasswordLessRequest.newBuilder().setLinkToken("invented_l").build()
          }) {
        refused(() -> api.verifyPasswordlessEmail(wrong), INVALID_ARGUMENT, "INVALID_ARGUMENT", "");
      }
      VerifyPasswordLessRequest unknown = right.toBuilder().setAuthRequestId("invented").build();
      refused(() -> api.verifyPasswordlessEmail(unknown), NOT_FOUND, "NOT_FOUND", "");
      refused(() -> api.resendPasswordlessEmail("invented"), NOT_FOUND, "NOT_FOUND", "");
    });
  }
}
