package ring;

import static ring.Report.equal;
import static ring.Report.holds;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.scalekit.api.AuthClient;
import com.scalekit.api.AuthClient.AuthenticationResponse;
import com.scalekit.api.AuthClient.TokenResponse;
import com.scalekit.api.AuthenticationOptions;
import com.scalekit.api.AuthorizationUrlOptions;
import com.scalekit.api.LogoutUrlOptions;
import com.scalekit.exceptions.APIException;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;

/** Signing in: from the SDK's authorization URL, through the login of a browser, to tokens and the way out. */
final class SignIn {
  private static final String CALLBACK = "http://localhost:3999/callback";
  private static final String SIGNED_OUT = "http://localhost:3999/signed-out";
  private static final List<String> EVERYTHING = List.of("openid", "profile", "email", "offline_access");
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Report report;
  private final AuthClient authentication;
  private final String url;
  private final String clientId;
  private final String secret;
  private final Path folder;
  private String code;
  private AuthenticationResponse found;

  SignIn(Report report, AuthClient authentication, String url, String clientId, String secret) throws Exception {
    this.report = report;
    this.authentication = authentication;
    this.url = url;
    this.clientId = clientId;
    this.secret = secret;
    this.folder = Files.createTempDirectory("narthex-jar-");
  }

  private static String random() {
    byte[] bytes = new byte[32];
    new SecureRandom().nextBytes(bytes);
    return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
  }

  /** Signs in with the browser that all rings share, or visits a URL when there is no address; where it ends. */
  private String browse(String jar, URL target, String... email) throws Exception {
    List<String> command = new ArrayList<>(List.of("/bin/sh", "-c", System.getenv("NARTHEX_LOGIN") + " --jar \"$@\"", "sh"));
    command.add(folder.resolve(jar).toString());
    command.add(target.toString());
    command.addAll(List.of(email));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
    equal("exit status of the browser, which said " + output, process.waitFor(), 0);
    return output;
  }

  private static String parameter(String end, String name) {
    for (String pair : URI.create(end).getRawQuery().split("&")) {
      if (pair.startsWith(name + "=")) {
        return pair.substring(name.length() + 1);
      }
    }
    return "";
  }

  private static JsonNode claims(String token) throws Exception {
    return JSON.readTree(Base64.getUrlDecoder().decode(token.split("\\.")[1]));
  }

  private static void refused(Report.Block call, String says) throws Exception {
    try {
      call.run();
    } catch (APIException error) {
      holds(error.getMessage().contains(says), error.getMessage());
      return;
    }
    throw new AssertionError("not refused; expected " + says);
  }

  void run() throws Exception {
    String email = "joe-" + random().substring(0, 8).toLowerCase(java.util.Locale.ROOT) + "x@example.com";
    String state = random();
    String nonce = random();
    String verifier = random();
    byte[] digest = MessageDigest.getInstance("SHA-256").digest(verifier.getBytes(StandardCharsets.US_ASCII));
    AuthenticationOptions exchange = new AuthenticationOptions();
    exchange.setCodeVerifier(verifier);

    report.check("[AUTHZ-09] from the SDK's authorization URL through a login to the callback, which has the state", () -> {
      AuthorizationUrlOptions options = new AuthorizationUrlOptions();
      options.setScopes(EVERYTHING);
      options.setState(state);
      options.setNonce(nonce);
      options.setCodeChallenge(Base64.getUrlEncoder().withoutPadding().encodeToString(digest));
      options.setCodeChallengeMethod("S256");
      String end = browse("jar", authentication.getAuthorizationUrl(CALLBACK, options), email);
      equal("state", parameter(end, "state"), state);
      code = parameter(end, "code");
      holds(!code.isEmpty(), end);
    });

    report.check("[OAUTH-04 OIDC-01 AUTHZ-09] the code becomes a user, an ID token and an access token", () -> {
      found = authentication.authenticateWithCode(code, CALLBACK, exchange);
      equal("email", found.user().email(), email);
      equal("email_verified", found.user().emailVerified(), true);
      holds(found.user().id().startsWith("usr_") && found.expiresIn() > 0, found.user().toString());
      JsonNode claims = claims(found.idToken());
      equal("nonce", claims.get("nonce").asText(), nonce);
      equal("aud", claims.get("aud").toString(), "[\"" + clientId + "\"]");
      equal("validity of the ID token", authentication.validateAccessToken(found.idToken()), true);
    });

    report.check("[TOK-01] the SDK validates the access token; it says who, where and what", () -> {
      Map<String, Object> claims = authentication.validateAccessTokenAndGetClaims(found.accessToken());
      equal("sub", claims.get("sub"), found.user().id());
      equal("oid", claims.get("oid"), claims(found.idToken()).get("oid").asText());
      equal("roles", claims.get("roles"), List.of("admin"));
      equal("scopes", claims.get("scopes"), EVERYTHING);
      equal("scope", claims.get("scope"), String.join(" ", EVERYTHING));
    });

    report.check("[OAUTH-08] a refresh gives another refresh token and a fresh access token; an invented one is refused", () -> {
      AuthorizationUrlOptions options = new AuthorizationUrlOptions();
      options.setScopes(EVERYTHING);
      String end = browse("jar", authentication.getAuthorizationUrl(CALLBACK, options));
      // The SDK does not hand the refresh token of a code on.
      String form =
          String.join("&", "grant_type=authorization_code", "code=" + parameter(end, "code"), "redirect_uri=" + CALLBACK, "client_id=" + clientId, "client_secret=" + secret);
      HttpRequest request =
          HttpRequest.newBuilder(URI.create(url + "/oauth/token"))
              .header("Content-Type", "application/x-www-form-urlencoded")
              .POST(BodyPublishers.ofString(form))
              .build();
      JsonNode first = JSON.readTree(HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body());
      TokenResponse second = authentication.refreshAccessToken(first.get("refresh_token").asText());
      holds(!second.refreshToken().equals(first.get("refresh_token").asText()), "the refresh token is the same");
      equal("validity", authentication.validateAccessToken(second.accessToken()), true);
      equal("sid", claims(second.accessToken()).get("sid"), claims(found.accessToken()).get("sid"));
      refused(() -> authentication.refreshAccessToken("rt_invented"), "invalid_grant");
    });

    report.check("[OAUTH-05] a code is good once", () -> refused(() -> authentication.authenticateWithCode(code, CALLBACK, exchange), "invalid_grant"));

    report.check("[OIDC-06] the SDK's logout URL leads to the application with the state, and nobody is signed in afterwards", () -> {
      LogoutUrlOptions options = new LogoutUrlOptions();
      options.setIdTokenHint(found.idToken());
      options.setPostLogoutRedirectUri(SIGNED_OUT);
      options.setState(state);
      equal("end", browse("jar", authentication.getLogoutUrl(options)), SIGNED_OUT + "?state=" + state);
      AuthorizationUrlOptions silent = new AuthorizationUrlOptions();
      silent.setPrompt("none");
      equal("error", parameter(browse("jar", authentication.getAuthorizationUrl(CALLBACK, silent)), "error"), "login_required");
    });
  }
}
