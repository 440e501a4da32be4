package com.scalekit.api;

import com.scalekit.grpc.scalekit.v1.auth.webauthn.DeleteCredentialRequest;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.DeleteCredentialResponse;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.ListCredentialsRequest;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.ListCredentialsResponse;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.UpdateCredentialRequest;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.UpdateCredentialResponse;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.WebAuthnServiceGrpc.WebAuthnServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.auth.webauthn.WebAuthnServiceGrpc;
import java.util.function.Function;

/** Passkeys, which browsers make and use, each call one RPC. */
public final class WebAuthnClient {
  private final Calls calls;

  public WebAuthnClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<WebAuthnServiceBlockingStub, R> rpc) {
    return calls.call(WebAuthnServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public ListCredentialsResponse listCredentials(String userId) {
    return call(stub -> stub.listCredentials(ListCredentialsRequest.newBuilder().setUserId(userId).build()));
  }

  public UpdateCredentialResponse updateCredential(String credentialId, String displayName) {
    UpdateCredentialRequest request =
        UpdateCredentialRequest.newBuilder()
            .setCredentialId(credentialId)
            .setDisplayName(displayName)
            .build();
    return call(stub -> stub.updateCredential(request));
  }

  public DeleteCredentialResponse deleteCredential(String credentialId) {
    return call(stub -> stub.deleteCredential(DeleteCredentialRequest.newBuilder().setCredentialId(credentialId).build()));
  }
}
