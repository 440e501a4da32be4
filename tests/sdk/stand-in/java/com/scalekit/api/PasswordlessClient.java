package com.scalekit.api;

import com.scalekit.grpc.scalekit.v1.auth.passwordless.PasswordlessServiceGrpc;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.PasswordlessServiceGrpc.PasswordlessServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.ResendPasswordlessRequest;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.SendPasswordlessRequest;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.SendPasswordlessResponse;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.VerifyPasswordLessRequest;
import com.scalekit.grpc.scalekit.v1.auth.passwordless.VerifyPasswordLessResponse;
import java.util.function.Function;

/** Codes and links by mail, each call one RPC. */
public final class PasswordlessClient {
  private final Calls calls;

  public PasswordlessClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<PasswordlessServiceBlockingStub, R> rpc) {
    return calls.call(PasswordlessServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public SendPasswordlessResponse sendPasswordlessEmail(SendPasswordlessRequest request) {
    return call(stub -> stub.sendPasswordlessEmail(request));
  }

  public VerifyPasswordLessResponse verifyPasswordlessEmail(VerifyPasswordLessRequest request) {
    return call(stub -> stub.verifyPasswordlessEmail(request));
  }

  public SendPasswordlessResponse resendPasswordlessEmail(String authRequestId) {
    return call(stub -> stub.resendPasswordlessEmail(ResendPasswordlessRequest.newBuilder().setAuthRequestId(authRequestId).build()));
  }
}
