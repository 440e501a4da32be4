package com.scalekit.api;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.scalekit.exceptions.APIException;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URI;
import java.net.URL;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.apache.http.client.config.RequestConfig;
import org.apache.http.client.entity.UrlEncodedFormEntity;
import org.apache.http.client.methods.CloseableHttpResponse;
import org.apache.http.client.methods.HttpGet;
import org.apache.http.client.methods.HttpPost;
import org.apache.http.client.methods.HttpUriRequest;
import org.apache.http.impl.client.CloseableHttpClient;
import org.apache.http.impl.client.HttpClients;
import org.apache.http.message.BasicNameValuePair;
import org.apache.http.util.EntityUtils;
import org.jose4j.jwk.JsonWebKeySet;
import org.jose4j.jwt.JwtClaims;
import org.jose4j.jwt.consumer.JwtConsumer;
import org.jose4j.jwt.consumer.JwtConsumerBuilder;
import org.jose4j.keys.resolvers.JwksVerificationKeyResolver;

/** Tokens: asked for at {@code /oauth/token}, checked against {@code /keys}, which is fetched on every check. */
public final class AuthClient {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final String siteName;
  private final String clientId;
  private final String clientSecret;
  private final CloseableHttpClient http;
  private String token;
  private long refreshedAt;

  public AuthClient(String siteName, String clientId, String clientSecret) {
    this.siteName = siteName;
    this.clientId = clientId;
    this.clientSecret = clientSecret;
    RequestConfig timeouts = RequestConfig.custom().setConnectTimeout(5_000).setSocketTimeout(10_000).build();
    this.http = HttpClients.custom().setDefaultRequestConfig(timeouts).build();
  }

  public String generateClientToken(String id, String secret) {
    HttpPost request = new HttpPost(siteName + "/oauth/token");
    request.setEntity(
        new UrlEncodedFormEntity(
            List.of(
                new BasicNameValuePair("grant_type", "client_credentials"),
                new BasicNameValuePair("client_id", id),
                new BasicNameValuePair("client_secret", secret)),
            StandardCharsets.UTF_8));
    return send(request).get("access_token").asText();
  }

  public String getClientAccessToken() {
    return generateClientToken(clientId, clientSecret);
  }

  public boolean validateAccessToken(String jwt) {
    try {
      validateAccessTokenAndGetClaims(jwt);
      return true;
    } catch (APIException refused) {
      return false;
    }
  }

  public Map<String, Object> validateAccessTokenAndGetClaims(String jwt) {
    try {
      JsonWebKeySet keys = new JsonWebKeySet(send(new HttpGet(siteName + "/keys")).toString());
      JwtConsumer consumer =
          new JwtConsumerBuilder()
              .setRequireExpirationTime()
              .setAllowedClockSkewInSeconds(30)
              .setSkipDefaultAudienceValidation()
              .setVerificationKeyResolver(new JwksVerificationKeyResolver(keys.getJsonWebKeys()))
              .build();
      JwtClaims claims = consumer.processToClaims(jwt);
      return claims.getClaimsMap();
    } catch (APIException unreachable) {
      throw unreachable;
    } catch (Exception refused) {
      throw new APIException("token validation failed: " + refused.getMessage());
    }
  }

  /** Built here, nothing is sent; null parameters are left out. */
  public URL getAuthorizationUrl(String redirectUri, AuthorizationUrlOptions options) {
    Map<String, String> query = new LinkedHashMap<>();
    query.put("response_type", "code");
    query.put("client_id", clientId);
    query.put("redirect_uri", redirectUri);
    query.put("scope", String.join(" ", options.getScopes()));
    query.put("state", options.getState());
    query.put("nonce", options.getNonce());
    query.put("code_challenge", options.getCodeChallenge());
    query.put("code_challenge_method", options.getCodeChallengeMethod());
    query.put("prompt", options.getPrompt());
    return url("/oauth/authorize", query);
  }

  public URL getLogoutUrl(LogoutUrlOptions options) {
    Map<String, String> query = new LinkedHashMap<>();
    query.put("id_token_hint", options.getIdTokenHint());
    query.put("post_logout_redirect_uri", options.getPostLogoutRedirectUri());
    query.put("state", options.getState());
    return url("/oidc/logout", query);
  }

