import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jwt.JWT;
import com.nimbusds.oauth2.sdk.AuthorizationCodeGrant;
import com.nimbusds.oauth2.sdk.AuthorizationGrant;
import com.nimbusds.oauth2.sdk.RefreshTokenGrant;
import com.nimbusds.oauth2.sdk.ResponseType;
import com.nimbusds.oauth2.sdk.Scope;
import com.nimbusds.oauth2.sdk.TokenErrorResponse;
import com.nimbusds.oauth2.sdk.TokenRequest;
import com.nimbusds.oauth2.sdk.TokenResponse;
import com.nimbusds.oauth2.sdk.auth.ClientSecretBasic;
import com.nimbusds.oauth2.sdk.auth.Secret;
import com.nimbusds.oauth2.sdk.id.ClientID;
import com.nimbusds.oauth2.sdk.id.Issuer;
import com.nimbusds.oauth2.sdk.id.State;
import com.nimbusds.oauth2.sdk.pkce.CodeChallengeMethod;
import com.nimbusds.oauth2.sdk.pkce.CodeVerifier;
import com.nimbusds.oauth2.sdk.token.RefreshToken;
import com.nimbusds.openid.connect.sdk.AuthenticationRequest;
import com.nimbusds.openid.connect.sdk.AuthenticationResponse;
import com.nimbusds.openid.connect.sdk.AuthenticationResponseParser;
import com.nimbusds.openid.connect.sdk.LogoutRequest;
import com.nimbusds.openid.connect.sdk.Nonce;
import com.nimbusds.openid.connect.sdk.OIDCTokenResponse;
import com.nimbusds.openid.connect.sdk.OIDCTokenResponseParser;
import com.nimbusds.openid.connect.sdk.UserInfoRequest;
import com.nimbusds.openid.connect.sdk.UserInfoResponse;
import com.nimbusds.openid.connect.sdk.claims.IDTokenClaimsSet;
import com.nimbusds.openid.connect.sdk.claims.UserInfo;
import com.nimbusds.openid.connect.sdk.op.OIDCProviderMetadata;
import com.nimbusds.openid.connect.sdk.validators.AccessTokenValidator;
import com.nimbusds.openid.connect.sdk.validators.AuthorizationCodeValidator;
import com.nimbusds.openid.connect.sdk.validators.IDTokenValidator;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;

/** Nimbus' OAuth 2.0 SDK with OpenID Connect extensions as a relying party, authenticated by HTTP Basic. */
public final class Rp {
  private static final URI CALLBACK = URI.create("http://localhost:3999/callback");
  private static final URI SIGNED_OUT = URI.create("http://localhost:3999/signed-out");

  private interface Block {
    void run() throws Exception;
  }

  private boolean failed;
  private final Path jar = Files.createTempDirectory("narthex-jar-").resolve("jar");
  private final ClientID client = new ClientID(System.getenv("SCALEKIT_CLIENT_ID"));
  private final ClientSecretBasic authentication = new ClientSecretBasic(client, new Secret(System.getenv("SCALEKIT_CLIENT_SECRET")));
  private OIDCProviderMetadata provider;
  private AuthenticationResponse arrived;
  private OIDCTokenResponse tokens;
  private IDTokenClaimsSet claims;

  private Rp() throws Exception {}

  private void check(String name, Block block) {
    try {
      block.run();
      System.out.println("PASS nimbus: " + name);
    } catch (Exception | AssertionError error) {
      failed = true;
      String text = error.toString().replaceAll("\\s+", " ");
      System.out.println("FAIL nimbus: " + name + ": " + text.substring(0, Math.min(600, text.length())));
    }
  }

  private static void equal(String what, Object found, Object wanted) {
    if (!Objects.equals(found, wanted)) {
      throw new AssertionError(what + " is " + found + ", expected " + wanted);
    }
  }

  /** Signs in with the browser that all rings share, or visits a URL when there is no address; where it ends. */
  private URI browse(URI target, String... email) throws Exception {
    List<String> command = new ArrayList<>(List.of("/bin/sh", "-c", System.getenv("NARTHEX_LOGIN") + " --jar \"$@\"", "sh", jar.toString(), target.toString()));
    command.addAll(List.of(email));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
    equal("exit status of the browser, which said " + output, process.waitFor(), 0);
    return URI.create(output);
  }

  private TokenResponse ask(AuthorizationGrant grant) throws Exception {
    return OIDCTokenResponseParser.parse(new TokenRequest.Builder(provider.getTokenEndpointURI(), authentication, grant).build().toHTTPRequest().send());
  }

