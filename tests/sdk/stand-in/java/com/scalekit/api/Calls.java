package com.scalekit.api;

import com.scalekit.exceptions.APIException;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractBlockingStub;
import io.grpc.stub.MetadataUtils;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** One channel with the bearer, and the SDK's rule of resending: once, after UNAUTHENTICATED or UNAVAILABLE. */
public final class Calls {
  private static final Metadata.Key<String> AUTHORIZATION = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  final ManagedChannel channel;
  private final AuthClient authentication;

  public Calls(ManagedChannel channel, AuthClient authentication) {
    this.channel = channel;
    this.authentication = authentication;
  }

  <S extends AbstractBlockingStub<S>, R> R call(S stub, Function<S, R> rpc) {
    try {
      return once(stub, rpc);
    } catch (StatusRuntimeException error) {
      Status.Code code = error.getStatus().getCode();
      if (code != Status.Code.UNAUTHENTICATED && code != Status.Code.UNAVAILABLE) {
        throw new APIException(error);
      }
      if (code == Status.Code.UNAUTHENTICATED) {
        authentication.refresh();
      }
      try {
        return once(stub, rpc);
      } catch (StatusRuntimeException again) {
        // The SDK keeps neither code nor details of a second failure.
        throw new APIException(again.getMessage());
      }
    }
  }

  private <S extends AbstractBlockingStub<S>, R> R once(S stub, Function<S, R> rpc) {
    Metadata headers = new Metadata();
    headers.put(AUTHORIZATION, "Bearer " + authentication.bearer());
    return rpc.apply(
        stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers)).withDeadlineAfter(10, TimeUnit.SECONDS));
  }
}
