package com.scalekit.api;

import com.google.protobuf.Timestamp;
import com.scalekit.exceptions.APIException;
import com.scalekit.grpc.scalekit.v1.tokens.ApiTokenServiceGrpc.ApiTokenServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.tokens.ApiTokenServiceGrpc;
import com.scalekit.grpc.scalekit.v1.tokens.CreateToken;
import com.scalekit.grpc.scalekit.v1.tokens.CreateTokenRequest;
import com.scalekit.grpc.scalekit.v1.tokens.CreateTokenResponse;
import com.scalekit.grpc.scalekit.v1.tokens.InvalidateTokenRequest;
import com.scalekit.grpc.scalekit.v1.tokens.ListTokensRequest;
import com.scalekit.grpc.scalekit.v1.tokens.ListTokensResponse;
import com.scalekit.grpc.scalekit.v1.tokens.UpdateTokenRequest;
import com.scalekit.grpc.scalekit.v1.tokens.UpdateTokenResponse;
import com.scalekit.grpc.scalekit.v1.tokens.ValidateTokenRequest;
import com.scalekit.grpc.scalekit.v1.tokens.ValidateTokenResponse;
import java.util.Map;
import java.util.function.Function;

/** API tokens, each call one RPC. */
public final class TokenClient {
  private static final int NOT_FOUND = 5;
  private static final int MOST = 30;

  private final Calls calls;

  public TokenClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<ApiTokenServiceBlockingStub, R> rpc) {
    return calls.call(ApiTokenServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public CreateTokenResponse create(String organizationId) {
    return create(organizationId, null, null, null, null);
  }

  /** What is {@code null} is left out. */
  public CreateTokenResponse create(
      String organizationId, String userId, Map<String, String> customClaims, Timestamp expiry, String description) {
    CreateToken.Builder token = CreateToken.newBuilder().setOrganizationId(organizationId);
    if (userId != null) {
      token.setUserId(userId);
    }
    if (customClaims != null) {
      token.putAllCustomClaims(customClaims);
    }
    if (expiry != null) {
      token.setExpiry(expiry);
    }
    if (description != null) {
      token.setDescription(description);
    }
    return call(stub -> stub.createToken(CreateTokenRequest.newBuilder().setToken(token).build()));
  }

  public ValidateTokenResponse validate(String token) {
    return call(stub -> stub.validateToken(ValidateTokenRequest.newBuilder().setToken(token).build()));
  }

  /** The SDK takes the end of a token that is not there for done. */
  public void invalidate(String token) {
    try {
      call(stub -> stub.invalidateToken(InvalidateTokenRequest.newBuilder().setToken(token).build()));
    } catch (APIException error) {
      if (error.getGrpcStatusCode() != NOT_FOUND) {
        throw error;
      }
    }
  }

  public ListTokensResponse list(String organizationId, int pageSize, String pageToken) {
    return list(organizationId, null, pageSize, pageToken);
  }

  /** A size is brought into the bounds of the SDK. */
  public ListTokensResponse list(String organizationId, String userId, int pageSize, String pageToken) {
    ListTokensRequest.Builder request =
        ListTokensRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setPageSize(Math.max(1, Math.min(MOST, pageSize)))
            .setPageToken(pageToken == null ? "" : pageToken);
    if (userId != null) {
      request.setUserId(userId);
    }
    return call(stub -> stub.listTokens(request.build()));
  }

  /** {@code null} leaves the claims or the description, an empty description clears it. */
  public UpdateTokenResponse update(String token, Map<String, String> customClaims, String description) {
    UpdateTokenRequest.Builder request = UpdateTokenRequest.newBuilder().setToken(token);
    if (customClaims != null) {
      request.putAllCustomClaims(customClaims);
    }
    if (description != null) {
      request.setDescription(description);
    }
    return call(stub -> stub.updateToken(request.build()));
  }
}