  private URL url(String path, Map<String, String> query) {
    query.values().removeIf(Objects::isNull);
    String text =
        query.entrySet().stream()
            .map(pair -> pair.getKey() + "=" + URLEncoder.encode(pair.getValue(), StandardCharsets.UTF_8))
            .collect(Collectors.joining("&"));
    try {
      return URI.create(siteName + path + "?" + text).toURL();
    } catch (MalformedURLException impossible) {
      throw new APIException(impossible.getMessage());
    }
  }

  /** The SDK reads the ID token without checking its signature, and does not hand the refresh token on. */
  public AuthenticationResponse authenticateWithCode(String code, String redirectUri, AuthenticationOptions options) {
    List<BasicNameValuePair> form = new ArrayList<>();
    form.add(new BasicNameValuePair("grant_type", "authorization_code"));
    form.add(new BasicNameValuePair("code", code));
    form.add(new BasicNameValuePair("redirect_uri", redirectUri));
    if (options.getCodeVerifier() != null) {
      form.add(new BasicNameValuePair("code_verifier", options.getCodeVerifier()));
    }
    JsonNode answer = tokens(form);
    try {
      byte[] claims = Base64.getUrlDecoder().decode(answer.get("id_token").asText().split("\\.")[1]);
      IdTokenClaims user = JSON.readValue(claims, IdTokenClaims.class);
      return new AuthenticationResponse(user, answer.get("id_token").asText(), answer.get("access_token").asText(), answer.get("expires_in").asInt());
    } catch (IOException malformed) {
      throw new APIException("ID token: " + malformed.getMessage());
    }
  }

  public TokenResponse refreshAccessToken(String refreshToken) {
    JsonNode answer = tokens(List.of(new BasicNameValuePair("grant_type", "refresh_token"), new BasicNameValuePair("refresh_token", refreshToken)));
    return new TokenResponse(answer.get("access_token").asText(), answer.get("refresh_token").asText());
  }

  private JsonNode tokens(List<BasicNameValuePair> grant) {
    List<BasicNameValuePair> form = new ArrayList<>(grant);
    form.add(new BasicNameValuePair("client_id", clientId));
    form.add(new BasicNameValuePair("client_secret", clientSecret));
    HttpPost request = new HttpPost(siteName + "/oauth/token");
    request.setEntity(new UrlEncodedFormEntity(form, StandardCharsets.UTF_8));
    return send(request);
  }

  /** Types that Jackson insists on: a claim of another one fails the login. Others are passed over. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  public record IdTokenClaims(
      @JsonProperty("sub") String id,
      @JsonProperty("email") String email,
      @JsonProperty("email_verified") boolean emailVerified,
      @JsonProperty("name") String name,
      @JsonProperty("given_name") String givenName,
      @JsonProperty("family_name") String familyName,
      @JsonProperty("updated_at") String updatedAt,
      @JsonProperty("metadata") String metadata) {}

  public record AuthenticationResponse(IdTokenClaims user, String idToken, String accessToken, int expiresIn) {}

  public record TokenResponse(String accessToken, String refreshToken) {}

  /** The bearer of gRPC calls; fetched when there is none yet. */
  synchronized String bearer() {
    if (token == null) {
      refresh();
    }
    return token;
  }

  /** Fetches another bearer, but not more than once in five seconds. */
  synchronized void refresh() {
    long now = System.nanoTime();
    if (token == null || now - refreshedAt > 5_000_000_000L) {
      token = getClientAccessToken();
      refreshedAt = now;
    }
  }

  /** Anything but 200 is an error, its body the message. */
  private JsonNode send(HttpUriRequest request) {
    try (CloseableHttpResponse response = http.execute(request)) {
      String body = EntityUtils.toString(response.getEntity());
      if (response.getStatusLine().getStatusCode() != 200) {
        throw new APIException(response.getStatusLine() + ": " + body);
      }
      return JSON.readTree(body);
    } catch (IOException failure) {
      throw new APIException(failure.toString());
    }
  }
}
