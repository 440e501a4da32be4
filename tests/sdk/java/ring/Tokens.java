package ring;

import static ring.Report.equal;
import static ring.Report.holds;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.scalekit.ScalekitClient;
import com.scalekit.api.AuthClient;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Signature;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Access tokens: the SDK's check against /keys, refusals by SDK and server, and the rotation of the signing key. */
final class Tokens {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final HttpClient HTTP = HttpClient.newHttpClient();

  private Tokens() {}

  private static String encode(byte[] bytes) {
    return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
  }

  private static String segment(Map<String, Object> value) throws Exception {
    return encode(JSON.writeValueAsBytes(value));
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> decode(String part) throws Exception {
    return JSON.readValue(Base64.getUrlDecoder().decode(part), LinkedHashMap.class);
  }

  private static Map<String, Object> with(Map<String, Object> value, String key, Object changed) {
    Map<String, Object> copy = new LinkedHashMap<>(value);
    copy.put(key, changed);
    return copy;
  }

  private static String kid(String token) throws Exception {
    return (String) decode(token.split("\\.")[0]).get("kid");
  }

  private static String signed(KeyPair key, Map<String, Object> header, Map<String, Object> claims) throws Exception {
    String text = segment(header) + "." + segment(claims);
    Signature signature = Signature.getInstance("SHA256withRSA");
    signature.initSign(key.getPrivate());
    signature.update(text.getBytes(StandardCharsets.US_ASCII));
    return text + "." + encode(signature.sign());
  }

  /** Each looks like the given genuine token and must be refused everywhere. */
  private static Map<String, String> forgeries(String token) throws Exception {
    String[] parts = token.split("\\.");
    Map<String, Object> header = decode(parts[0]);
    Map<String, Object> claims = decode(parts[1]);
    KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
    generator.initialize(2048);
    KeyPair key = generator.generateKeyPair();
    String none = segment(with(header, "alg", "none"));
    long hourAgo = System.currentTimeMillis() / 1000 - 3600;
    Map<String, String> forged = new LinkedHashMap<>();
    forged.put("signed by a foreign key under the genuine kid", signed(key, header, claims));
    forged.put("with a genuine signature under changed claims", parts[0] + "." + segment(with(claims, "sub", "skc_1")) + "." + parts[2]);
    forged.put("expired an hour ago", signed(key, header, with(claims, "exp", hourAgo)));
    forged.put("alg none without signature", none + "." + parts[1] + ".");
    forged.put("alg none with the genuine signature", none + "." + parts[1] + "." + parts[2]);
    forged.put("not a JWT", "garbage");
    return forged;
  }

  private static int status(String url, String token) throws Exception {
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(url + "/api/v1/organizations")).header("Authorization", "Bearer " + token).build();
    return HTTP.send(request, BodyHandlers.discarding()).statusCode();
  }

  static void run(Report report, ScalekitClient client, String url, String clientId, String secret) throws Exception {
    AuthClient authentication = client.authentication();
    String token = authentication.generateClientToken(clientId, secret);

    report.check("[OAUTH-01] the SDK gets a token, validates it against /keys and reads the claims", () -> {
      equal("validity", authentication.validateAccessToken(token), true);
      Map<String, Object> claims = authentication.validateAccessTokenAndGetClaims(token);
      equal("iss", claims.get("iss"), url);
      equal("sub", claims.get("sub"), clientId);
      holds(claims.get("aud") instanceof List && claims.get("jti") instanceof String, claims.toString());
    });

    for (Map.Entry<String, String> forged : forgeries(token).entrySet()) {
      report.check("[MGMT-02] a token " + forged.getKey() + ": refused by the SDK, and by the server with 401", () -> {
        equal("SDK's verdict", authentication.validateAccessToken(forged.getValue()), false);
        equal("status", status(url, forged.getValue()), 401);
      });
    }
  }

  /** A base URL that ends in a slash: the client asks for //oauth/token and //keys. */
  static void slashed(Report report, String url, String clientId, String secret) {
    report.check("a base URL that ends in a slash works: //oauth/token and //keys are answered", () -> {
      ScalekitClient client = new ScalekitClient(url + "/", clientId, secret);
      client.organizations().listOrganizations(1, null);
      equal("validity", client.authentication().validateAccessToken(client.authentication().getClientAccessToken()), true);
    });
  }

  /** Runs a command that the runner has put into the environment. */
  private static void shell(String variable) throws Exception {
    Process process = new ProcessBuilder("/bin/sh", "-c", System.getenv(variable)).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    equal("exit status of " + variable + ", which said " + output, process.waitFor(), 0);
  }

  /** A new signing key is published first and signs later; this SDK fetches /keys at every check. */
  static void rotation(Report report, ScalekitClient client, String url) {
    AuthClient authentication = client.authentication();
    report.check("[CTL-45 DISC-03] keys rotate publishes a key; after the overlap it signs; old and new tokens are taken throughout", () -> {
      String old = authentication.getClientAccessToken();
      shell("NARTHEX_ROTATE");
      equal("signing key during the overlap", kid(authentication.getClientAccessToken()), kid(old));
      equal("validity during the overlap", authentication.validateAccessToken(old), true);
      shell("NARTHEX_PASS_OVERLAP");
      String renewed = authentication.getClientAccessToken();
      holds(!kid(old).equals(kid(renewed)), "both tokens are signed by " + kid(old));
      for (String token : List.of(old, renewed)) {
        equal("validity of the token of " + kid(token), authentication.validateAccessToken(token), true);
        equal("server's answer to it", status(url, token), 200);
      }
      client.organizations().listOrganizations(1, null);
    });
  }
}