  private OIDCTokenResponse granted(AuthorizationGrant grant) throws Exception {
    TokenResponse answer = ask(grant);
    if (!answer.indicatesSuccess()) {
      throw new AssertionError(answer.toErrorResponse().getErrorObject().toJSONObject().toString());
    }
    return (OIDCTokenResponse) answer.toSuccessResponse();
  }

  private IDTokenClaimsSet verified(JWT idToken, Nonce nonce) throws Exception {
    return new IDTokenValidator(provider.getIssuer(), client, JWSAlgorithm.RS256, provider.getJWKSetURI().toURL()).validate(idToken, nonce);
  }

  private void run() {
    State state = new State();
    Nonce nonce = new Nonce();
    CodeVerifier verifier = new CodeVerifier();
    String email = "nimbus-" + UUID.randomUUID() + "@example.com";

    check("[DISC-01] discovery: the issuer of the document is the URL that it was asked at", () ->
        provider = OIDCProviderMetadata.resolve(new Issuer(System.getenv("SCALEKIT_ENVIRONMENT_URL"))));

    check("[AUTHZ-09] an authorization request with PKCE, state and nonce leads through a login to a response with the state", () -> {
      URI url =
          new AuthenticationRequest.Builder(ResponseType.CODE, new Scope("openid", "profile", "email", "offline_access"), client, CALLBACK)
              .endpointURI(provider.getAuthorizationEndpointURI())
              .state(state)
              .nonce(nonce)
              .codeChallenge(verifier, CodeChallengeMethod.S256)
              .build()
              .toURI();
      arrived = AuthenticationResponseParser.parse(browse(url, email));
      equal("success", arrived.indicatesSuccess(), true);
      equal("state", arrived.getState(), state);
    });

    check("[OAUTH-04 OAUTH-07 OIDC-01 OIDC-02] the code becomes tokens; the library verifies ID token, nonce, at_hash and c_hash", () -> {
      var code = arrived.toSuccessResponse().getAuthorizationCode();
      tokens = granted(new AuthorizationCodeGrant(code, CALLBACK, verifier));
      claims = verified(tokens.getOIDCTokens().getIDToken(), nonce);
      AccessTokenValidator.validate(tokens.getOIDCTokens().getAccessToken(), JWSAlgorithm.RS256, claims.getAccessTokenHash());
      AuthorizationCodeValidator.validate(code, JWSAlgorithm.RS256, claims.getCodeHash());
      equal("email", claims.getStringClaim("email"), email);
    });

    check("[OAUTH-05] the code once more: invalid_grant, as the library reads it", () -> {
      TokenResponse again = ask(new AuthorizationCodeGrant(arrived.toSuccessResponse().getAuthorizationCode(), CALLBACK, verifier));
      equal("error", ((TokenErrorResponse) again).getErrorObject().getCode(), "invalid_grant");
    });

    check("[OAUTH-08] refresh: another refresh token, and an ID token of the same subject", () -> {
      // The tokens of the first code ended with its second use.
      URI url =
          new AuthenticationRequest.Builder(ResponseType.CODE, new Scope("openid", "email", "offline_access"), client, CALLBACK)
              .endpointURI(provider.getAuthorizationEndpointURI())
              .build()
              .toURI();
      tokens = granted(new AuthorizationCodeGrant(AuthenticationResponseParser.parse(browse(url)).toSuccessResponse().getAuthorizationCode(), CALLBACK));
      RefreshToken first = tokens.getOIDCTokens().getRefreshToken();
      tokens = granted(new RefreshTokenGrant(first));
      equal("another refresh token", !tokens.getOIDCTokens().getRefreshToken().equals(first), true);
      equal("subject", verified(tokens.getOIDCTokens().getIDToken(), null).getSubject(), claims.getSubject());
    });

    check("[OIDC-03] userinfo of the subject of the ID token", () -> {
      UserInfoResponse answer =
          UserInfoResponse.parse(new UserInfoRequest(provider.getUserInfoEndpointURI(), tokens.getOIDCTokens().getAccessToken()).toHTTPRequest().send());
      UserInfo found = answer.toSuccessResponse().getUserInfo();
      equal("subject", found.getSubject(), claims.getSubject());
      equal("email", found.getEmailAddress(), email);
    });

    check("[OIDC-06] RP-initiated logout leads to the application with the state", () -> {
      State bye = new State("bye");
      URI end = browse(new LogoutRequest(provider.getEndSessionEndpointURI(), tokens.getOIDCTokens().getIDToken(), SIGNED_OUT, bye).toURI());
      equal("end", end.toString(), SIGNED_OUT + "?state=bye");
    });
  }

  public static void main(String[] arguments) throws Exception {
    Rp rp = new Rp();
    rp.run();
    System.out.println("END nimbus");
    System.exit(rp.failed ? 1 : 0);
  }
}
