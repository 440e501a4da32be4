package com.scalekit.api;

import com.scalekit.grpc.scalekit.v1.sessions.RevokeAllUserSessionsRequest;
import com.scalekit.grpc.scalekit.v1.sessions.RevokeAllUserSessionsResponse;
import com.scalekit.grpc.scalekit.v1.sessions.RevokeSessionRequest;
import com.scalekit.grpc.scalekit.v1.sessions.RevokeSessionResponse;
import com.scalekit.grpc.scalekit.v1.sessions.SessionDetails;
import com.scalekit.grpc.scalekit.v1.sessions.SessionDetailsRequest;
import com.scalekit.grpc.scalekit.v1.sessions.SessionServiceGrpc.SessionServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.sessions.SessionServiceGrpc;
import com.scalekit.grpc.scalekit.v1.sessions.UserSessionDetails;
import com.scalekit.grpc.scalekit.v1.sessions.UserSessionDetailsRequest;
import java.util.function.Function;

/** Sessions of users, each call one RPC. */
public final class SessionClient {
  private final Calls calls;

  public SessionClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<SessionServiceBlockingStub, R> rpc) {
    return calls.call(SessionServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public SessionDetails getSession(String sessionId) {
    return call(stub -> stub.getSession(SessionDetailsRequest.newBuilder().setSessionId(sessionId).build()));
  }

  public UserSessionDetails getUserSessions(String userId) {
    return call(stub -> stub.getUserSessions(UserSessionDetailsRequest.newBuilder().setUserId(userId).build()));
  }

  public RevokeSessionResponse revokeSession(String sessionId) {
    return call(stub -> stub.revokeSession(RevokeSessionRequest.newBuilder().setSessionId(sessionId).build()));
  }

  public RevokeAllUserSessionsResponse revokeAllUserSessions(String userId) {
    return call(stub -> stub.revokeAllUserSessions(RevokeAllUserSessionsRequest.newBuilder().setUserId(userId).build()));
  }
}
