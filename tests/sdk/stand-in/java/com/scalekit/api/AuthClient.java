package com.scalekit.api;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.scalekit.exceptions.APIException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
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
